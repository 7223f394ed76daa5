"""Queries about guided backpropagation and the deconvnet: ReLUs of signals are often 0 all over a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from salver.explain.deconvnet import Deconvnet
from salver.explain.explanation import Explanation
from salver.explain.guided_backprop import GuidedBackprop
from salver.families.factory import InstanceFactory, Point
from salver.families.questions import TopKChanges
from salver.families.search import Found
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_export import read_module
from salver.oracle.enumerate import enumerate_query
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query
from salver.spec.truth import Truth


def pooled(seed: int, bias: float | None = None) -> InstanceFactory:
    """Where a pool passes signals to one place of four; the others get 0."""
    torch.manual_seed(seed)
    convolution = nn.Conv2d(1, 1, 2)
    head = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    if bias is not None:
        nn.init.constant_(convolution.bias, bias)
    module = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), head).eval()
    network = read_module(module, torch.zeros(1, 1, 3, 3)).network
    return InstanceFactory("saliency", network, "n", "none", (1, 3, 3), (-1.0, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("method", [GuidedBackprop, Deconvnet])
def test_solvers_agree_with_enumeration_where_signals_are_zero(
    method: type[Explanation], tmp_path: Path
) -> None:
    factory, seen = pooled(5), set()
    x = np.random.default_rng(5).uniform(-1, 1, 9).astype(np.float32)
    label = int(factory.predict(x[None])[0])
    asked = factory.pose(Point(0, x, label), TopKChanges(k=2, same_label=False), method(logit=label))
    radius = asked.radius(0.6, 0)
    for epsilon in (0.7 * radius, 1.1 * radius):
        draft = asked.draft(epsilon, Found(0.0))
        exact = enumerate_query(draft.graph, draft.prop)
        (tmp_path / "g.onnx").write_bytes(to_bytes(to_model(draft.graph)))
        query = Query(tmp_path / "g.onnx", draft.graph, draft.prop)
        for solve in (hybrid.solve, milp.solve):
            assert solve(query, Budget(30.0), Options()).verdict.value == exact.truth.value
        seen.add(exact.truth)
    assert seen == {Truth.SAT, Truth.UNSAT}


def test_values_jump_where_there_is_a_mask_alone() -> None:
    """Behind the pool all signals but one are 0, and so are the arguments of their ReLUs."""
    program = lower(Deconvnet().graph(pooled(1, bias=3.0).classifier))
    x = np.linspace(-1, 1, 9)[None]
    _, zs, _ = program.evaluate(x)
    still = [number for number in range(len(zs)) if number not in program.jumps]
    assert any((zs[number] == 0).any() for number in still)
    assert all((zs[number] != 0).all() for number in program.jumps)
