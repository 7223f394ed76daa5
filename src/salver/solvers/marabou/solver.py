"""The embedded solver `marabou`: Marabou on the lowered query, bounds by interval arithmetic alone."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from salver.core.packages import require_packages
from salver.nets.program import Program
from salver.solvers.absolute import without_abs
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.claims import claimed_unsat
from salver.solvers.marabou.child import LinearQuery
from salver.solvers.marabou.encoding import Margin, encode
from salver.solvers.marabou.scaling import REACHES, distinguishable, scaled
from salver.solvers.query import Budget, Options, Query, Result, Verdict

BEYOND = "Marabou says unsat, but its tolerances cannot tell the numbers of this query apart"
MARGINS = (Margin(1e-3, 1e-4), Margin(1e-5, 1e-6))
"""Asked in this order when the witness of a relaxed `sat` does not survive replay."""


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides one query with one thread of Marabou.

    Raises:
        UnsupportedQueryError: see `Query.program_without_products`.
        SalverError: Marabou is not installed.
    """
    prop = query.prop
    program = without_abs(query.program_without_products)
    bounds = propagate(program, prop.input_lower, prop.input_upper, method="interval", ball=prop.ball)
    return decide(query, program, bounds, budget, options)


def decide(
    query: Query, program: Program, bounds: Bounds, budget: Budget, options: Options, workers: int = 1
) -> Result:
    """Marabou's verdict given bounds: `unsat` from the relaxed problem alone, `sat` from replay alone.

    An `unsat` must come back from other units too: alone it was seen to be false (`scaling.py`). Where the
    numbers are beyond Marabou's tolerances, it is `unknown`; else it is claimed, without a certificate.

    Args:
        program: the query's, without `AbsBlock`.
        bounds: of that program over the query's box.
        workers: above 1, split-and-conquer with that many threads.

    Raises:
        SalverError: Marabou is not installed.
    """
    problem = encode(program, query.prop, bounds, None, workers)
    if problem is None:
        return Result(Verdict.UNSAT, reason="the bounds refute a clause")
    for reach in REACHES:
        answer = run(scaled(problem, reach), budget)
        if answer is None or answer["verdict"] != "unsat":
            break
    else:
        if distinguishable(problem):
            return claimed_unsat(query, budget, options)
        return Result(Verdict.UNKNOWN, reason=BEYOND)
    margins = iter(MARGINS)
    while answer is not None and answer["verdict"] in ("sat", "unsat"):
        witness = query.confirm_near(np.array(answer["x"])) if answer["verdict"] == "sat" else None
        if witness is not None:
            return Result(Verdict.SAT, witness)
        margin = next(margins, None)
        if margin is None:
            return Result(Verdict.UNKNOWN, reason="no point that satisfies the condition survived replay")
        problem = encode(program, query.prop, bounds, margin, workers)
        answer = {"verdict": "unsat"} if problem is None else run(scaled(problem, REACHES[0]), budget)
    if answer is None:
        return Result(Verdict.TIMED_OUT)
    return Result(Verdict.UNKNOWN, reason=f"Marabou answered {answer['verdict']}")


def run(problem: LinearQuery, budget: Budget) -> dict[str, Any] | None:
    """What `child.ask` returned, or how the process failed; None when the budget ended it first.

    Raises:
        SalverError: maraboupy is not installed.
    """
    require_packages(["maraboupy"], "marabou")
    if budget.over:
        return None
    given = pickle.dumps(problem)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "salver.solvers.marabou.child", str(os.getpid()), folder]
        try:
            finished = subprocess.run(
                command, input=given, capture_output=True, timeout=max(budget.left, 0.0), check=False
            )
        except subprocess.TimeoutExpired:
            return None
    if finished.returncode != 0:
        lines = finished.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        return {"verdict": f"with status {finished.returncode}: {lines[-1]}"}
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer
