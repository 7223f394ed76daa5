"""Guided backpropagation and the deconvolutional network: held against Captum where it is right."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.explain.deconvnet import Deconvnet
from salver.explain.explanation import Explanation
from salver.explain.guided_backprop import GuidedBackprop
from salver.nets.network import Network, evaluate, lower
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime, with_free_batch
from salver.nets.torch_export import read_module
from tests.builders import captum
from tests.builders.activations import MODULES, read, seeded, with_whole_weights

METHODS = [(GuidedBackprop, "GuidedBackprop"), (Deconvnet, "Deconvolution")]
GRID = np.array([-1, -0.5, 0, 0.5, 1])
"""Points with many ties and zeros."""


def by_captum(module: nn.Module, method: str, x: np.ndarray, target: int = 1) -> np.ndarray:
    points = torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 4, 4).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = getattr(captum, method)(module.double()).attribute(points, target=target)
    return found.detach().numpy().reshape(len(x), -1)


def read_now(module: nn.Module) -> Network:
    return read_module(module.float(), torch.zeros(1, 1, 4, 4)).network


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def pairs() -> Iterator[Any]:
    """Every module with both methods; the quick part has each module once, and the methods in turn."""
    for number, name in enumerate(MODULES):
        for turn, (method, captums) in enumerate(METHODS):
            marks = [] if number % len(METHODS) == turn else [pytest.mark.slow]
            yield pytest.param(name, method, captums, marks=marks, id=f"{name}-{captums}")


@pytest.mark.parametrize(("name", "method", "captums"), [*pairs()])
def test_the_map_is_captums(name: str, method: type[Explanation], captums: str) -> None:
    """Where each ReLU is a module of its own, and all else is none."""
    module, network, explanation = seeded(name), read(name).network, method(logit=1)
    rng = np.random.default_rng(0)
    x = np.vstack([rng.normal(size=(30, 16)), rng.choice(GRID, (10, 16))]).astype(np.float32)
    expected = by_captum(module, captums, x)
    graph = explanation.graph(network)
    assert_close(evaluate(graph, x.astype(np.float64))[:, 3:], expected)
    assert_close(explanation.reference(network, x), expected)
    assert_close(lower(graph).evaluate(x[:10])[0][:, 3:], expected[:10])
    together = Runtime(to_bytes(with_free_batch(to_model(graph)))).rows(x[:30])
    assert_close(together[:, 3:], expected[:30])
    again = from_model(to_model(network, as_it_is=True))
    assert_close(explanation.reference(again, x), expected)


@pytest.mark.parametrize(("method", "captums"), METHODS)
def test_zero_passes_nothing_and_signs_and_differences_are_of_what_passes(
    method: type[Explanation], captums: str
) -> None:
    """At points where every pre-activation is 0, and for a difference of logits."""
    module = seeded("dense")
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.bias.zero_()
    x = np.zeros((1, 16))
    expected = by_captum(module, captums, x)
    assert_close(evaluate(method(logit=1).graph(read_now(module)), x)[:, 3:], expected)
    assert expected.any() == (method is Deconvnet)
    head = nn.Sequential(module.double(), nn.Linear(3, 1, bias=False).double())
    with torch.no_grad():
        head[1].weight.copy_(torch.tensor([[0.0, 1.0, -1.0]]))
    x = np.random.default_rng(1).normal(size=(20, 16))
    expected = by_captum(head, captums, x, 0)
    assert_close(
        evaluate(method(logit=1, minus=2, absolute=True).graph(read_now(module)), x)[:, 3:], abs(expected)
    )


@pytest.mark.parametrize(("method", "captums"), METHODS)
@pytest.mark.parametrize("name", ["normed-and-pooled", "residual", "pooled-with-padding"])
def test_at_kinks_and_ties_the_map_is_captums_too(name: str, method: type[Explanation], captums: str) -> None:
    module = with_whole_weights(name)
    x = np.random.default_rng(0).choice(GRID, (40, 16)).astype(np.float32)
    graph, expected = method(logit=1).graph(read_now(module)), by_captum(module, captums, x)
    assert_close(evaluate(graph, x.astype(np.float64))[:, 3:], expected)
    assert_close(Runtime(to_bytes(with_free_batch(to_model(graph)))).rows(x)[:, 3:], expected)


class Reused(nn.Module):
    """Two dense layers behind one and the same ReLU, or behind a function, or each behind its own."""

    def __init__(self, relus: list[Any]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.ModuleList([nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 3)])
        self.kept = nn.ModuleList([relu for relu in relus if isinstance(relu, nn.Module)])
        self.relus = relus

    def forward(self, x: Any) -> Any:
        x = self.relus[0](self.layers[0](x.flatten(1)))
        return self.layers[2](self.relus[1](self.layers[1](x)))


@pytest.mark.parametrize(("method", "captums"), METHODS)
@pytest.mark.parametrize("kind", ["one module", "functions"])
def test_by_definition_every_relu_counts(kind: str, method: type[Explanation], captums: str) -> None:
    """Captum knows modules alone: a function is passed by, and of a module used twice it has said so."""
    relus = [nn.ReLU()] * 2 if kind == "one module" else [torch.relu, nn.functional.relu]
    network, twin = read_now(Reused(relus)), Reused([nn.ReLU(), nn.ReLU()])
    x = np.random.default_rng(0).normal(size=(20, 16))
    assert_close(evaluate(method(logit=1).graph(network), x)[:, 3:], by_captum(twin, captums, x))


def test_a_deconvnet_without_pools_is_a_constant_of_the_class() -> None:
    graphs = [Deconvnet(logit=label).graph(read("dense").network) for label in (0, 1)]
    maps = [evaluate(graph, np.random.default_rng(0).normal(size=(5, 16)))[:, 3:] for graph in graphs]
    assert all(np.ptp(one, axis=0).max() == 0 and one.any() for one in maps)
    assert not np.array_equal(*maps)


@pytest.mark.parametrize("method", [GuidedBackprop, Deconvnet])
def test_a_class_that_is_not_there_is_refused(method: type[Explanation]) -> None:
    with pytest.raises(SalverError, match=r"class 3 does not exist; choose one of 0 \.\.\. 2"):
        method(logit=3).graph(read("dense").network)
