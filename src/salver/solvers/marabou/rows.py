"""Rows of affine maps over Marabou's variables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, Matrix

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Entries:
    """Values as variable + shift, [n] each; the variable is -1 for a constant."""

    variable: Index
    shift: Array

    def __getitem__(self, i: int) -> tuple[int, float]:
        return int(self.variable[i]), float(self.shift[i])


@dataclass(frozen=True, eq=False)
class Row:
    """coefficients @ variables + constant; no variable twice, no coefficient zero."""

    coefficients: Array
    variables: Index
    constant: float


def row_of(affine: Affine, i: int, blocks: dict[int, Entries]) -> Row:
    """Row i of an affine map over blocks whose entries are given."""
    coefficients, variables, constant = [np.zeros(0)], [np.zeros(0, np.int64)], float(affine.constant[i])
    for number, matrix in affine.terms.items():
        block = blocks[number]
        columns, weights = _nonzero(matrix, i)
        constant += float(weights @ block.shift[columns])
        free = block.variable[columns] >= 0
        coefficients.append(weights[free])
        variables.append(block.variable[columns[free]])
    return _merged(np.concatenate(coefficients), np.concatenate(variables), constant)


def blocks_read(affine: Affine, i: int) -> set[int]:
    """The blocks with a coefficient in row i."""
    return {number for number, matrix in affine.terms.items() if len(_nonzero(matrix, i)[0])}


def minus(left: Row, right: Row) -> Row:
    """left - right."""
    coefficients = np.concatenate([left.coefficients, -right.coefficients])
    variables = np.concatenate([left.variables, right.variables])
    return _merged(coefficients, variables, left.constant - right.constant)


def _nonzero(matrix: Matrix, i: int) -> tuple[Index, Array]:
    if sparse.issparse(matrix):
        entries = slice(matrix.indptr[i], matrix.indptr[i + 1])
        columns, weights = matrix.indices[entries], matrix.data[entries]
        return columns[weights != 0], weights[weights != 0]
    columns = np.flatnonzero(matrix[i])
    return columns, matrix[i, columns]


def _merged(coefficients: Array, variables: Index, constant: float) -> Row:
    """Repeated variables added up: Marabou answers a false `unsat` to an equation with one twice."""
    unique, place = np.unique(variables, return_inverse=True)
    total = np.bincount(place, weights=coefficients, minlength=len(unique))
    return Row(total[total != 0], unique[total != 0], constant)
