"""Every graph that is written takes any number of rows at once, and gives what it gives row by row."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from experiments.kinds import KINDS, classifier_of
from salver.cli.app import app
from salver.explain.unroll import logit_combination, unroll
from salver.families.generate import generate
from salver.families.instance_set import checksums
from salver.families.registry import generators
from salver.families.suite import FamilyEntry, Suite
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_bridge import to_torch
from salver.publish.validate import validate
from tests.builders.own_data import arrays

SMALL_IMAGE = (1, 6, 6)
IMAGES = st.sampled_from([(1, 1, 5), (1, 4, 4), (2, 5, 3), (3, 6, 6)])


def rows_one_by_one(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    single = Runtime(model.SerializeToString())
    return np.stack([single.outputs(row) for row in x])


def rows_at_once(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return Runtime(with_free_batch(model).SerializeToString()).rows(x)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    IMAGES,
    st.integers(0, 2**31),
    st.integers(2, 9),
    st.sampled_from(["raw", "abs"]),
)
def test_an_unrolled_network_takes_any_batch(kind, image, seed, batch, saliency):
    classifier = from_model(classifier_of(kind, image, 3, seed))
    coefficients = logit_combination(3, seed % 3)
    model = to_model(unroll(classifier, coefficients, saliency))
    x = np.random.default_rng(seed).normal(size=(batch, math.prod(image))).astype(np.float32)
    one_by_one = rows_one_by_one(model, x)
    scale = max(1.0, np.abs(one_by_one).max())
    assert np.allclose(rows_at_once(model, x), one_by_one, rtol=0, atol=1e-5 * scale)

    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = to_torch(classifier, torch.float64)(points)
    (logits @ torch.tensor(coefficients)).sum().backward()
    gradient = points.grad.abs() if saliency == "abs" else points.grad
    expected = torch.cat([logits.detach(), gradient], dim=1).numpy()
    assert np.allclose(one_by_one, expected, rtol=0, atol=1e-4 * scale)


ASKED = {
    "vg_box": [
        {"epsilons": [0.2], "deltas": [0.2], "keep_robust": True},
        {"epsilons": [0.2], "condition": "top-k", "k": 2, "keep_robust": True},
        {"epsilons": [0.2], "condition": "signs", "gradient": "difference", "keep_robust": True},
        {"epsilons": [0.2], "label": "predicted", "deltas": [0.3], "keep_robust": True},
    ],
    "topk_rank": [
        {"epsilons": [0.1], "k": 2, "min_open": 0},
        {"epsilons": [0.1], "k": 3, "stay": 2, "min_open": 0, "gradient": "difference"},
    ],
    "smoothgrad_topk": [
        {"epsilons": [0.1], "k": 2, "draws": 2},
        {"epsilons": [0.1], "k": 2, "draws": 3, "map": "raw"},
    ],
    "gradient_sign": [{"epsilons": [0.2], "levels": [0.0], "count": 1}],
    "gradient_width": [{"epsilons": [0.2], "deltas": [0.2]}],
    "label_robustness": [{"epsilons": [0.1]}],
    "planted_sat": [
        {"epsilon": 0.1, "attack_rounds": 0, "question": question, "k": 2}
        for question in ("vg_box", "label", "topk_rank")
    ],
    "planted_unsat": [{"epsilon": 0.02}],
    "saliency": [
        {
            "epsilons": [0.05], "map": {"method": "gradient"},
            "question": {"kind": "entry-moves", "delta": 0.5},
        },
    ],
}  # fmt: skip
EVERY_FAMILY = "average-pooled"
"""On the other kinds only what has graphs of its own is asked; the property above tries all kinds."""
ON_MAPS = {
    "average-pooled": [{"epsilons": [0.05], "k": 2}, {"epsilons": [0.05], "k": 2, "within": 3}],
    "conv-dense": [
        {"epsilons": [0.05], "k": 2, "map": "grad-cam"},
        {"epsilons": [0.05], "k": 2, "map": "grad-cam-relu"},
        {"epsilons": [0.05], "k": 1, "within": 3, "map": "grad-cam"},
        {"epsilons": [0.05], "k": 2, "map": "layercam", "layer": 0},
    ],
}
GRAPHS = {"vg_box", "topk_rank", "smoothgrad_topk", "cam_topk"}
"""Families with graphs of their own; the others ask about the same ones."""
TRAINED = {"lifted", "training_pairs", "vg_paper"}
"""Families on trained networks or the user's data alone; their graphs are those of other families."""


