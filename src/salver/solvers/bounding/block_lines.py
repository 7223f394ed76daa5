"""The lines between which the values of a block lie, for one box or for many at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.arrays import Arrays
from salver.solvers.bounding.bounds import Array, Bounds
from salver.solvers.bounding.relaxation import (
    GateLines,
    Lines,
    abs_lines,
    gate_lines,
    mask_lines,
    product_lines,
    relu_lines,
    square_lines,
)


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
