"""Bounds of rows over the blocks of a program by backward passes (CROWN); `bounds` says why they hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine, Matrix, dense
from salver.nets.program import GateBlock, ProductBlock, Program
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.block_lines import Relaxed, relaxed
from salver.solvers.bounding.bounds import Array, Bounds, Method, allowance, interval, least_over_input

_CELLS = 16_000_000
"""Largest coefficient matrix of one backward pass, in entries; more rows go in several passes."""


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
    return dense(matrix), constant - allowance(bounds, matrix, scale)


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
