"""Random search over a box: what instances are balanced by, never taken as proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.spec import Ball

Array = npt.NDArray[np.float64]
BATCH, ROUNDS = 128, 12


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search came out.

    Attributes:
        value: the largest score, or the smallest tolerance or radius with a violation (inf when none was
            seen).
        point: the binary32 point [n] that has it; None for none.
        samples: how many points were looked at.
    """

    value: float
    point: Array | None = None
    samples: int = 0

    @property
    def finite(self) -> float | None:
        """The value, or None for inf."""
        return self.value if np.isfinite(self.value) else None


def largest(
    score: Callable[[Array], Array],
    lower: Array,
    upper: Array,
    centre: Array,
    seed: int,
    ball: Ball | None = None,
) -> Found:
    """Random search for the largest score over a box: corners and uniform points, then shrinking steps.

    Args:
        score: points [batch, n] -> values [batch].
        lower, upper, centre: binary32 values [n].
        ball: in which points must lie besides; the box holds its centre.
    """
    rng = np.random.default_rng(seed)
    anywhere = rng.uniform(lower, upper, (BATCH, len(lower)))
    corners = np.where(rng.random((BATCH, len(lower))) < 0.5, lower, upper)
    points = inside(np.concatenate([centre[None], anywhere, corners]), (lower, upper), ball)
    values = score(points)
    samples, best = len(points), points[np.argsort(-values)[:8]]
    value = float(values.max())
    for round_ in range(ROUNDS):
        reach = 0.7**round_ * (upper - lower)
        start = best[rng.integers(len(best), size=BATCH)]
        moved = rng.random(start.shape) < rng.random((BATCH, 1))
        points = inside(start + moved * rng.uniform(-1.0, 1.0, start.shape) * reach, (lower, upper), ball)
        points = np.concatenate([best, points])
        values = score(points)
        samples += BATCH
        best, value = points[np.argsort(-values)[:8]], float(values.max())
    return Found(value, best[0], samples)


def inside(points: Array, box: tuple[Array, Array], ball: Ball | None = None) -> Array:
    """Binary32 points [batch, n] of a box [n], [n], and of a ball in it, next to points [batch, n]."""
    if ball is not None:
        return ball.nearest(points, *box)
    return np.clip(points.astype(np.float32).astype(np.float64), *box)


def significant(value: float, digits: int = 3) -> float:
    """`value` rounded to `digits` significant digits: what a suite writes as delta or epsilon."""
    return float(f"{value:.{digits - 1}e}") if np.isfinite(value) else value
