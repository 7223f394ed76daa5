"""`er-attack`: ERAttack on the ranking of a saliency map; finds counterexamples and never proves anything.

Minimises sum of S over T - sum of S outside T with the label kept (Chen et al., NeurIPS 2024).
"""

from __future__ import annotations

from salver.solvers.attack.ranking_attack import er_loss, run
from salver.solvers.query import Budget, Options, Query, Result


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Returns `sat` with a confirmed witness, `unknown` with the reason, or `timed-out`.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    return run(query, budget, options, lambda target: er_loss(target.ranking))
