"""Paired comparisons with intervals: two solvers on the same instances, two networks at the same points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

RESAMPLES = 5000
_PAIR = ["suite", "instance_id", "repetition"]


@dataclass(frozen=True)
class Estimate:
    """A number drawn from pairs, with the percentile bootstrap interval that covers it 95 times of 100."""

    value: float
    low: float
    high: float
    pairs: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)
"""Where no pair is there."""


def _estimate(value: Any, drawn: npt.NDArray[np.float64], pairs: int) -> Estimate:
    """A value with the interval of what was drawn again."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high), pairs)


def par2_ratio(frame: pd.DataFrame, solver: str, reference: str) -> Estimate:
    """How many times the PAR-2 of `reference` the PAR-2 of `solver` is, over the runs both have.

    NaN where they share no run; see `ratio_of_sums`.

    Args:
        frame: columns suite, instance_id, repetition, solver and `cost_s` (PAR-2 cost in seconds).
    """
    ours, theirs = (
        frame.loc[frame["solver"] == name, [*_PAIR, "cost_s"]].set_index(_PAIR)["cost_s"]
        for name in (solver, reference)
    )
    pairs = pd.concat([ours, theirs], axis=1, join="inner").to_numpy(np.float64)
    return ratio_of_sums(pairs[:, ::-1])


def ratio_of_sums(pairs: npt.NDArray[np.float64]) -> Estimate:
    """Sum of the second column of pairs [n, 2] by that of the first; NaN where there is nothing.

    The interval is the percentile bootstrap over pairs (Efron & Tibshirani, 1993, ch. 13), the same on
    every call.
    """
    if not len(pairs) or not pairs[:, 0].sum() > 0:
        return NOTHING
    drawn = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
    # Column by column: picking rows of two numbers takes ten times as long.
    below, above = (np.ascontiguousarray(column)[drawn].sum(axis=1) for column in pairs.T)
    kept = below > 0
    return _estimate(pairs[:, 1].sum() / pairs[:, 0].sum(), above[kept] / below[kept], len(pairs))


def clustered_difference(differences: npt.NDArray[np.float64], clusters: npt.NDArray[np.int64]) -> Estimate:
    """Mean of paired differences [n] that come in clusters [n], such as the questions at one point.

    The interval is the percentile bootstrap that draws whole clusters (Field & Welsh, "Bootstrapping
    clustered data", 2007), the same on every call. NaN throughout where no pair is there.
    """
    if not len(differences):
        return NOTHING
    sums, sizes = np.bincount(clusters, differences), np.bincount(clusters)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    return _estimate(differences.mean(), means, len(differences))


def crossed_difference(differences: npt.NDArray[np.float64]) -> Estimate:
    """Mean of a table of paired differences whose rows and columns were both drawn at random.

    The interval is the percentile bootstrap that draws rows and columns independently (Owen, "The
    pigeonhole bootstrap", 2007, which is conservative), the same on every call.

    Args:
        differences: [rows, columns], such as training seeds by test points; NaN where a pair is missing.

    Returns:
        NaN throughout where no pair is there.
    """
    table = np.asarray(differences, np.float64)
    pairs = int(np.isfinite(table).sum())
    if pairs == 0:
        return NOTHING
    rng = np.random.default_rng(0)
    rows = rng.integers(0, table.shape[0], (RESAMPLES, table.shape[0]))
    columns = rng.integers(0, table.shape[1], (RESAMPLES, table.shape[1]))
    drawn = table[rows[:, :, None], columns[:, None, :]].reshape(RESAMPLES, -1)
    there = np.isfinite(drawn)
    kept = there.any(axis=1)
    means = np.where(there, drawn, 0.0).sum(axis=1)[kept] / there.sum(axis=1)[kept]
    return _estimate(np.nanmean(table), means, pairs)
