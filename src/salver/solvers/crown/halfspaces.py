"""What half-spaces normal x + shift >= 0 say about boxes, batched: tighter boxes, and joint refutations."""

from __future__ import annotations

from typing import Any

from salver.nets.affine import ROUNDING
from salver.solvers.bounding.relaxation import TINY


def tightened(normal: Any, shift: Any, lower: Any, upper: Any) -> tuple[Any, Any, Any]:
    """Boxes [batch, n] cut by each half-space normal x + shift >= 0 [batch, k, n] on its own.

    Returns the new bounds and which boxes are empty. Bounds that would cross are left as they were.
    """
    import torch

    greatest = normal.clamp(min=0) @ upper[..., None] + normal.clamp(max=0) @ lower[..., None]
    greatest = greatest.squeeze(-1) + shift
    size = normal.abs() @ torch.maximum(lower.abs(), upper.abs())[..., None]
    greatest = greatest + ROUNDING * (size.squeeze(-1) + shift.abs())
    empty = (greatest < 0).any(1)
    usable = normal.abs() > 1e-9 * normal.abs().amax(-1, keepdim=True).clamp(min=1e-300)
    reach = greatest.clamp(min=0)[..., None] / torch.where(usable, normal, 1.0)
    low = torch.where(usable & (normal > 0), upper[:, None] - reach, -torch.inf).amax(1)
    high = torch.where(usable & (normal < 0), lower[:, None] - reach, torch.inf).amin(1)
    slack = ROUNDING * torch.maximum(lower.abs(), upper.abs()) + TINY
    low, high = torch.fmax(lower, low - slack), torch.fmin(upper, high + slack)
    crossed = low > high
    empty = empty | crossed.any(1)
    return torch.where(crossed, lower, low), torch.where(crossed, upper, high), empty


def refute_together(normal: Any, shift: Any, lower: Any, upper: Any, steps: int) -> tuple[Any, Any, Any]:
    """Multipliers for which the half-spaces contradict the box, by mirror descent on the simplex.

    For lambda >= 0, max over the box of lambda' (normal x + shift) < 0 proves that no point satisfies all.

    Returns:
        Least such maximum found (scaled; negative only if beyond rounding), its lambda [batch, k], and the
        point [batch, n] where it is attained.
    """
    import torch

    centre, radius = (lower + upper) / 2, (upper - lower) / 2
    middle = (normal @ centre[..., None]).squeeze(-1) + shift
    spread = (normal.abs() @ radius[..., None]).squeeze(-1)
    scale = (middle.abs() + spread).clamp(min=TINY)
    usable = (middle.abs() + spread) > TINY
    normal = torch.where(usable[..., None], normal / scale[..., None], 0.0)
    middle = torch.where(usable, middle / scale, 1.0)
    least = (middle + torch.where(usable, spread / scale, 0.0)).amin(1)
    weights = torch.softmax(-4.0 * middle, 1)
    best_weights, best_points = weights, centre
    best = torch.full_like(least, torch.inf)
    magnitude = torch.maximum(lower.abs(), upper.abs())
    rounding = ROUNDING * (1.0 + (normal.abs() @ magnitude[..., None]).squeeze(-1))
    for step in range(steps):
        slope = (weights[:, None] @ normal).squeeze(1)
        height = (weights * middle).sum(1) + (slope.abs() * radius).sum(1)
        point = centre + radius * torch.sign(slope)
        height = height + (weights * rounding).sum(1)
        better = height < best
        best = torch.where(better, height, best)
        best_weights = torch.where(better[:, None], weights, best_weights)
        best_points = torch.where(better[:, None], point, best_points)
        gradient = middle + (normal @ (point - centre)[..., None]).squeeze(-1)
        weights = weights * torch.exp(-(2.0 / (1.0 + step) ** 0.5) * gradient)
        weights = weights / weights.sum(1, keepdim=True)
    return best, best_weights, best_points
