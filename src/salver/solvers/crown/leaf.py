"""Exact decision of a leaf: with every sign decided the query is affine in x, one linear program per case."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from salver.nets.program import Affine, GateBlock, MaskBlock, Matrix, Program, ReluBlock
from salver.solvers.crown.graph import AtomRows, live_blocks

Array = npt.NDArray[np.float64]
CERTAIN = 1e-9
"""A refutation must beat zero by this much relative to the magnitudes it sums."""


@dataclass(frozen=True, eq=False)
class Leaf:
    """A leaf in closed form: rows @ x + shifts >= 0 must hold, as must one conjunction per clause.

    Attributes:
        rows, shifts: sign conditions [k, n], [k].
        choices: per clause, the alive conjunctions as rows and shifts.
    """

    rows: Array
    shifts: Array
    choices: tuple[tuple[tuple[Array, Array], ...], ...]


@dataclass(frozen=True, eq=False)
class LeafAnswer:
    """Whether every case is refuted with certainty, and points worth a replay."""

    refuted: bool
    points: tuple[Array, ...]


def leaf_of(
    program: Program, rows: AtomRows, on: dict[int, npt.NDArray[np.bool_]], alive: npt.NDArray[np.bool_]
) -> Leaf:
    """Composes the program (without `AbsBlock`) over decided signs.

    Args:
        on: per pre-activation that the output depends on, whether each neuron is active.
        alive: bool [conjunctions], in the order of the clauses.
    """
    size = program.input_size
    values: dict[int, tuple[Array, Array]] = {-1: (np.eye(size), np.zeros(size))}
    conditions: dict[int, tuple[Array, Array]] = {}
    for number in sorted(live_blocks(program)):
        block = program.blocks[number]
        if isinstance(block, GateBlock):
            matrix, shift = _compose(block.value, values)
            keep = values[block.mask][1]
        else:
            assert isinstance(block, ReluBlock | MaskBlock)
            keep = on[block.pre].astype(np.float64)
            matrix, shift = _compose(program.pre[block.pre].affine, values)
            direction = 2.0 * keep - 1.0
            conditions[block.pre] = (matrix * direction[:, None], shift * direction)
            if isinstance(block, MaskBlock):
                matrix, shift = np.zeros((len(keep), size)), np.ones(len(keep))
        values[number] = (matrix * keep[:, None], shift * keep)
    matrix, shift = _compose(program.output, values)
    atoms = matrix[rows.row] * rows.sign[:, None]
    offsets = shift[rows.row] * rows.sign - rows.offset
    choices, number = [], 0
    for clause in rows.clauses:
        living = [list(c) for k, c in enumerate(clause) if alive[number + k]]
        choices.append(tuple((atoms[c], offsets[c]) for c in living))
        number += len(clause)
    sign_rows = np.concatenate([np.zeros((0, size)), *(m for m, _ in conditions.values())])
    sign_shifts = np.concatenate([np.zeros(0), *(s for _, s in conditions.values())])
    return Leaf(sign_rows, sign_shifts, tuple(choices))


def _compose(affine: Affine, values: dict[int, tuple[Array, Array]]) -> tuple[Array, Array]:
    size = values[-1][0].shape[1]
    matrix, shift = np.zeros((affine.size, size)), affine.constant.copy()
    for block, term in affine.terms.items():
        matrix += _dense(term @ values[block][0])
        shift += term @ values[block][1]
    return matrix, shift


def _dense(matrix: Matrix) -> Array:
    return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix)


def cases(leaf: Leaf) -> Iterator[tuple[Array, Array]]:
    """The conjunctions of linear conditions of a leaf: one conjunction per clause, in every combination."""
    for choice in itertools.product(*leaf.choices):
        rows = np.concatenate([leaf.rows, *(r for r, _ in choice)])
        shifts = np.concatenate([leaf.shifts, *(s for _, s in choice)])
        yield rows, shifts


def decide_case(
    leaf: Leaf, rows: Array, shifts: Array, lower: Array, upper: Array, seconds: float
) -> LeafAnswer:
    """Maximises the least slack of rows @ x + shifts >= 0 over the box.

    A negative optimum refutes the case if its multipliers do so in plain arithmetic (Neumaier and
    Shcherbina, 2004: any multipliers prove their own bound). Otherwise the points returned have the
    greatest least slack of all conditions, and slacks of 1e-3 and 1e-5 in the sign conditions alone.
    """
    scale = np.abs(rows) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(shifts)
    if ((rows == 0).all(1) & (shifts < 0)).any():
        return LeafAnswer(True, ())
    least = (np.where(rows > 0, lower, upper) * rows).sum(1) + shifts
    useful = least < CERTAIN * scale
    rows, shifts = rows[useful] / scale[useful, None], shifts[useful] / scale[useful]
    signs = int(useful[: len(leaf.rows)].sum())
    if not len(rows):
        return LeafAnswer(False, ((lower + upper) / 2,))
    bounds = [*zip(lower, upper, strict=True), (None, 1.0)]
    objective = np.append(np.zeros(len(lower)), -1.0)
    solution = linprog(
        objective, np.column_stack([-rows, np.ones(len(rows))]), shifts, bounds=bounds, method="highs",
        options={
            "time_limit": max(seconds, 0.01),
            "primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9,
        },
    )  # fmt: skip
    if solution.x is None:
        return LeafAnswer(False, ())
    if _refutes(np.maximum(-solution.ineqlin.marginals, 0.0), rows, shifts, lower, upper):
        return LeafAnswer(True, ())
    points = [solution.x[:-1]]
    for margin in (1e-3, 1e-5) if signs else ():
        demand = shifts - np.where(np.arange(len(rows)) < signs, margin / scale[useful], 0.0)
        again = linprog(np.zeros(len(lower)), -rows, demand, bounds=bounds[:-1], method="highs")
        points += [again.x] if again.x is not None else []
    return LeafAnswer(False, tuple(points))


def _refutes(weights: Array, rows: Array, shifts: Array, lower: Array, upper: Array) -> bool:
    """Whether max over the box of weights' (rows x + shifts) is negative beyond rounding."""
    normal = weights @ rows
    greatest = np.where(normal > 0, normal * upper, normal * lower).sum() + weights @ shifts
    return bool(greatest < -CERTAIN * weights.sum())
