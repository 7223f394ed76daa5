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
    first, last = {
        "riemann_left": (0.0, 1 - 1 / steps),
        "riemann_middle": (1 / (2 * steps), 1 - 1 / (2 * steps)),
        "riemann_right": (1 / steps, 1.0),
        "riemann_trapezoid": (0.0, 1.0),
    }[rule]
    return _spaced(first, last, steps), weights


def _spaced(first: float, last: float, count: int) -> Array:
    """The binary32 numbers of `torch.linspace`, which counts from both ends.

    Captum takes these; where a place is about on a kink their last bit decides.
    """
    low, high = (float(np.float32(end)) for end in (first, last))
    step = float(np.float32((np.float32(last) - np.float32(first)) / np.float32(count - 1)))
    numbers = np.arange(count)
    places = np.where(numbers < count // 2, low + step * numbers, high - step * numbers[::-1])
    return places.astype(np.float32).astype(np.float64)
