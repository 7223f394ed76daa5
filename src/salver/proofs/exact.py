"""Exact integer arithmetic for the proof checker.

A real number is an integer times 2^-places, kept as Python integers of any length in numpy object arrays;
the places belong to a query (`Unit`) and follow the sizes of its numbers. Sums are exact. A product has twice
the places; `Unit.floor` drops the second half downwards, the only rounding there is beside that of `Matrix`,
and the checker rounds a lower bound down everywhere.

Matrix products of many entries go through float64 without rounding: both factors are cut into limbs of
`LIMB` bits, and a sum of up to 2^(53 - 2 LIMB) products of limbs is an integer below 2^53.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

PLACES = 48
"""Places of a query of ordinary numbers."""
MOST_PLACES = 1100
LIMB = 20
MOST_TERMS = 1 << (53 - 2 * LIMB)
MOST_LIMBS = 64
"""Limbs of a weight: more of them could not be added up in 63 bits."""

Ints = Any
"""numpy object array of Python integers, or (in exponents and shifts) an int64 array."""


@dataclass(frozen=True)
class Unit:
    """The size 2^-places of which all numbers of a query are multiples."""

    places: int = PLACES

    @property
    def one(self) -> int:
        """The number 1."""
        return 1 << self.places

    def ints(self, values: Iterable[Fraction | float]) -> Ints:
        """Numbers in a row as integers, rounded down.

        Raises:
            ValueError: not finite. TypeError: no number.
        """
        return np.array([0, *(self._down(value) for value in values)], dtype=object)[1:]

    def ints_up(self, values: Iterable[Fraction | float]) -> Ints:
        """The same rounded up."""
        return -self.ints([-value for value in values])

    def _down(self, value: Fraction | float) -> int:
        if type(value) not in (int, float, Fraction):
            raise TypeError(f"{value!r:.40} is no number")
        if type(value) is float:
            if not math.isfinite(value):
                raise ValueError("a number is not finite")
            mantissa, exponent = math.frexp(value)
            shift, whole = exponent - 53 + self.places, int(math.ldexp(mantissa, 53))
            return whole << shift if shift >= 0 else whole >> -shift
        numerator, denominator = value.as_integer_ratio()
        return (numerator << self.places) // denominator

    def floor(self, product: Ints) -> Ints:
        """A product of two numbers, back to the places of one, rounded down."""
        return product >> self.places

    def floats(self, values: Ints) -> npt.NDArray[np.float64]:
        """The nearest floats."""
        return np.asarray(values / self.one, np.float64)


def zeros(*shape: int) -> Ints:
    """Exact zeros of a shape."""
    return np.array([0] * math.prod(shape), dtype=object).reshape(shape)


class Matrix:
    """An exact matrix [rows, columns], float64 numbers over a divisor: limbs, for products from both sides.

    Attributes:
        shape: rows and columns.
    """

    def __init__(self, weights: Any, divisor: int = 1) -> None:
        """Args: weights: dense or scipy sparse matrix; divisor: a positive whole number.

        Raises:
            ValueError: an entry is not finite or stands twice, more entries in a row or column than can be
                summed exactly, or entries of too different sizes.
        """
        found = sparse.coo_array(weights)
        self.shape: tuple[int, int] = found.shape
        data = np.asarray(found.data, np.float64)
        if not np.isfinite(data).all():
            raise ValueError("a weight is not finite")
        places = found.coords[0].astype(np.int64) * max(self.shape[1], 1) + found.coords[1]
        if len(np.unique(places)) != len(places):
            raise ValueError("an entry stands twice")
        for axis in (0, 1):
            if np.bincount(found.coords[axis], minlength=1).max(initial=0) > MOST_TERMS:
                raise ValueError(f"more than {MOST_TERMS} terms in one sum")
        self._divisor = divisor
        self._picks = self._selection(found) if divisor == 1 else None
        values, self._exponent = _whole(data)
        parts = _limbs(values)
        if len(parts) > MOST_LIMBS:
            raise ValueError("weights of too different sizes")
        dense = found.nnz > 0.2 * math.prod(self.shape)
        self._limbs = []
        for part in parts:
            limb = sparse.csr_array((part, found.coords), shape=self.shape)
            self._limbs.append(limb.toarray() if dense else limb)

    def sizes(self, columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """About abs(self) [m, n] @ columns [n] >= 0 in floats, infinite where that is too large for one."""
        total = np.zeros(self.shape[0])
        for number, limb in enumerate(self._limbs):
            with np.errstate(over="ignore", under="ignore"):
                total = total + np.ldexp(abs(limb) @ columns, LIMB * number + self._exponent)
        return np.asarray(total / self._divisor)

    def after(self, rows: Ints) -> Ints:
        """rows [k, m] @ self [m, n] -> [k, n], rounded down."""
        return self._product(rows, 1)

    def times(self, columns: Ints) -> Ints:
        """self [m, n] @ columns [k, n] transposed, as [k, m], rounded down."""
        return self._product(columns, 0)

    @staticmethod
    def _selection(entries: Any) -> tuple[Any, Any, Any] | None:
        """Rows, columns and signs of a matrix that only picks and negates entries."""
        rows, columns = entries.coords
        ones = (np.abs(entries.data) == 1.0).all()
        single = len(set(rows.tolist())) == len(rows) and len(set(columns.tolist())) == len(columns)
        return (rows, columns, entries.data.astype(np.int64)) if ones and single else None

    @cached_property
    def signs(self) -> tuple[Matrix, Matrix]:
        """The matrices max(self, 0) and max(-self, 0)."""
        positive, negative = object.__new__(Matrix), object.__new__(Matrix)
        for part, sign in ((positive, 1.0), (negative, -1.0)):
            part.shape, part._exponent, part._picks = self.shape, self._exponent, None
            part._divisor = self._divisor
            part._limbs = [
                (sign * limb).clip(0) if isinstance(limb, np.ndarray) else (sign * limb).maximum(0.0)
                for limb in self._limbs
            ]
        return positive, negative

    def _product(self, rows: Ints, axis: int) -> Ints:
        """Limbs times limbs, added up by their places and put together again."""
        if self._picks is not None:
            total = zeros(len(rows), self.shape[axis])
            total[:, self._picks[axis]] = rows[:, self._picks[1 - axis]] * self._picks[2]
            return total
        used = np.flatnonzero((rows != 0).any(axis=0))
        row_limbs = _limbs(rows[:, used])
        stacked = np.concatenate(row_limbs)
        places = [
            np.zeros((len(rows), self.shape[axis]), np.int64)
            for _ in range(len(row_limbs) + len(self._limbs) - 1)
        ]
        for j, limb in enumerate(self._limbs):
            part = np.asarray(stacked @ (limb[used] if axis else limb[:, used].T)).astype(np.int64)
            for i in range(len(row_limbs)):
                places[i + j] += part[i * len(rows) : (i + 1) * len(rows)]
        total = _together(places, self._exponent)
        return total if self._divisor == 1 else total // self._divisor


def _whole(data: npt.NDArray[np.float64]) -> tuple[Ints, int]:
    """Floats as whole numbers times 2^exponent, with the largest exponent for which they are whole."""
    mantissa, exponents = np.frexp(data)
    whole, exponents = np.ldexp(mantissa, 53).astype(np.int64), exponents.astype(np.int64) - 53
    used = whole != 0
    if not used.any():
        return whole, 0
    zeros_behind = np.frexp((whole & -whole).astype(np.float64))[1].astype(np.int64) - 1
    whole, exponents = whole >> np.where(used, zeros_behind, 0), exponents + zeros_behind
    lowest = int(exponents[used].min())
    shifts = np.where(used, exponents - lowest, 0)
    lengths = np.frexp(np.abs(whole).astype(np.float64))[1] + shifts
    if lengths.max() < 62:
        return whole << shifts, lowest
    pairs = zip(whole.tolist(), shifts.tolist(), strict=True)
    return np.array([number << shift for number, shift in pairs], dtype=object), lowest


def _limbs(values: Ints) -> list[npt.NDArray[np.float64]]:
    """Signed digits in base 2^LIMB, lowest first; at least one."""
    signs = np.where(values < 0, -1.0, 1.0)
    rest = np.abs(values)
    if rest.max(initial=0) < 1 << 62:
        rest = rest.astype(np.int64)
    parts: list[npt.NDArray[np.float64]] = []
    while not parts or rest.any():
        parts.append(signs * (rest & ((1 << LIMB) - 1)).astype(np.float64))
        rest = rest >> LIMB
    return parts


def _together(places: list[npt.NDArray[np.int64]], exponent: int) -> Ints:
    """sum of places[i] * 2^(LIMB i + exponent), rounded down; each place below 2^60 in size.

    In 64 bits as long as the result has room there, which is the rule and many times as fast.
    """
    skipped, shift = divmod(-exponent, LIMB) if exponent < 0 else (0, 0)
    carry = np.zeros_like(places[0])
    digits = []
    for place in places:
        whole = place + carry
        digits.append(whole & ((1 << LIMB) - 1))
        carry = whole >> LIMB
    while len(digits) < skipped:
        digits.append(carry & ((1 << LIMB) - 1))
        carry = carry >> LIMB
    kept = digits[skipped:]
    room = 62 - LIMB * len(kept)
    small = room > 0 and int(np.abs(carry).max(initial=0)) < 1 << room
    total = carry if small else carry.astype(object)
    for digit in reversed(kept):
        total = (total << LIMB) + digit
    total = total >> shift
    return total.astype(object) << max(exponent, 0)
