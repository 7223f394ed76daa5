"""Backward linear bound propagation (CROWN) that says which rows it added up.

The same choice of lines as `relaxation` and `linear_bounds`, as multipliers of the checker's rows: a chord
of a ReLU is relu_on and relu_off in the proportion in which the step cancels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine, dense
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.relaxation import mask_lines

Array = npt.NDArray[np.float64]
Record = list[tuple[str, int, Array]]
"""Kind and number of rows, and their multipliers [deductions, entries] >= 0."""


def by_intervals(program: Program, bounds: Bounds, affine: Affine, record: Record) -> Array:
    """Lower bounds [k] of affine rows by the ranges of the blocks that they read.

    What is on would be replaced by what it reads, so the range of that is said.
    """
    least = affine.constant.astype(np.float64)
    for number, matrix in affine.terms.items():
        weights = dense(matrix)
        positive, negative = np.maximum(weights, 0.0), np.maximum(-weights, 0.0)
        least = least + positive @ bounds.block_lower[number] - negative @ bounds.block_upper[number]
        block = program.blocks[number] if number >= 0 else None
        if isinstance(block, ReluBlock):
            on = bounds.signs[block.pre] > 0
            record.append(("low", block.pre, positive * on))
            record.append(("high", block.pre, negative * on))
    return least


def minimise(program: Program, bounds: Bounds, affine: Affine, pairing: bool, record: Record) -> Array:
    """Lower bounds [k] of affine rows over the box, and in `record` the rows that show them.

    Args:
        bounds: of the program, with values of every gate and Abs before the rows.
        pairing: which side of McCormick's envelope a gate gets (see `gate_lines`).
    """
    rows = {block: dense(matrix) for block, matrix in affine.terms.items()}
    constant = affine.constant.astype(np.float64)
    for number in reversed(range(len(program.blocks))):
        weights = rows.pop(number, None)
        if weights is None:
            continue
        block = program.blocks[number]
        positive, negative = np.maximum(weights, 0.0), np.maximum(-weights, 0.0)
        match block:
            case ReluBlock():
                slope, offset = _relu(number, bounds, block, positive, negative, record)
            case MaskBlock():
                slope, offset = _mask(bounds, block, positive, negative, record)
            case GateBlock():
                on_mask, slope, offset = _gate(
                    program, bounds, number, block, (positive, negative), pairing, record
                )
                rows[block.mask] = rows[block.mask] + on_mask if block.mask in rows else on_mask
            case AbsBlock():
                slope, offset = _abs(number, bounds, positive, negative, record)
            case FactorBlock():
                slope, offset = weights, np.zeros(len(weights))
            case ProductBlock():
                on_factor, slope, offset = _product(
                    bounds, number, block, (positive, negative), pairing, record
                )
                target = block.factor
                rows[target] = rows[target] + on_factor if target in rows else on_factor
        source = program.argument(block)
        constant = constant + offset + slope @ source.constant
        for target, matrix in source.terms.items():
            product = np.asarray(slope @ matrix)
            rows[target] = rows[target] + product if target in rows else product
    matrix = rows.get(-1, np.zeros((len(constant), program.input_size)))
    low, high = bounds.input_lower, bounds.input_upper
    least = matrix @ ((low + high) / 2) - np.abs(matrix) @ ((high - low) / 2)
    if bounds.ball is not None:
        least = np.fmax(least, matrix @ bounds.ball.centre + bounds.ball.least(matrix, low, high))
    return np.asarray(constant + least)


def _relu(
    number: int, bounds: Bounds, block: ReluBlock, positive: Array, negative: Array, record: Record
) -> tuple[Array, Array]:
    signs, low, high = bounds.signs[block.pre], bounds.pre_lower[block.pre], bounds.pre_upper[block.pre]
    on, open_ = (signs > 0).astype(np.float64), signs == 0
    share = np.where(open_, high / np.where(high > low, high - low, 1.0), 0.0)
    identity = open_ & (high > -low)
    record.append(("relu_z", number, positive * identity))
    record.append(("relu_on", number, negative * np.where(open_, 1.0 - share, 0.0)))
    record.append(("relu_off", number, negative * share))
    slope = (positive - negative) * on + positive * identity - negative * share
    return slope, negative @ np.where(open_, share * low, 0.0)


def _mask(
    bounds: Bounds, block: MaskBlock, positive: Array, negative: Array, record: Record
) -> tuple[Array, Array]:
    signs, low, high = bounds.signs[block.pre], bounds.pre_lower[block.pre], bounds.pre_upper[block.pre]
    lines = mask_lines(signs, low, high, bounds.pre_size[block.pre])
    record.append(("step_on", block.pre, positive * lines.lower_slope))
    record.append(("step_off", block.pre, negative * lines.upper_slope))
    slope = positive * lines.lower_slope - negative * lines.upper_slope
    return slope, positive @ lines.lower_offset - negative @ lines.upper_offset


def _gate(
    program: Program,
    bounds: Bounds,
    number: int,
    block: GateBlock,
    weights: tuple[Array, Array],
    pairing: bool,
    record: Record,
) -> tuple[Array, Array, Array]:
    positive, negative = weights
    mask = program.blocks[block.mask]
    assert isinstance(mask, MaskBlock)
    signs = bounds.signs[mask.pre]
    on, open_ = (signs > 0).astype(np.float64), signs == 0
    low = np.where(open_, bounds.value_lower[number], 0.0)
    high = np.where(open_, bounds.value_upper[number], 0.0)
    if pairing:
        record.append(("gate_on", number, positive * open_))
        record.append(("gate_off", number, negative * open_))
        on_mask = positive * high - negative * low
        return on_mask, (positive - negative) * (on + open_), negative @ low - positive @ high
    record.append(("gate_low", number, positive * open_))
    record.append(("gate_high", number, negative * open_))
    return positive * low - negative * high, (positive - negative) * on, np.zeros(len(positive))


def _product(
    bounds: Bounds,
    number: int,
    block: ProductBlock,
    weights: tuple[Array, Array],
    pairing: bool,
    record: Record,
) -> tuple[Array, Array, Array]:
    """The planes of `product_lines`; of a square the chord above, and `square_lines`' tangents below."""
    positive, negative = weights
    a, b = bounds.block_lower[block.factor], bounds.block_upper[block.factor]
    if block.square:
        # By f alone: the tangent in the middle, or that at the end of the range that is nearest to 0; where
        # 0 is inside, that is the range of the square itself.
        end = pairing & ((a > 0) | (b < 0))
        record.append(("product_under_low", number, positive * (end & (a > 0))))
        record.append(("product_under_high", number, positive * (end & (b < 0))))
        record.append(("product_middle", number, positive * (not pairing)))
        record.append(("product_over_low", number, negative))
        at = np.clip(0.0, a, b) if pairing else (a + b) / 2
        slope = positive * (2.0 * at) - negative * (a + b)
        offset = negative @ (a * b) - positive @ (at * at)
        return np.zeros_like(slope), slope, offset
    c, d = bounds.value_lower[number], bounds.value_upper[number]
    under, over = ("high", "high") if pairing else ("low", "low")
    record.append((f"product_under_{under}", number, positive))
    record.append((f"product_over_{over}", number, negative))
    by_v, (by_f, above) = (b, (d, c)) if pairing else (a, (c, d))
    on_factor = positive * by_f - negative * above
    return on_factor, (positive - negative) * by_v, negative @ (by_v * above) - positive @ (by_v * by_f)


def _abs(
    number: int, bounds: Bounds, positive: Array, negative: Array, record: Record
) -> tuple[Array, Array]:
    low, high = bounds.value_lower[number], bounds.value_upper[number]
    above, below = low >= 0, high <= 0
    open_ = ~above & ~below
    up = open_ & (high > -low)
    record.append(("abs_pos", number, positive * up))
    record.append(("abs_neg", number, positive * (open_ & ~up)))
    width = np.where(open_, high - low, 1.0)
    record.append(("abs_on", number, negative * np.where(open_, high / width, 0.0)))
    record.append(("abs_off", number, negative * np.where(open_, -low / width, 0.0)))
    sign = np.where(above | up, 1.0, -1.0)
    chord = np.where(open_, (high + low) / width, sign)
    return positive * sign - negative * chord, negative @ np.where(open_, 2.0 * high * low / width, 0.0)
