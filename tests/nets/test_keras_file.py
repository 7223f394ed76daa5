"""Keras files against torch on the same weights, and everything that must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

from salver.core.errors import SalverError
from salver.nets.keras.file import read_keras
from salver.nets.max_pool import max_pool_nodes
from salver.nets.network import Network, evaluate
from salver.nets.operators import Node, Relu, Reshape
from salver.nets.torch_bridge import to_torch
from salver.zoo.datasets import load
from tests.builders.keras_files import conv, dense, gap_layers, write_keras


def weights(layer: Any, key: str) -> torch.Tensor:
    return torch.as_tensor(layer[2][key])


def apply_conv(layer: Any, x: torch.Tensor, pads: tuple[int, int, int, int], stride: int = 1) -> torch.Tensor:
    kernel = weights(layer, "kernel").permute(3, 2, 0, 1)
    return functional.conv2d(functional.pad(x, pads), kernel, weights(layer, "bias"), stride)


def test_a_pooled_classifier_is_torchs(tmp_path: Path) -> None:
    layers = gap_layers(1)
    network, shape = read_keras(write_keras(tmp_path / "a.h5", (6, 8, 2), layers))
    assert shape == (2, 6, 8)
    x = torch.rand(5, 2, 6, 8)
    hidden = functional.max_pool2d(torch.relu(apply_conv(layers[0], x, (1, 1, 1, 1))), 2)
    hidden = torch.relu(apply_conv(layers[3], hidden, (1, 1, 1, 1))).mean((2, 3))
    expected = hidden @ weights(layers[5], "kernel") + weights(layers[5], "bias")
    made = evaluate(network, x.flatten(1).double().numpy())
    np.testing.assert_allclose(made, expected.numpy(), atol=2e-5)


def test_strides_flattening_and_normalisation_are_kerass(tmp_path: Path) -> None:
    """Keras puts odd padding behind and flattens height, width, channel."""
    rng = np.random.default_rng(2)
    norm = {
        "gamma": rng.normal(size=3), "beta": rng.normal(size=3),
        "moving_mean": rng.normal(size=3), "moving_variance": rng.uniform(0.5, 2, 3),
    }  # fmt: skip
    layers = [
        conv(rng, 1, 3, strides=[2, 2], activation="linear"),
        ("BatchNormalization", {"epsilon": 0.01}, {k: v.astype(np.float32) for k, v in norm.items()}),
        ("Activation", {"activation": "relu"}, {}),
        ("AveragePooling2D", {"pool_size": [1, 2]}, {}),
        ("Flatten", {}, {}),
        dense(rng, 3 * 3 * 2, 4, activation="relu"),
        dense(rng, 4, 2, activation="linear"),
    ]
    network, _ = read_keras(write_keras(tmp_path / "a.h5", (6, 8, 1), layers))
    x = torch.rand(4, 1, 6, 8)
    hidden = apply_conv(layers[0], x, (0, 1, 0, 1), 2)
    parts = [torch.as_tensor(norm[key], dtype=torch.float32) for key in ("moving_mean", "moving_variance")]
    scale, shift = (torch.as_tensor(norm[key], dtype=torch.float32) for key in ("gamma", "beta"))
    hidden = torch.relu(functional.batch_norm(hidden, *parts, scale, shift, eps=0.01))
    hidden = functional.avg_pool2d(hidden, (1, 2)).permute(0, 2, 3, 1).flatten(1)
    hidden = torch.relu(hidden @ weights(layers[5], "kernel") + weights(layers[5], "bias"))
    expected = hidden @ weights(layers[6], "kernel") + weights(layers[6], "bias")
    made = evaluate(network, x.flatten(1).double().numpy())
    np.testing.assert_allclose(made, expected.numpy(), atol=2e-5)


@pytest.mark.parametrize(("shape", "size"), [((2, 5, 7), (2, 2)), ((1, 6, 6), (3, 1)), ((3, 4, 9), (1, 3))])
def test_maximum_by_relus(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    nodes = [Node("image", Reshape(), ("X",), shape), *max_pool_nodes("most", "image", shape, size)]
    flat = int(np.prod(nodes[-1].shape))
    network = Network("X", int(np.prod(shape)), (*nodes, Node("flat", Reshape(), ("most",), (flat,))), "flat")
    x = torch.randn(6, *shape, dtype=torch.float64, requires_grad=True)
    expected = functional.max_pool2d(x, size)
    np.testing.assert_allclose(
        evaluate(network, x.detach().flatten(1).numpy()), expected.detach().flatten(1), atol=1e-15
    )
    gradient = torch.autograd.grad(to_torch(network, torch.float64)(x.flatten(1)).sum(), x)[0]
    assert torch.equal(gradient, torch.autograd.grad(expected.sum(), x)[0])


RNG = np.random.default_rng(0)
CONV, DENSE = conv(RNG, 1, 2), dense(RNG, 2, 2)
GAP = ("GlobalAveragePooling2D", {}, {})


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([CONV, ("Lambda", {"function": ["evil"]}, {}), GAP, DENSE], "layer Lambda is not supported"),
        ([CONV, GAP, DENSE, DENSE], "behind a softmax"),
        ([CONV], "last layer is not dense"),
        ([CONV, DENSE], "without Flatten"),
        ([conv(RNG, 1, 2, activation="tanh"), GAP, DENSE], "activation tanh"),
        ([conv(RNG, 1, 2, padding="causal"), GAP, DENSE], "padding causal"),
        ([conv(RNG, 1, 2, data_format="channels_first"), GAP, DENSE], "data_format"),
        ([conv(RNG, 3, 2), GAP, DENSE], "no kernel of shape"),
        ([("Conv2D", {**CONV[1], "filters": 10**9}, CONV[2]), GAP, DENSE], "no kernel of shape"),
        ([CONV, ("MaxPooling2D", {"pool_size": [3, 3], "strides": [2, 2]}, {}), GAP, DENSE], "overlap"),
        ([CONV, ("ReLU", {"max_value": 6.0}, {}), GAP, DENSE], "max_value"),
        ([("Conv2D", CONV[1], {**CONV[2], "bias": np.full(2, np.nan, "f4")}), GAP, DENSE], "not finite"),
    ],
)
def test_unsupported_layers_are_named(tmp_path: Path, layers: list[Any], what: str) -> None:
    path = write_keras(tmp_path / "a.h5", (6, 6, 1), layers)
    with pytest.raises(SalverError, match=what) as caught:
        read_keras(path)
    assert "\n" not in str(caught.value)


def test_unfit_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = write_keras(tmp_path / "good.h5", (6, 6, 2), gap_layers(0))
    functional_model = write_keras(tmp_path / "f.h5", (6, 6, 2), gap_layers(0), "Functional")
    huge = write_keras(tmp_path / "huge.h5", (10**6, 10**6, 2), gap_layers(0))
    linked = write_keras(tmp_path / "linked.h5", (6, 6, 2), gap_layers(0))
    with h5py.File(linked, "a") as file:
        group = file["model_weights/layer0/layer0"]
        del group["kernel:0"]
        group["kernel:0"] = h5py.ExternalLink(str(good), "model_weights/layer0/layer0/kernel:0")
    bare, damaged = tmp_path / "bare.h5", tmp_path / "damaged.h5"
    with h5py.File(bare, "w") as file:
        file["x"] = 1
    damaged.write_bytes(good.read_bytes()[:3000])
    odd = write_keras(tmp_path / "odd.h5", (6, 6, 2), gap_layers(0))
    with h5py.File(odd, "a") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [3]}})
    for path, what in (
        (tmp_path / "none.h5", "no such file"),
        (bare, "no model_config"),
        (damaged, "cannot be read"),
        (functional_model, "Functional"),
        (huge, "a tensor of shape"),
        (linked, "are a link"),
        (odd, "without a configuration"),
    ):
        with pytest.raises(SalverError, match=what) as caught:
            read_keras(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


@pytest.mark.data
def test_the_published_sign_network_knows_its_signs(data_dir: Path) -> None:
    network, shape = read_keras(data_dir / "paper" / "corgi_gtsrb.h5")
    data = load("gtsrb48-equalized", data_dir)
    assert shape == data.input_shape
    assert sum(isinstance(node.operator, Relu) for node in network.nodes) == 6
    run, chosen = to_torch(network), slice(None, None, 3)
    with torch.no_grad():
        right, plain = (
            run(torch.as_tensor(part.test_x[chosen])).argmax(1).numpy() == part.test_y[chosen]
            for part in (data, load("gtsrb48", data_dir))
        )
    assert right.mean() > 0.8 > plain.mean()
    assert right[np.isin(data.test_y[chosen], [12, 17])].all()