def entries(kind: str, network: Path) -> tuple[FamilyEntry, ...]:
    """About images small enough that their texts are short."""
    images = np.random.default_rng(2).uniform(size=(6, *SMALL_IMAGE)).astype(np.float32)
    data = arrays(network.with_name("data.npz"), x=images, y=np.arange(6) % 3, lower=0.0, upper=1.0)
    common = {"network": str(network), "dataset": str(data), "points": 1}
    asked = {**ASKED, "cam_topk": ON_MAPS.get(kind, [])}
    return tuple(
        FamilyEntry(generator=family, params=common | params)
        for family, variants in asked.items()
        for params in variants
        if kind == EVERY_FAMILY or family in GRAPHS
    )


@pytest.mark.parametrize("kind", [*ON_MAPS, "max-pooled"])
def test_the_graphs_of_every_family_take_any_batch(kind, tmp_path):
    network = tmp_path / f"{kind}.onnx"
    onnx.save(classifier_of(kind, SMALL_IMAGE, 3), network)
    suite = Suite(key=kind, title=kind, timeout=1, family=entries(kind, network))
    folder, manifest = generate(suite, tmp_path)
    _, complaints = validate(folder)
    assert complaints == []
    for path in sorted((folder / "onnx").glob("*.onnx")):
        model = onnx.load(path)
        x = np.random.default_rng(1).uniform(0, 1, (5, math.prod(SMALL_IMAGE))).astype(np.float32)
        assert np.allclose(rows_at_once(model, x), rows_one_by_one(model, x), rtol=1e-4, atol=1e-4), path.name
    families = {one.facts.family for one in manifest.instances}
    assert families >= (set(ASKED) if kind == EVERY_FAMILY else GRAPHS - {"cam_topk"})


def test_every_family_with_graphs_of_its_own_is_asked_for():
    """A new family that asks about maps of methods that are there has none."""
    assert set(generators()) >= {*ASKED, "cam_topk", *TRAINED}


def test_unroll_writes_a_graph_for_any_batch_of_images(tmp_path):
    """The input is declared as an image of batch 1, as most exporters write it."""
    weight = numpy_helper.from_array(np.linspace(-1, 1, 18, dtype=np.float32).reshape(2, 1, 3, 3), "w")
    head = numpy_helper.from_array(np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3), "v")
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["z"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["z"], ["h"]),
        helper.make_node("Reshape", ["h", "flat"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["logits"]),
    ]
    flat = numpy_helper.from_array(np.array([1, 8], np.int64), "flat")  # this fixes the batch of the source
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 4, 4])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph(nodes, "g", [image], [logits], [weight, head, flat])
    source, target = tmp_path / "net.onnx", tmp_path / "grad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), source)
    done = CliRunner().invoke(app, ["unroll", str(source), "-o", str(target), "--label", "1"])
    assert done.exit_code == 0, done.output
    model = onnx.load(target)
    x = np.random.default_rng(0).normal(size=(7, 16)).astype(np.float32)
    assert np.allclose(rows_at_once(model, x), rows_one_by_one(model, x), atol=1e-5)


def test_validate_names_a_graph_that_fixes_its_batch(tmp_path):
    network = tmp_path / "conv.onnx"
    onnx.save(classifier_of("convolutional", (1, 8, 8), 10), network)
    entry = FamilyEntry(
        generator="vg_box",
        params={"network": str(network), "dataset": "digits", "points": 1, "epsilons": [0.1],
                "deltas": [0.1], "keep_robust": True},
    )  # fmt: skip
    suite = Suite(key="fixed", title="fixed", timeout=1, family=(entry,))
    folder, manifest = generate(suite, tmp_path)
    path = folder / manifest.instances[0].onnx
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.INT64:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = 1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    path.write_bytes(to_bytes(model))
    (folder / "SHA256SUMS").write_text(checksums(folder))
    _, complaints = validate(folder)
    assert [one.file for one in complaints] == ["manifest.json", manifest.instances[0].onnx]
    assert "rows at once" in complaints[1].what
