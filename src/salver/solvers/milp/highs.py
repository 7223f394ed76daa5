"""HiGHS as the exact back end of `milp`."""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
import numpy.typing as npt

from salver.solvers.milp.program import Milp

Array = npt.NDArray[np.float64]


def solve(model: Milp, seconds: float, threads: int, seed: int) -> tuple[str, Array | None]:
    """Decides feasibility within a wall-clock limit.

    Returns:
        ("feasible", values [columns]), ("infeasible", None), or ("limit" or an error's name, None).
    """
    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    options = {
        "output_flag": False,
        "time_limit": max(seconds, 0.01),
        "threads": threads,
        "parallel": "on" if threads > 1 else "off",
        "random_seed": seed,
        "primal_feasibility_tolerance": 1e-9,
        "dual_feasibility_tolerance": 1e-9,
        "mip_feasibility_tolerance": 1e-9,
    }
    for name, value in options.items():
        solver.setOptionValue(name, value)
    scaled, columns = model.scaled()
    solver.passModel(_lp(scaled))
    solver.run()
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return "infeasible", None
    if status in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kSolutionLimit):
        return "feasible", np.array(solver.getSolution().col_value) * columns
    if status == highspy.HighsModelStatus.kTimeLimit:
        return "limit", None
    return solver.modelStatusToString(status), None


def _lp(model: Milp) -> highspy.HighsLp:
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = model.matrix.shape
    lp.col_cost_ = np.zeros(lp.num_col_)
    lp.col_lower_, lp.col_upper_ = model.lower, model.upper
    lp.row_lower_, lp.row_upper_ = model.row_lower, model.row_upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = model.matrix.indptr
    lp.a_matrix_.index_ = model.matrix.indices
    lp.a_matrix_.value_ = model.matrix.data
    if model.integer.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(integer)] for integer in model.integer]
    return lp
