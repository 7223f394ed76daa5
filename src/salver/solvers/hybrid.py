"""`hybrid`: attack, then bounds and branching with exact leaves; complete, and sound by replay.

The parts run in turn: a short gradient attack (most satisfiable queries fall here), then `tree.search`,
whose nodes read the saliency condition backwards. See docs/solving.md for the measurements behind it.
"""

from __future__ import annotations

from salver.solvers.falsify import attack
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.tree import search

ATTACK_SHARE, ATTACK_MOST_S = 0.1, 3.0


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Decides a query; `unknown` only where solutions lie too close to z = 0 to survive replay.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    short = Budget(min(ATTACK_MOST_S, ATTACK_SHARE * budget.seconds, budget.left))
    witness = attack(query, short, options.seed, rounds=4)
    if witness is not None:
        return Result(Verdict.SAT, witness)
    return search(query, budget, options)
