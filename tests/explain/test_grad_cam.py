"""Grad-CAM graphs against torch's gradient, enumeration and the solvers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.explain.cam import Cam
from salver.explain.grad_cam import GradCam
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.question import Question
from salver.families.questions import EntryMoves, TopKChanges
from salver.families.search import Found
from salver.judge.witness import original_gradient
from salver.nets.network import evaluate, lower
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query
from salver.spec.truth import Evidence, Truth


def dense_head(seed: int, side: int = 4, channels: int = 3, hidden: tuple[int, ...] = (5,)) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Unflatten(1, (1, side, side)), nn.Conv2d(1, channels, 3, 1, 1), nn.ReLU()]
    layers.append(nn.Flatten())
    width = channels * side * side
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, 3)).eval()


def by_autograd(module: nn.Sequential, label: int, x: np.ndarray) -> np.ndarray:
    """Grad-CAM as its paper writes it [batch, pixels], in float64."""
    points = torch.tensor(x, dtype=torch.float64)
    module = module.double()
    features = module[:3](points).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module[3:](features)[:, label].sum(), features)
    weights = gradient.mean(dim=(2, 3))
    return torch.einsum("bc,bchw->bhw", weights, features).flatten(1).detach().numpy()


@pytest.mark.parametrize(("hidden", "label"), [((5,), 0), ((6, 4), 2), ((), 1)])
def test_the_map_is_the_papers_by_autograd(hidden: tuple[int, ...], label: int) -> None:
    module = dense_head(1, hidden=hidden)
    graph = GradCam(logit=label).graph(from_torch(module, 16))
    x = np.random.default_rng(0).uniform(-1, 1, (20, 16))
    outputs, expected = evaluate(graph, x), by_autograd(module, label, x)
    np.testing.assert_allclose(outputs[:, 3:], expected, atol=1e-6)
    np.testing.assert_allclose(lower(graph).evaluate(x)[0], outputs, atol=1e-9)
    rectified = evaluate(GradCam(logit=label, rectified=True).graph(from_torch(module.float(), 16)), x)
    np.testing.assert_allclose(rectified[:, 3:], np.maximum(expected, 0), atol=1e-6)


def test_with_pooling_it_is_the_class_activation_map_per_pixel() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3),
    ).eval()  # fmt: skip
    net, x = from_torch(module, 16), np.random.default_rng(0).random((8, 16))
    cam = evaluate(Cam(logit=1).graph(net), x)[:, 3:]
    np.testing.assert_allclose(evaluate(GradCam(logit=1).graph(net), x)[:, 3:], cam / 16, atol=1e-7)


def test_the_written_file_is_the_same_network(tmp_path: Path) -> None:
    graph = GradCam(logit=0).graph(from_torch(dense_head(2), 16))
    path = tmp_path / "g.onnx"
    path.write_bytes(to_bytes(to_model(graph)))
    x = np.random.default_rng(0).random((8, 16))
    np.testing.assert_allclose(evaluate(read_onnx(path), x), evaluate(graph, x), atol=1e-6)


@pytest.mark.parametrize(
    ("module", "label", "what"),
    [
        (nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3)), 0, "no ReLU over an image"),
        (dense_head(0), 3, "class 3 does not exist"),
    ],
)
def test_networks_that_it_does_not_take_are_refused(module: nn.Sequential, label: int, what: str) -> None:
    with pytest.raises(SalverError, match=what):
        GradCam(logit=label).graph(from_torch(module, 16))


def test_plain_cam_points_to_grad_cam_where_it_would_work() -> None:
    with pytest.raises(SalverError, match="the method grad-cam"):
        Cam(logit=0).graph(from_torch(dense_head(0), 16))
    with pytest.raises(SalverError) as caught:
        Cam(logit=0).graph(from_torch(nn.Sequential(nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 3)), 16))
    assert "grad-cam" not in str(caught.value)


def queries(count: int, within: int | None) -> list[tuple[PosedQuestion, float]]:
    """Tiny instances around the radius of the sampled attack."""
    found = []
    for seed in range(count):
        net = from_torch(dense_head(seed, side=3, channels=2, hidden=(4,)), 9)
        source = InstanceFactory("cam_topk", net, "net", "none", (1, 3, 3), (-1.0, 1.0))
        x = np.random.default_rng(seed).uniform(-1, 1, 9).astype(np.float32)
        point = Point(0, x, int(source.predict(x[None])[0]))
        try:
            query = source.pose(point, TopKChanges(k=2, within=within), GradCam(logit=point.label))
        except UndefinedConditionError:
            continue
        radius = query.radius(0.4, 0)
        if np.isfinite(radius):
            found += [(query, 0.5 * radius), (query, 1.1 * radius)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("within", [None, 3])
def test_solvers_agree_with_enumeration(within: int | None, tmp_path: Path) -> None:
    seen = set()
    for query, epsilon in queries(2, within):
        draft = query.draft(epsilon, Found(0.0))
        exact = enumerate_query(draft.graph, draft.prop)
        (tmp_path / "g.onnx").write_bytes(to_bytes(to_model(draft.graph)))
        asked = Query(tmp_path / "g.onnx", draft.graph, draft.prop)
        for solver in (hybrid.solve, milp.solve):
            answer = solver(asked, Budget(20.0), Options()).verdict
            assert answer.value == exact.truth.value or not exact.clear, solver
        seen.add(exact.truth)
    assert {Truth.SAT, Truth.UNSAT} <= seen


def test_a_known_answer_can_be_enumerated() -> None:
    query, epsilon = queries(1, None)[0]
    exact = replace(query, factory=replace(query.factory, exact=True))
    facts = exact.draft(epsilon, Found(0.0)).facts
    assert (facts.expected, facts.evidence) == (Truth.UNSAT, Evidence.ENUMERATED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "question"),
    [
        ({}, TopKChanges(k=2, within=3)),
        ({"rectified": True}, TopKChanges(k=2, within=3)),
        ({"absolute": True}, TopKChanges(k=2)),
        ({"minus": 2}, EntryMoves(delta=1.0)),
    ],
)
def test_the_judges_second_opinion_is_the_original_network(
    change: dict[str, int], question: Question, tmp_path: Path
) -> None:
    query, epsilon = queries(1, 3)[0]
    explanation = GradCam(**{"logit": query.point.label, **change})
    query = query.factory.pose(query.point, question, explanation)
    draft = query.draft(epsilon, Found(0.0))
    (tmp_path / "net.onnx").write_bytes(to_bytes(to_model(draft.classifier)))
    instance = SimpleNamespace(facts=draft.facts)
    x = query.point.x.astype(np.float64)
    outputs = evaluate(draft.graph, x[None])[0]
    assert original_gradient(read_onnx(tmp_path / "net.onnx"), instance.facts, x, outputs) == "agrees"
    outputs[4] += 0.01
    assert original_gradient(read_onnx(tmp_path / "net.onnx"), instance.facts, x, outputs) == "differs"
