"""An `unsat` on the word of a library: claimed only where a short attack finds no witness either.

HiGHS, SCIP and Marabou were all seen to call queries infeasible that have a solution, most of which an attack
of a tenth of a second finds. That is no certificate, and no `unsat` of theirs is more than a claim.
"""

from __future__ import annotations

from salver.solvers.query import Budget, Options, Query, Result, Verdict

ATTACK_S = 1.0
ATTACK_SHARE = 0.1


def claimed_unsat(query: Query, budget: Budget, options: Options) -> Result:
    """`unsat`, or `sat` where an attack of at most a second, and a tenth of the time left, finds a
    witness."""
    from salver.solvers.attack.falsify import attack

    seconds = min(ATTACK_S, ATTACK_SHARE * budget.left)
    witness = attack(query, Budget(seconds), options.seed, rounds=4) if seconds > 0 else None
    return Result(Verdict.UNSAT) if witness is None else Result(Verdict.SAT, witness)
