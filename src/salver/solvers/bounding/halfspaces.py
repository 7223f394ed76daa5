"""Bounds over a box cut by halfspaces: what the decided signs and the property say about x, used together.

For rows C x + d over { x in box : A x + b >= 0 }, any multipliers L >= 0 give the lower bound
min over the box of (C - L A) x + d - L b (Lagrangian duality; with CROWN's minorants as C this is
beta-CROWN's bound, Wang et al., NeurIPS 2021, eq. 8). Where x lies in a ball, too, the minimum is over both.
The multipliers are improved by projected supergradient steps for all rows at once; stopping early costs
tightness, never soundness.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW
from salver.spec import Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
_FARTHEST = 1e6
"""Largest distance of a halfspace from the middle of the box that steps count, in what it reaches."""


@dataclass(frozen=True, eq=False)
class Halfspaces:
    """matrix @ x + constant >= 0, rows [k, n] and [k]."""

    matrix: Array
    constant: Array

    @property
    def count(self) -> int:
        return len(self.constant)


def stack(parts: list[Halfspaces], size: int) -> Halfspaces:
    """All halfspaces of the parts over inputs [size]."""
    if not parts:
        return Halfspaces(np.zeros((0, size)), np.zeros(0))
    return Halfspaces(np.vstack([p.matrix for p in parts]), np.concatenate([p.constant for p in parts]))


def cutting(cuts: Halfspaces, lower: Array, upper: Array, ball: Ball | None = None) -> Indices:
    """The halfspaces, by number, that cut something off the box, or off the ball in it."""
    return np.flatnonzero(_least(cuts.matrix, cuts.constant, lower, upper, ball) < 0)


def lower_bounds(
    rows: Array,
    constant: Array,
    cuts: Halfspaces,
    lower: Array,
    upper: Array,
    steps: int = 40,
    ball: Ball | None = None,
) -> Array:
    """Lower bounds [r] of rows [r, n] @ x + constant [r] over the cut box or ball; large where empty."""
    return with_multipliers(rows, constant, cuts, lower, upper, steps, ball)[0]


def with_multipliers(
    rows: Array,
    constant: Array,
    cuts: Halfspaces,
    lower: Array,
    upper: Array,
    steps: int = 40,
    ball: Ball | None = None,
) -> tuple[Array, Array]:
    """The same, with the multipliers [r, k] >= 0 of the halfspaces that show them."""
    best = _least(rows, constant, lower, upper, ball)
    if not cuts.count or not len(rows):
        return best - _allowance(rows, constant, lower, upper, ball), np.zeros((len(rows), cuts.count))
    chosen = _ascended(rows, cuts, lower, upper, steps, ball)
    shift = constant - chosen @ cuts.constant
    value = _least(rows - chosen @ cuts.matrix, shift, lower, upper, ball)
    chosen = np.where((value > best)[:, None], chosen, 0.0)
    size = np.abs(rows) + chosen @ np.abs(cuts.matrix)
    weight = np.abs(constant) + chosen @ np.abs(cuts.constant)
    return np.fmax(value, best) - _allowance(size, weight, lower, upper, ball), chosen


def _ascended(
    rows: Array, cuts: Halfspaces, lower: Array, upper: Array, steps: int, ball: Ball | None
) -> Array:
    """The best multipliers [r, k] >= 0 on the way of some steps from 0.

    The steps are taken in units of what rows and halfspaces reach over the box. Over a box alone they are in
    single precision, which halves the time; the caller evaluates what is found.
    """
    middle, radius = (lower + upper) / 2, (upper - lower) / 2
    spread, reach = _positive(np.abs(cuts.matrix) @ radius), _positive(np.abs(rows) @ radius)
    kind: Any = np.float64 if ball else np.float32
    unit = np.ones_like(radius) if ball else radius
    matrix = (cuts.matrix * unit / spread[:, None]).astype(kind)
    own = (rows * unit / reach[:, None]).astype(kind)
    offset = cuts.constant / spread + (0.0 if ball else cuts.matrix @ middle / spread)
    offset = np.clip(offset, -_FARTHEST, _FARTHEST).astype(kind)
    multipliers = np.zeros((len(rows), cuts.count), kind)
    momentum, energy, chosen = np.zeros_like(multipliers), np.zeros_like(multipliers), multipliers
    combined: Any = own
    best: Any = np.full(len(rows), -np.inf, kind)
    for step in range(steps + 1):
        point: Any = ball.lowest(combined, lower, upper) if ball else -np.sign(combined)
        value = np.einsum("rn,rn->r", point, combined) - multipliers @ offset
        better = value > best
        best, chosen = np.where(better, value, best), np.where(better[:, None], multipliers, chosen)
        if step == steps:
            break
        gradient = -(point @ matrix.T + offset)
        momentum = 0.8 * momentum + 0.2 * gradient
        energy = 0.95 * energy + 0.05 * gradient**2
        move = momentum / (1 - 0.8 ** (step + 1)) / np.sqrt(energy / (1 - 0.95 ** (step + 1)) + 1e-12)
        multipliers = np.maximum(multipliers + 0.3 / np.sqrt(step + 1) * move, 0.0).astype(kind)
        combined = own - multipliers @ matrix
    with np.errstate(over="ignore"):
        found = np.asarray(chosen, np.float64) * reach[:, None] / spread
    return np.where(np.isfinite(found), found, 0.0)


def _positive(sizes: Array) -> Array:
    return np.asarray(np.where(sizes > 0, sizes, 1.0))


def _least(rows: Array, constant: Array, lower: Array, upper: Array, ball: Ball | None) -> Array:
    middle, radius = (lower + upper) / 2, (upper - lower) / 2
    value = np.asarray(rows @ middle - np.abs(rows) @ radius + constant)
    if ball is None:
        return value
    return np.fmax(value, rows @ ball.centre + ball.least(rows, lower, upper) + constant)


def _allowance(rows: Array, constant: Array, lower: Array, upper: Array, ball: Ball | None) -> Array:
    largest = np.maximum(np.abs(lower), np.abs(upper))
    if ball is not None:
        largest = np.maximum(largest, np.abs(ball.centre))
    return np.asarray(ROUNDING * ((np.abs(rows) + UNDERFLOW) @ largest + np.abs(constant)) + TINY)
