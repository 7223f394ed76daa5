"""The linear relaxation of a node, kept warm while neurons are fixed and released again.

The rows that keep saliency entries in their ranges are many, dense and mostly redundant (784 rows over
a dozen gated values): only those that a solution was seen to violate take part. Leaving rows out
weakens the relaxation and never makes its infeasibility wrong.

An infeasibility is believed only with a certificate: multipliers y whose combination of the rows cannot reach
its required value anywhere within the column bounds (Farkas; Neumaier and Shcherbina, "Safe bounds in linear
and mixed-integer linear programming", Math. Programming 2004), evaluated here in float64 with an allowance
for all rounding (`Milp.row_size`). What the simplex code merely calls infeasible counts as feasible.

Of a ball the relaxation has tangents, which are rows like others. Where the relaxation's point nearest to the
centre, by HiGHS's quadratic solver, lies outside, its tangent is enough: all other points lie beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import highspy
import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import ROUNDING
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW
from salver.solvers.journal import TWO_SIDED, Refutation, Weighted
from salver.solvers.milp.program import Milp
from salver.solvers.query import Budget
from salver.spec import Atom, Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_AT_ONCE = 20
"""Violated rows added before the relaxation is solved again."""
_VIOLATED = 1e-7
_ITERATIONS = 1000
_MOST_TANGENTS = 30
_ON_SPHERE = 1e-9
"""Share of the radius by which a point beside the ball counts as one of it; a replay decides."""
_NEAREST_S = 0.3
"""Seconds for one point nearest to a ball's centre."""
_FARTHEST = 1e6
"""Radii that columns may reach from a ball's centre: HiGHS has no digits for more, and dies of infinity."""
_SMALLEST = 1e-11
"""Multipliers below this share of the largest say nothing, and are left out of a refutation."""


def scaled(model: Milp) -> tuple[Milp, Array, Array]:
    """The same program in other units, by powers of two, so without rounding: column ranges near 2,
    largest coefficients near 1. Measured: a third of the time of HiGHS's own scaling (docs/solving.md).

    Returns:
        The program, and the factors by which its columns [columns] and rows [rows] are to be multiplied.
    """
    columns = _power_of_two((model.upper - model.lower) / 2)
    matrix = sparse.csr_array(model.matrix @ sparse.diags_array(columns))
    rows = _power_of_two(abs(matrix).max(axis=1).toarray().ravel() if matrix.shape[0] else np.zeros(0))
    matrix = sparse.csr_array(sparse.diags_array(1.0 / rows) @ matrix)
    new = replace(
        model,
        lower=model.lower / columns,
        upper=model.upper / columns,
        matrix=matrix,
        row_lower=model.row_lower / rows,
        row_upper=model.row_upper / rows,
        row_size=model.row_size / rows if len(model.row_size) else model.row_size,
    )
    return new, columns, rows


def _power_of_two(sizes: Array) -> Array:
    """Nearest powers of two [k]; 1 where a size is 0 or not finite."""
    usable = np.where((sizes > 0) & np.isfinite(sizes), sizes, 1.0)
    return np.asarray(np.exp2(np.clip(np.round(np.log2(usable)), -100.0, 100.0)))


def centred(model: Milp) -> tuple[Array, Array, Array]:
    """The middles of the column ranges [columns], and the row limits [rows] for columns less their middles.

    HiGHS drops coefficients below 1e-9. A column of narrow range has such ones in units of that range, and
    then a value far from 0: less its middle, what is dropped is small.
    """
    middle = np.where(np.isfinite(model.lower + model.upper), (model.lower + model.upper) / 2, 0.0)
    shift = model.matrix @ middle
    return middle, model.row_lower - shift, model.row_upper - shift


def simplex() -> Any:
    """HiGHS's simplex method on one thread, for programs in units of their own that are solved many times."""
    backend: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (
        ("output_flag", False),
        ("threads", 1),
        ("presolve", "off"),
        ("solver", "simplex"),
        ("simplex_scale_strategy", 0),
        ("primal_feasibility_tolerance", 1e-9),
        ("simplex_iteration_limit", _ITERATIONS),
    ):
        backend.setOptionValue(name, value)
    return backend


