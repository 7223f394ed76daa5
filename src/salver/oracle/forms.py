"""Affine forms of a tensor in whole numbers times a power of two: nothing is rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[Any]
"""Python integers of any length, dtype object."""


@dataclass(frozen=True, eq=False)
class Forms:
    """Entries of a tensor as (whole [size, k + 1]) * 2**exponent over (u, 1)."""

    whole: Whole
    exponent: int

    def rows(self, pick: Sequence[int]) -> list[list[int]]:
        return [list(self.whole[row]) for row in pick]


def from_floats(values: Array) -> Forms:
    mantissas, exponents = np.frexp(values)
    whole = np.ldexp(mantissas, 53).astype(np.int64).astype(object)
    used = exponents[values != 0]
    least = int(used.min()) if used.size else 0
    shifts = np.where(values != 0, exponents - least, 0).astype(object)
    return Forms(whole << shifts if whole.size else whole, least - 53)


def from_fractions(rows: Sequence[Sequence[Fraction | int]]) -> Forms:
    """Of numbers whose denominators are powers of two."""
    width = len(rows[0])
    exact = [[Fraction(v) for v in row] for row in rows]
    most = max(v.denominator for row in exact for v in row)
    whole = np.empty((len(rows), width), object)
    for i, row in enumerate(exact):
        whole[i] = [v.numerator * (most // v.denominator) for v in row]
    return Forms(whole, 1 - most.bit_length())


def column_of(signs: Sequence[bool]) -> Whole:
    return np.array([int(on) for on in signs], object)[:, None]


def constant_forms(column: Forms, width: int) -> Forms:
    """Forms without slope from a column [size, 1]."""
    whole = np.full((len(column.whole), width), 0, object)
    whole[:, -1] = column.whole[:, 0]
    return Forms(whole, column.exponent)


def aligned(parts: Sequence[Forms]) -> list[Forms]:
    least = min(part.exponent for part in parts)
    return [Forms(part.whole * (1 << (part.exponent - least)), least) for part in parts]


def forms_sum(first: Forms, second: Forms, sign: int) -> Forms:
    a, b = aligned([first, second])
    return Forms(a.whole + sign * b.whole, a.exponent)


def forms_product(first: Forms, second: Forms) -> Forms:
    """Entry by entry, one of both constant on the region."""
    moving = (first.whole[:, :-1] != 0).any(axis=1)
    factor = np.where(moving, second.whole[:, -1], first.whole[:, -1])
    other = np.where(moving[:, None], first.whole, second.whole)
    return Forms(factor[:, None] * other, first.exponent + second.exponent)
