"""Exact integer arithmetic for the proof checker.

A real number is an integer times 2^-places, kept as Python integers of any length in numpy object arrays;
the places belong to a query (`Unit`) and follow the sizes of its numbers. Sums are exact. A product has twice
the places; `Unit.floor` drops the second half downwards, the only rounding there is beside that of `Matrix`,
and the checker rounds a lower bound down everywhere.

Integers that fit are kept in 64 bits, which is many times as fast; every sum of such arrays is made in
longer integers where it might not fit (`narrow`, `plus`, `scattered`).

Products of many entries go through float64 without rounding: both factors are cut into limbs of
`LIMB` bits, and a sum of up to 2^(53 - 2 LIMB) products of limbs is an integer of at most 2^53.
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
"""numpy array of integers: of Python's in an object array, or of 64 bits where all are above -2^63."""


def narrow(values: Ints) -> Ints:
    """The same integers in 64 bits where they fit."""
    if values.dtype != object:
        return values
    try:
        short = values.astype(np.int64)
    except OverflowError:
        return values
    return values if (short == np.iinfo(np.int64).min).any() else short


def largest(values: Ints) -> int:
    """The largest absolute value, 0 of none."""
    return max(int(values.max()), -int(values.min())) if values.size else 0


def plus(one: Ints, other: Ints) -> Ints:
    """Exact sum of two arrays."""
    if one.dtype == other.dtype == np.int64 and largest(one) + largest(other) < 1 << 63:
        return one + other
    return one.astype(object) + other.astype(object)


def scattered(size: int, places: Any, values: Ints) -> Ints:
    """Array [size] with the exact sums of the values at each place; `places` and `values` are [k]."""
    values = narrow(values)
    if values.dtype != object and len(values):
        most = int(np.unique(places, return_counts=True)[1].max())
        if most * largest(values) >= 1 << 63:
            values = values.astype(object)
    total = zeros(size) if values.dtype == object else np.zeros(size, np.int64)
    np.add.at(total, places, values)
    return total


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
        values = list(values)
        if set(map(type, values)) == {float}:
            mantissa, exponents = np.frexp(np.array(values))
            if int(exponents.max()) + self.places < 63 and np.isfinite(mantissa).all():
                whole = np.ldexp(mantissa, 53).astype(np.int64)
                shift = exponents.astype(np.int64) - 53 + self.places
                return (whole << np.maximum(shift, 0)) >> np.minimum(np.maximum(-shift, 0), 63)
        return np.array([0, *(self._down(value) for value in values)], dtype=object)[1:]

    def ints_up(self, values: Iterable[Fraction | float]) -> Ints:
        """The same rounded up."""
        return -self.ints([-value for value in values])

    def dot(self, pairs: Iterable[tuple[Ints, Ints]]) -> Ints:
        """Sum over pairs of rows [k, n] and values [n] of rows @ values, as [k], rounded down once."""
        total: list[npt.NDArray[np.int64]] = []
        long: Ints = 0
        for every, limits in pairs:
            used = np.flatnonzero((every != 0).any(axis=0))
            rows, values = every[:, used], limits[used]
            if rows.dtype == object or len(used) > MOST_TERMS:
                long = long + (rows.astype(object) * values.astype(object)).sum(axis=1)
                continue
            left, right = cut_into_limbs(rows), cut_into_limbs(values)
            product = (np.concatenate(left) @ np.stack(right, axis=1)).astype(np.int64)
            total += [np.zeros(len(rows), np.int64)] * (len(left) + len(right) - 1 - len(total))
            for i, part in enumerate(product.reshape(len(left), len(rows), len(right))):
                for j in range(len(right)):
                    total[i + j] = total[i + j] + part[:, j]
        if not isinstance(long, int):
            return (long + _together(total, 0).astype(object) if total else long) >> self.places
        return _together(total, -self.places) if total else 0

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
        short = narrow(values)
        if short.dtype != object and self.places < 1000:
            return np.asarray(np.ldexp(short.astype(np.float64), -self.places), np.float64)
        return np.asarray(values / self.one, np.float64)


def zeros(*shape: int) -> Ints:
    """Exact zeros of a shape."""
    return np.array([0] * math.prod(shape), dtype=object).reshape(shape)


