"""ResNet-18 and VGG-11, narrow and over small images: read, unrolled and written as PyTorch means them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from salver.explain.autograd import gradient_by_autograd
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import single
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_model
from tests.builders.image_networks import exported, resnet_18, vgg_11, with_drawn_statistics
from tests.builders.torch_twins import runtime_outputs

SIZE, LABEL = 32, 3
NETWORKS = {"ResNet-18": lambda: resnet_18(8, 10), "VGG-11": lambda: vgg_11(8, SIZE, 32, 10)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_is_the_gradient_of_the_module(name, tmp_path):
    module = with_drawn_statistics(NETWORKS[name]())
    path = exported(module, (1, 3, SIZE, SIZE), tmp_path / "net.onnx")
    classifier = single(read_onnx(path))
    model = to_model(unroll(classifier, logit_combination(10, LABEL)))
    x = np.random.default_rng(0).normal(size=(2, 3 * SIZE * SIZE)).astype(np.float32)
    points = torch.tensor(x.reshape(-1, 3, SIZE, SIZE), dtype=torch.float64, requires_grad=True)
    logits = module.double()(points)
    logits[:, LABEL].sum().backward()
    expected = np.hstack([logits.detach().numpy(), points.grad.reshape(2, -1).numpy()])
    found = runtime_outputs(model, x)
    for part in (slice(10), slice(10, None)):
        right = expected[:, part]
        np.testing.assert_allclose(found[:, part], right, atol=1e-5 * np.abs(right).max())
    # Nothing is larger for the gradient: what is there twice is stored once, and pools are no matrices.
    assert model.ByteSize() < 2 * path.stat().st_size
    assert "MatMul" not in Counter(node.op_type for node in model.graph.node[: len(classifier.nodes)])


FOUND = ["networks/marabou-gtsrb-fast.onnx", "networks/verivital-convnet-avgpool.onnx", *(
    f"vnncomp/{name}" for name in (
        "collins_rul_cnn/onnx/NN_rul_small_window_20.onnx.gz",
        "tllverifybench/onnx/tllBench_n=2_N=M=8_m=1_instance_0_0.onnx.gz",
    )
)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_networks_of_others_are_unrolled_and_stay_small(name, data_dir):
    path = data_dir / name
    if not path.is_file():
        pytest.skip(f"no {name} in the data folder")
    classifier = single(read_onnx(path))
    combination = logit_combination(classifier.output_size, 0)
    graph = unroll(classifier, combination)
    model, x = to_model(graph), np.random.default_rng(0).uniform(-1, 1, (2, classifier.input_size))
    expected = gradient_by_autograd(classifier, combination, x)
    found = runtime_outputs(model, x.astype(np.float32))[:, classifier.output_size :]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert model.ByteSize() < 2_000_000
