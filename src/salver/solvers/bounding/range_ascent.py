"""Narrower ranges of neurons, by ascent on the slopes of all layers before them.

The ranges that a backward pass finds with slopes that it fixes in advance leave much open: every layer is
bounded through the relaxations of those before it, and what each loses multiplies. Here every neuron gets
slopes of its own for its lower and for its upper bound (alpha-CROWN with optimised intermediate bounds: Xu et
al., ICLR 2021, sec. 3.2), as the rows of `ClassDual` have, layer by layer from the input on. What is
found is evaluated in float64 and moved outwards by all rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import ReluBlock
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.class_dual import ClassDual
from salver.solvers.bounding.ranges import block_range
from salver.solvers.query import Budget

Array = npt.NDArray[np.float64]
STEPS = 5
"""Most of what 20 steps find is found by then."""
CELLS = 1 << 17
"""Neurons of all rows that are bounded together, at most: their slopes stay in the cache."""


def with_narrower_ranges(dual: ClassDual, budget: Budget) -> ClassDual:
    """The same rows by narrower ranges of the neurons that they depend on."""
    bounds, program = dual.bounds, dual.program
    known = {dual.relus[-1].number: dual.relus[-1]}
    for neurons in dual.relus[-2::-1]:
        open_ = np.flatnonzero(bounds.signs[neurons.pre] == 0)
        width = (bounds.pre_upper[neurons.pre] - bounds.pre_lower[neurons.pre])[open_]
        sides = []
        for sign in (1.0, -1.0):
            rows = program.pre[neurons.pre].affine.rows(open_, sign)
            below = ClassDual.over(program, bounds, rows, known)
            sides.append(np.full(len(open_), -np.inf) if below is None else _least(below, width, budget))
        block = program.blocks[neurons.number]
        assert isinstance(block, ReluBlock)
        bounds = _narrowed(bounds, neurons.number, block, open_, sides[0], -sides[1])
        known[neurons.number] = neurons.within(bounds)
    made = ClassDual.over(program, bounds, dual.rows, known)
    assert made is not None
    return made


def _least(dual: ClassDual, width: Array, budget: Budget) -> Array:
    """Lower bounds [rows] of all rows, minus infinity of those that the time was too short for."""
    found, unit = np.full(dual.rows.size, -np.inf), width.astype(np.float32)
    count = max(1, CELLS // sum(len(neurons.width) for neurons in dual.relus))
    for first in range(0, dual.rows.size, count):
        if budget.over:
            break
        rows = np.arange(first, min(first + count, dual.rows.size))
        parts = dual.ascended(dual.start(rows), unit[rows], STEPS, scored=False)[0]
        found[rows] = dual.certified(parts, unit[rows]).bounds
    return found


def _narrowed(
    bounds: Bounds, number: int, block: ReluBlock, rows: npt.NDArray[np.intp], low: Array, high: Array
) -> Bounds:
    """Bounds with these of some neurons besides; where they contradict what is known, nothing changes."""
    pre = block.pre
    lower, upper = bounds.pre_lower[pre].copy(), bounds.pre_upper[pre].copy()
    low, high = np.fmax(lower[rows], low), np.fmin(upper[rows], high)
    lower[rows], upper[rows] = np.where(low <= high, (low, high), (lower[rows], upper[rows]))
    decided = np.where(lower > 0, 1, np.where(upper <= 0, -1, 0))
    signs = np.where(bounds.signs[pre] != 0, bounds.signs[pre], decided).astype(np.int8)
    made = bounds.copied()
    made.pre_lower[pre], made.pre_upper[pre], made.signs[pre] = lower, upper, signs
    low, high = block_range(block, made, (lower, upper))
    made.block_lower[number] = np.fmax(bounds.block_lower[number], low)
    made.block_upper[number] = np.fmin(bounds.block_upper[number], high)
    return made
