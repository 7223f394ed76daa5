"""A mixed-integer linear program as plain data, with what its rows and columns stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.spec import Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RowOrigin:
    """What rows or columns of a program stand for, for whoever turns multipliers into a proof.

    Attributes:
        kind: of rows as in `salver.proofs.checker`, `range` for limits of outputs; of columns `pre`, `value`
            or `block`.
        number: of the pre-activation or block.
        entries: one per row or column; for `atom` its number among the atoms of `Property.comparisons`.
        first: number of the first row or column.
    """

    kind: str
    number: int
    entries: Indices
    first: int


@dataclass(frozen=True, eq=False)
class Milp:
    """Find v with lower <= v <= upper, row_lower <= matrix v <= row_upper, v[integer] in {0, 1}.

    Attributes:
        lower, upper, integer: per column; the input x is columns 0 ... n - 1.
        matrix: CSR [rows, columns].
        row_lower, row_upper: per row, -inf and +inf where open.
        inputs: n.
        neurons: pre-activation number -> binary columns of its undecided entries, in their order.
        ranges: the rows that keep outputs within the constants of the property.
        rows_of, columns_of: what rows and defined columns stand for.
        row_size: sums of absolute values [rows] of all that the composed coefficients and constants of each
            row were added up from; the rows as stored may be off by `ROUNDING` of it. Empty for zeros.
        ball: in which the input x lies besides, in the units of the query, or None. Whoever leaves it out
            finds more.
    """

    lower: Array
    upper: Array
    integer: npt.NDArray[np.bool_]
    matrix: sparse.csr_array
    row_lower: Array
    row_upper: Array
    inputs: int
    neurons: Mapping[int, Indices] = field(default_factory=dict)
    ranges: Indices = field(default_factory=lambda: np.zeros(0, np.intp))
    rows_of: tuple[RowOrigin, ...] = ()
    columns_of: tuple[RowOrigin, ...] = ()
    row_size: Array = field(default_factory=lambda: np.zeros(0))
    products: Indices = field(default_factory=lambda: np.zeros((0, 3), np.intp))
    ball: Ball | None = None

    def with_integers(self, values: Array) -> Milp:
        """The linear program left when every binary takes its (rounded) value in `values` [columns]."""
        rounded = np.clip(np.round(values), 0.0, 1.0)
        lower = np.where(self.integer, rounded, self.lower)
        upper = np.where(self.integer, rounded, self.upper)
        none = np.zeros_like(self.integer)
        sides = (self.row_lower, self.row_upper)
        return Milp(
            lower, upper, none, self.matrix, *sides, self.inputs, products=self.products, ball=self.ball
        )

    def scaled(self) -> tuple[Milp, Array]:
        """The same program with columns and rows brought to size one, and what to multiply its columns by.

        Solvers compare with absolute tolerances: beside numbers of 1e9, as the gradients of a network with
        large weights are, HiGHS 1.15 called feasible programs infeasible. All factors are powers of two, so
        nothing is rounded.
        """
        extent = np.maximum(np.abs(self.lower), np.abs(self.upper))
        columns = np.where(self.integer | ~np.isfinite(extent), 1.0, _power_of_two(extent))
        matrix = sparse.csr_array(self.matrix @ sparse.diags_array(columns))
        largest = np.zeros(matrix.shape[0])
        np.maximum.at(
            largest, np.repeat(np.arange(len(largest)), np.diff(matrix.indptr)), np.abs(matrix.data)
        )
        rows = 1.0 / _power_of_two(largest)
        scaled = replace(
            self,
            lower=self.lower / columns,
            upper=self.upper / columns,
            matrix=sparse.csr_array(sparse.diags_array(rows) @ matrix),
            row_lower=self.row_lower * rows,
            row_upper=self.row_upper * rows,
        )
        return scaled, columns


def _power_of_two(sizes: Array) -> Array:
    """The power of two next below each size; 1 for 0."""
    exponents = np.frexp(np.where(sizes > 0, sizes, 1.0))[1] - 1
    return np.asarray(np.ldexp(1.0, exponents))
