"""Training regimes and label attacks against definitions written out in another way."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from salver.core.errors import SalverError
from salver.zoo import networks as zoo
from salver.zoo.attacks import attacked_accuracy, fgsm, pgd
from salver.zoo.datasets import load
from salver.zoo.networks import ZOO, NetSpec, pinned, trained, weights_sha256
from salver.zoo.objectives import (
    guided_loss,
    label_gradient,
    lowest,
    objective,
    r2et_loss,
    ranking_term,
    softplus_view,
)
from salver.zoo.regimes import Adversarial, Guided, Plain, R2et, Softplus
from salver.zoo.training import isolated_torch, train

ROWS, FEATURES, CLASSES = 6, 9, 3


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.ReLU(), nn.Linear(7, CLASSES)).double()


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(ROWS, FEATURES, dtype=torch.float64), torch.arange(ROWS) % CLASSES


@pytest.mark.slow
@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9), st.sampled_from([0.2, 0.5, 0.8]))
def test_the_lowest_share_is_that_of_a_stable_sort(entries: list[int], share: float) -> None:
    mask = lowest(torch.tensor([entries], dtype=torch.float64), share)[0]
    ranked = sorted(range(len(entries)), key=lambda i: (entries[i], i))
    assert set(np.flatnonzero(mask.numpy())) == set(ranked[: int(share * len(entries))])


@given(st.lists(st.floats(0, 10), min_size=4, max_size=9), st.integers(1, 3))
def test_the_ranking_term_is_the_sum_over_its_pairs(entries: list[float], k: int) -> None:
    s = sorted(entries, reverse=True)
    pairs = [(i, k) for i in range(1, k)] + [(k, k + i) for i in range(1, k + 1) if k + i <= len(s)]
    expected = sum(s[outside - 1] - s[inside - 1] for inside, outside in pairs)
    found = ranking_term(torch.tensor([entries], dtype=torch.float64), k)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_curvature_is_the_hessian_along_the_sign(net, rows) -> None:
    x, y = rows
    smooth = softplus_view(net, 5.0)
    regime = R2et(k=2, weight=0, curvature=1, h=1e-6)
    expected = []
    for point, label in zip(x, y, strict=True):

        def loss(p, label=label):
            return nn.functional.cross_entropy(smooth(p[None]), label[None])

        gradient = torch.autograd.functional.jacobian(loss, point)
        hessian = torch.autograd.functional.hessian(loss, point)
        expected.append((hessian @ gradient.sign()).norm())
    extra = r2et_loss(smooth, x, y, regime) - nn.functional.cross_entropy(smooth(x), y)
    assert extra.item() == pytest.approx(float(torch.stack(expected).mean()), rel=1e-3)


@pytest.mark.parametrize("terms", [{"weight": 1.0, "curvature": 0.0}, {"weight": 0.0, "curvature": 1.0}])
def test_both_terms_of_r2et_reach_the_first_weights(net, rows, terms) -> None:
    smooth = softplus_view(net, 5.0)

    def gradient(regime: R2et) -> torch.Tensor:
        return torch.autograd.grad(r2et_loss(smooth, *rows, regime), net[0].weight)[0]

    off = R2et(k=2, weight=0, curvature=0)
    assert not torch.allclose(gradient(off.model_copy(update=terms)), gradient(off))


def test_softplus_shares_the_weights_and_tends_to_relu(net, rows) -> None:
    assert softplus_view(net, 5.0)[0] is net[0]
    assert not torch.allclose(softplus_view(net, 5.0)(rows[0]), net(rows[0]), atol=1e-3)
    assert torch.allclose(softplus_view(net, 1e6)(rows[0]), net(rows[0]), atol=1e-4)


def test_guided_covers_the_lowest_half_alone(net, rows) -> None:
    x, y = rows
    seen: list[torch.Tensor] = []
    net.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    guided_loss(net, x, y, Guided(), torch.full((FEATURES,), 2.0), torch.full((FEATURES,), 3.0))
    covered = seen[-1]
    changed = covered != x
    assert torch.equal(changed, lowest(label_gradient(net, x, y), 0.5))
    assert ((covered[changed] >= 2) & (covered[changed] <= 3)).all()


def test_guided_adds_the_divergence(net, rows) -> None:
    x, y = rows
    low, high = x.amin(0), x.amax(0)
    losses = []
    for weight in (0.0, 1.0):
        torch.manual_seed(3)
        losses.append(guided_loss(net, x, y, Guided(weight=weight), low, high))
    assert losses[0].item() == pytest.approx(nn.functional.cross_entropy(net(x), y).item())
    torch.manual_seed(3)
    noise = low + (high - low) * torch.rand(x.shape, dtype=x.dtype)
    covered = torch.where(lowest(label_gradient(net, x, y), 0.5), noise, x)
    p, q = net(x).softmax(1), net(covered).softmax(1)
    divergence = (p * (p / q).log()).sum(1).mean()
    assert (losses[1] - losses[0]).item() == pytest.approx(divergence.item())


@pytest.mark.slow
def test_fgsm_is_exact_on_two_linear_logits() -> None:
    data = load("bandit")
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 2))
    data = replace(data, clip=(-10.0, 10.0))
    x, y = data.test_x.astype(np.float64), data.test_y
    weight = (module[0].weight[1] - module[0].weight[0]).detach().numpy().astype(np.float64)
    bias = float((module[0].bias[1] - module[0].bias[0]).detach())
    lead = (x @ weight + bias) * np.where(y == 1, 1, -1)
    for epsilon in (0.0, 0.02, 0.1):
        clear = np.abs(lead - epsilon * np.abs(weight).sum()) > 1e-5
        assert clear.all()
        expected = (lead > epsilon * np.abs(weight).sum()).mean()
        by_fgsm, by_pgd = attacked_accuracy(module, data, epsilon, 0)
        assert by_fgsm == by_pgd == pytest.approx(expected)


def test_attacks_stay_in_box_and_range_and_repeat(net, rows) -> None:
    x, y = rows
    for steps in (1, 7):
        generator = torch.Generator().manual_seed(5)
        found = pgd(net, x, y, 0.3, (0.0, 1.0), steps, generator)
        again = pgd(net, x, y, 0.3, (0.0, 1.0), steps, torch.Generator().manual_seed(5))
        assert torch.equal(found, again)
        for points in (found, fgsm(net, x, y, 0.3, (0.0, 1.0))):
            assert (points >= 0).all()
            assert (points <= 1).all()
            assert ((points - x).abs() <= 0.3 + 1e-12).all()


def test_plain_networks_keep_their_cache_names() -> None:
    spec = ZOO["digits-16x16"]
    told = json.loads(spec.model_dump_json(exclude={"regime"}))
    assert set(told) == set(NetSpec.model_fields) - {"regime"}
    other = spec.model_copy(update={"regime": Softplus()})
    stronger = spec.model_copy(update={"regime": Softplus(beta=3.0)})
    assert len({zoo.weights_key(s, 0) for s in (spec, other, stronger)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("regime", [Softplus(), Guided(), R2et(k=3), Adversarial(steps=2)])
def test_each_regime_trains_other_weights_the_same_each_time(regime) -> None:
    data = load("bandit")

    def weights(chosen) -> str:
        spec = NetSpec(dataset="bandit", architecture=(6,), epochs=1, batch_size=256, regime=chosen)
        with isolated_torch(0):
            return weights_sha256(train(zoo.build(spec, (5,), 2), data, spec, 0, chosen))

    assert weights(regime) == weights(regime) != weights(Plain())


def test_a_regimes_network_gets_its_pin() -> None:
    assert weights_sha256(trained(ZOO["digits-16x16-guided"], 0)) == pinned("digits-16x16-guided", 0)


def test_r2et_needs_features_outside_the_top_k() -> None:
    with pytest.raises(SalverError, match="k = 5 is not below the 5 features"):
        objective(R2et(k=5), load("bandit"))


def test_r2et_clips_its_pairs_at_the_number_of_features(net, rows) -> None:
    x, y = rows
    saliency = label_gradient(net, x, y).abs()
    ranked = saliency.sort(dim=1, descending=True).values
    k = FEATURES - 2
    expected = (ranked[:, [k - 1]] - ranked[:, : k - 1]).sum(1) + (ranked[:, k:] - ranked[:, [k - 1]]).sum(1)
    assert torch.allclose(ranking_term(saliency, k), expected)


def test_r2et_of_every_zoo_network_leaves_features_outside() -> None:
    features = {"digits": 64, "adult": 46, "compas": 15, "breast_cancer": 30, "mnist": 784}
    asked = {key: spec for key, spec in ZOO.items() if isinstance(spec.regime, R2et)}
    assert {"adult-32x32-r2et", "compas-32x32-r2et", "mnist-32x32-r2et"} <= set(asked)
    for spec in asked.values():
        assert spec.regime.k < features[spec.dataset]
    assert ZOO["mnist-32x32-r2et"].regime.k == 50


def test_a_negative_epsilon_is_refused(net) -> None:
    with pytest.raises(SalverError, match="epsilon -1"):
        attacked_accuracy(net, load("bandit"), -1, 0)
