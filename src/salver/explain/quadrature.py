"""Rules that replace the integral over [0, 1] by a weighted sum, as in Captum 0.9."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError

Array = npt.NDArray[np.float64]
Rule = Literal["gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"]


def quadrature(rule: Rule, steps: int) -> tuple[Array, Array]:
    """Places in [0, 1] and weights, `steps` of each.

    The trapezoidal rule has half the weight at both ends and 1/steps at all others, as Captum has it, so its
    weights add up to 1 - 1/steps.

    Raises:
        SalverError: one step of a Riemann rule, of which Captum has none.
    """
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return np.asarray((1 + nodes) / 2), np.asarray(weights / 2)
    if steps < 2:
        raise SalverError(f"1 is too few for {rule}", "steps", "give 2 or more, or take gausslegendre")
    weights = np.full(steps, 1 / steps)
    if rule == "riemann_trapezoid":
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    first = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (np.arange(steps) + first) / steps, weights
