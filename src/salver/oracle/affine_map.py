"""Affine maps of x, and the rows that a region's linear program is put together from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.spec.property import Atom

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AffineMap:
    """x -> matrix @ x + constant; float64 [rows, n] and [rows]."""

    matrix: Array
    constant: Array


def composed(affine: Affine, values: Mapping[int, AffineMap]) -> AffineMap:
    """What an affine map of blocks is of x; -1 stands for x itself."""
    matrix, constant = np.zeros((affine.size, values[-1].matrix.shape[1])), affine.constant.copy()
    for block, term in affine.terms.items():
        matrix += term @ values[block].matrix
        constant += term @ values[block].constant
    return AffineMap(matrix, constant)


def stacked(first: AffineMap, second: AffineMap) -> AffineMap:
    """The rows of both."""
    return AffineMap(
        np.vstack([first.matrix, second.matrix]), np.concatenate([first.constant, second.constant])
    )


def slack_rows(output: AffineMap, atoms: tuple[Atom, ...]) -> AffineMap:
    """Rows that are >= 0 exactly when the atoms hold."""
    size = output.matrix.shape[1]
    matrix, constant = np.zeros((len(atoms), size)), np.zeros(len(atoms))
    for row, atom in enumerate(atoms):
        sign = 1.0 if atom.relation == ">=" else -1.0
        matrix[row] = sign * output.matrix[atom.left]
        constant[row] = sign * output.constant[atom.left]
        if atom.other is None:
            constant[row] -= sign * atom.constant
        else:
            matrix[row] -= sign * output.matrix[atom.other]
            constant[row] -= sign * output.constant[atom.other]
    return AffineMap(matrix, constant)
