"""Which neuron to split on.

Layers nearest the input first: once they are decided, the next layer is an affine map of x and its
bounds collapse. Within a layer the neuron whose relaxation loosens the open neurons behind it most: the
height -l u / (u - l) of its ReLU triangle (Bunel et al., "Branch and Bound for Piecewise Linear Neural
Network Verification", JMLR 2020, sec. 5), weighted by how far it moves each open pre-activation in
shares of that one's range.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import Program, ReluBlock
from salver.solvers.bounding.bounds import Bounds

Array = npt.NDArray[np.float64]


def branching_neuron(program: Program, bounds: Bounds) -> tuple[int, int] | None:
    """Pre-activation number and neuron; None when every sign is decided."""
    for pre, signs in enumerate(bounds.signs):
        open_ = np.flatnonzero(signs == 0)
        if len(open_):
            return pre, int(open_[np.argmax(_scores(program, bounds, pre)[open_])])
    return None


def _scores(program: Program, bounds: Bounds, pre: int) -> Array:
    """Scores [size] of one pre-activation's neurons; only those of open ones mean anything."""
    low, high = np.minimum(bounds.pre_lower[pre], 0.0), np.maximum(bounds.pre_upper[pre], 0.0)
    height = -low * high / np.where(high > low, high - low, 1.0)
    effect = _effect(program, bounds, pre)
    return np.asarray(height * effect if effect.any() else height)


def _effect(program: Program, bounds: Bounds, pre: int) -> Array:
    relus = {n for n, b in enumerate(program.blocks) if isinstance(b, ReluBlock) and b.pre == pre}
    effect = np.zeros(program.pre[pre].affine.size)
    for later in range(pre + 1, len(program.pre)):
        open_ = np.flatnonzero(bounds.signs[later] == 0)
        width = bounds.pre_upper[later][open_] - bounds.pre_lower[later][open_]
        span = np.where(width > 0, width, np.inf)
        for block, matrix in program.pre[later].affine.absolute.items():
            if block in relus and len(open_):
                effect += matrix[open_].T @ (1.0 / span)
    return effect
