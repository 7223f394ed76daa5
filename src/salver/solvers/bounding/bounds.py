"""Sound bounds on every value of a query's network over an input box, in float64 with numpy and scipy.

Interval arithmetic forward, then backward linear bound propagation (CROWN: Zhang et al., "Efficient
Neural Network Robustness Certification with General Activation Functions", NeurIPS 2018, sec. 3.2) for
each pre-activation, gated value and output whose interval leaves something open, in topological order
and always intersected with the interval: plain CROWN is sometimes the looser one.

The mask is 1[z > 0]: z <= 0 makes it 0 and z > 0 makes it 1, while a lower bound of exactly 0 decides
nothing. A neuron *fixed* by branching is closed on its side: on is z >= 0 with mask 1, off is z <= 0 with
mask 0, so the two branches together cover the strict mask.

Rounding: bounds are certificates, so each is moved outwards by `ROUNDING` times the sum of the absolute
values of all that it was added up from, whatever cancels. A backward pass substitutes s @ (M v + c) by
coefficients s M, each of which errs by `ROUNDING` * (|s| @ |M|) at most; over the ranges of v that is less
than `ROUNDING` * |s| @ (|M| @ max|v| + |c|), a product with one vector per map. The coefficients as computed
are then what the next step starts from, so errors are added up, never multiplied. A relaxation's lines may be
off by a few roundings of the value they bound, which counts likewise. Nothing is absolute but `TINY`, for
underflow: scale does not matter.

Where the input lies in a ball besides, a row over the input is least over box and ball (`Ball.least`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, Matrix, dense
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.relaxation import (
    TINY,
)
from salver.spec import Ball

Array = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]
Method = Literal["crown", "interval"]


@dataclass(frozen=True, eq=False)
class Bounds:
    """Bounds on the values a network takes over a box, and the neurons they decide.

    Attributes:
        input_lower, input_upper: the box [n].
        pre_lower, pre_upper: per pre-activation, arrays [size].
        signs: per pre-activation, int8 [size]: +1 on, -1 off, 0 undecided.
        block_lower, block_upper: block number -> arrays [size].
        value_lower, value_upper: number of a block that is no ReLU or mask -> bounds of its affine argument
            [size].
        pre_size, value_size: sums of absolute values [size] that pre-activations and those arguments were
            added up from (`Affine.magnitude`), over ranges that contain these.
        output_lower, output_upper: arrays [outputs].
        infeasible: the fixed signs contradict the box: no x has them. Everything else is then partial.
        ball: in which x lies besides, or None.
    """

    input_lower: Array
    input_upper: Array
    pre_lower: list[Array] = field(default_factory=list)
    pre_upper: list[Array] = field(default_factory=list)
    signs: list[Signs] = field(default_factory=list)
    block_lower: dict[int, Array] = field(default_factory=dict)
    block_upper: dict[int, Array] = field(default_factory=dict)
    value_lower: dict[int, Array] = field(default_factory=dict)
    value_upper: dict[int, Array] = field(default_factory=dict)
    pre_size: list[Array] = field(default_factory=list)
    value_size: dict[int, Array] = field(default_factory=dict)
    output_lower: Array = field(default_factory=lambda: np.zeros(0))
    output_upper: Array = field(default_factory=lambda: np.zeros(0))
    infeasible: bool = False
    ball: Ball | None = None

    @property
    def undecided(self) -> int:
        """Number of neurons whose sign is open."""
        return sum(int((signs == 0).sum()) for signs in self.signs)

    def copied(self) -> Bounds:
        """The same, to which nothing is added where more is added to these."""
        return replace(self, **{part.name: copy(getattr(self, part.name)) for part in fields(self)})

    @property
    def largest(self) -> _Largest:
        """Block -> largest absolute values [size]."""
        return _Largest(self)


class _Largest(Mapping[int, Array]):
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds

    def __getitem__(self, block: int) -> Array:
        low, high = self._bounds.block_lower[block], self._bounds.block_upper[block]
        return np.maximum(np.abs(low), np.abs(high))

    def __iter__(self) -> Iterator[int]:
        return iter(self._bounds.block_lower)

    def __len__(self) -> int:
        return len(self._bounds.block_lower)


def constant_rows(affine: Affine, bounds: Bounds | None = None) -> npt.NDArray[np.intp]:
    """Rows that read nothing: their value is their constant exactly, so a dead neuron is off, not open.

    Args:
        bounds: where given, entries that can only be 0 count as not read.
    """
    weight = np.zeros(affine.size) if affine.constant_size is None else affine.constant_size.copy()
    for block, matrix in affine.absolute.items():
        read = np.ones(matrix.shape[1])
        if bounds is not None:
            read[(bounds.block_lower[block] == 0.0) & (bounds.block_upper[block] == 0.0)] = 0.0
        weight += matrix @ read
    return np.flatnonzero(weight == 0.0)


def in_every_box(values: Array, boxes: tuple[int, ...]) -> Array:
    """Values [k] that are the same in every box, once for one box and [k, boxes] for many; a copy."""
    made = np.empty((len(values), *boxes))
    made.T[...] = values.T
    return made


def interval(affine: Affine, bounds: Bounds) -> tuple[Array, Array, Array]:
    """Bounds [rows] by interval arithmetic in midpoint-radius form, and `Affine.magnitude`.

    Args:
        bounds: of one box, or of many at once (see `many_boxes`); then all is [rows, boxes].
    """
    boxes = bounds.input_lower.shape[1:]
    middle = in_every_box(affine.constant, boxes)
    radius = np.zeros_like(middle)
    for block, matrix in affine.terms.items():
        low, high = bounds.block_lower[block], bounds.block_upper[block]
        middle += matrix @ ((low + high) / 2)
        radius += affine.unsigned[block] @ ((high - low) / 2)
    # A map that reads nothing has one magnitude for all boxes.
    size = in_every_box(affine.magnitude(bounds.largest), boxes)
    slop = ROUNDING * size + TINY
    # What overflows, or is not a number, bounds nothing.
    low, high = np.fmax(middle - radius - slop, -np.inf), np.fmin(middle + radius + slop, np.inf)
    if bounds.ball is not None and set(affine.terms) == {-1}:
        rows = dense(affine.terms[-1])
        low = np.fmax(low, least_over_input(bounds, rows, affine.constant, size))
        high = np.fmin(high, -least_over_input(bounds, -rows, -affine.constant, size))
    return low, high, size


def least_over_input(bounds: Bounds, matrix: Matrix, constant: Array, scale: Array) -> Array:
    """Least value over box and ball of matrix @ x + constant, moved down by the rounding allowance."""
    low, high = bounds.input_lower, bounds.input_upper
    value = constant + matrix @ ((low + high) / 2) - abs(matrix) @ ((high - low) / 2)
    if bounds.ball is not None:
        least = bounds.ball.least(dense(matrix), low, high)
        value = np.fmax(value, constant + matrix @ bounds.ball.centre + least)
    return np.asarray(value - allowance(bounds, matrix, scale))


def allowance(bounds: Bounds, matrix: Matrix, scale: Array) -> Array:
    """How far rounding may have moved rows over the input, which were added up from `scale` besides."""
    largest = np.maximum(np.abs(bounds.input_lower), np.abs(bounds.input_upper))
    if bounds.ball is not None:
        largest = np.maximum(largest, np.abs(bounds.ball.centre))
    return np.asarray(ROUNDING * (scale + coefficients.size(matrix, largest)) + TINY)
