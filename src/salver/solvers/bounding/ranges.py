"""Ranges of the values of a block by those of what it reads, for one box [size] or many [size, boxes]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import (
    AbsBlock,
    Block,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.bounds import Array, Bounds, Signs
from salver.solvers.bounding.relaxation import is_point, product_range

Flags = npt.NDArray[np.bool_]
Range = tuple[Array, Array]


def block_range(block: Block, bounds: Bounds, argument: Range) -> Range:
    """Bounds of a block's values.

    Args:
        bounds: of the blocks before, and the signs of the neurons.
        argument: bounds of the affine map that the block reads.
    """
    low, high = argument
    match block:
        case MaskBlock():
            signs = bounds.signs[block.pre]
            return (signs > 0).astype(np.float64), (signs >= 0).astype(np.float64)
        case ReluBlock():
            off = bounds.signs[block.pre] < 0
            return np.where(off, 0.0, np.maximum(low, 0.0)), np.where(off, 0.0, np.maximum(high, 0.0))
        case GateBlock():
            masks = (bounds.block_lower[block.mask], bounds.block_upper[block.mask])
            products = [mask * side for mask in masks for side in (low, high)]
            return np.minimum.reduce(products), np.maximum.reduce(products)
        case AbsBlock():
            return np.maximum(np.maximum(low, -high), 0.0), np.maximum(-low, high)
        case FactorBlock():
            return low, high
        case ProductBlock():
            return product_range(_factor(block, bounds), argument, block.square)


def worth_refining(program: Program, block: Block, bounds: Bounds) -> Flags:
    """Entries of the argument of a block that is no ReLU or mask for which more than intervals pays."""
    if isinstance(block, GateBlock):
        mask = program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        return np.asarray(bounds.signs[mask.pre] == 0)
    if isinstance(block, ProductBlock):
        return ~is_point(*_factor(block, bounds), bounds.value_size[block.factor])
    return np.ones((block.size, *bounds.input_lower.shape[1:]), bool)


def decided(low: Array, high: Array, fixed: npt.NDArray[np.integer]) -> tuple[Array, Array, Signs]:
    """Bounds of pre-activations where some signs are fixed (+1 on, -1 off), and the signs with those that
    the bounds decide."""
    low = np.where(fixed > 0, np.maximum(low, 0.0), low)
    high = np.where(fixed < 0, np.minimum(high, 0.0), high)
    free = np.where(low > 0, 1, np.where(high <= 0, -1, 0))
    return low, high, np.where(fixed != 0, fixed, free).astype(np.int8)


def _factor(block: ProductBlock, bounds: Bounds) -> Range:
    return bounds.block_lower[block.factor], bounds.block_upper[block.factor]
