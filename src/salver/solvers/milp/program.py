"""A mixed-integer linear program as plain data, with what its rows and columns stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Origin:
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
    rows_of: tuple[Origin, ...] = ()
    columns_of: tuple[Origin, ...] = ()

    def with_integers(self, values: Array) -> Milp:
        """The linear program left when every binary takes its (rounded) value in `values` [columns]."""
        rounded = np.clip(np.round(values), 0.0, 1.0)
        lower = np.where(self.integer, rounded, self.lower)
        upper = np.where(self.integer, rounded, self.upper)
        none = np.zeros_like(self.integer)
        return Milp(lower, upper, none, self.matrix, self.row_lower, self.row_upper, self.inputs)
