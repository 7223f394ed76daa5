"""SmoothGrad with fixed draws: the graph against autograd, the queries against the oracle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from salver.core.errors import SalverError
from salver.explain.explanation import Explained
from salver.explain.gradient import Gradient
from salver.explain.ranking import UndefinedConditionError
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generate import drafts
from salver.families.generator import InstanceDraft
from salver.families.instance_set import write_set
from salver.families.questions import LabelChanges, TopKChanges
from salver.families.rays import along_rays
from salver.families.suite import Suite
from salver.judge.witness import original_gradient
from salver.nets.network import evaluate, lower
from salver.nets.onnx.reader import from_model, read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.publish.validate import validate
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec.truth import Evidence, Truth
from tests.builders.small_queries import relu_network
from tests.builders.witnesses import instance


def mean_by_autograd(module: nn.Module, x: np.ndarray, draws: np.ndarray, label: int) -> np.ndarray:
    module = module.double()
    total = np.zeros_like(x)
    for draw in draws:
        points = torch.tensor(x + draw, dtype=torch.float64, requires_grad=True)
        module(points)[:, label].sum().backward()
        assert points.grad is not None
        total += points.grad.numpy()
    module.float()
    return total / len(draws)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 6), st.sampled_from(["raw", "abs"]), st.booleans())
def test_graph_is_the_mean_gradient_with_unshifted_logits(seed, draws, kind, convolution):
    torch.manual_seed(seed)
    if convolution:
        body = [nn.Unflatten(1, (1, 5, 5)), nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten()]
        module, size = nn.Sequential(*body, nn.Linear(8, 3)), 25
    else:
        module, size = (
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
            4,
        )
    network = from_torch(module, size)
    explanation = SmoothGrad(logit=1, absolute=kind == "abs", noise=Noise(draws=draws, sigma=0.7, seed=seed))
    graph = explanation.graph(network)
    x = np.random.default_rng(seed).uniform(-1, 1, (6, size))
    expected = mean_by_autograd(module, x, explanation.noise.values(size), 1)
    expected = np.abs(expected) if kind == "abs" else expected
    outputs = evaluate(graph, x)
    assert np.allclose(outputs[:, 3:], expected, rtol=1e-5, atol=1e-6)
    assert np.allclose(outputs[:, :3], evaluate(network, x))
    logits, mean = explanation.values(Explained(network, lower(network), explanation), x)
    assert np.allclose(mean, outputs[:, 3:], rtol=1e-6, atol=1e-6)
    assert np.allclose(logits, outputs[:, :3])
    again = from_model(to_model(graph))
    assert np.allclose(evaluate(again, x), outputs)
    assert np.allclose(lower(graph).evaluate(x)[0], outputs)


def test_draws_are_binary32_and_seeded():
    noise = Noise(draws=5, sigma=0.3, seed=7)
    values = noise.values(11)
    assert values.shape == (5, 11)
    assert (values.astype(np.float32) == values).all()
    assert np.array_equal(values, noise.values(11))
    assert not np.array_equal(values, Noise(draws=5, sigma=0.3, seed=8).values(11))


def test_a_gradient_looks_at_the_point_alone_and_smoothgrad_at_every_draw():
    noise = Noise(draws=4, sigma=0.5)
    x = np.array([1.0, 2.0, 3.0])
    assert np.array_equal(Gradient().looks_at(x), x[None])
    assert np.array_equal(SmoothGrad(noise=noise).looks_at(x), x + noise.values(3))


def test_a_tie_with_the_top_set_counts_as_broken():
    reference = np.array([3.0, 1.0, 0.5, 2.0])
    (clause,) = TopKChanges(k=2, same_label=False).at(reference, 0, 2).clauses(reference, 0, 2)
    assert len(clause) == 4

    def holds(*saliency: float) -> bool:
        y = np.array([0.0, 0.0, *saliency])
        return any(all(atom.slack(y) >= 0 for atom in part) for part in clause)

    assert not holds(3, 1, 1, 2)
    assert holds(3, 2, 1, 2)
    assert holds(3, 1, 2.5, 2)


def factory(seed: int) -> InstanceFactory:
    network = relu_network([4, 5, 3], np.random.default_rng(seed))
    return InstanceFactory("smoothgrad_topk", network, "n", "d", (4,), (-1.0, 1.0))


def posed(seed: int, k: int = 2, draws: int = 2) -> PosedQuestion:
    small = factory(seed)
    x = np.random.default_rng([seed, 5]).uniform(-1, 1, 4).astype(np.float32)
    label = int(small.predict(x[None])[0])
    noise = Noise(draws=draws, sigma=0.3, seed=seed)
    explanation = SmoothGrad(logit=label, noise=noise, absolute=True)
    return small.pose(Point(seed, x, label), TopKChanges(k=k), explanation)


def as_query(draft: InstanceDraft, folder: Path) -> Query:
    path = folder / f"{draft.name}.onnx"
    path.write_bytes(to_bytes(to_model(draft.graph)))
    return Query(path, draft.graph, draft.prop)


@pytest.mark.slow
def test_answers_of_enumeration_search_and_milp_agree(tmp_path):
    """The MILP and the oracle share no code; epsilon* must never lie below an enumerated unsat."""
    seen = set()
    for seed in range(7):
        try:
            asked = posed(seed)
        except UndefinedConditionError:
            continue
        found = along_rays(asked, 1.0, 0)
        if not np.isfinite(found.value):
            continue
        for factor in (0.3, 1.05):
            exact = replace(asked, factory=replace(asked.factory, exact=True))
            draft = exact.draft(factor * found.value, found)
            answer = enumerate_query(draft.graph, draft.prop)
            assert draft.facts.expected is answer.truth
            if factor > 1:
                assert answer.truth is Truth.SAT, seed
            if not answer.clear:
                continue
            result = milp.solve(as_query(draft, tmp_path), Budget(30.0), Options(backend="highs"))
            assert result.verdict.value == answer.truth.value, (seed, factor)
            seen.add(result.verdict)
    assert seen == {Verdict.SAT, Verdict.UNSAT}


def test_sampled_violation_replays_and_lies_at_the_stated_radius():
    for seed in (1, 2, 3, 4, 5, 6):
        asked = posed(seed)
        found = along_rays(asked, 1.0, 0)
        if found.point is None:
            continue
        draft = asked.draft(found.value * 1.001, found)
        assert np.abs(found.point - asked.point.x).max() <= found.value * (1 + 1e-6)
        assert (draft.facts.expected, draft.facts.evidence) == (Truth.SAT, Evidence.PROVED)
        outputs = Runtime(to_bytes(to_model(draft.graph))).outputs(found.point)
        assert draft.prop.outputs_satisfied(outputs)
        below = asked.draft(found.value * 0.5, found)
        assert below.facts.expected is Truth.UNKNOWN
        return
    pytest.fail("no seed gave a violation")


@pytest.mark.parametrize("k", [0, 4, 9])
def test_k_must_leave_something_outside(k):
    with pytest.raises(SalverError, match="between 1 and 3"):
        posed(0, k)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, np.nan, np.inf])
def test_radius_must_be_positive(epsilon):
    with pytest.raises(SalverError, match="not positive"):
        factory(0).box(np.zeros(4, np.float32), epsilon)


def test_a_constant_saliency_has_no_top_set():
    network = relu_network([4, 5, 3], np.random.default_rng(0))
    dead = replace(network, nodes=tuple(_dead(node) for node in network.nodes))
    small = InstanceFactory("smoothgrad_topk", dead, "n", "d", (4,), (-1.0, 1.0))
    explanation = SmoothGrad(noise=Noise(draws=2, sigma=0.1), absolute=True)
    with pytest.raises(UndefinedConditionError, match="tied"):
        small.pose(Point(0, np.zeros(4, np.float32), 0), TopKChanges(k=2), explanation)


def _dead(node):
    if getattr(node.operator, "bias", None) is None or node.shape != (5,):
        return node
    return replace(node, operator=replace(node.operator, bias=np.full(5, -100, np.float32)))


def test_second_opinion_averages_over_the_draws(tmp_path):
    classifier, noise = factory(3).classifier, Noise(draws=2, sigma=0.3, seed=3)
    path = tmp_path / "classifier.onnx"
    path.write_bytes(to_bytes(to_model(classifier)))
    x = np.full(4, 0.125)
    right = SmoothGrad(logit=1, noise=noise, absolute=True)
    outputs = Runtime(to_bytes(to_model(right.graph(classifier)))).outputs(x)
    other = SmoothGrad(logit=1, noise=noise.model_copy(update={"seed": 99}), absolute=True)
    for explanation, opinion in ((right, "agrees"), (other, "differs")):
        changes = {"explanation": explanation, "question": LabelChanges(), "logits": 3, "saliencies": 4}
        one = instance()
        one = one.model_copy(update={"facts": one.facts.model_copy(update=changes)})
        assert original_gradient(read_onnx(path), one.facts, x, outputs) == opinion


def test_validate_recomputes_the_mean_from_the_stated_noise(tmp_path):
    """When it is written, and when a set is validated whose manifest was changed afterwards."""
    params = {"network": "bandit-6x6", "points": 1, "draws": 2, "k": 3, "epsilon_factors": [0.5]}
    suite = Suite(key="t", title="t", timeout=5, family=({"generator": "smoothgrad_topk", "params": params},))
    made = list(drafts(suite))
    write_set(tmp_path / "right", suite, iter(made), lambda _: None)
    noise = made[0].facts.explanation.noise.model_copy(update={"sigma": 2.0})
    explanation = made[0].facts.explanation.model_copy(update={"noise": noise})
    facts = made[0].facts.model_copy(update={"explanation": explanation})
    with pytest.raises(SalverError, match="nothing was written"):
        write_set(tmp_path / "wrong", suite, iter([replace(made[0], facts=facts)]), lambda _: None)
    assert not (tmp_path / "wrong").exists()
    assert validate(tmp_path / "right")[1] == []
    path = tmp_path / "right" / "manifest.json"
    stated = f'"sigma": {json.dumps(made[0].facts.explanation.noise.sigma)}'
    assert stated in path.read_text()
    path.write_text(path.read_text().replace(stated, '"sigma": 2.0'))
    assert any("is not the gradient network" in item.what for item in validate(tmp_path / "right")[1])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"network": "bandit-6x6", "k": 2}, "neither epsilons nor epsilon_factors"),
        ({"network": "bandit-6x6", "k": 5, "epsilons": [0.1]}, "between 1 and 4"),
        ({"network": "bandit-6x6", "k": 2, "epsilons": [-0.1]}, "not positive"),
        ({"network": "bandit-6x6", "k": 2, "draws": 9, "epsilons": [0.1]}, "draws"),
        ({"network": "bandit-6x6", "k": 2, "sigma": 0, "epsilons": [0.1]}, "sigma"),
        ({"network": "nowhere", "epsilons": [0.1]}, "no network of that name"),
    ],
)
def test_bad_options_are_said_plainly(params, message):
    suite = Suite(key="t", title="t", timeout=5, family=({"generator": "smoothgrad_topk", "params": params},))
    with pytest.raises(SalverError, match=message):
        list(drafts(suite))
