"""Class activation maps against torch, and their instances against sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.explain.cam import Cam
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generate import drafts
from salver.families.questions import TopKChanges
from salver.families.suite import Suite
from salver.nets.network import evaluate
from salver.nets.torch_bridge import from_torch
from salver.spec.truth import Truth
from tests.builders.networks import gap_net


def source(module: nn.Sequential) -> InstanceFactory:
    return InstanceFactory("cam_topk", from_torch(module, 25), "net", "none", (1, 5, 5), (0.0, 1.0))


@pytest.mark.parametrize("label", [0, 2])
def test_the_map_is_the_weighted_sum_of_the_last_activations(label: int) -> None:
    module = gap_net()
    x = torch.rand(6, 25)
    with torch.no_grad():
        expected = torch.einsum("c,bchw->bhw", module[-1].weight[label], module[:5](x)).flatten(1)
        logits = module(x)
    outputs = evaluate(Cam(logit=label).graph(from_torch(module, 25)), x.double().numpy())
    np.testing.assert_allclose(outputs[:, :3], logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs[:, 3:], expected.numpy(), atol=1e-5)
    bias = module[-1].bias[label].item()
    np.testing.assert_allclose(outputs[:, 3:].mean(axis=1) + bias, outputs[:, label], atol=1e-5)


@pytest.mark.parametrize(
    ("module", "label", "what"),
    [
        (nn.Sequential(nn.Linear(25, 4), nn.ReLU(), nn.Linear(4, 3)), 0, "global average pooling"),
        (nn.Sequential(nn.Linear(25, 4), nn.ReLU()), 0, "not dense"),
        (gap_net(), 3, "class 3 does not exist"),
    ],
)
def test_networks_without_the_ending_are_refused(module: nn.Sequential, label: int, what: str) -> None:
    with pytest.raises(SalverError, match=what):
        Cam(logit=label).graph(from_torch(module, 25))


def posed(net: InstanceFactory, x: np.ndarray, question: TopKChanges) -> PosedQuestion:
    """A question about the map of the class that wins at x."""
    point = Point(0, x.astype(np.float32), int(net.predict(x[None])[0]))
    return net.pose(point, question, Cam(logit=point.label))


@pytest.mark.slow
def test_a_known_answer_is_a_violation_and_the_radius_is_the_attacks() -> None:
    net = source(gap_net(10))
    x = np.random.default_rng(0).random(25).astype(np.float32)
    query = posed(net, x, TopKChanges(k=4))
    radius = query.radius(0.5, 0)
    assert 0 < radius < 0.5
    found = query.extreme(1.2 * radius, 0)
    draft, witness = query.draft(1.2 * radius, found), found.point
    assert draft.facts.expected is Truth.SAT
    assert draft.prop.outputs_satisfied(evaluate(draft.graph, witness)[0])
    assert (query.score(witness[None]) >= 0).all()
    tiny = query.draft(1e-6, query.extreme(1e-6, 0))
    assert tiny.facts.expected is Truth.UNKNOWN
    centre = evaluate(tiny.graph, x.astype(np.float64))[0]
    assert not tiny.prop.outputs_satisfied(centre)
    for points in (np.random.default_rng(1).random((40, 25)), witness[None]):
        outputs = evaluate(draft.graph, points)
        assert ((query.score(points) >= 0) == (draft.prop.margin(outputs) >= 0)).all()


def test_ties_and_impossible_sizes() -> None:
    module = gap_net()
    with torch.no_grad():
        module[3].weight.zero_()
        module[3].bias.fill_(1.0)
    net = source(module)
    with pytest.raises(UndefinedConditionError, match="tied"):
        posed(net, np.full(25, 0.5), TopKChanges(k=4))
    with pytest.raises(SalverError, match="k: 25"):
        posed(net, np.full(25, 0.5), TopKChanges(k=25))


def relaxed(seed: int, within: int | None, k: int = 2) -> PosedQuestion:
    x = np.random.default_rng(seed).random(25).astype(np.float32)
    return posed(source(gap_net(seed)), x, TopKChanges(k=k, within=within))


@pytest.mark.parametrize("within", [3, 6, 24])
def test_the_relaxed_form_asks_whether_a_pixel_leaves_the_larger_set(within: int) -> None:
    query = relaxed(10, within)
    draft = query.draft(0.4, query.extreme(0.4, 0))
    outputs = evaluate(draft.graph, np.random.default_rng(1).random((400, 25)))
    cam = outputs[:, 3:28]
    above = np.stack(
        [(np.delete(cam, i, axis=1) >= cam[:, [i]]).sum(axis=1) for i in query.question.inside], axis=1
    )
    kept = outputs[:, :3].argmax(axis=1) == query.point.label
    broken = kept & (above >= within).any(axis=1)
    holds = draft.prop.margin(outputs) >= 0
    assert (holds == broken).all()
    assert within == 24 or 0 < broken.sum() < len(broken)
    assert (draft.facts.saliencies, draft.facts.map_size) == (27, 25)
    x = np.random.default_rng(1).random((9, 25))
    np.testing.assert_allclose(
        draft.facts.expected_outputs(draft.classifier, x), evaluate(draft.graph, x), atol=1e-5
    )


@pytest.mark.slow
def test_a_larger_set_is_harder_to_leave_and_an_equal_one_is_the_exact_form() -> None:
    exact, same = relaxed(10, None), relaxed(10, 2)
    x = np.random.default_rng(2).random((200, 25))
    np.testing.assert_array_equal(exact.score(x), same.score(x))
    box = exact.factory.box(exact.point.x, 0.1)
    assert same.prop(box).same_query(exact.prop(box))
    assert (relaxed(10, 5).score(x) <= exact.score(x)).all()
    assert relaxed(10, 5).radius(0.9, 0) >= exact.radius(0.9, 0)


@pytest.mark.parametrize(
    ("k", "within", "what"), [(4, 3, "never inside"), (4, 25, "always among"), (25, 25, "k: 25")]
)
def test_sets_that_cannot_be_asked_about(k: int, within: int, what: str) -> None:
    with pytest.raises(SalverError, match=what):
        relaxed(10, within, k)


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"epsilons": [0.01], "k": 6, "within": 5}, "choose within >= k"),
        ({"epsilons": [0.01], "k": 64}, "k: 64 is not between 1 and 63"),
        ({"epsilons": [0.01], "k": 5, "within": 64}, "choose within < 64"),
        ({"k": 5}, "neither epsilons"),
        ({"epsilons": [0.01], "network": "digits-conv-dense"}, "the method grad-cam"),
        ({"epsilons": [0.01], "network": "digits-16x16", "map": "grad-cam"}, "no ReLU over an image"),
        ({"epsilons": [0.01], "map": "score-cam"}, "map"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(params: dict, what: str) -> None:
    family = {"generator": "cam_topk", "params": {"network": "digits-gap", "points": 1, **params}}
    with pytest.raises(SalverError, match=what) as caught:
        list(drafts(Suite(key="t", title="t", timeout=5, family=(family,)), 0))
    assert "\n" not in str(caught.value)
