"""Keras files against torch on the same weights, and everything that must be refused."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

from salver.core.errors import SalverError
from salver.nets.classifier import Classifier, read_classifier
from salver.nets.keras import hdf5_probe
from salver.nets.keras.file import read_keras
from salver.nets.network import Network, evaluate
from salver.nets.operators import Node, Relu, Reshape
from salver.nets.torch_bridge import to_torch
from salver.zoo.datasets import load
from tests.builders.keras_files import conv, dense, gap_layers, write_keras
from tests.builders.pools import max_pool_nodes


def weights(layer: Any, key: str) -> torch.Tensor:
    return torch.as_tensor(layer[2][key])


def apply_conv(layer: Any, x: torch.Tensor, pads: tuple[int, int, int, int], stride: int = 1) -> torch.Tensor:
    kernel = weights(layer, "kernel").permute(3, 2, 0, 1)
    return functional.conv2d(functional.pad(x, pads), kernel, weights(layer, "bias"), stride)


def test_a_pooled_classifier_is_torchs(tmp_path: Path) -> None:
    layers = gap_layers(1)
    found = read_classifier(write_keras(tmp_path / "a.h5", (6, 8, 2), layers))
    network = found.network
    assert found.shape == (2, 6, 8)
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
    network = read_classifier(write_keras(tmp_path / "a.h5", (6, 8, 1), layers)).network
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
        ([CONV, GAP, DENSE, DENSE], "operator Softmax 'layer2/.*' is not supported by salver"),
        ([CONV], r"its output has shape \(6, 6, 2\)"),
        ([CONV, DENSE], r"its output has shape \(6, 6, 2\)"),
        ([conv(RNG, 1, 2, activation="tanh"), GAP, DENSE], "operator Tanh 'layer0/.*' is not supported"),
        ([conv(RNG, 1, 2, activation="silu"), GAP, DENSE], "'layer0': activation silu is not supported"),
        (
            [CONV, ("UnitNormalization", {}, {}), GAP, DENSE],
            "layer UnitNormalization is not supported by salver",
        ),
        ([CONV, GAP, ("Dense", {**DENSE[1], "dtype": "mixed_float16"}, DENSE[2])], "precision mixed_float16"),
        ([conv(RNG, 1, 2, padding="causal"), GAP, DENSE], "padding causal"),
        ([conv(RNG, 1, 2, data_format="channels_first"), GAP, DENSE], "data_format"),
        ([conv(RNG, 3, 2), GAP, DENSE], "no kernel of shape"),
        ([("Conv2D", {**CONV[1], "filters": 10**9}, CONV[2]), GAP, DENSE], "filters 1000000000"),
        ([CONV, ("ReLU", {"threshold": 1.0}, {}), GAP, DENSE], "threshold"),
        ([("Conv2D", CONV[1], {**CONV[2], "bias": np.full(2, np.nan, "f4")}), GAP, DENSE], "not finite"),
    ],
)
def test_unsupported_layers_are_named(tmp_path: Path, layers: list[Any], what: str) -> None:
    path = write_keras(tmp_path / "a.h5", (6, 6, 1), layers)
    with pytest.raises(SalverError, match=what) as caught:
        read_classifier(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_unfit_files_are_refused_in_one_line(tmp_path: Path) -> None:
    good = write_keras(tmp_path / "good.h5", (6, 6, 2), gap_layers(0))
    foreign = write_keras(tmp_path / "f.h5", (6, 6, 2), gap_layers(0), "MyModel")
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
        (tmp_path / "none.h5", "cannot be read .No such file"),
        (bare, "no model_config"),
        (damaged, "cannot be read"),
        (foreign, "a model of class MyModel"),
        (huge, "not fixed or too large"),
        (linked, "are a link"),
        (odd, "without a configuration"),
    ):
        with pytest.raises(SalverError, match=what) as caught:
            read_classifier(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import os; os.abort()", r"breaks the HDF5 library \(exit status -6\)"),
        ("import time; time.sleep(60)", "cannot be read within 0.3 s"),
    ],
)
def test_what_breaks_the_library_or_hangs_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    (tmp_path / "probe.py").write_text(script)
    monkeypatch.setattr(hdf5_probe, "__file__", str(tmp_path / "probe.py"))
    monkeypatch.setattr("salver.nets.keras.file.PROBE_S", 10 if "abort" in script else 0.3)
    with pytest.raises(SalverError, match=told):
        read_keras(write_keras(tmp_path / "good.h5", (6, 6, 2), gap_layers(0)))


GOLDEN = Path(__file__).parents[1] / "golden" / "keras"
VALUES = np.load(GOLDEN / "values.npz")
NAMES = sorted(key[:-2] for key in VALUES if key.endswith("_x"))


def closed(found: Classifier, x: np.ndarray) -> np.ndarray:
    logits = torch.from_numpy(evaluate(found.network, x))
    match found.closing:
        case "Softmax":
            return logits.softmax(1).numpy()
        case "Sigmoid":
            return logits.sigmoid().numpy()
    return logits.numpy()


def golden(name: str, folder: Path) -> Path:
    path = GOLDEN / f"{name}.keras"
    if name != "residual.h5":
        return path
    (folder / name).write_bytes(gzip.decompress((GOLDEN / f"{name}.gz").read_bytes()))
    return folder / name


@pytest.mark.parametrize("name", [*NAMES, "residual.h5"])
def test_models_compute_what_keras_computed(name: str, tmp_path: Path) -> None:
    x, expected = (VALUES[f"{name.split('.', maxsplit=1)[0]}_{part}"] for part in "xy")
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    found = read_classifier(golden(name, tmp_path))
    np.testing.assert_allclose(closed(found, x.reshape(len(x), -1)), expected, atol=1e-5)


def changed(folder: Path, change: Callable[[Any], None], name: str = "residual") -> Path:
    """A golden file with another description."""
    path = folder / "changed.keras"
    with zipfile.ZipFile(GOLDEN / f"{name}.keras") as old, zipfile.ZipFile(path, "w") as new:
        model = json.loads(old.read("config.json"))
        change(model)
        new.writestr("config.json", json.dumps(model))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    return path


def layer(model: Any, kind: str) -> Any:
    return next(one for one in model["config"]["layers"] if one["class_name"] == kind)


def two_inputs(model: Any) -> None:
    model["config"]["input_layers"] = [["input_layer", 0, 0], ["conv2d", 0, 0]]


def own_class(model: Any) -> None:
    layer(model, "Add")["registered_name"] = "mine>Add"


def operation(model: Any) -> None:
    layer(model, "Add")["module"] = "keras.src.ops.numpy"


def with_constant(model: Any) -> None:
    layer(model, "Add")["inbound_nodes"][0]["args"] = [
        [layer(model, "Add")["inbound_nodes"][0]["args"][0][0], 1.0]
    ]


def circle(model: Any) -> None:
    node = layer(model, "Conv2D")["inbound_nodes"][0]
    node["args"][0]["config"]["keras_history"] = ["add", 0, 0]


def renamed(model: Any) -> None:
    layer(model, "BatchNormalization")["name"] = "another"
    layer(model, "Add")["inbound_nodes"][0]["args"][0][1]["config"]["keras_history"][0] = "another"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (two_inputs, "2 inputs, and salver reads models with one"),
        (own_class, "mine>Add is not a layer of Keras"),
        (operation, "keras.src.ops.numpy is not a layer of Keras"),
        (with_constant, "a call with the constant 1.0 is not supported by salver"),
        (circle, "layer 'conv2d' reads itself, or a layer that is not there"),
        (renamed, "weights of batch_normalization where those of another are expected"),
    ],
)
def test_descriptions_that_are_not_read_are_refused(
    change: Callable[[Any], None], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SalverError, match=told):
        read_keras(changed(tmp_path, change))


def test_a_model_that_grows_without_end_is_refused(tmp_path: Path) -> None:
    source = GOLDEN / "residual.keras"
    model = json.loads(zipfile.ZipFile(source).read("config.json"))
    text = '{"class_name": "ReLU", "config": {"name": "r"}}'
    for _ in range(12):
        text = f'{{"class_name": "Sequential", "config": {{"name": "s", "layers": [{text}, {text}]}}}}'
    first = json.dumps(model["config"]["layers"][0])
    whole = f'{{"class_name": "Sequential", "config": {{"name": "m", "layers": [{first}, {text}]}}}}'
    path = changed(tmp_path, lambda model: model.update(json.loads(whole)))
    with pytest.raises(SalverError, match="more than 1000 layers"):
        read_keras(path)


def test_archives_that_are_no_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    for members, told in (
        ({"config.json": b"{}"}, "no model.weights.h5 in it: it is no Keras model"),
        ({"data.pkl": b""}, "no config.json in it"),
        ({"config.json": b" " * (5 << 20), "model.weights.h5": b""}, "config.json is larger than 4 MiB"),
        ({"config.json": b"{", "model.weights.h5": b""}, "cannot be read as a Keras model"),
        ({"config.json": b"[]", "model.weights.h5": b"x"}, "cannot be read as a Keras model"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(SalverError, match=told):
            read_keras(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(SalverError, match="is a Git-LFS pointer"):
        read_keras(path)
    path.write_bytes((GOLDEN / "flat.keras").read_bytes()[:2000])
    with pytest.raises(SalverError, match="cannot be read as a Keras model"):
        read_keras(path)


@pytest.mark.slow
@pytest.mark.data
def test_the_published_sign_network_knows_its_signs(data_dir: Path) -> None:
    found = read_classifier(data_dir / "paper" / "corgi_gtsrb.h5")
    network, data = found.network, load("gtsrb48-equalized", data_dir)
    assert found.shape == data.input_shape
    assert sum(isinstance(node.operator, Relu) for node in network.nodes) == 4 + 3
    run, chosen = to_torch(network), slice(None, None, 3)
    with torch.no_grad():
        right, plain = (
            run(torch.as_tensor(part.test_x[chosen])).argmax(1).numpy() == part.test_y[chosen]
            for part in (data, load("gtsrb48", data_dir))
        )
    assert right.mean() > 0.8 > plain.mean()
    assert right[np.isin(data.test_y[chosen], [12, 17])].all()