@dataclass(frozen=True, eq=False)
class Digits:
    """Rows [k, n] of integers, cut into limbs once for several products.

    Attributes:
        used: columns that are not all 0, or all of them where most are: picking costs more than zeros do.
        limbs: of those columns, one below the other [limbs * k, used].
    """

    rows: Ints

    @cached_property
    def used(self) -> Any:
        found = np.flatnonzero((self.rows != 0).any(axis=0))
        return slice(None) if 2 * len(found) > self.rows.shape[1] else found

    @cached_property
    def limbs(self) -> npt.NDArray[np.float64]:
        return np.concatenate(cut_into_limbs(self.rows[:, self.used]))


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
        if not isinstance(weights, np.ndarray) and sparse.csr_array(found).nnz != len(data):
            raise ValueError("an entry stands twice")
        self._terms = tuple(int(np.bincount(places, minlength=1).max(initial=0)) for places in found.coords)
        if max(self._terms) > MOST_TERMS:
            raise ValueError(f"more than {MOST_TERMS} terms in one sum")
        self._divisor = divisor
        self._picks = self._selection(found) if divisor == 1 else None
        values, self._exponent = _whole(data)
        parts = cut_into_limbs(values, signed=True)
        if len(parts) > MOST_LIMBS:
            raise ValueError("weights of too different sizes")
        dense = found.nnz > 0.2 * math.prod(self.shape)
        self._limbs = []
        for part in parts:
            limb = sparse.csr_array((part, found.coords), shape=self.shape)
            limb.eliminate_zeros()  # a weight of 24 bits leaves a third of its limbs empty
            self._limbs.append(limb.toarray() if dense else limb)

    def sizes(self, columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """About abs(self) [m, n] @ columns [n] >= 0 in floats, infinite where that is too large for one."""
        total = np.zeros(self.shape[0])
        for number, limb in enumerate(self._limbs):
            with np.errstate(over="ignore", under="ignore"):
                total = total + np.ldexp(abs(limb) @ columns, LIMB * number + self._exponent)
        return np.asarray(total / self._divisor)

    @cached_property
    def floats(self) -> Any:
        """About the matrix in floats, dense or sparse, for what is no part of a check."""
        total: Any = None
        for number, limb in enumerate(self._limbs):
            part = limb.copy()
            entries = part if isinstance(part, np.ndarray) else part.data
            with np.errstate(over="ignore", under="ignore"):
                entries[:] = np.ldexp(entries, LIMB * number + self._exponent) / self._divisor
            total = part if total is None else total + part
        return total

    def after(self, rows: Ints | Digits) -> Ints:
        """rows [k, m] @ self [m, n] -> [k, n], rounded down."""
        return self._product(rows, 1)

    def times(self, columns: Ints | Digits) -> Ints:
        """self [m, n] @ columns [k, n] transposed, as [k, m], rounded down."""
        return self._product(columns, 0)

    @staticmethod
    def _selection(entries: Any) -> tuple[Any, Any, Any] | None:
        """Rows, columns and signs of a matrix that only picks and negates entries."""
        rows, columns = entries.coords
        single = all(np.bincount(places, minlength=1).max() <= 1 for places in (rows, columns))
        if not single or not (np.abs(entries.data) == 1.0).all():
            return None
        return rows, columns, entries.data.astype(np.int64)

    @cached_property
    def signs(self) -> tuple[Matrix, Matrix]:
        """The matrices max(self, 0) and max(-self, 0)."""
        positive, negative = object.__new__(Matrix), object.__new__(Matrix)
        for part, sign in ((positive, 1.0), (negative, -1.0)):
            part.shape, part._exponent, part._picks = self.shape, self._exponent, None
            part._divisor, part._terms = self._divisor, self._terms
            part._limbs = [
                (sign * limb).clip(0) if isinstance(limb, np.ndarray) else (sign * limb).maximum(0.0)
                for limb in self._limbs
            ]
        return positive, negative

    @staticmethod
    def _part(limb: Any, used: Any, axis: int) -> Any:
        """What digits of `used` entries are multiplied with."""
        if not isinstance(used, slice):
            limb = limb[used] if axis else limb[:, used]
        return limb if axis else limb.T

    def _product(self, rows: Ints | Digits, axis: int) -> Ints:
        """Limbs times limbs, added up by their places and put together again."""
        digits = rows if isinstance(rows, Digits) else Digits(rows)
        count = len(digits.rows)
        if not count:
            return np.zeros((0, self.shape[axis]), np.int64)
        if self._picks is not None:
            total = np.zeros((count, self.shape[axis]), digits.rows.dtype)
            total[:, self._picks[axis]] = digits.rows[:, self._picks[1 - axis]] * self._picks[2]
            return total
        used, stacked = digits.used, digits.limbs
        row_limbs = len(stacked) // count
        # As long as all that meets in one place is below 2^53, floats add it up exactly.
        exact = self._terms[axis] * min(row_limbs, len(self._limbs)) <= MOST_TERMS
        places: list[Any] = [None] * (row_limbs + len(self._limbs) - 1)
        for j, limb in enumerate(self._limbs):
            product = np.asarray(stacked @ self._part(limb, used, axis))
            product = product if exact else product.astype(np.int64)
            for i in range(row_limbs):
                part = product[i * count : (i + 1) * count]
                if places[i + j] is None:
                    places[i + j] = part
                else:
                    places[i + j] += part
        if exact:
            places = [place.astype(np.int64) for place in places]
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


def cut_into_limbs(values: Ints, signed: bool = False) -> list[npt.NDArray[np.float64]]:
    """Digits in base 2^LIMB, lowest first; at least one, of at most 2^LIMB in size.

    Args:
        signed: every digit has the sign of its number; else only the highest one may be negative.
    """
    values = narrow(values)
    if values.dtype == object or signed:
        return _signed_limbs(values)
    count = max(1, -(-largest(values).bit_length() // LIMB))
    low = [(values >> (LIMB * i)) & ((1 << LIMB) - 1) for i in range(count - 1)]
    return [digit.astype(np.float64) for digit in (*low, values >> (LIMB * (count - 1)))]


def _signed_limbs(values: Ints) -> list[npt.NDArray[np.float64]]:
    signs = np.where(values < 0, -1.0, 1.0)
    rest = np.abs(values)
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
    below, kept = places[:skipped], places[skipped:] or [np.zeros_like(places[0])]
    if below:
        carry = below[0]
        for place in below[1:]:
            carry = (carry >> LIMB) + place
        # Places that the number does not reach hold nothing but what is carried.
        kept = [kept[0] + (carry >> min(63, LIMB * (1 + skipped - len(below)))), *kept[1:]]
    most = sum(largest(place) << (LIMB * number) for number, place in enumerate(kept))
    total = kept[-1] if most < 1 << 62 else kept[-1].astype(object)
    for place in reversed(kept[:-1]):
        total = (total << LIMB) + place
    total = total >> shift
    return narrow(total.astype(object) << exponent) if exponent > 0 else total
