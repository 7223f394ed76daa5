"""Piecewise linear operators have PyTorch's values and derivatives, exactly at kinks and ties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from salver.core.errors import SalverError
from salver.nets.network import evaluate
from salver.nets.onnx.reader import from_model
from tests.builders.torch_twins import Step, check_twin, model_of_steps

SLOPES = [0.5, 0.25, 2.0, -1.0, 0.0, 1.0]
FULL = [0.0, 1.0, 0.0, -1.0, 3.0, 6.0]
ROW = (1, 6)


def tensor(values: list[float]) -> Any:
    return torch.tensor(values, dtype=torch.float64)


def one(kind: str, given: str = "X", **attributes: Any) -> list[Step]:
    return [(kind, given, "Y", attributes)]


TWINS: dict[str, tuple[list[Step], dict[str, Any], Any]] = {
    "LeakyReLU": (one("LeakyRelu", alpha=0.125), {}, lambda x: functional.leaky_relu(x, 0.125)),
    "PReLU": (one("PRelu", "X s"), {"s": SLOPES}, lambda x: torch.where(x > 0, x, x * tensor(SLOPES))),
    "ReLU6": (one("Clip", "X a b"), {"a": 0.0, "b": 6.0}, functional.relu6),
    "Hardtanh": (one("Clip", "X a b"), {"a": -1.0, "b": 1.0}, functional.hardtanh),
    "clamp from below": (one("Clip", "X a"), {"a": 0.0}, lambda x: x.clamp(min=0)),
    "clamp from above": (one("Clip", "X - b"), {"b": 1.0}, lambda x: x.clamp(max=1)),
    "clamp widely": (one("Clip", "X a b"), {"a": -7.0, "b": 1e4}, lambda x: x.clamp(-7, 1e4)),
    "clamp by nothing": ([("Clip", "X", "c", {}), ("Relu", "c", "Y", {})], {}, functional.relu),
    "Hardsigmoid": (one("HardSigmoid", alpha=1 / 6, beta=0.5), {}, functional.hardsigmoid),
    "ThresholdedRelu": (one("ThresholdedRelu", alpha=0.0), {}, functional.relu),
    "abs": (one("Abs"), {}, torch.abs),
    "maximum": ([("Neg", "X", "m", {}), *one("Max", "X m")], {}, lambda x: torch.maximum(x, -x)),
    "minimum": ([("Mul", "X t", "m", {}), *one("Min", "X m")], {"t": 2.0}, lambda x: torch.minimum(x, 2 * x)),
    "maximum of a part": (
        [("Slice", "X from to to", "m", {}), *one("Max", "X m")],
        {"from": np.array([0]), "to": np.array([1])},
        lambda x: torch.maximum(x, x[:, :1]),
    ),
    "clamp as Max": (one("Max", "X c"), {"c": 1.0}, lambda x: x.clamp(min=1)),
    "clamp as Min": (one("Min", "c X"), {"c": [1.0]}, lambda x: x.clamp(max=1)),
    "maximum with many": (one("Max", "X c"), {"c": FULL}, lambda x: torch.maximum(x, tensor(FULL))),
    "Max of three": (
        [("Neg", "X", "m", {}), *one("Max", "X c m")],
        {"c": 1.0},
        lambda x: torch.maximum(x, -x).clamp(min=1),
    ),
    "Sum": (
        [("Neg", "X", "m", {}), ("Relu", "m", "r", {}), *one("Sum", "X r c X")],
        {"c": 1.0},
        lambda x: 2 * x + functional.relu(-x) + 1,
    ),
    "Mean": ([("Relu", "X", "r", {}), *one("Mean", "X r")], {}, lambda x: (x + functional.relu(x)) / 2),
    "where": (
        [("Greater", "X z", "t", {}), ("Mul", "X s", "m", {}), *one("Where", "t X m")],
        {"z": 0.0, "s": 0.25},
        lambda x: torch.where(x > 0, x, x * 0.25),
    ),
    "where or equal": (
        [("GreaterOrEqual", "X z", "t", {}), *one("Where", "t X z")],
        {"z": 0.0},
        lambda x: torch.where(x >= 0, x, torch.zeros_like(x)),
    ),
    "threshold": (
        [("LessOrEqual", "X z", "t", {}), *one("Where", "t v X")],
        {"z": 0.5, "v": 3.0},
        lambda x: functional.threshold(x, 0.5, 3.0),
    ),
    "times a mask": (
        [("Greater", "X z", "t", {}), ("Cast", "t", "f", {"to": 1}), *one("Mul", "X f")],
        {"z": 0.0},
        lambda x: x * (x > 0),
    ),
    "concatenation with itself": (
        [("Relu", "X", "r", {}), *one("Concat", "X r X", axis=1)],
        {},
        lambda x: torch.cat([x, functional.relu(x), x], 1),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_values_and_derivatives_are_those_of_the_module(name):
    steps, constants, twin = TWINS[name]
    check_twin(model_of_steps(steps, ROW, constants), twin, ROW)


@pytest.mark.parametrize("attributes", [{"min": 0.0, "max": 6.0}, {"min": 0.0}, {"max": 6.0}])
def test_the_bounds_of_a_clip_were_attributes(attributes):
    twin = functional.relu6 if len(attributes) == 2 else lambda x: x.clamp(**attributes)
    check_twin(model_of_steps(one("Clip", **attributes), ROW, opset=10), twin, ROW)


@pytest.mark.parametrize(("bound", "far"), [("min", 2.0**127), ("max", -(2.0**127))])
def test_only_bounds_that_nothing_reaches_are_none(bound, far):
    """The largest number of a type is no upper bound; as a lower one it is all that comes out."""
    network = from_model(model_of_steps(one("Clip", **{bound: far}), ROW, opset=10))
    assert (evaluate(network, np.linspace(-2.0, 2.0, math.prod(ROW))[None]) == far).all()


@pytest.mark.parametrize(
    ("kind", "shape", "axis"), [("Max", (1, 4), 1), ("Max", (1, 3, 2), 2), ("Min", (1, 2, 3), 1)]
)
def test_of_two_entries_that_tie_each_has_half(kind, shape, axis):
    """As amax and amin; ties of all of 2, 4, 8, ... entries are shared evenly too."""
    twin = {"Max": torch.amax, "Min": torch.amin}[kind]
    steps = one(f"Reduce{kind}", axes=[axis], keepdims=0)
    check_twin(model_of_steps(steps, shape), lambda x: twin(x, axis), shape)


@pytest.mark.parametrize("count", [3, 5, 6])
def test_the_largest_of_any_number(count):
    """Three that tie do not share evenly, so the points keep clear of ties."""
    model = model_of_steps(one("ReduceMax", axes=[1]), (1, count))
    check_twin(model, lambda x: x.amax(1), (1, count), on_kinks=False)


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        (one("ThresholdedRelu"), "threshold other than 0"),
        ([("Relu", "X", "r", {}), *one("PRelu", "X r")], "variable slope"),
        ([("ReduceSum", "X", "r", {"keepdims": 0}), *one("Clip", "X r")], "variable bound"),
    ],
)
def test_what_is_not_piecewise_linear_is_named(steps, what):
    with pytest.raises(SalverError, match=f"{steps[-1][0]} with a {what}"):
        from_model(model_of_steps(steps, ROW))
