"""Exact integer arithmetic for the proof checker.

A real number is an integer times 2^-`PLACES`, kept as Python integers of any length in numpy object
arrays. Sums are exact. A product has twice the places; `floor` drops the second half downwards, the only
rounding there is, and the checker rounds a lower bound down everywhere.

Matrix products of many entries go through float64 without rounding: both factors are cut into limbs of
`LIMB` bits, and a sum of up to 2^(53 - 2 LIMB) products of limbs is an integer below 2^53.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

PLACES = 48
LIMB = 20
MOST_TERMS = 1 << (53 - 2 * LIMB)
ONE = 1 << PLACES

Ints = Any
"""numpy object array of Python integers, or (in exponents and shifts) an int64 array."""


def ints(values: npt.ArrayLike) -> Ints:
    """Floats of any shape as integers times 2^-PLACES, rounded down. Raises: ValueError: not finite."""
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a number is not finite")
    flat = [math.floor(math.ldexp(value, PLACES)) for value in array.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(array.shape)


def ints_up(values: npt.ArrayLike) -> Ints:
    """The same rounded up."""
    return -ints(-np.asarray(values, np.float64))


def zeros(*shape: int) -> Ints:
    """Exact zeros of a shape."""
    return np.array([0] * math.prod(shape), dtype=object).reshape(shape)


def floor(product: Ints) -> Ints:
    """A product of two numbers, back to PLACES, rounded down."""
    return product >> PLACES


class Matrix:
    """An exact float32 matrix [rows, columns]: limbs in float64, for products from the left and right."""

    def __init__(self, weights: Any) -> None:
        """Args: weights: dense or scipy sparse matrix whose entries are binary32 numbers.

        Raises:
            ValueError: an entry is not finite, or more entries in a row or column than can be summed exactly.
        """
        found = sparse.coo_array(weights)
        self.shape: tuple[int, int] = found.shape
        data = np.asarray(found.data, np.float64)
        if not np.isfinite(data).all():
            raise ValueError("a weight is not finite")
        mantissa, exponent = np.frexp(data)
        whole = np.ldexp(mantissa, 24).astype(np.int64)
        if (whole != np.ldexp(mantissa, 24)).any():
            raise ValueError("a weight is no binary32 number")
        self._picks = self._selection(found)
        lowest = int((exponent - 24).min(initial=0))
        self._exponent = lowest
        shifted = [int(w) << int(e) for w, e in zip(whole, exponent - 24 - lowest, strict=True)]
        for axis in (0, 1):
            if np.bincount(found.coords[axis], minlength=1).max(initial=0) > MOST_TERMS:
                raise ValueError(f"more than {MOST_TERMS} terms in one sum")
        dense = found.nnz > 0.2 * math.prod(self.shape)
        self._limbs = []
        for part in _limbs(np.array(shifted, dtype=object)):
            limb = sparse.csr_array((part, found.coords), shape=self.shape)
            self._limbs.append(limb.toarray() if dense else limb)

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
        return _together(places, self._exponent)


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
