"""The losses that the training regimes of `zoo.regimes` minimise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from salver.core.errors import SalverError
from salver.zoo.attacks import limits, pgd
from salver.zoo.datasets import Dataset
from salver.zoo.regimes import Adversarial, Guided, Plain, R2et, Regime, Softplus

Objective = Callable[[nn.Sequential, torch.Tensor, torch.Tensor], torch.Tensor]
"""Scalar loss of a module on rows [N, n] with labels [N]; differentiable in the weights."""


def objective(regime: Regime, dataset: Dataset) -> Objective:
    """The loss that a regime minimises on a data set (whose training part gives feature ranges).

    Raises:
        SalverError: R2ET's k leaves no feature outside the top k.
    """
    match regime:
        case Plain():
            return lambda module, x, y: cross_entropy(module(x), y)
        case Softplus():
            return lambda module, x, y: cross_entropy(softplus_view(module, regime.beta)(x), y)
        case Guided():
            train = torch.from_numpy(dataset.train_x).double()
            low, high = train.amin(0), train.amax(0)
            return lambda module, x, y: guided_loss(module, x, y, regime, low, high)
        case R2et():
            features = dataset.train_x.shape[1]
            if regime.k >= features:
                what = f"k = {regime.k} is not below the {features} features"
                raise SalverError(what, f"R2ET on {dataset.name}", "choose a smaller k")
            return lambda module, x, y: r2et_loss(softplus_view(module, regime.beta), x, y, regime)
        case Adversarial():
            clip = limits(dataset, torch.float64)
            return lambda module, x, y: cross_entropy(
                module(pgd(module, x, y, regime.epsilon, clip, regime.steps)), y
            )


def softplus_view(module: nn.Sequential, beta: float) -> nn.Sequential:
    """The same layers and weights with softplus(beta) in the place of each ReLU."""
    return nn.Sequential(*(nn.Softplus(beta) if isinstance(layer, nn.ReLU) else layer for layer in module))


def guided_loss(
    module: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    regime: Guided,
    low: torch.Tensor,
    high: torch.Tensor,
) -> torch.Tensor:
    """CE + weight * KL(f(x) || f(x~)) on rows [N, n]; `low`, `high` [n] are the features' ranges."""
    noise = low + (high - low) * torch.rand(x.shape, dtype=x.dtype)
    covered = torch.where(lowest(label_gradient(module, x, y).detach(), regime.share), noise, x)
    logits = module(x)
    kept, changed = log_softmax(logits, 1), log_softmax(module(covered), 1)
    divergence = kl_div(changed, kept, reduction="batchmean", log_target=True)
    return cross_entropy(logits, y) + regime.weight * divergence


def lowest(gradient: torch.Tensor, share: float) -> torch.Tensor:
    """Mask [N, n] of the floor(share * n) smallest signed entries of each row; ties by position."""
    count = int(share * gradient.shape[1])
    order = torch.argsort(gradient, dim=1, stable=True)[:, :count]
    return torch.zeros_like(gradient, dtype=torch.bool).scatter_(1, order, True)


def r2et_loss(module: nn.Sequential, x: torch.Tensor, y: torch.Tensor, regime: R2et) -> torch.Tensor:
    """CE + ranking term + curvature term of a smooth module on rows [N, n]."""
    ranking = ranking_term(label_gradient(module, x, y, create_graph=True).abs(), regime.k).mean()
    here = _loss_gradient(module, x, y)
    beside = _loss_gradient(module, x + regime.h * here.detach().sign(), y)
    # The root keeps a finite derivative where both gradients coincide.
    curvature = (((beside - here) / regime.h).square().sum(1) + 1e-12).sqrt().mean()
    loss = cross_entropy(module(x), y)
    return loss + regime.weight * ranking + regime.curvature * curvature


def ranking_term(saliency: torch.Tensor, k: int) -> torch.Tensor:
    """Per row of [N, n]: sum over i < k of S_(k) - S_(i), plus sum over 1 <= i <= k of S_(k+i) - S_(k)."""
    ranked = saliency.sort(dim=1, descending=True).values
    threshold = ranked[:, k - 1 : k]
    return (threshold - ranked[:, : k - 1]).sum(1) + (ranked[:, k : 2 * k] - threshold).sum(1)


def label_gradient(
    module: nn.Sequential, x: torch.Tensor, y: torch.Tensor, *, create_graph: bool = False
) -> torch.Tensor:
    """dz_y/dx [N, n] at rows [N, n] with labels `y` [N]."""
    points = x.detach().requires_grad_()
    own = module(points).gather(1, y[:, None]).sum()
    return torch.autograd.grad(own, points, create_graph=create_graph)[0]


def _loss_gradient(module: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    points = x.detach().requires_grad_()
    loss = cross_entropy(module(points), y, reduction="sum")
    return torch.autograd.grad(loss, points, create_graph=True)[0]
