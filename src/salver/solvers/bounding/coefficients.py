"""Coefficients [rows, columns] of a backward pass: sparse while most of them are 0, else dense; of many boxes
at once [boxes, rows, columns] and dense.

A row of a convolution reads a window of the layer before, so its coefficients are 0 outside of what it sees;
of a wide layer that is nearly everywhere. Small matrices are dense at once: there the calls cost most. Dense
ones may be arrays of another library (`arrays`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Matrix, dense
from salver.solvers.bounding.arrays import TransposedMatrix
from salver.solvers.bounding.relaxation import UNDERFLOW

Array = npt.NDArray[np.float64]

_SMALL = 1 << 16
"""Entries up to which a matrix is dense."""
_FULL = 0.1
"""Share of entries that are not 0 above which a matrix is dense."""


def kept(matrix: Matrix) -> Matrix:
    """The matrix in the form that suits it."""
    if not sparse.issparse(matrix):
        return matrix
    entries = matrix.shape[0] * matrix.shape[1]
    full = entries <= _SMALL or matrix.nnz > _FULL * entries
    return dense(matrix) if full else sparse.csr_array(matrix)


def with_negative(matrix: Matrix) -> Matrix:
    """The rows, and their negatives after them."""
    if sparse.issparse(matrix):
        return sparse.vstack([matrix, -matrix], format="csr")
    return _functions(matrix).concat([matrix, -matrix], axis=-2)


def times(weights: Matrix, lower: Array, upper: Array) -> Matrix:
    """Positive coefficients times the entry of `lower` for their column, others times that of `upper`.

    Args:
        weights: [rows, columns].
        lower, upper: [columns], or [boxes, 1, columns].
    """
    if not sparse.issparse(weights):
        return weights * _functions(weights).where(weights > 0.0, lower, upper)
    at, values = weights.indices, weights.data
    scaled = values * np.where(values > 0.0, lower[at], upper[at])
    # scipy sorts a matrix in place where it likes: two that share places would both have other ones then.
    return sparse.csr_array((scaled, at.copy(), weights.indptr.copy()), shape=weights.shape)


def total(weights: Matrix, lower: Array, upper: Array) -> Array | float:
    """Sums [rows] of `times`, or 0."""
    if not (lower.any() or upper.any()):
        return 0.0
    sums: Array = times(weights, lower, upper).sum(axis=-1)
    return sums


def size(weights: Matrix, reach: Array) -> Array:
    """Sums [rows] of the absolute values of what is added up, where entries lie within `reach`.

    Args:
        reach: [columns], or [boxes, 1, columns].
    """
    if sparse.issparse(weights):
        return np.asarray(abs(weights) @ reach + UNDERFLOW * reach.sum())
    sizes = abs(weights)
    sizes += UNDERFLOW
    return dot(sizes, reach)


def dot(rows: Array, values: Array) -> Array:
    """Sums [rows] of the columns of dense rows times `values`, [columns] or [boxes, 1, columns]."""
    if values.ndim == 1:
        return rows @ values
    sums: Array = _functions(rows).vecdot(rows, values)
    return sums


def product(slope: Matrix, matrix: Matrix | TransposedMatrix) -> Matrix:
    """slope @ matrix."""
    if slope.ndim == 3:
        rows = product(slope.reshape(-1, slope.shape[-1]), matrix)
        return rows.reshape(*slope.shape[:-1], rows.shape[-1])
    return matrix.after(slope) if isinstance(matrix, TransposedMatrix) else kept(slope @ matrix)


def added(known: Matrix | None, more: Matrix) -> Matrix:
    """The sum; None counts as zeros."""
    if known is None:
        return more
    if sparse.issparse(known) and sparse.issparse(more):
        return kept(known + more)
    return (known.toarray() if sparse.issparse(known) else known) + (
        more.toarray() if sparse.issparse(more) else more
    )


def _functions(array: Any) -> Any:
    """The functions of the array's library, by the names of the array API standard."""
    if isinstance(array, np.ndarray):
        return np
    from array_api_compat import array_namespace

    return array_namespace(array)
