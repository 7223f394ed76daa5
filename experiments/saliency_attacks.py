"""Attacks on the ranking of a saliency map within an l2 budget, as R2ET's published code runs them.

ERAttack and the MSE attack of Chen et al. (NeurIPS 2024): steps of one l2 length along the normalised
gradient, no random start, ended by the step that would change the class (PGD_m with `early_stop` in
github.com/ccha005/R2ET). A ReLU network's saliency is piecewise constant, so the direction comes from the
same weights with softplus in the place of ReLU; what is reported comes from the ReLU network.
"""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from salver.core.records import Record
from salver.zoo.attacks import Limits
from salver.zoo.objectives import label_gradient, softplus_view

Kind = Literal["er", "mse"]
OFFSET = 1e-2
"""Added to the difference of the MSE attack, whose gradient would vanish at the start (published code)."""


class L2Budget(Record):
    """`steps` steps of l2 length `step`, in units of the input; published for CIFAR-10: 100 of 0.005."""

    steps: int = 100
    step: float = 5e-3
    beta: float = 10.0


def saliency(module: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> npt.NDArray[np.float64]:
    """|dz_y/dx| [N, n] of a float64 module at rows `x` [N, n] with labels `y` [N]."""
    return np.asarray(label_gradient(module, x, y).abs().numpy())


def in_float64(module: nn.Sequential) -> nn.Sequential:
    """A copy in float64."""
    return copy.deepcopy(module).double()


def attacked(
    module: nn.Sequential,
    x: torch.Tensor,
    y: torch.Tensor,
    k: int,
    kind: Kind,
    budget: L2Budget,
    clip: Limits,
) -> torch.Tensor:
    """The last point [N, n] of each row's attack that still has class `y`.

    `er` lowers the sum of the k largest entries of the saliency at `x` minus the sum of the k next ones
    (fewer where the features end), which is what the pairs (i, k) and (k, k + i) add up to; `mse` moves
    the map away from the one at `x`.

    Args:
        module: float64; x: float64 rows [N, n] of class `y` [N]; k: below n.
        clip: data range, in which all points stay.
    """
    smooth = softplus_view(module, budget.beta)
    ranks = label_gradient(module, x, y).abs().argsort(dim=1, descending=True, stable=True)
    reference = label_gradient(smooth, x, y).abs()
    points, alive = x.clone(), torch.ones(len(x), dtype=torch.bool)
    for _ in range(budget.steps):
        slope = _slope(smooth, points, y, ranks, reference, k, kind)
        length = slope.norm(dim=1, keepdim=True) + 1e-10
        moved = (points - budget.step * slope / length).clamp(*clip)
        with torch.no_grad():
            alive &= module(moved).argmax(1) == y
        points = torch.where(alive[:, None], moved, points)
    return points


def _slope(
    smooth: nn.Sequential,
    points: torch.Tensor,
    y: torch.Tensor,
    ranks: torch.Tensor,
    reference: torch.Tensor,
    k: int,
    kind: Kind,
) -> torch.Tensor:
    """Derivative [N, n] of the attack's loss by the points."""
    at = points.detach().requires_grad_()
    own = smooth(at).gather(1, y[:, None]).sum()
    found = torch.autograd.grad(own, at, create_graph=True)[0].abs()
    if kind == "er":
        ranked = found.gather(1, ranks)
        loss = (ranked[:, :k].sum(1) - ranked[:, k : 2 * k].sum(1)).sum()
    else:
        loss = -(found - reference + OFFSET).norm(dim=1).sum()
    # A linear network's saliency does not depend on x: its derivative is zero.
    return torch.autograd.grad(loss, at, allow_unused=True, materialize_grads=True)[0]
