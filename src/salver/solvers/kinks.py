"""Points at which rounding alone may decide the sign of a pre-activation, where a saliency map jumps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine
from salver.nets.program import AbsBlock, GateBlock, MaskBlock, ProductBlock, Program, ReluBlock

Array = npt.NDArray[np.float64]
Exact = Sequence[Fraction]
SINGLE, DOUBLE = 1e-6, 2.0**-44
"""How far a pre-activation may be off in either precision, as a share of the absolute values it adds up."""
MOST_ENTRIES = 50_000
"""Entries of a program up to which a point is evaluated in fractions, at some 2 microseconds each."""


def near_kink(program: Program, x: Array) -> bool:
    """Whether single precision may carry `x` [n] over some z = 0 at which a value jumps.

    Nothing rounds in a z that adds up zeros, such as that of a place outside an image.
    """
    _, pre, values = program.evaluate(x[None])
    return _near_zero(program, pre, {block: np.abs(value[0]) for block, value in values.items()}, SINGLE)


def hangs_on_rounding(program: Program, x: Array) -> bool:
    """The same of double precision, where what a z adds up may itself have been rounded on the way."""
    return _near_zero(program, program.evaluate(x[None])[1], program.sizes(x, DOUBLE), DOUBLE)


def _near_zero(program: Program, pre: list[Array], sizes: dict[int, Array], share: float) -> bool:
    """Whether some z at whose 0 a value jumps is below a share of what it adds up, by blocks' sizes."""
    sums = {jump: program.pre[jump].affine.magnitude(sizes) for jump in program.jumps}
    return any(bool((np.abs(pre[jump][0]) < share * total).any()) for jump, total in sums.items())


def outputs_over_the_reals(program: Program, x: Array) -> Array:
    """The program's outputs at `x` [n]: in float64, or in fractions where a sign hangs on its rounding.

    A program with more than `MOST_ENTRIES` entries is not evaluated in fractions.
    """
    maps = [*(one.affine for one in program.pre), *map(program.argument, program.blocks), program.output]
    entries = sum(matrix.size for affine in maps for matrix in affine.terms.values())
    if entries > MOST_ENTRIES or not hangs_on_rounding(program, x):
        outputs: Array = program.evaluate(x[None])[0][0]
        return outputs
    return np.array([float(value) for value in _exact_outputs(program, x)])


def _exact_outputs(program: Program, x: Array) -> Exact:
    values: dict[int, Exact] = {-1: [Fraction(float(entry)) for entry in x]}
    for number, block in enumerate(program.blocks):
        argument = _exact_values(program.argument(block), values)
        match block:
            case ReluBlock():
                argument = [max(z, Fraction(0)) for z in argument]
            case MaskBlock():
                argument = [Fraction(z > 0) for z in argument]
            case AbsBlock():
                argument = [abs(value) for value in argument]
            case GateBlock(mask=factor) | ProductBlock(factor=factor):
                argument = [one * other for one, other in zip(values[factor], argument, strict=True)]
        values[number] = argument
    return _exact_values(program.output, values)


def _exact_values(affine: Affine, values: dict[int, Exact]) -> Exact:
    totals = [Fraction(float(constant)) for constant in affine.constant]
    for block, matrix in affine.terms.items():
        entries = sparse.coo_array(matrix)
        for row, column, entry in zip(*entries.coords, entries.data, strict=True):
            if other := values[block][column]:
                totals[row] += Fraction(float(entry)) * other
    return totals
