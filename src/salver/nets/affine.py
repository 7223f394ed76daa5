"""Affine maps over the blocks of a program, and how they are composed with a record of what was rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]
Matrix = Any
"""A dense float64 array or a scipy CSR array, [rows, columns]."""
ROUNDING = 1e-10
"""Relative error of one sum of products in float64 of up to 400,000 terms, with room to spare: n terms err by
at most n * 1.1e-16 of the sum of their absolute values (Higham, "Accuracy and Stability of Numerical
Algorithms", 2002, eq. 3.5). Also what the decimals of a property may differ from the numbers they are read
as."""
SMALLEST, LARGEST = 1e-250, 1e250
"""Between these, float64 has all its digits, and room for products with further weights."""


class UnsupportedQueryError(Exception):
    """The query is outside the operators of this solver; its verdict must be `unknown`."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum over blocks b of terms[b] @ value(b) + constant. Block -1 is the input x.

    Attributes:
        sizes: where composing rounded, block -> matrix of the sums of absolute values that each entry of
            `terms` was added up from; an entry differs from the exact one by less than `ROUNDING` of it.
        constant_size: the same of `constant`; None for its absolute value.
    """

    terms: dict[int, Matrix]
    constant: Array
    sizes: dict[int, Matrix] = field(default_factory=dict)
    constant_size: Array | None = None

    @property
    def size(self) -> int:
        return len(self.constant)

    @cached_property
    def unsigned(self) -> dict[int, Matrix]:
        """Block -> absolute values of the entries of `terms`."""
        return {block: abs(matrix) for block, matrix in self.terms.items()}

    @cached_property
    def absolute(self) -> dict[int, Matrix]:
        """Block -> entrywise bound on what the entries of `terms` were added up from."""
        return {b: self.sizes[b] if b in self.sizes else self.unsigned[b] for b in self.terms}

    @cached_property
    def constant_absolute(self) -> Array:
        """Bound on what each entry of `constant` was added up from."""
        return np.abs(self.constant) if self.constant_size is None else self.constant_size

    def magnitude(self, largest: Mapping[int, Array]) -> Array:
        """Sums of absolute values [size] of all that the rows add up, where |block b| <= largest[b].

        Args:
            largest: block -> [size]; or [size, boxes], and then so is the result.
        """
        total = self.constant_absolute
        for block, matrix in self.absolute.items():
            total = total + (matrix @ largest[block]).T
        return np.asarray(total.T)

    def rows(self, rows: npt.NDArray[np.intp], sign: float = 1.0) -> Affine:
        """Chosen rows, times 1 or -1."""
        pick = {b: sign * _picked(matrix, rows) for b, matrix in self.terms.items()}
        sizes = {b: _picked(matrix, rows) for b, matrix in self.sizes.items()}
        constant_size = None if self.constant_size is None else self.constant_size[rows]
        return Affine(pick, sign * self.constant[rows], sizes, constant_size)

    def evaluate(self, values: dict[int, Array]) -> Array:
        """Values [batch, size] from block values [batch, block size]."""
        total: Array = np.broadcast_to(self.constant, (len(values[-1]), self.size))
        for block, matrix in self.terms.items():
            total = total + (matrix @ values[block].T).T
        return total


def apply(matrix: Matrix, source: Affine, bias: Any) -> Affine:
    """matrix @ source + bias; says how large the sums were where they were rounded.

    Raises:
        UnsupportedQueryError: a product may leave the numbers that float64 holds with all their digits.
    """
    refuse_range(matrix, [*source.terms.values(), source.constant])
    selects = _selects(matrix)
    terms = {
        block: _dense_if_full(matrix if _is_identity(term) else matrix @ term)
        for block, term in source.terms.items()
    }
    sizes = {
        block: _dense_if_full(abs(matrix) @ source.absolute[block])
        for block, term in source.terms.items()
        if block in source.sizes or not (selects or _selects(term))
    }
    moved, shift = np.asarray(matrix @ source.constant, np.float64).ravel(), np.asarray(bias, np.float64)
    constant = np.asarray(moved + shift, np.float64).ravel()
    exact = source.constant_size is None and (selects or not source.constant.any())
    if exact and not np.any(_lost(moved, shift, constant)):
        return Affine(terms, constant, sizes)
    size = np.asarray(abs(matrix) @ source.constant_absolute + np.abs(shift), np.float64).ravel()
    return Affine(terms, constant, sizes, size)


def refuse_range(matrix: Matrix, factors: Sequence[Any]) -> None:
    """Raises UnsupportedQueryError where products with a matrix may leave what float64 holds in full."""
    least, most = _extent(matrix)
    for factor in factors:
        low, high = _extent(factor)
        if least * low < SMALLEST or most * high > LARGEST:
            raise UnsupportedQueryError("weights whose products leave the range of double precision")


def _extent(matrix: Any) -> tuple[float, float]:
    """Least and largest absolute value of the entries that are not 0; ones where there are none."""
    size = np.abs(matrix.data if scipy.sparse.issparse(matrix) else np.asarray(matrix))
    high = float(size.max(initial=0.0))
    if high == 0.0:
        return 1.0, 1.0
    return float(size.min(where=size > 0.0, initial=high)), high


def _selects(matrix: Matrix) -> bool:
    """Whether every row has one entry at most, and that a power of two: products with it are exact."""
    if not scipy.sparse.issparse(matrix):
        return False
    rows = _csr(matrix)
    if (np.diff(rows.indptr) > 1).any():
        return False
    powers = np.abs(np.frexp(rows.data)[0]) == 0.5
    return bool((powers | (rows.data == 0.0)).all())


def _is_identity(matrix: Matrix) -> bool:
    if not (scipy.sparse.issparse(matrix) and matrix.shape[0] == matrix.shape[1] == matrix.nnz):
        return False
    return bool((matrix.diagonal() == 1.0).all())


def _lost(left: Any, right: Any, total: Any) -> Any:
    """What a sum of two lost to rounding, entry by entry (Knuth's TwoSum)."""
    part = total - left
    return (left - (total - part)) + (right - part)


def add(left: Affine, right: Affine, sign: float) -> Affine:
    """left + sign * right, for a sign of 1 or -1; says how large the sums were where they were rounded."""
    terms, sizes = dict(left.terms), dict(left.sizes)
    for block, matrix in right.terms.items():
        term = sign * matrix
        if block not in terms:
            terms[block] = term
            sizes.update({block: right.sizes[block]} if block in right.sizes else {})
            continue
        terms[block] = _dense_if_full(left.terms[block] + term)
        rounded = block in left.sizes or block in right.sizes
        if rounded or _any(_lost(left.terms[block], term, terms[block])):
            sizes[block] = _dense_if_full(left.absolute[block] + right.absolute[block])
    shift = sign * right.constant
    constant = left.constant + shift
    rounded = left.constant_size is not None or right.constant_size is not None
    if rounded or np.any(_lost(left.constant, shift, constant)):
        return Affine(terms, constant, sizes, left.constant_absolute + right.constant_absolute)
    return Affine(terms, constant, sizes)


def substituted(affine: Affine, values: Mapping[int, Affine]) -> Affine:
    """The map with affine maps in the place of some blocks; says how large the sums were as `apply` does."""
    total = Affine({}, affine.constant, {}, affine.constant_size)
    for block, matrix in affine.terms.items():
        size, inner = affine.sizes.get(block), values.get(block)
        if inner is None:
            part = Affine({block: matrix}, np.zeros(affine.size), {} if size is None else {block: size})
        else:
            part = apply(matrix, inner, 0.0)
            if size is not None:
                sizes = {b: _dense_if_full(size @ absolute) for b, absolute in inner.absolute.items()}
                constant_size = np.asarray(size @ inner.constant_absolute).ravel()
                part = Affine(part.terms, part.constant, sizes, constant_size)
        total = add(total, part, 1.0)
    return total


def concat(parts: Sequence[Affine]) -> Affine:
    """The parts above each other."""
    blocks = sorted({block for part in parts for block in part.terms})
    columns = {b: part.terms[b].shape[1] for part in parts for b in part.terms}
    rounded = {block for part in parts for block in part.sizes}
    terms = {b: _stacked([part.terms.get(b) for part in parts], parts, columns[b]) for b in blocks}
    sizes = {
        b: _stacked([part.absolute.get(b) for part in parts], parts, columns[b]) for b in sorted(rounded)
    }
    constant_size = None
    if any(part.constant_size is not None for part in parts):
        constant_size = np.concatenate([part.constant_absolute for part in parts])
    return Affine(terms, np.concatenate([part.constant for part in parts]), sizes, constant_size)


def identity(block: int, size: int) -> Affine:
    """The values of one block as they are."""
    return Affine({block: scipy.sparse.eye_array(size, format="csr")}, np.zeros(size))


def _stacked(matrices: list[Matrix], parts: Sequence[Affine], columns: int) -> Matrix:
    """The matrices of the parts above each other, None being zeros."""
    given = [None if matrix is None else _csr(matrix) for matrix in matrices]
    rows = [matrix for matrix in given if matrix is not None]
    # A matrix of zeros for each None, and scipy's vstack, take several times as long.
    counts = [
        np.zeros(part.size, np.intp) if matrix is None else np.diff(matrix.indptr)
        for matrix, part in zip(given, parts, strict=True)
    ]
    ends = np.concatenate([[0], *counts]).cumsum()
    entries = (np.concatenate([m.data for m in rows]), np.concatenate([m.indices for m in rows]), ends)
    return _dense_if_full(scipy.sparse.csr_array(entries, shape=(len(ends) - 1, columns)))


def _csr(matrix: Matrix) -> Any:
    """The matrix as a CSR array, itself where it is one: another object of it costs as much as a product."""
    return matrix if isinstance(matrix, scipy.sparse.csr_array) else scipy.sparse.csr_array(matrix)


def dense(matrix: Matrix) -> Array:
    """A matrix of a program as a dense float64 array [rows, columns]."""
    return np.asarray(matrix.toarray() if scipy.sparse.issparse(matrix) else matrix, np.float64)


def _picked(matrix: Matrix, rows: npt.NDArray[np.intp]) -> Matrix:
    return _csr(matrix)[rows] if scipy.sparse.issparse(matrix) else matrix[rows]


def _dense_if_full(matrix: Matrix) -> Matrix:
    """Dense above one entry in five: BLAS is faster there, and a scipy product returns either."""
    if not scipy.sparse.issparse(matrix):
        return np.asarray(matrix)
    if matrix.nnz > 0.2 * matrix.shape[0] * matrix.shape[1]:
        return matrix.toarray()
    return _csr(matrix)


def compact(affine: Affine) -> Affine:
    """Without the terms that are zero, and were added up from zeros."""
    terms = {
        b: m for b, m in affine.terms.items() if _any(m) or (b in affine.sizes and _any(affine.sizes[b]))
    }
    sizes = {b: m for b, m in affine.sizes.items() if b in terms}
    return Affine(terms, affine.constant, sizes, affine.constant_size)


def _any(matrix: Matrix) -> bool:
    return bool(np.any(matrix.data if scipy.sparse.issparse(matrix) else matrix))
