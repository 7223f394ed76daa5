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

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, Matrix, dense
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.arrays import Arrays
from salver.solvers.bounding.relaxation import (
    TINY,
    GateLines,
    Lines,
    abs_lines,
    gate_lines,
    mask_lines,
    product_lines,
    relu_lines,
    square_lines,
)
from salver.spec import Ball

Array = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]
Method = Literal["crown", "interval"]

_CELLS = 16_000_000
"""Largest coefficient matrix of one backward pass, in entries; more rows go in several passes."""


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


def bound_affine(
    program: Program, bounds: Bounds, affine: Affine, method: Method = "crown"
) -> tuple[Array, Array]:
    """Lower and upper bounds [rows] of affine rows over the blocks, such as differences of outputs."""
    low, high, _ = interval(affine, bounds)
    if method == "crown" and affine.size:
        low, high = tightened(program, bounds, affine, low, high, np.arange(affine.size))
    return low, high


def linear_lower(
    program: Program, bounds: Bounds, affine: Affine, pairing: bool = False
) -> tuple[Array, Array]:
    """Coefficients A [rows, n] and c [rows] with affine(x) >= A x + c on the box of `bounds`.

    Args:
        pairing: which side of the McCormick envelope of a gate is used (see `gate_lines`).
    """
    matrix, constant, scale = _backward(program, bounds, affine, pairing)
    return dense(matrix), constant - _allowance(bounds, matrix, scale)


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


