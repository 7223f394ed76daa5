"""A leaf: with every sign decided the query is affine in x, one linear program per case.

A case is closed by a certificate alone; what a linear program solver calls infeasible is not closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import linprog

from salver.nets.affine import Affine, Matrix
from salver.nets.program import FactorBlock, GateBlock, MaskBlock, ProductBlock, Program, ReluBlock
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.crown.graph import AtomRows, live_blocks
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.milp.model import build
from salver.spec import Property

Array = npt.NDArray[np.float64]
NEAR = 1e-9
"""Conditions that hold by more than this share of what they are added up from are left out of a search."""


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
        matrix, shift = _compose(program.argument(block), values)
        if isinstance(block, GateBlock):
            keep = values[block.mask][1]
        elif isinstance(block, ProductBlock):
            keep = values[block.factor][1]
        elif isinstance(block, FactorBlock):
            keep = np.ones(block.size)
        else:
            assert isinstance(block, ReluBlock | MaskBlock)
            keep = on[block.pre].astype(np.float64)
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


def refuted(program: Program, prop: Property, bounds: Bounds) -> bool:
    """Whether no x of the box satisfies a property in a region, with a certificate.

    Either the bounds show it, or multipliers do that are evaluated with an allowance for all rounding
    (`hybrid.linear`). False also where neither was found.

    Args:
        program: without `AbsBlock`; prop: with one conjunction a clause.
        bounds: with every sign fixed.
    """
    if bounds.infeasible:
        return True
    model = build(program, prop, bounds, exact=True)
    return model is None or LinearRelaxation(model).refuted()


def likely_points(
    leaf: Leaf, rows: Array, shifts: Array, lower: Array, upper: Array, seconds: float
) -> tuple[Array, ...]:
    """Points worth a replay: those with the greatest least slack of rows @ x + shifts >= 0 over the box.

    Of all conditions, and with slacks of 1e-3 and 1e-5 in the sign conditions alone. None means nothing.
    """
    scale = np.abs(rows) @ np.maximum(np.abs(lower), np.abs(upper)) + np.abs(shifts)
    least = (np.where(rows > 0, lower, upper) * rows).sum(1) + shifts
    useful = (least < NEAR * scale) & (scale > 0)
    rows, shifts = rows[useful] / scale[useful, None], shifts[useful] / scale[useful]
    signs = int(useful[: len(leaf.rows)].sum())
    if not len(rows):
        return ((lower + upper) / 2,)
    # In shares of the box, whose width may be far from 1.
    width = upper - lower
    shifts, rows = shifts + rows @ lower, rows * width
    bounds = [*((0.0, 1.0) for _ in width), (None, 1.0)]
    objective = np.append(np.zeros(len(lower)), -1.0)
    unit = np.maximum(np.abs(rows).max(axis=1), np.abs(shifts))
    unit = np.where(unit > 0, unit, 1.0)
    rows, shifts = rows / unit[:, None], shifts / unit
    solution = linprog(
        objective, np.column_stack([-rows, np.ones(len(rows))]), shifts, bounds=bounds, method="highs",
        options={
            "time_limit": max(seconds, 0.01),
            "primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9,
        },
    )  # fmt: skip
    if solution.x is None:
        return ()
    points = [solution.x[:-1]]
    for margin in (1e-3, 1e-5) if signs else ():
        demand = shifts - np.where(np.arange(len(rows)) < signs, margin, 0.0)
        again = linprog(np.zeros(len(lower)), -rows, demand, bounds=bounds[:-1], method="highs")
        points += [again.x] if again.x is not None else []
    return tuple(lower + width * point for point in points)
