"""Conditions on u in the unit box with whole coefficients: a point that meets them, found without tolerance.

A floating-point program is asked first. Its word is believed only where its point, or its multipliers, hold
when they are evaluated exactly. What is left is decided by the rational simplex method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from salver.oracle.rational_lp import maximise

Array = npt.NDArray[np.float64]
CLEAR = 1e-9
"""Slack, in rows scaled to largest entry 1, above which a floating-point program's answer is checked."""


@dataclass(frozen=True, eq=False)
class RationalRow:
    """A condition on u: coefficients @ (u, 1) > 0 if `strict`, else >= 0."""

    coefficients: tuple[int, ...]
    strict: bool

    @property
    def most(self) -> int:
        """The largest value over the unit box."""
        return self.coefficients[-1] + sum(c for c in self.coefficients[:-1] if c > 0)

    @property
    def least(self) -> int:
        return self.coefficients[-1] + sum(c for c in self.coefficients[:-1] if c < 0)

    @property
    def impossible(self) -> bool:
        return self.most < 0 or (self.strict and self.most == 0)

    @property
    def void(self) -> bool:
        """Whether it holds everywhere."""
        return self.least > 0 or (not self.strict and self.least == 0)


@dataclass(frozen=True)
class Solved:
    """What conditions leave.

    Attributes:
        point: u that meets them; None where there is none.
        slack: the least of `point`, in rows scaled to largest entry 1.
        is_tie: only rational arithmetic could decide.
    """

    point: list[Fraction] | None
    slack: float = 0.0
    is_tie: bool = False


def solve(rows: Sequence[RationalRow], size: int) -> Solved:
    """Decides conditions, at least one, of which none is `impossible` or `void`, on u [size]."""
    scaled = np.array([_scaled(row) for row in rows])
    slack, point, multipliers = _float_program(scaled)
    if slack > CLEAR and point is not None:
        u = [Fraction(min(max(v, 0.0), 1.0)) for v in point.tolist()]
        if all(_value(row, u) > 0 for row in rows):
            return Solved(u, slack)
    elif slack < -CLEAR and multipliers is not None and _refuted(rows, multipliers):
        return Solved(None)
    return Solved(_exactly(rows, size), is_tie=True)


def _exactly(rows: Sequence[RationalRow], size: int) -> list[Fraction] | None:
    """The point of the rational simplex method with the most room, None where there is none."""
    matrix, limits = [], []
    for row in rows:
        unit = max(abs(c) for c in row.coefficients)
        *slope, shift = (Fraction(c, unit) for c in row.coefficients)
        matrix.append([*(-c for c in slope), Fraction(int(row.strict))])
        limits.append(shift)
    for entry in range(size + 1):
        matrix.append([Fraction(int(c == entry)) for c in range(size + 1)])
        limits.append(Fraction(1))
    solution = maximise(matrix, limits, last=size)
    if solution.point is None or (solution.value == 0 and any(row.strict for row in rows)):
        return None
    return list(solution.point[:-1])


def _scaled(row: RationalRow) -> list[float]:
    unit = max(abs(c) for c in row.coefficients)
    return [c / unit for c in row.coefficients]


def _value(row: RationalRow, u: Sequence[Fraction]) -> Fraction:
    return sum(
        (c * v for c, v in zip(row.coefficients, u, strict=False) if c), Fraction(row.coefficients[-1])
    )


def _refuted(rows: Sequence[RationalRow], multipliers: Array) -> bool:
    """Whether the rows, scaled and times multipliers, add up to something below 0 on the whole unit box."""
    total = [Fraction(0)] * len(rows[0].coefficients)
    for row, weight in zip(rows, multipliers.tolist(), strict=True):
        if weight > 0:
            factor = Fraction(weight) / max(abs(c) for c in row.coefficients)
            total = [t + factor * c for t, c in zip(total, row.coefficients, strict=True)]
    return total[-1] + sum(c for c in total[:-1] if c > 0) < 0


def _float_program(rows: Array) -> tuple[float, Array | None, Array | None]:
    """max t with rows @ (u, 1) >= t, u in the unit box, t <= 1: t, u and multipliers [rows]."""
    count, size = rows.shape
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = count, size
    lp.col_cost_ = np.append(np.zeros(size - 1), -1.0)
    lp.col_lower_ = np.append(np.zeros(size - 1), -np.inf)
    lp.col_upper_ = np.ones(size)
    lp.row_lower_, lp.row_upper_ = -rows[:, -1], np.full(count, np.inf)
    matrix = np.column_stack([rows[:, :-1], -np.ones(count)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.arange(count + 1) * size
    lp.a_matrix_.index_ = np.tile(np.arange(size), count)
    lp.a_matrix_.value_ = matrix.ravel()
    solver = _solver()
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return 0.0, None, None
    solution = solver.getSolution()
    values = np.array(solution.col_value)
    return float(values[-1]), values[:-1], np.abs(np.array(solution.row_dual))


_kept: list[Any] = []


def _solver() -> Any:
    """One solver of this process: making one takes longer than these programs."""
    if not _kept:
        solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        for name, value in (
            ("output_flag", False),
            ("presolve", "off"),
            ("threads", 1),
            ("solver", "simplex"),
        ):
            solver.setOptionValue(name, value)
        _kept.append(solver)
    return _kept[0]