def tightened(
    program: Program, bounds: Bounds, affine: Affine, low: Array, high: Array, rows: npt.NDArray[np.intp]
) -> tuple[Array, Array]:
    """The given bounds intersected with both backward passes over the chosen rows."""
    low, high = low.copy(), high.copy()
    widest = max([program.input_size, *(block.size for block in program.blocks)])
    step = max(1, _CELLS // (2 * widest))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        chosen = affine.rows(part)
        for pairing in pairings(program, bounds):
            least = least_over_input(bounds, *_backward(program, bounds, chosen, pairing, both=True))
            low[part] = np.fmax(low[part], least[: len(part)])
            high[part] = np.fmin(high[part], -least[len(part) :])
    return low, high


def pairings(program: Program, bounds: Bounds) -> tuple[bool, ...]:
    """Which sides of McCormick's envelope backward passes try, through the blocks that are bounded so far."""
    products = (n for n, block in enumerate(program.blocks) if isinstance(block, GateBlock | ProductBlock))
    return (False, True) if any(n in bounds.block_lower for n in products) else (False,)


def least_over_input(bounds: Bounds, matrix: Matrix, constant: Array, scale: Array) -> Array:
    """Least value over box and ball of matrix @ x + constant, moved down by the rounding allowance."""
    low, high = bounds.input_lower, bounds.input_upper
    value = constant + matrix @ ((low + high) / 2) - abs(matrix) @ ((high - low) / 2)
    if bounds.ball is not None:
        least = bounds.ball.least(dense(matrix), low, high)
        value = np.fmax(value, constant + matrix @ bounds.ball.centre + least)
    return np.asarray(value - _allowance(bounds, matrix, scale))


def _allowance(bounds: Bounds, matrix: Matrix, scale: Array) -> Array:
    largest = np.maximum(np.abs(bounds.input_lower), np.abs(bounds.input_upper))
    if bounds.ball is not None:
        largest = np.maximum(largest, np.abs(bounds.ball.centre))
    return np.asarray(ROUNDING * (scale + coefficients.size(matrix, largest)) + TINY)


def _backward(
    program: Program, bounds: Bounds, affine: Affine, pairing: bool, both: bool = False
) -> tuple[Matrix, Array, Array]:
    """Linear minorants in terms of x of affine rows, and with `both` of their negatives after them.

    Returns:
        matrix [k, n], constant [k], and the sum of the absolute values of all that was added up [k].
    """
    rows = {block: coefficients.kept(matrix) for block, matrix in affine.terms.items()}
    constant, scale = affine.constant, affine.magnitude(bounds.largest)
    if both:
        rows = {block: coefficients.with_negative(matrix) for block, matrix in rows.items()}
        constant, scale = np.concatenate([constant, -constant]), np.tile(scale, 2)
    matrix, constant, scale = carried_back(
        program, rows, constant, scale, lambda number: relaxed(program, bounds, number, pairing)
    )
    return np.zeros((len(constant), program.input_size)) if matrix is None else matrix, constant, scale


def carried_back(
    program: Program,
    rows: dict[int, Matrix],
    constant: Array,
    scale: Array,
    lines: Callable[[int], Relaxed],
) -> tuple[Matrix | None, Array, Array]:
    """Linear minorants in terms of x of rows over the blocks.

    Args:
        rows: block -> coefficients [k, size]; used up.
        constant, scale: of the rows, and what they were added up from so far [k].
        lines: of a block.

    Of many boxes at once all has an axis more, the first.

    Returns:
        matrix [k, n], None where nothing of x is read; constant and scale [k].
    """
    for number in reversed(range(len(program.blocks))):
        weights = rows.pop(number, None)
        if weights is None:
            continue
        step = lines(number)
        if step.mask is not None:
            on_mask = coefficients.times(weights, *step.mask)
            rows[step.other] = coefficients.added(rows.get(step.other), on_mask)
        constant = constant + coefficients.total(weights, *step.offset)
        # What a line may be off by, with its slope times z and its offset, is less than four times `reach`.
        scale = scale + 4.0 * coefficients.size(weights, step.reach)
        if step.flat:
            continue
        slope = coefficients.times(weights, *step.slope)
        constant = constant + slope @ step.source.constant
        scale = scale + coefficients.size(slope, step.size)
        for target, matrix in step.source.terms.items():
            rows[target] = coefficients.added(rows.get(target), coefficients.product(slope, matrix))
    return rows.get(-1), constant, scale


@dataclass(frozen=True, eq=False)
class Relaxed:
    """slope * v + offset, with mask * m of a gate or product, below and above a block's values [size].

    Attributes:
        slope, offset, mask: of the line below and of that above; `mask` is None where there is no m.
        other: the block of m.
        source: the map that v is.
        size: its magnitude.
        reach: of what a line is added up from, in size.
        flat: all slopes are 0, as of gates that are open, by the first pair of planes.
    """

    slope: tuple[Array, Array]
    offset: tuple[Array, Array]
    source: Affine
    size: Array
    reach: Array
    mask: tuple[Array, Array] | None = None
    other: int = -1
    flat: bool = False

    def on(self, arrays: Arrays) -> Relaxed:
        """The same lines there."""

        def put(sides: tuple[Array, Array]) -> tuple[Array, Array]:
            return arrays.put(sides[0]), arrays.put(sides[1])

        return replace(
            self,
            slope=put(self.slope),
            offset=put(self.offset),
            source=arrays.map(self.source),
            size=arrays.put(self.size),
            reach=arrays.put(self.reach),
            mask=None if self.mask is None else put(self.mask),
        )

    def of(self, boxes: npt.NDArray[np.intp]) -> Relaxed:
        """Of lines in many boxes [size, all boxes], those of some [boxes, 1, size]."""

        def of(sides: tuple[Array, Array]) -> tuple[Array, Array]:
            return sides[0].T[boxes][:, None], sides[1].T[boxes][:, None]

        return replace(
            self,
            slope=of(self.slope),
            offset=of(self.offset),
            size=self.size.T[boxes][:, None],
            reach=self.reach.T[boxes][:, None],
            mask=None if self.mask is None else of(self.mask),
        )


def relaxed(program: Program, bounds: Bounds, number: int, pairing: bool) -> Relaxed:
    """The lines of block `number`, whose range and that of its argument are known."""
    block, largest = program.blocks[number], bounds.largest
    if isinstance(block, GateBlock | ProductBlock):
        gate, other = _planes(program, bounds, number, block, pairing)
        square = isinstance(block, ProductBlock) and block.square
        reach = largest[other] ** 2 if square else largest[other] * _largest_argument(bounds, number)
        slope, offset = (gate.lower_value, gate.upper_value), (gate.lower_offset, gate.upper_offset)
        mask = (gate.lower_mask, gate.upper_mask)
        flat = not (slope[0].any() or slope[1].any())
        return Relaxed(slope, offset, block.value, bounds.value_size[number], reach, mask, other, flat)
    lines = _unary(bounds, number, block)
    source, size = _argument(program, bounds, number, block)
    reach = np.maximum(largest[number], _reach(bounds, number, block))
    slope, offset = (lines.lower_slope, lines.upper_slope), (lines.lower_offset, lines.upper_offset)
    return Relaxed(slope, offset, source, size, reach)


def _argument(
    program: Program, bounds: Bounds, number: int, block: ReluBlock | MaskBlock | AbsBlock | FactorBlock
) -> tuple[Affine, Array]:
    """The affine map that a block reads, and its magnitude."""
    if isinstance(block, AbsBlock | FactorBlock):
        return block.value, bounds.value_size[number]
    return program.pre[block.pre].affine, bounds.pre_size[block.pre]


def _reach(bounds: Bounds, number: int, block: ReluBlock | MaskBlock | AbsBlock | FactorBlock) -> Array:
    """Largest absolute values of what a block reads; 1 for a mask, whose lines are of size 1."""
    if isinstance(block, MaskBlock):
        return np.ones_like(bounds.pre_lower[block.pre])
    if isinstance(block, AbsBlock | FactorBlock):
        return _largest_argument(bounds, number)
    return np.maximum(np.abs(bounds.pre_lower[block.pre]), np.abs(bounds.pre_upper[block.pre]))


def _largest_argument(bounds: Bounds, number: int) -> Array:
    return np.maximum(np.abs(bounds.value_lower[number]), np.abs(bounds.value_upper[number]))


def _unary(bounds: Bounds, number: int, block: ReluBlock | MaskBlock | AbsBlock | FactorBlock) -> Lines:
    if isinstance(block, FactorBlock):
        one, zero = np.ones_like(bounds.value_lower[number]), np.zeros_like(bounds.value_lower[number])
        return Lines(one, zero, one, zero)
    if isinstance(block, AbsBlock):
        return abs_lines(bounds.value_lower[number], bounds.value_upper[number])
    signs, low, high = bounds.signs[block.pre], bounds.pre_lower[block.pre], bounds.pre_upper[block.pre]
    if isinstance(block, ReluBlock):
        return relu_lines(signs, low, high)
    return mask_lines(signs, low, high, bounds.pre_size[block.pre])


def _planes(
    program: Program, bounds: Bounds, number: int, block: GateBlock | ProductBlock, pairing: bool
) -> tuple[GateLines, int]:
    """The envelope of a gate or product, and the number of the block of its mask or factor."""
    value = (bounds.value_lower[number], bounds.value_upper[number])
    if isinstance(block, ProductBlock):
        factor = (bounds.block_lower[block.factor], bounds.block_upper[block.factor])
        if block.square:
            return square_lines(*factor, pairing), block.factor
        return product_lines(factor, value, pairing), block.factor
    mask = program.blocks[block.mask]
    assert isinstance(mask, MaskBlock)
    return gate_lines(bounds.signs[mask.pre], *value, pairing), block.mask
