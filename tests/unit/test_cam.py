"""Class activation maps against torch, and their instances against sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from salver.errors import SalverError
from salver.model import Truth
from salver.nets.evaluate import evaluate
from salver.nets.torch_bridge import from_torch
from salver.saliency.cam import cam_graph
from salver.saliency.cam_query import CamQuery
from salver.saliency.conditions import UndefinedConditionError
from salver.saliency.vanilla import Point, VanillaQuery


def gap_net(seed: int = 0, channels: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Unflatten(1, (1, 5, 5)), nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(), nn.Conv2d(3, channels, 3, 1, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3),
    ).eval()  # fmt: skip


def source(module: nn.Sequential) -> VanillaQuery:
    return VanillaQuery(from_torch(module, 25), "net", "none", (1, 5, 5), (0.0, 1.0))


@pytest.mark.parametrize("label", [0, 2])
def test_the_map_is_the_weighted_sum_of_the_last_activations(label: int) -> None:
    module = gap_net()
    x = torch.rand(6, 25)
    with torch.no_grad():
        expected = torch.einsum("c,bchw->bhw", module[-1].weight[label], module[:5](x)).flatten(1)
        logits = module(x)
    outputs = evaluate(cam_graph(from_torch(module, 25), label), x.double().numpy())
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
        cam_graph(from_torch(module, 25), label)


def test_a_known_answer_is_a_violation_and_the_radius_is_the_attacks() -> None:
    net = source(gap_net(10))
    x = np.random.default_rng(0).random(25).astype(np.float32)
    query = CamQuery(net, Point(0, x, int(net.predict(x[None])[0])), 4, True)
    radius = query.attack_radius(0.5, 0)
    assert 0 < radius < 0.5
    draft = query.draft(1.2 * radius, radius, 0)
    assert draft.facts.expected is Truth.SAT
    witness = query.attack(1.2 * radius, 0).point
    assert draft.prop.outputs_satisfied(evaluate(draft.graph, witness)[0])
    assert (query.margin(witness[None]) >= 0).all()
    tiny = query.draft(1e-6, radius, 0)
    assert tiny.facts.expected is Truth.UNKNOWN
    centre = evaluate(tiny.graph, x.astype(np.float64))[0]
    assert not tiny.prop.outputs_satisfied(centre)
    for points in (np.random.default_rng(1).random((40, 25)), witness[None]):
        outputs = evaluate(draft.graph, points)
        assert ((query.margin(points) >= 0) == (draft.prop.margin(outputs) >= 0)).all()


def test_ties_and_impossible_sizes() -> None:
    module = gap_net()
    with torch.no_grad():
        module[3].weight.zero_()
        module[3].bias.fill_(1.0)
    net = source(module)
    point = Point(0, np.full(25, 0.5, np.float32), 0)
    with pytest.raises(UndefinedConditionError, match="tied"):
        CamQuery(net, point, 4, True).attack_radius(0.1, 0)
    with pytest.raises(SalverError, match="k = 25"):
        CamQuery(net, point, 25, True).attack_radius(0.1, 0)
