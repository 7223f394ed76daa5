"""Lower slopes of open ReLUs chosen per row by ascent on the row's own bound (alpha-CROWN: Xu et al., 2021).

Every slope in [0, 1] gives a sound bound, so the ascent needs no care: the best bound seen is returned.
"""

from __future__ import annotations

import torch

from experiments.cam_radii.image_bounds import ConvBounder, Ranges
from experiments.cam_radii.windows import Tensor
from salver.nets.operators import Relu

_RATE = 0.3


def improved(bounder: ConvBounder, found: Ranges, name: str, rows: Tensor, at: Tensor, steps: int) -> Tensor:
    """The best lower bounds [rows] met in some steps; arguments as of `ConvBounder.lower`."""
    below = bounder.below(name, (rows.shape[2], rows.shape[3]))
    slopes = {}
    for node in bounder.nodes:
        if isinstance(node.operator, Relu) and node.name in below and bool(found.opened[node.name].any()):
            start = bounder.places(below[node.name], at, node.name).gather(found.lines[node.name][0])
            slopes[node.name] = (0.1 + 0.8 * start).requires_grad_()
    best = bounder.backward(found, name, rows, at)
    if not slopes:
        return best
    ascent = torch.optim.Adam(slopes.values(), lr=_RATE)
    for step in range(steps):
        for group in ascent.param_groups:
            group["lr"] = _RATE * 0.9**step
        bound = bounder.backward(found, name, rows, at, slopes)
        best = torch.maximum(best, bound.detach())
        if bool((best > 0).all()):
            break
        ascent.zero_grad()
        leaves = list(slopes.values())
        for leaf, grad in zip(
            leaves, torch.autograd.grad(-bound.sum(), leaves, allow_unused=True), strict=True
        ):
            leaf.grad = grad
        ascent.step()
        with torch.no_grad():
            for slope in slopes.values():
                slope.clamp_(0.0, 1.0)
    return best
