"""`mse-attack`: moves the saliency map as far as it goes; finds counterexamples and never proves anything.

Maximises |S(x) - S(xhat)|^2 with the label kept, the attack that knows nothing of rankings (Chen et al.,
NeurIPS 2024). A query does not name xhat; it is read off the box.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.solvers.attack.ranking_attack import Loss, RankingTarget, mse_loss, run
from salver.solvers.query import Budget, Options, Query, Result


def solve(query: Query, budget: Budget, options: Options) -> Result:
    """Returns `sat` with a confirmed witness, `unknown` with the reason, or `timed-out`.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """

    def loss_of(target: RankingTarget) -> Loss:
        prop = query.prop
        centre = prop.ball.centre if prop.ball else reference_point(prop.input_lower, prop.input_upper)
        return mse_loss(target.saliencies(query.program.evaluate(centre[None])[0][0]))

    return run(query, budget, options, loss_of)


def reference_point(
    lower: npt.NDArray[np.float64], upper: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """xhat [n] of the box |x - xhat|_inf <= epsilon cut to a data range.

    Epsilon is half of the largest width. A narrower side is cut where it ends at the smallest lower or at
    the largest upper bound of all. Where every side is cut, the point is only near xhat.
    """
    epsilon = float((upper - lower).max()) / 2
    cut_below = (upper - lower < 2 * epsilon * (1 - 1e-6)) & (lower == lower.min())
    return np.asarray(np.clip(np.where(cut_below, upper - epsilon, lower + epsilon), lower, upper))
