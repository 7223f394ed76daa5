"""The columns and rows of a mixed-integer program while they are collected."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, Matrix
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.milp.program import RowOrigin

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BlockEntries:
    """Where the entries of a block live: a column each, or -1 and a constant."""

    columns: Indices
    constants: Array

    @cached_property
    def read(self) -> Indices:
        """Entries that are not the constant 0."""
        return np.flatnonzero((self.columns >= 0) | (self.constants != 0.0))


@dataclass(kw_only=True)
class ProgramRows:
    """What a program has so far.

    Attributes:
        bounds: of the query's program, by which the sizes of rows are known.
        lower, upper, integer: of the columns; count: how many there are.
        parts: row numbers, column numbers and coefficients.
        row_lower, row_upper: limits of the rows; row_size: the sums of absolute values that they were added
            up from before; rows: how many there are.
        rows_of, columns_of: what they stand for.
        entries: block of the query's program -> where its entries are; -1 for the input.
    """

    bounds: Bounds
    lower: list[Array] = field(default_factory=list)
    upper: list[Array] = field(default_factory=list)
    integer: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    count: int = 0
    parts: list[tuple[Indices, Indices, Array]] = field(default_factory=list)
    row_lower: list[Array] = field(default_factory=list)
    row_upper: list[Array] = field(default_factory=list)
    row_size: list[Array] = field(default_factory=list)
    rows: int = 0
    rows_of: list[RowOrigin] = field(default_factory=list)
    columns_of: list[RowOrigin] = field(default_factory=list)
    entries: dict[int, BlockEntries] = field(default_factory=dict)

    def next_rows(self, kind: str, number: int, entries: Indices) -> None:
        """Notes what the rows to be added next stand for."""
        self.rows_of.append(RowOrigin(kind, number, entries, self.rows))

    def next_columns(self, kind: str, number: int, entries: Indices) -> None:
        """The same of columns."""
        self.columns_of.append(RowOrigin(kind, number, entries, self.count))

    def add_columns(self, lower: Array, upper: Array, integer: bool = False) -> Indices:
        """New columns [k] with these bounds."""
        first, self.count = self.count, self.count + len(lower)
        self.lower.append(np.asarray(lower, np.float64))
        self.upper.append(np.asarray(upper, np.float64))
        self.integer.append(np.full(len(lower), integer))
        return np.arange(first, self.count)

    def add_binaries(self, count: int) -> Indices:
        """New columns of 0 or 1."""
        return self.add_columns(np.zeros(count), np.ones(count), integer=True)

    def constrain(
        self, terms: list[tuple[Indices, Array | float]], lower: Array | float, upper: Array | float
    ) -> None:
        """One row per entry: lower <= sum of coefficient * column <= upper."""
        size = len(terms[0][0])
        rows = np.arange(self.rows, self.rows + size)
        for columns, coefficients in terms:
            self.parts.append((rows, columns, np.broadcast_to(np.asarray(coefficients, np.float64), size)))
        self.limit(size, lower, upper)

    def limit(self, size: int, lower: Array | float, upper: Array | float, read: Array | float = 0.0) -> None:
        """Ends rows whose coefficients are there: their limits, and the sums that they were added up from."""
        self.rows += size
        self.row_lower.append(np.broadcast_to(np.asarray(lower, np.float64), size))
        self.row_upper.append(np.broadcast_to(np.asarray(upper, np.float64), size))
        self.row_size.append(np.broadcast_to(np.asarray(read, np.float64), size))

    def add_affine(
        self,
        affine: Affine,
        pick: Indices,
        lower: Array | float,
        upper: Array | float,
        minus: Indices | None = None,
        sign: float = 1.0,
    ) -> None:
        """Rows lower <= sign * affine[pick] - columns `minus` <= upper."""
        if not len(pick):
            return
        constant = sign * affine.constant[pick]
        first = self.rows
        for block, matrix in affine.terms.items():
            entries = self.entries[block]
            rows, read, values = nonzero(matrix, pick, entries.read)
            constant = constant + sign * np.bincount(
                rows, values * entries.constants[read], minlength=len(pick)
            )
            live = entries.columns[read] >= 0
            self.parts.append((rows[live] + first, entries.columns[read[live]], sign * values[live]))
        if minus is not None:
            self.parts.append((np.arange(first, first + len(pick)), minus, np.full(len(pick), -1.0)))
        size = affine.magnitude(self.bounds.largest)[pick]
        self.limit(len(pick), lower - constant, upper - constant, size)

    def add_linear(
        self, columns: Indices, affine: Affine, pick: Indices, low: Array, high: Array, sign: float = 1.0
    ) -> None:
        """New columns that are the rows `pick` of a map, times 1 or -1; their numbers go into `columns`."""
        columns[pick] = self.add_columns(low[pick], high[pick])
        self.add_affine(affine, pick, 0.0, 0.0, minus=columns[pick], sign=sign)


def nonzero(matrix: Matrix, pick: Indices, read: Indices) -> tuple[Indices, Indices, Array]:
    """Row (a place in `pick`), column and value of the entries of matrix[pick] that are not 0.

    Written out for both kinds of matrix: scipy's own conversions take most of the time of a small program.

    Args:
        read: columns that may matter; a dense matrix is looked at there alone.
    """
    if not sparse.issparse(matrix):
        part = np.asarray(matrix)[np.ix_(pick, read)]
        rows, columns = np.nonzero(part)
        return rows, read[columns], part[rows, columns]
    csr = matrix if matrix.format == "csr" else sparse.csr_array(matrix)
    starts, counts = csr.indptr[pick], csr.indptr[pick + 1] - csr.indptr[pick]
    rows = np.repeat(np.arange(len(pick)), counts)
    at = np.arange(len(rows)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    values = csr.data[at]
    kept = np.flatnonzero(values)
    return rows[kept], csr.indices[at[kept]].astype(np.intp), values[kept]
