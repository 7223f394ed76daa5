"""A graph called as Captum's methods are: the same shapes, and the values of the definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import salver
from salver.core.errors import SalverError
from salver.explain.explanation import Explanation
from salver.points.subject import subject_of
from tests.builders.questions import KINDS_OF_BLOCKS, MAPS
from tests.builders.small_network import classifier


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    features = (torch.nn.Conv2d(1, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return torch.nn.Sequential(*features, torch.nn.Linear(3, 4)).eval()


@pytest.mark.parametrize(
    "method",
    [pytest.param(one, marks=[] if one in KINDS_OF_BLOCKS else [pytest.mark.slow]) for one in MAPS],
    ids=lambda record: record.short,
)
def test_maps_are_those_of_the_definition(module: torch.nn.Module, method: Explanation) -> None:
    x = np.random.default_rng(1).random((3, 1, 3, 3)).astype(np.float32)
    target = np.array([0, 3, 0])
    network = subject_of(module, [x[:1]]).network
    maps = salver.Attribution(module, method).attribute(x, target)
    for row, label, found in zip(x, target.tolist(), maps, strict=True):
        expected = method.of(label).reference(network, row.reshape(1, -1))[0]
        assert np.abs(found.ravel() - expected).max() <= 1e-5 * max(0.1, np.abs(expected).max())


def test_shapes_and_types_are_those_of_captum(module: torch.nn.Module) -> None:
    x = torch.rand(2, 1, 3, 3, dtype=torch.float64)
    gradient = salver.Attribution(module).attribute(x, target=torch.tensor([1, 2]))
    assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype)
    layer = salver.Attribution(module, "grad-cam").attribute(x, target=1)
    assert tuple(layer.shape) == (2, 1, 2, 2)
    own = salver.Attribution(module).attribute(x.numpy())
    with torch.no_grad():
        winners = module(x.float()).argmax(1)
    assert np.array_equal(own, salver.Attribution(module).attribute(x.numpy(), winners.numpy()))


@pytest.mark.slow
def test_it_gives_what_captum_gives(module: torch.nn.Module) -> None:
    from captum.attr import LayerGradCam, Saliency

    x, target = torch.rand(3, 1, 3, 3, requires_grad=True), torch.tensor([2, 0, 2])
    pairs = (
        (Saliency(module).attribute(x, target, abs=False), salver.Attribution(module)),
        (Saliency(module).attribute(x, target), salver.Attribution(module, absolute=True)),
        (LayerGradCam(module, module[1]).attribute(x, target), salver.Attribution(module, "grad-cam")),
    )
    for theirs, ours in pairs:
        found = ours.attribute(x, target)
        assert (found.shape, found.dtype) == (theirs.shape, theirs.dtype)
        assert torch.allclose(found, theirs.detach(), atol=1e-5 * float(theirs.detach().abs().max()))


def test_absolute_maps_are_sizes(module: torch.nn.Module) -> None:
    x = torch.rand(2, 1, 3, 3)
    signed, sizes = (
        salver.Attribution(module, absolute=absolute).attribute(x, 0) for absolute in (False, True)
    )
    assert torch.equal(signed.abs(), sizes)
    assert (signed < 0).any()


@pytest.mark.parametrize(
    ("inputs", "target", "message"),
    [
        (np.zeros(3), 0, "no batch"),
        (np.zeros((2, 4)), 0, "an input has 4 entries, the network takes 3"),
        (np.zeros((2, 3)), 5, "class 5 does not exist"),
        (np.zeros((2, 3)), [0, 1, 0], "names no classes for 2 inputs"),
        (np.zeros((2, 3)), 0.5, "names no classes"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, inputs: object, target: object, message: str) -> None:
    attribution = salver.Attribution(classifier(tmp_path / "net.onnx", inputs=3))
    with pytest.raises(SalverError, match=message):
        attribution.attribute(inputs, target)


def test_a_method_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(SalverError, match="did you mean smoothgrad"):
        salver.Attribution(classifier(tmp_path / "net.onnx"), "smothgrad")


@pytest.mark.parametrize(
    ("method", "given", "told"),
    [
        (
            "integrated-gradients",
            {"baseline": 7, "input_range": (0, 1)},
            "baseline: 7 is outside of the range",
        ),
        ("integrated-gradients", {"steps": 0}, "steps: 0 is too small"),
        ("integrated-gradients", {"input_range": (1, 0)}, "input_range: 1 to 0 is no range"),
        ("occlusion", {"window": 9}, "window: 9 is larger than the input, which is 3"),
        ("cam", {}, "class activation map: no global average pooling"),
        ("grad-cam", {"layer": "nope"}, "layer: there is no layer 'nope'"),
        ("lrp", {}, "LRP-epsilon is not supported"),
    ],
)
def test_what_a_method_does_not_take_is_refused(
    tmp_path: Path, method: str, given: dict[str, Any], told: str
) -> None:
    network = classifier(tmp_path / "net.onnx", inputs=3)
    with pytest.raises(SalverError, match=told):
        salver.Attribution(network, method, **given).attribute(np.zeros((1, 3)), 0)
