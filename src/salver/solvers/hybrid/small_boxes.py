"""Boxes of few open neurons, each decided by a search of its own in one small linear program.

The program is written over the inputs and the open neurons alone (`bounding.composed`), so a simplex solve
takes a fraction of a millisecond where bounding a node takes tens. Splitting a neuron changes the range of
one column, and HiGHS goes on from its last basis.

A part is closed by multipliers alone: rows are >= 0 wherever the box has a solution, so a sum of them with
weights >= 0 that stays below 0 over the ranges of the columns refutes it (Farkas). The sum is evaluated here
in float64 with an allowance for its rounding, as in `linear`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.composed import Composed, RoundedRows, can_be_composed
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW
from salver.solvers.hybrid.linear import simplex
from salver.solvers.query import Query
from salver.solvers.slack import slack_rows
from salver.solvers.watchdog import is_out_of_memory

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MOST_OPEN = 40
"""Open neurons of a box that is tried: its program has four columns and seven rows for each."""
MOST_ATOMS = 256
"""Comparisons of a query whose boxes are tried."""
SOLVES = 100
"""Programs solved for one box; what that does not close is better split further."""
_WHOLE = 1e-6
"""A sign this near to 0 or 1 counts as that."""


@dataclass(frozen=True, eq=False)
class SearchedBox:
    """What a search found of a box.

    Attributes:
        closed: it has no solution.
        point: else the input [n] of the last relaxed solution; whole: with every sign 0 or 1, or the back end
            failed: then splitting signs does not help.
    """

    closed: bool
    point: Array | None = None
    whole: bool = False


class SmallBoxes:
    """Boxes of one query."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._low, self._high = query.prop.ranges
        self._ends = tuple(np.flatnonzero(np.isfinite(side)) for side in (self._low, self._high))
        atoms = [atom for clause in query.prop.comparisons for part in clause for atom in part]
        self._slack: Affine | None = slack_rows(query.program.output, atoms) if atoms else None
        self.possible = can_be_composed(query.program) and len(atoms) <= MOST_ATOMS
        self._backend: Any = None

    def decide(self, bounds: Bounds) -> SearchedBox:
        """Searches the box of `bounds`."""
        try:
            return self._decide(bounds)
        except Exception as error:  # of the back end, whatever it is: the box stays open
            if is_out_of_memory(error):
                raise
            print(f"back end: {type(error).__name__}: {error}", file=sys.stderr)
            return SearchedBox(False, whole=True)

    def _decide(self, bounds: Bounds) -> SearchedBox:
        composed = Composed(self._query.program, bounds)
        self._keep_ranges(composed)
        alternatives = self._alternatives(composed)
        if alternatives is None:
            return SearchedBox(True)
        if self._backend is None:
            self._backend = simplex()
        search = _Search(self._backend, composed, alternatives)
        if search.closed():
            return SearchedBox(True)
        return SearchedBox(False, search.point[: self._query.program.input_size], search.whole)

    def _keep_ranges(self, composed: Composed) -> None:
        """Adds the limits of single outputs."""
        outputs = composed.of(self._query.program.output)
        for side, at, limits in zip((1.0, -1.0), self._ends, (self._low, -self._high), strict=True):
            row = RoundedRows(side * outputs.weights[at], outputs.size[at])
            composed.rows.append(composed.at_least(row, limits[at]))

    def _alternatives(self, composed: Composed) -> list[Array] | None:
        """Adds the clauses that have one alternative left; the rows of those of another one, if any.

        None where a clause has no alternative.
        """
        if self._slack is None:
            return []
        rows = composed.at_least(composed.of(self._slack), np.zeros(self._slack.size))
        weights = rows[:, :-1]
        most = np.maximum(weights * composed.low, weights * composed.high).sum(axis=1) + rows[:, -1]
        may_hold = ~(most < 0)  # what is not a number refutes nothing
        numbers = iter(range(len(may_hold)))
        several: list[list[Indices]] = []
        for clause in self._query.prop.comparisons:
            parts = [np.array([next(numbers) for _ in part], np.intp) for part in clause]
            live = [part for part in parts if may_hold[part].all()]
            if not live:
                return None
            if len(live) == 1:
                composed.rows.append(rows[live[0]])
            else:
                several.append(live)
        return [rows[part] for part in min(several, key=len)] if several else []


