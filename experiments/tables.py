"""The tables of `salver bench solvers`: pure functions from measured runs to text cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from experiments.published import (
    SOURCE,
    TABLE_1,
    TABLE_1_BRACKET,
    TABLE_2_REGIONS,
    TABLE_2_SOLVED,
)
from salver.judge.columns import SOLVED
from salver.judge.paired import par2_ratio
from salver.judge.scoring import VIRTUAL_BEST, virtual_best

T = TypeVar("T")

REFERENCE = "hybrid"
SIZES = (0, 10, 30, 100, 300, 1000)
"""Lower ends of the ranges of unstable neurons; the last one is open."""
_BOX = "|E(x) - E(xhat)|_inf <= delta"
_WORDS = {"verified": "unsat", "falsified": "sat"}


def bandit_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 1: per delta the published verdict and, per solver, the verdict with wall and solving seconds."""
    rows = []
    for delta in sorted(frame["delta"].unique().tolist()):
        group = frame[frame["delta"] == delta]
        published = _find(TABLE_1, delta)
        expected = published or _find(TABLE_1_BRACKET, delta)
        row = {
            "delta": f"{delta:g}",
            SOURCE: published.value if published else "-",
            "truth": expected.value if expected else "?",
        }
        for solver in _solvers(frame):
            runs = group[group["solver"] == solver]
            row[solver] = _verdict_cell(runs) if len(runs) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def mnist_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 2: regions down, deltas across, each cell a verdict with wall seconds; then the counts.

    With several solvers each has its own rows.
    """
    deltas = sorted(frame["delta"].unique())
    rows = []
    for solver in _solvers(frame):
        own = frame[frame["solver"] == solver]
        for (index, epsilon), group in own.groupby(["index", "epsilon"]):
            row = {"solver": solver, "image": f"{index}", "epsilon": f"{epsilon:g}"}
            for delta in deltas:
                row[f"delta {delta:g}"] = _short_cell(group[group["delta"] == delta])
            rows.append(row)
        rows.append(_counts_row(own, deltas, solver))
    rows.append(
        {"solver": SOURCE, "image": "solved", "epsilon": ""}
        | {f"delta {delta:g}": _published_count(float(delta)) for delta in deltas}
    )
    return pd.DataFrame(rows)


def summary_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per solver, best first, then the virtual best.

    Columns: solved sat and unsat, the other outcomes, PAR-2 (mean wall seconds, unsolved = twice the
    limit), the median wall and CPU seconds of its solved runs, instances that only it solved, instances
    that others solved and it did not, and how many times the reference's PAR-2 its own is.
    """
    keys = ["suite", "instance_id", "repetition"]
    marked = frame.assign(solved=frame["outcome"].isin(SOLVED))
    solvers_of = marked[marked["solved"]].groupby(keys)["solver"].agg(set)
    rows = []
    for solver in _solvers(frame):
        own = marked[marked["solver"] == solver]
        others = solvers_of.apply(lambda names, solver=solver: bool(names - {solver})).astype(bool)
        mine = solvers_of.apply(lambda names, solver=solver: solver in names).astype(bool)
        rows.append(
            _summary_row(own, solver)
            | {
                "only": str(int((mine & ~others).sum())),
                "missed": str(int((others & ~mine).sum())),
                f"PAR-2 / {REFERENCE}": _ratio_cell(frame, solver),
            }
        )
    best = virtual_best(frame)
    cost = best["wall_s"].where(best["outcome"].isin(SOLVED), 2 * best["limit_s"])
    last = _summary_row(best.assign(solved=best["outcome"].isin(SOLVED), cost_s=cost), VIRTUAL_BEST)
    rows.append(last | {"only": "", "missed": "", f"PAR-2 / {REFERENCE}": ""})
    return pd.DataFrame(rows)


def size_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Solved of all by number of unstable neurons, one row per range, one column per solver."""
    position = np.searchsorted(SIZES, frame["unstable"], side="right") - 1
    return _solved_by(frame.assign(group=position), "unstable", lambda at: _size_label(int(at)))


def condition_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Solved of all by saliency condition and by whether the answer is known to be sat or unsat."""
    best = virtual_best(frame).drop_duplicates("instance_id").set_index("instance_id")["outcome"]
    answer = [_WORDS.get(str(best[name]), "unsolved") for name in frame["instance_id"]]
    kind = frame["condition"].where(frame["delta"].isna(), _BOX)
    group = [f"{condition}, {word}" for condition, word in zip(kind, answer, strict=True)]
    return _solved_by(frame.assign(group=group), "condition, answer", str)


