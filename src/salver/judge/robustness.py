"""What was found out about explanations, by network, epsilon, question or method: verified, or falsified.

A leaderboard is about solvers; this is about what they were put on.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from salver.core.errors import SalverError, suggestion
from salver.judge.columns import SHARES, par2_cost
from salver.judge.scoring import VIRTUAL_BEST, per_instance, virtual_best, wilson

KEYS = ("network", "epsilon", "norm", "question", "method", "family", "suite", "dataset", "k", "delta")
"""Columns of the results that instances can be grouped by."""
SHOWN = ("network", "epsilon", "norm", "question", "method")
"""Those that a report groups by, each alone, where a run has more than one value of it."""


def robustness(frame: pd.DataFrame, by: Sequence[str], unfinished: bool = False) -> pd.DataFrame:
    """Shares of the instances of each group that each solver, and the virtual best, decided.

    Every instance counts once (`per_instance`). The intervals are Wilson's at 95 % (Wilson, 1927).

    Args:
        frame: a `results_frame`.
        by: some of `KEYS`.
        unfinished: the run has jobs left, so no mean such as PAR-2 is given (NaN).

    Returns:
        `by`, `solver` and the columns of `columns.SHARES`; each share, in [0, 1], is followed by `_low` and
        `_high`. Groups in the order of their values, the virtual best last in each. A fact that an instance
        does not have is missing.

    Raises:
        SalverError: no such key; no instance has such a fact.
    """
    for key in by:
        if key not in KEYS:
            raise SalverError(f"no table is by {key[:60]!r}", "--by", suggestion(key, KEYS))
        if frame[key].replace("", None).isna().all():
            what = f"no instance of this run says its {key}"
            raise SalverError(what, "--by", "it was made from a set without such facts; leave the option out")
    own = list(dict.fromkeys([*by, "suite", "instance_id", "repetition", "solver", "outcome", "wall_s"]))
    frame = per_instance(frame[[*own, "limit_s"]]).assign(repetition=0)
    runs = pd.concat([frame, virtual_best(frame)], ignore_index=True)
    counted = runs.assign(
        verified=runs["outcome"] == "verified",
        falsified=runs["outcome"] == "falsified",
        wrong=runs["outcome"] == "wrong",
        par2=par2_cost(runs),
    )
    groups = counted.groupby([*by, "solver"], dropna=False, sort=False)
    table = groups.agg(
        instances=("outcome", "size"),
        verified=("verified", "sum"),
        falsified=("falsified", "sum"),
        wrong=("wrong", "sum"),
        par2=("par2", "mean"),
    ).reset_index()
    return _ordered(_as_shares(table, unfinished), by)


def _as_shares(table: pd.DataFrame, unfinished: bool) -> pd.DataFrame:
    runs = table["instances"]
    table = table.assign(open=(runs - table["verified"] - table["falsified"]) / runs)
    for name in ("verified", "falsified"):
        low, high = wilson(table[name], runs)
        table = table.assign(**{name: table[name] / runs, f"{name}_low": low, f"{name}_high": high})
    return table.assign(par2=float("nan")) if unfinished else table


def _ordered(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    keyed = table.assign(
        virtual=table["solver"] == VIRTUAL_BEST, decided=table["verified"] + table["falsified"]
    )
    order = [*by, "virtual", "decided", "par2", "solver"]
    rising = [*[True] * len(by), True, False, True, True]
    names = [name for column in SHARES for name in column.names]
    return keyed.sort_values(order, ascending=rising)[[*by, "solver", *names]].reset_index(drop=True)