class _Search:
    """The search in one box. Rows are in units of their largest coefficient, columns in [-1, 1]."""

    def __init__(self, backend: Any, composed: Composed, alternatives: Sequence[Array]) -> None:
        self.backend, self.binaries, self.layers = backend, composed.binaries, composed.layers
        self.low, self.high = composed.low.copy(), composed.high.copy()
        rows = np.concatenate([np.zeros((0, len(self.low) + 1)), *composed.rows, *alternatives])
        self.weights, self.constant = rows[:, :-1], rows[:, -1]
        largest = np.maximum(np.abs(self.low), np.abs(self.high))
        self.size = np.abs(self.weights) @ largest + np.abs(self.constant)
        self.lost = TINY + UNDERFLOW * largest.sum()
        ends = np.cumsum([len(rows) - sum(map(len, alternatives)), *map(len, alternatives)])
        self.alternatives = [np.arange(*span) for span in pairwise(ends)]
        self.required = np.arange(len(rows)) < ends[0]
        self.middle, self.radius = (self.low + self.high) / 2, (self.high - self.low) / 2
        self.point, self.solves, self.whole = self.middle.copy(), 0, False
        scaled = self.weights * self.radius
        largest = np.abs(scaled).max(axis=1, initial=0.0)
        self.unit = np.where(largest > 0.0, largest, 1.0)
        self.lower = -(self.weights @ self.middle + self.constant) / self.unit
        self.backend.passModel(self._program(scaled / self.unit[:, None]))

    def closed(self) -> bool:
        """Whether every alternative is refuted."""
        if not self.alternatives:
            return self._part_closed()
        for rows in self.alternatives:
            self._limit(rows, True)
            if not self._part_closed():
                return False
            self._limit(rows, False)
        return True

    def _limit(self, rows: Indices, required: bool) -> None:
        self.required[rows] = required
        for row in rows.tolist():
            self.backend.changeRowBounds(row, self.lower[row] if required else -np.inf, np.inf)

    def _part_closed(self) -> bool:
        """Depth first; of the last layer's neuron whose sign is least decided, the farther side first."""
        if self._refuted():
            return True
        values = self.point[self.binaries]
        away = np.where(
            self.low[self.binaries] < self.high[self.binaries], np.minimum(values, 1 - values), -1.0
        )
        self.whole = away.max(initial=-1.0) < _WHOLE
        if self.whole or self.solves >= SOLVES:
            return False
        # The map reads the last layers' masks first. Seen: six tenths of the programs of the least decided.
        chosen = int(np.where(away < _WHOLE, -1.0, away + self.layers).argmax())
        column, first = int(self.binaries[chosen]), float(values[chosen] < 0.5)
        for side in (first, 1.0 - first):
            self._range(column, side, side)
            if not self._part_closed():
                return False
            self._range(column, 0.0, 1.0)
        return True

    def _range(self, column: int, low: float, high: float) -> None:
        self.low[column], self.high[column] = low, high
        self.backend.changeColBounds(column, 2.0 * low - 1.0, 2.0 * high - 1.0)

    def _refuted(self) -> bool:
        self.backend.run()
        self.solves += 1
        status = self.backend.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            _, exists, ray = self.backend.getDualRay()
            ray = np.asarray(ray, np.float64) / self.unit if exists else np.zeros(0)
            return exists and (self._contradiction(ray) or self._contradiction(-ray))
        if status == highspy.HighsModelStatus.kOptimal:
            solution = np.array(self.backend.getSolution().col_value)
            self.point = self.middle + self.radius * solution
        return False

    def _contradiction(self, multipliers: Array) -> bool:
        """Whether rows that are required say so; a back end may give the others multipliers near 0 too."""
        multipliers = np.where(self.required, np.maximum(multipliers, 0.0), 0.0)
        weights = multipliers @ self.weights
        if not np.isfinite(weights).all():
            return False  # of what overflows, the allowance below knows nothing
        most = np.maximum(weights * self.low, weights * self.high).sum() + multipliers @ self.constant
        return bool(most < -2.0 * ROUNDING * (multipliers @ self.size) - self.lost)

    def _program(self, matrix: Array) -> highspy.HighsLp:
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = matrix.shape
        columns = np.ones(matrix.shape[1])
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = 0.0 * columns, -columns, columns
        lower = self.lower.copy()
        lower[~self.required] = -np.inf
        lp.row_lower_, lp.row_upper_ = lower, np.full(len(lower), np.inf)
        rows, at = np.nonzero(matrix)
        counts = np.bincount(rows, minlength=len(matrix))
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        lp.a_matrix_.index_ = at.astype(np.int32)
        lp.a_matrix_.value_ = matrix[rows, at]
        return lp
