"""SCIP as the exact back end of `milp`. It runs on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pyscipopt import Expr, Model, quicksum
from pyscipopt.scip import Term

from salver.solvers.milp.program import Milp
from salver.spec import Ball

Array = npt.NDArray[np.float64]
_FARTHEST = 1e6
"""Radii of a ball that inputs may be large: SCIP compares with absolute tolerances."""


def solve(model: Milp, seconds: float, threads: int, seed: int) -> tuple[str, Array | None]:
    """Decides feasibility within a wall-clock limit.

    Returns:
        ("feasible", values [columns]), ("infeasible", None), or ("limit" or an error's name, None).
    """
    return _solved(model, seconds, products=False)


def propose(model: Milp, seconds: float, threads: int, seed: int) -> tuple[str, Array | None]:
    """The same with products as bilinear equations, which SCIP meets up to its tolerances.

    The points are better than those of the envelopes. An infeasibility is worth less: nothing may rest on it.
    """
    return _solved(model, seconds, products=True)


def _solved(model: Milp, seconds: float, products: bool) -> tuple[str, Array | None]:
    scaled, columns = model.scaled()
    solver, variables = _scip(scaled)
    for p, f, v in model.products.tolist() if products else ():
        factor = float(columns[f] * columns[v] / columns[p])
        solver.addCons(variables[p] == factor * variables[f] * variables[v])
    # Without a ball that is a point beside the box more inputs are asked about.
    if model.ball is not None and columns[: model.inputs].max(initial=0.0) < _FARTHEST * model.ball.radius:
        solver.addCons(_share_of_ball(model.ball, variables, columns) <= 1.0)
    solver.setParams(
        {
            "limits/time": max(seconds, 0.01),
            "timing/clocktype": 2,
        }
    )
    solver.optimize()
    status = solver.getStatus()
    if status == "infeasible":
        return status, None
    if solver.getNSols():
        solution = solver.getBestSol()
        values = np.array([solver.getSolVal(solution, variable) for variable in variables])
        return "feasible", values * columns
    return "limit" if status == "timelimit" else status, None


def _share_of_ball(ball: Ball, variables: list[Any], columns: Array) -> Any:
    """|x - centre|^2 / radius^2, where x is the first variables times the factors of their columns."""
    factors, centre = (columns / ball.radius).tolist(), (ball.centre / ball.radius).tolist()
    steps = (factor * v - c for v, factor, c in zip(variables, factors, centre, strict=False))
    return quicksum(step * step for step in steps)


def _scip(model: Milp) -> tuple[Any, list[Any]]:
    solver = Model()
    solver.hideOutput()
    variables = [
        solver.addVar(vtype="B" if integer else "C", lb=low, ub=high)
        for low, high, integer in zip(
            model.lower.tolist(), model.upper.tolist(), model.integer.tolist(), strict=True
        )
    ]
    terms = [Term(variable) for variable in variables]
    starts, columns, values = (
        part.tolist() for part in (model.matrix.indptr, model.matrix.indices, model.matrix.data)
    )
    for row, (low, high) in enumerate(zip(model.row_lower.tolist(), model.row_upper.tolist(), strict=True)):
        span = slice(starts[row], starts[row + 1])
        if span.start == span.stop:
            if low > 0 or high < 0:
                variable = solver.addVar(lb=0.0, ub=0.0)
                solver.addCons(variable >= 1.0)
            continue
        row_terms = {terms[c]: v for c, v in zip(columns[span], values[span], strict=True)}
        if low == high:
            solver.addCons(Expr(row_terms) == low)
        elif np.isfinite(low) and np.isfinite(high):
            solver.addCons(low <= (Expr(row_terms) <= high))
        elif np.isfinite(low):
            solver.addCons(Expr(row_terms) >= low)
        else:
            solver.addCons(Expr(row_terms) <= high)
    return solver, variables
