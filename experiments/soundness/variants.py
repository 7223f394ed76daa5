"""Ways to ask `hybrid`'s parts alone, so that small queries reach the code that large ones need."""

from __future__ import annotations

from salver.solvers import hybrid_paper
from salver.solvers.attack import falsify
from salver.solvers.crown import solver as crown
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.hybrid.cover import FEW, Cover
from salver.solvers.hybrid.node import children, root_node, tighten
from salver.solvers.hybrid.parallel import search_in_parallel
from salver.solvers.hybrid.tree import search
from salver.solvers.marabou import solver as marabou
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict


def without_attack(query: Query, budget: Budget, options: Options) -> Result:
    """The search from the root: every `sat` has to come out of a leaf."""
    return search(query, budget, options, [root_node(query)])


def in_parallel(query: Query, budget: Budget, options: Options) -> Result:
    """The same on two processes."""
    return search_in_parallel(query, budget, Options(2, seed=options.seed), root_node(query))


def to_the_bottom(query: Query, budget: Budget, options: Options) -> Result:
    """Branching until no neuron is open; only then the exact back end, on a linear program."""
    pending, doubt = [root_node(query)], ""
    while pending:
        if budget.over:
            return Result(Verdict.TIMED_OUT)
        node = pending.pop()
        bounds = tighten(query, node)
        if bounds is None:
            continue
        pair = children(query, bounds, node)
        pending += pair
        if not pair:
            result = milp.solve_within(query, bounds, budget, options, milp.backend("highs"))
            if result.verdict is Verdict.SAT:
                return result
            if result.verdict is not Verdict.UNSAT:
                doubt = result.reason or result.verdict.value
    return Result(Verdict.UNKNOWN, reason=doubt) if doubt else Result(Verdict.UNSAT)


def by_boxes(query: Query, budget: Budget, options: Options) -> Result:
    """The cover to its end, from bounds of the root alone; only then the search of what it left."""
    return _covered(query, budget, options, few=0)


def by_small_boxes(query: Query, budget: Budget, options: Options) -> Result:
    """The same, with every box of few open neurons searched by itself."""
    return _covered(query, budget, options, FEW)


def _covered(query: Query, budget: Budget, options: Options, few: int) -> Result:
    root = root_node(query)
    if root.within.infeasible:
        return Result(Verdict.UNSAT)
    cover = Cover(query, root.within, few=few)
    while not cover.ended:
        if budget.over:
            return Result(Verdict.TIMED_OUT)
        cover.step()
    return search(query, budget, options, cover.leaves)


def milp_highs(query: Query, budget: Budget, options: Options) -> Result:
    """`milp` by HiGHS."""
    return milp.solve(query, budget, Options(1, seed=options.seed, backend="highs"))


def milp_scip(query: Query, budget: Budget, options: Options) -> Result:
    """`milp` by SCIP."""
    return milp.solve(query, budget, Options(1, seed=options.seed, backend="scip"))


SOLVERS: dict[str, Solver] = {
    "hybrid": hybrid.solve,
    "without-attack": without_attack,
    "to-the-bottom": to_the_bottom,
    "in-parallel": in_parallel,
    "by-boxes": by_boxes,
    "by-small-boxes": by_small_boxes,
    "milp": milp_highs,
    "milp-scip": milp_scip,
    "marabou": marabou.solve,
    "hybrid-paper": hybrid_paper.solve,
    "crown": crown.solve,
    "falsify": falsify.solve,
}
