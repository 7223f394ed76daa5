"""`milp`: the query as one mixed-integer program, solved by HiGHS or SCIP.

Products become gates (`expansion`) where that is not too many; elsewhere the program has their envelopes, so
that an infeasible one still proves `unsat`, and SCIP proposes points.

The program covers masks closed at z = 0, so its infeasibility proves `unsat`. A solution is only a
candidate, often with some z = 0: it must survive replay, and where it does not, the query is asked
again with room on both sides of every neuron. An infeasible query with such a margin proves nothing.

An `unsat` rests on floating-point branch and bound, with every bound finite and moved outwards
(`solvers.bounding.bounds`) and every clause relaxed by `model.SLACK`, and never on HiGHS alone; that makes a
wrong one unlikely, not impossible. Proofs are for the rest (`salver.solvers.proving`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.program import Program
from salver.solvers.absolute import without_abs
from salver.solvers.alternatives import without_refuted
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.claims import claimed_unsat
from salver.solvers.milp.expansion import with_gates
from salver.solvers.milp.model import build
from salver.solvers.milp.program import Milp
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.watchdog import is_out_of_memory

Array = npt.NDArray[np.float64]
Backend = Callable[[Milp, float, int, int], tuple[str, Array | None]]

DEFAULT_BACKEND = "highs"
FAILED = "failed"
"""First word of the status of a back end that raised an exception."""
MARGINS = (1e-3, 1e-5)
"""Distances from z = 0 asked for when a candidate does not survive replay, first with as much slack in
the clauses and then without."""


def backend(name: str) -> Backend:
    """The function `solve(model, seconds, threads, seed)` of a back end; "" is the default.

    Raises:
        SalverError: no such back end.
    """
    match name or DEFAULT_BACKEND:
        case "highs":
            return _highs_if_scip_agrees
        case "scip":
            from salver.solvers.milp import scip as milp_scip

            return milp_scip.solve
    raise SalverError(f"no back end {name}", "milp", "choose highs or scip")


def proposing(name: str, program: Program) -> Backend:
    """The same where only points count: SCIP where there are products, since HiGHS has none."""
    if not program.has_products:
        return backend(name)
    from salver.solvers.milp import scip as milp_scip

    return milp_scip.propose


def _highs_if_scip_agrees(model: Milp, seconds: float, threads: int, seed: int) -> tuple[str, Array | None]:
    """HiGHS, which is quicker; but what it calls infeasible is asked of SCIP, whose answer counts.

    Of a ball HiGHS knows nothing, so SCIP alone is asked.

    Of thousands of random queries HiGHS 1.15 called one in 200 infeasible that is not, where its presolve
    or its tolerance met numbers of very different size; some are left when the program is scaled. Of SCIP
    none was seen.
    """
    from salver.solvers.milp import highs, scip

    if model.ball is not None:
        return _asked(scip.solve, model, seconds, threads, seed)
    deadline = time.monotonic() + seconds
    status, values = _asked(highs.solve, model, seconds, threads, seed)
    if status != "infeasible" and not status.startswith(FAILED):
        return status, values
    return _asked(scip.solve, model, deadline - time.monotonic(), threads, seed)


def _asked(decide: Backend, model: Milp, seconds: float, threads: int, seed: int) -> tuple[str, Array | None]:
    """The back end's answer; whatever it raises is one, too."""
    try:
        return decide(model, seconds, threads, seed)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"{FAILED} ({type(error).__name__}: {error})", None


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides a query; complete up to time and floating point.

    Raises:
        SalverError: unknown back end.
        UnsupportedQueryError: operators outside `Program`.
    """
    decide = backend(options.backend)
    if query.program.has_products:
        query = _with_gates(query)
    prop = query.prop
    bounds = propagate(query.program, prop.input_lower, prop.input_upper, ball=prop.ball)
    result = solve_within(without_refuted(query, bounds), bounds, budget, options, decide)
    return claimed_unsat(query, budget, options) if result.verdict is Verdict.UNSAT else result


def _with_gates(query: Query) -> Query:
    """The query with sums of gates for its products, if they are few."""
    expanded = with_gates(without_abs(query.program))
    return query if expanded is None else query.over(expanded)


def solve_within(
    query: Query, bounds: Bounds, budget: Budget, options: Options, decide: Backend | None = None
) -> Result:
    """The same over the box and fixed signs of `bounds`; its `unsat` speaks about those alone."""
    decide = decide or backend(options.backend)
    model = None if bounds.infeasible else build(query.program, query.prop, bounds)
    if model is None:
        return Result(Verdict.UNSAT, reason="the bounds leave no value that satisfies every clause")
    if budget.over:
        return Result(Verdict.TIMED_OUT)
    status, values = _asked(decide, model, budget.left, options.threads, options.seed)
    if status == "infeasible":
        return Result(Verdict.UNSAT)
    if values is None:
        return Result(
            Verdict.TIMED_OUT if status == "limit" else Verdict.UNKNOWN, reason=f"back end: {status}"
        )
    witness = query.confirm_near(values[: model.inputs])
    if witness is None and len(model.products) and not budget.over:
        decide = proposing("", query.program)
        _, values = _asked(decide, model, budget.left, options.threads, options.seed)
        if values is None:
            return Result(Verdict.UNKNOWN, reason="no solution of the envelopes of products survives replay")
        witness = query.confirm_near(values[: model.inputs])
    if witness is None:
        witness = _with_margin(query, bounds, values, budget, options, decide)
    elif query.on_kink(witness):
        # A vertex of the program; inside the cell an autograd of another precision sees the same map.
        inner = _with_margin(query, bounds, values, budget, options, decide, searches=(True,))
        witness = witness if inner is None else inner
    if witness is not None:
        return Result(Verdict.SAT, witness)
    if budget.over:
        return Result(Verdict.TIMED_OUT, reason="a solution was found, none that survives replay")
    return Result(Verdict.UNKNOWN, reason="solutions exist only too close to z = 0 to survive replay")


def _with_margin(
    query: Query,
    bounds: Bounds,
    values: Array,
    budget: Budget,
    options: Options,
    decide: Backend,
    searches: tuple[bool, ...] = (True, False),
) -> Array | None:
    """A confirmed witness away from z = 0: first with the candidate's own signs (True), then with any."""
    pairs = [(margin, room) for margin in MARGINS for room in (margin, 0.0)]
    models = [build(query.program, query.prop, bounds, *pair) for pair in pairs]
    for fixed in searches:
        for model in models:
            if model is None or budget.over:
                continue
            asked = model.with_integers(values) if fixed else model
            _, found = _asked(decide, asked, budget.left, options.threads, options.seed)
            witness = None if found is None else query.confirm_near(found[: model.inputs])
            if witness is not None:
                return witness
    return None
