"""Linear programs over the rationals, small ones: an answer comes with a certificate that is checked.

The simplex method on a dictionary with Bland's rule, so it ends. Whatever it says is verified by plain
substitution: a point in every inequality, or multipliers that add the inequalities up to a contradiction
(Farkas), so no fault of the pivoting can become a wrong answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

Row = Sequence[Fraction]
_ZERO, _ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True)
class Solution:
    """Either the maximum and a point y attaining it, or (both None) no point at all."""

    value: Fraction | None
    point: tuple[Fraction, ...] | None


def maximise(matrix: Sequence[Row], limits: Row, last: int) -> Solution:
    """The largest y[last] over y >= 0 with matrix @ y <= limits; it must be bounded by the rows.

    Raises:
        ArithmeticError: unbounded, or a certificate does not hold.
    """
    tableau = Tableau(matrix, limits)
    if not tableau.make_feasible():
        _check(matrix, limits, tableau.multipliers(), None, _ZERO)
        return Solution(None, None)
    tableau.optimise(last)
    point, value = tableau.point(), tableau.value
    if any(v < 0 for v in point) or any(
        _dot(row, point) > limit for row, limit in zip(matrix, limits, strict=True)
    ):
        raise ArithmeticError("the point of a rational linear program violates a row")
    _check(matrix, limits, tableau.multipliers(), last, value)
    return Solution(value, tuple(point))


def _check(matrix: Sequence[Row], limits: Row, weights: Row, last: int | None, value: Fraction) -> None:
    """Multipliers >= 0 whose sum of rows shows y[last] <= value; without `last` that there is no y."""
    sums = [
        sum((w * row[column] for w, row in zip(weights, matrix, strict=True) if w), _ZERO)
        for column in range(len(matrix[0]))
    ]
    least = [_ONE if column == last else _ZERO for column in range(len(sums))]
    total = _dot(weights, limits)
    enough = total < 0 if last is None else total <= value
    if any(w < 0 for w in weights) or any(s < c for s, c in zip(sums, least, strict=True)) or not enough:
        raise ArithmeticError("the certificate of a rational linear program does not hold")


def _dot(first: Row, second: Row) -> Fraction:
    return sum((a * b for a, b in zip(first, second, strict=True) if a), _ZERO)


class Tableau:
    """A dictionary: basic variable i is limit_i - sum of row_i * free variables; `cost`: of the value.

    Variables 0 ... size - 1 are y, then come the slacks of the rows, and last the artificial one.
    """

    def __init__(self, matrix: Sequence[Row], limits: Row) -> None:
        self.size, count = len(matrix[0]), len(matrix)
        self.artificial = self.size + count
        self.rows = [[*row, -_ONE, limit] for row, limit in zip(matrix, limits, strict=True)]
        self.basis = [self.size + i for i in range(count)]
        self.free = [*range(self.size), self.artificial]
        self.cost = [_ZERO] * (self.size + 2)

    def make_feasible(self) -> bool:
        """Maximises minus the artificial variable; feasible exactly when it becomes 0."""
        worst = min(range(len(self.rows)), key=lambda i: self.rows[i][-1])
        if self.rows[worst][-1] < 0:
            self.cost[self.size] = -_ONE
            self._pivot(worst, self.size)
            self._run()
            if self.value != 0:
                return False
            if self.artificial in self.basis:
                row = self.basis.index(self.artificial)
                column = next((c for c in range(len(self.free)) if self.rows[row][c] != 0), None)
                if column is None:
                    raise ArithmeticError("a rational linear program has an empty row")
                self._pivot(row, column)
        place = self.free.index(self.artificial)
        for row_ in self.rows:
            row_[place] = _ZERO
        return True

    def optimise(self, last: int) -> None:
        """Maximises variable `last` from a feasible basis."""
        self.cost = [_ZERO] * (self.size + 2)
        if last in self.free:
            self.cost[self.free.index(last)] = _ONE
        else:
            *row, limit = self.rows[self.basis.index(last)]
            self.cost = [*(-c for c in row), limit]
        self._run()

    @property
    def value(self) -> Fraction:
        return self.cost[-1]

    def point(self) -> list[Fraction]:
        values = [_ZERO] * (self.artificial + 1)
        for row, variable in enumerate(self.basis):
            values[variable] = self.rows[row][-1]
        return values[: self.size]

    def multipliers(self) -> list[Fraction]:
        """One per row: minus the reduced cost of its slack."""
        costs = dict(zip(self.free, self.cost, strict=False))
        return [-costs.get(self.size + row, _ZERO) for row in range(len(self.rows))]

    def _run(self) -> None:
        while True:
            rising = [(variable, c) for c, variable in enumerate(self.free) if self.cost[c] > 0]
            if not rising:
                return
            column = min(rising)[1]
            ratios = [
                (row[-1] / row[column], self.basis[i], i)
                for i, row in enumerate(self.rows)
                if row[column] > 0
            ]
            if not ratios:
                raise ArithmeticError("a rational linear program is unbounded")
            self._pivot(min(ratios)[2], column)

    def _pivot(self, row: int, column: int) -> None:
        factor = self.rows[row][column]
        pivot = [v / factor if v else v for v in self.rows[row]]
        pivot[column] = 1 / factor
        self.basis[row], self.free[column] = self.free[column], self.basis[row]
        for other, values in enumerate(self.rows):
            if other != row and values[column]:
                self.rows[other] = _replaced(values, pivot, column)
        if self.cost[column]:
            # The cost is value + sum of cost * free: the opposite sign of a row's, but for the constant.
            changed = _replaced([*self.cost[:-1], -self.cost[-1]], pivot, column)
            self.cost = [*changed[:-1], -changed[-1]]
        self.rows[row] = pivot


def _replaced(values: list[Fraction], pivot: list[Fraction], column: int) -> list[Fraction]:
    """A row with the variable of a column expressed by the pivot's row."""
    factor = values[column]
    changed = [v - factor * p if p else v for v, p in zip(values, pivot, strict=True)]
    changed[column] = -factor * pivot[column]
    return changed