class LinearRelaxation:
    """A mixed-integer program without its integrality; solved by HiGHS's dual simplex.

    Attributes:
        model: the program in its own units (see `scaled`).
        lower, upper: present column bounds [columns] in those units; fixed binaries have lower == upper.
        point: the last solution found [columns], in the units of the query.
        solves: how many times the simplex method was started.
        multipliers: those of the last certified infeasibility [rows], in the units of the query; a row with
            a positive one is used at its lower limit.
    """

    def __init__(self, model: Milp, rows: Indices | None = None) -> None:
        """Args: rows: range rows (numbers into `model.ranges`) to start with."""
        model, self._unit, self._row_unit = scaled(model)
        self.model = model
        self.lower, self.upper = model.lower.copy(), model.upper.copy()
        self._middle, self._row_lower, self._row_upper = centred(model)
        largest = np.maximum(np.abs(model.lower), np.abs(model.upper))
        # What a coefficient of a sum of rows loses to underflow, beside values of columns.
        self._lost = TINY + UNDERFLOW * largest.sum(where=np.isfinite(largest))
        self._row_size = abs(model.matrix) @ largest
        if len(model.row_size):
            self._row_size = self._row_size + model.row_size
        self.point = np.zeros(len(model.lower))
        self.solves, self.tangents = 0, 0
        self.multipliers = np.zeros(model.matrix.shape[0])
        lazy = np.zeros(model.matrix.shape[0], bool)
        lazy[model.ranges] = True
        if rows is not None:
            lazy[model.ranges[rows[rows < len(model.ranges)]]] = False
        self.used = np.flatnonzero(~lazy)
        self._waiting = np.flatnonzero(lazy)
        self.matrix = sparse.csr_array(model.matrix[self.used])
        self.backend = simplex()
        self.backend.passModel(self._lp())

    def refutation(self, atoms: Sequence[Atom]) -> Refutation:
        """The last certified infeasibility, by what its rows and column bounds stand for.

        Args:
            atoms: of `Property.comparisons` of the program's property, in order.
        """
        model, scale = self.model, np.abs(self.multipliers).max(initial=0.0)
        multipliers = self.multipliers / (scale or 1.0)
        parts: list[Weighted] = []
        pairs: list[tuple[Atom, float]] = []
        for origin in model.rows_of:
            part = multipliers[origin.first : origin.first + len(origin.entries)]
            used = np.flatnonzero(np.abs(part) > _SMALLEST)
            if origin.kind == "atom":
                pairs += [(atoms[origin.entries[row]], float(part[row])) for row in used if part[row] > 0]
            elif len(used):
                part = part[used] if origin.kind in TWO_SIDED else np.abs(part[used])
                parts.append(Weighted(origin.kind, origin.kind, origin.number, origin.entries[used], part))
        weights = self.weights(multipliers)
        for origin in model.columns_of:
            part = weights[origin.first : origin.first + len(origin.entries)]
            for kind, side in (("high", part), ("low", -part)):
                used = np.flatnonzero(side > _SMALLEST)
                if len(used):
                    entries = origin.entries[used]
                    parts.append(Weighted(kind, origin.kind, origin.number, entries, side[used]))
        return Refutation(tuple(parts), tuple(pairs))

    @property
    def rows(self) -> Indices:
        """Range rows in use, as numbers into `model.ranges`."""
        return np.flatnonzero(np.isin(self.model.ranges, self.used))

    def weights(self, multipliers: Array) -> Array:
        """Coefficients [columns] of the sum of multiplier * row, in the units of the query."""
        model = self.model
        return np.asarray(model.matrix.T @ (multipliers * self._row_unit) / self._unit)

    def fix(self, column: int, value: float) -> None:
        """Fixes a binary."""
        value = value / float(self._unit[column])
        self._bound(column, value, value)

    def release(self, column: int) -> None:
        """Gives a binary its range back."""
        self._bound(column, self.model.lower[column], self.model.upper[column])

    def refuted(self, nearest: bool = True, budget: Budget | None = None) -> bool:
        """Whether no point has the present bounds; False also where that could not be certified.

        Args:
            nearest: where there is a ball, look for the point nearest to its centre, too.
            budget: once it is over, rows that the last point violates are left out.
        """
        while True:
            self.backend.run()
            self.solves += 1
            status = self.backend.getModelStatus()
            if status == highspy.HighsModelStatus.kInfeasible:
                return self._certified()
            if status != highspy.HighsModelStatus.kOptimal:
                return False
            solution = np.array(self.backend.getSolution().col_value) + self._middle
            more = budget is None or not budget.over
            if more and (self._add_violated(solution) or (nearest and self._add_tangent(solution))):
                continue
            self.point = solution * self._unit
            return False

    def _bound(self, column: int, low: float, high: float) -> None:
        self.lower[column], self.upper[column] = low, high
        middle = float(self._middle[column])
        self.backend.changeColBounds(column, low - middle, high - middle)

    def _add_violated(self, solution: Array) -> bool:
        model, waiting = self.model, self._waiting
        if not len(waiting):
            return False
        values = model.matrix[waiting] @ solution
        excess = np.maximum(model.row_lower[waiting] - values, values - model.row_upper[waiting])
        violated = np.flatnonzero(excess > _VIOLATED)
        if not len(violated):
            return False
        chosen = violated[np.argsort(-excess[violated], kind="stable")[:_AT_ONCE]]
        self._use(waiting[chosen])
        self._waiting = np.delete(waiting, chosen)
        return True

    def _use(self, new: Indices) -> None:
        """Hands rows of the program to the simplex method."""
        part = sparse.csr_array(self.model.matrix[new])
        self.backend.addRows(
            len(new),
            self._row_lower[new],
            self._row_upper[new],
            part.nnz,
            part.indptr[:-1].astype(np.int32),
            part.indices.astype(np.int32),
            part.data,
        )
        self.used = np.concatenate([self.used, new])
        self.matrix = sparse.csr_array(sparse.vstack([self.matrix, part]))

    def _add_tangent(self, solution: Array) -> bool:
        """Adds the tangent that cuts all solutions off, where none lies in the ball; else moves this one."""
        ball, inputs = self.model.ball, self.model.inputs
        if ball is None or self.tangents == _MOST_TANGENTS or self._inside(solution):
            return False
        near = self._nearest(ball)
        if near is not None and self._inside(near):
            solution[:] = near
            return self._add_violated(near)
        x = ((solution if near is None else near) * self._unit)[:inputs]
        row, constant = ball.tangent(x)
        self.tangents += 1
        self._add_row(row, -constant)
        return True

    def _inside(self, solution: Array) -> bool:
        ball = self.model.ball
        x = (solution * self._unit)[: self.model.inputs]
        return ball is None or float(ball.distance(x)) <= ball.radius * (1 + _ON_SPHERE)

    def _add_row(self, row: Array, lower: float) -> None:
        """Adds row [n] @ x >= lower, in the units of the query, as a row in use."""
        model = self.model
        weights = np.zeros(len(model.lower))
        weights[: len(row)] = row * self._unit[: len(row)]
        unit = float(_power_of_two(np.abs(weights).max(keepdims=True))[0])
        part = sparse.csr_array(weights[None] / unit)
        least, new = lower / unit, np.array([model.matrix.shape[0]])
        size = abs(part) @ np.maximum(np.abs(model.lower), np.abs(model.upper))
        self.model = replace(
            model,
            matrix=sparse.csr_array(sparse.vstack([model.matrix, part])),
            row_lower=np.append(model.row_lower, least),
            row_upper=np.append(model.row_upper, np.inf),
        )
        self._row_unit = np.append(self._row_unit, unit)
        self._row_size = np.concatenate([self._row_size, size])
        self._row_lower = np.append(self._row_lower, least - float((part @ self._middle)[0]))
        self._row_upper = np.append(self._row_upper, np.inf)
        self.multipliers = np.append(self.multipliers, 0.0)
        self._use(new)

    def _nearest(self, ball: Ball) -> Array | None:
        """The point [columns] of the relaxation nearest to the centre; None where HiGHS finds none."""
        inputs, columns = self.model.inputs, len(self.model.lower)
        # What cannot move adds the same to every distance.
        unit = np.where(self.lower < self.upper, self._unit, 0.0)[:inputs]
        offset = np.where(unit > 0.0, unit * self._middle[:inputs] - ball.centre, 0.0)
        if max(unit.max(initial=0.0), np.abs(offset).max(initial=0.0)) > _FARTHEST * ball.radius:
            return None
        unit, offset = unit / ball.radius, offset / ball.radius
        cost = np.zeros(columns)
        cost[:inputs] = 2.0 * unit * offset
        hessian = highspy.HighsHessian()
        hessian.dim_, hessian.format_ = columns, highspy.HessianFormat.kTriangular
        hessian.start_ = np.minimum(np.arange(columns + 1), inputs).astype(np.int32)
        hessian.index_, hessian.value_ = np.arange(inputs, dtype=np.int32), 2.0 * unit * unit
        every = np.arange(columns, dtype=np.int32)
        self.backend.setOptionValue("time_limit", self.backend.getRunTime() + _NEAREST_S)
        self.backend.passHessian(hessian)
        self.backend.changeColsCost(columns, every, cost)
        self.backend.run()
        self.solves += 1
        optimal = self.backend.getModelStatus() == highspy.HighsModelStatus.kOptimal
        found = np.array(self.backend.getSolution().col_value) + self._middle if optimal else None
        self.backend.passHessian(highspy.HighsHessian())
        self.backend.changeColsCost(columns, every, np.zeros(columns))
        self.backend.setOptionValue("time_limit", np.inf)
        return found

    def _certified(self) -> bool:
        _, exists, ray = self.backend.getDualRay()
        if not exists:
            return False
        ray = np.asarray(ray, np.float64)
        for multipliers in (ray, -ray):
            if self._contradiction(multipliers):
                self.multipliers = np.zeros(self.model.matrix.shape[0])
                self.multipliers[self.used] = multipliers / self._row_unit[self.used]
                return True
        return False

    def _contradiction(self, multipliers: Array) -> bool:
        row_lower, row_upper = self.model.row_lower[self.used], self.model.row_upper[self.used]
        limits = np.where(multipliers > 0, row_lower, row_upper)
        multipliers = np.where(np.isfinite(limits), multipliers, 0.0)
        required = np.where(multipliers != 0.0, limits, 0.0) * multipliers
        weights = self.matrix.T @ multipliers
        if not np.isfinite(weights).all():
            return False  # of what overflows, the allowance below knows nothing
        reached = np.where(weights > 0, self.upper, self.lower) * weights
        # Two roundings of everything: of the rows as they stand, and of this sum.
        scale = np.abs(required).sum() + 2.0 * (self._row_size[self.used] @ np.abs(multipliers))
        return bool(required.sum() - reached.sum() > ROUNDING * scale + self._lost)

    def _lp(self) -> highspy.HighsLp:
        lp = highspy.HighsLp()
        lp.num_row_, lp.num_col_ = self.matrix.shape
        lp.col_cost_ = np.zeros(lp.num_col_)
        lp.col_lower_, lp.col_upper_ = self.lower - self._middle, self.upper - self._middle
        lp.row_lower_, lp.row_upper_ = self._row_lower[self.used], self._row_upper[self.used]
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = self.matrix.indptr
        lp.a_matrix_.index_ = self.matrix.indices
        lp.a_matrix_.value_ = self.matrix.data
        return lp