def network_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Solved of all by network, with the mean wall and CPU seconds of all runs; one column per solver."""
    rows = []
    for network, runs in frame.groupby("network", sort=False):
        row = {"network": str(network)}
        for solver in _solvers(frame):
            own = runs[runs["solver"] == solver]
            seconds = f"{own['wall_s'].mean():.1f} / {own['cpu_s'].mean():.1f} s"
            row[solver] = f"{_solved_of(own)}, {seconds}" if len(own) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def aim(frame: pd.DataFrame) -> str:
    """Whether the reference solves all that any solver solves, and its PAR-2 beside the best other one."""
    costs = frame.groupby("solver")["cost_s"].mean()
    if REFERENCE not in costs or len(costs) < 2:
        return f"needs {REFERENCE} and another solver"
    other = str(costs.drop(REFERENCE).idxmin())
    ratio = par2_ratio(frame, REFERENCE, other)
    summary = summary_table(frame)
    missed = str(summary.loc[summary["solver"] == REFERENCE, "missed"].item())
    return (
        f"{REFERENCE} misses {missed} of the instances that another solver solves; "
        f"its PAR-2 is {ratio.value:.2f} times that of {other}, the best other one "
        f"(95 % interval {ratio.low:.2f} to {ratio.high:.2f}, {ratio.pairs} pairs)"
    )


def _solvers(frame: pd.DataFrame) -> list[str]:
    """By instances solved, then PAR-2."""
    solved = frame["outcome"].isin(SOLVED).groupby(frame["solver"]).sum()
    order = pd.DataFrame({"solved": -solved, "cost": frame.groupby("solver")["cost_s"].mean()})
    return [str(name) for name in order.sort_values(["solved", "cost"]).index]


def _summary_row(own: pd.DataFrame, solver: str) -> dict[str, str]:
    counts = own["outcome"].value_counts()
    rest = sum(int(counts.get(word, 0)) for word in ("unknown", "memout", "error", "unsupported"))
    solved = own.loc[own["solved"], ["wall_s", "cpu_s"]]
    return {
        "solver": solver,
        "solved": f"{len(solved)}/{len(own)}",
        "sat": str(counts.get("falsified", 0)),
        "unsat": str(counts.get("verified", 0)),
        "timeout": str(counts.get("timeout", 0)),
        "other": str(rest),
        "wrong": str(counts.get("wrong", 0)),
        "PAR-2 (s)": f"{own['cost_s'].mean():.2f}",
        "median (s)": f"{solved['wall_s'].median():.2f}" if len(solved) else "-",
        "CPU (s)": f"{solved['cpu_s'].median():.2f}" if len(solved) else "-",
    }


def _ratio_cell(frame: pd.DataFrame, solver: str) -> str:
    if solver == REFERENCE:
        return "1"
    ratio = par2_ratio(frame, solver, REFERENCE)
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio.pairs else "-"


def _solved_by(frame: pd.DataFrame, title: str, label: Callable[[Any], str]) -> pd.DataFrame:
    rows = []
    for group, runs in frame.groupby("group"):
        row = {title: label(group), "instances": str(runs["instance_id"].nunique())}
        for solver in _solvers(frame):
            own = runs[runs["solver"] == solver]
            row[solver] = _solved_of(own) if len(own) else "-"
        rows.append(row)
    return pd.DataFrame(rows)


def _solved_of(own: pd.DataFrame) -> str:
    return f"{int(own['outcome'].isin(SOLVED).sum())}/{len(own)}"


def _size_label(position: int) -> str:
    if position < 0:
        return "not lowered"
    if position + 1 == len(SIZES):
        return f"{SIZES[position]} and more"
    return f"{SIZES[position]} to {SIZES[position + 1] - 1}"


def _verdict_cell(runs: pd.DataFrame) -> str:
    run = runs.iloc[0]
    solving = "" if math.isnan(run["solving_s"]) else f", solving {run['solving_s']:.3f}"
    return f"{_WORDS.get(run['outcome'], run['outcome'])} {run['wall_s']:.2f} s{solving}"


def _short_cell(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "-"
    run = runs.iloc[0]
    return f"{_WORDS.get(run['outcome'], run['outcome'])} {run['wall_s']:.1f} s"


def _counts_row(own: pd.DataFrame, deltas: list[float], solver: str) -> dict[str, str]:
    row = {"solver": solver, "image": "solved", "epsilon": ""}
    for delta in deltas:
        group = own[own["delta"] == delta]
        row[f"delta {delta:g}"] = f"{int(group['outcome'].isin(SOLVED).sum())} of {len(group)}"
    return row


def _published_count(delta: float) -> str:
    count = _find(TABLE_2_SOLVED, delta)
    return "-" if count is None else f"{count} of {TABLE_2_REGIONS}"


def _find(table: Mapping[float, T], delta: float) -> T | None:
    return next((value for key, value in table.items() if math.isclose(key, delta)), None)
