"""Two solvers on the same instances: the ratio of their PAR-2, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

RESAMPLES = 5000
_PAIR = ["suite", "instance_id", "repetition"]


@dataclass(frozen=True)
class Ratio:
    """PAR-2 of a solver divided by another's, with a bootstrap interval over instances."""

    value: float
    low: float
    high: float
    pairs: int


def par2_ratio(frame: pd.DataFrame, solver: str, reference: str, confidence: float = 0.95) -> Ratio:
    """How many times the PAR-2 of `reference` the PAR-2 of `solver` is, over the runs both have.

    The interval is the percentile bootstrap over pairs (Efron & Tibshirani, 1993, ch. 13), the same on
    every call. NaN where they share no run.

    Args:
        frame: columns suite, instance_id, repetition, solver and `cost_s` (PAR-2 cost in seconds).
    """
    ours, theirs = (
        frame.loc[frame["solver"] == name, [*_PAIR, "cost_s"]].set_index(_PAIR)["cost_s"]
        for name in (solver, reference)
    )
    pairs = pd.concat([ours, theirs], axis=1, join="inner").to_numpy(np.float64)
    if not len(pairs):
        nan = float("nan")
        return Ratio(nan, nan, nan, 0)
    rng = np.random.default_rng(0)
    drawn = pairs[rng.integers(0, len(pairs), (RESAMPLES, len(pairs)))].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [tail, 1 - tail])
    value = pairs[:, 0].sum() / pairs[:, 1].sum()
    return Ratio(float(value), float(low), float(high), len(pairs))
