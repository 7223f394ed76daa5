"""Results as data frames: counts, scores, PAR-2 and the virtual best solver.

Every number is a data-frame expression over the one results table, so that any table of a report
can be computed again from `results.parquet`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from salver.core.errors import SalverError
from salver.families.instance import Instance
from salver.judge.columns import BOARD, OUTCOMES, RESULTS, SOLVED, ResultColumn
from salver.judge.judgement import JudgedRun, Judgement

By = Literal["suite", "family"]

VIRTUAL_BEST = "virtual best"
TOTAL = "total"
LEADERBOARD_COLUMNS = ("solver", *(column.name for column in BOARD))
RESULT_COLUMNS = tuple(column.name for column in RESULTS)
_MEANS = [column.name for column in BOARD if column.how == "mean"]
_OF_JUDGEMENT = frozenset(Judgement.model_fields)
_RANKED = ("instance_id", "repetition", "solver", "outcome", "wall_s")
_SCORED = tuple(dict.fromkeys((*_RANKED, *(name for column in BOARD for name in column.reads))))
_CORRECT_POINTS = 10
_WRONG_POINTS = -150
# What a portfolio would pick first; a wrong answer last.
_PREFERENCE = (
    "verified",
    "falsified",
    "unknown",
    "timeout",
    "out of memory",
    "error",
    "unsupported",
    "wrong",
)
OUTCOME_RANKS = {outcome: place for place, outcome in enumerate(_PREFERENCE)} | {"falsified": 0}
"""Places of outcomes from the best to the worst; both answers share the first."""
_WORST = max(OUTCOME_RANKS.values())


@dataclass(frozen=True)
class Profile:
    """A way to score: a column over the rows of a leaderboard, whether less is better, and whether it is a
    share of the best, so that groups are averaged and not summed."""

    name: str
    title: str
    score: Callable[[pd.DataFrame, str], pd.Series[float]]
    ascending: bool = False
    relative: bool = False


def _points(board: pd.DataFrame) -> pd.Series[float]:
    return (_CORRECT_POINTS * _solved(board) + _WRONG_POINTS * board["wrong"]).astype("float64")


def _solved(board: pd.DataFrame) -> pd.Series[int]:
    return board[list(SOLVED)].sum(axis="columns")


def _vnncomp2026(board: pd.DataFrame, by: str) -> pd.Series[float]:
    points = _points(board)
    real = points.where(board["solver"] != VIRTUAL_BEST)
    best = real.groupby(board[by]).transform("max")
    # Points come in tens, so the floor only acts where nobody is above zero and 100 * points / best
    # would turn the sign around. The virtual best is no solver: it takes no part, and cannot pass the best.
    return (100 * points / best.clip(lower=_CORRECT_POINTS)).clip(upper=100)


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "vnncomp2026",
            "VNN-COMP 2026: +10 correct, -150 wrong, 100 for the best",
            _vnncomp2026,
            relative=True,
        ),
        Profile("par2", "PAR-2: mean seconds, unsolved = twice the limit", lambda b, _: b["par2"], True),
        Profile("count", "instances solved", lambda b, _: _solved(b).astype("float64")),
    )
}


def results_frame(
    judged: Sequence[JudgedRun],
    instances: Mapping[str, Instance] = MappingProxyType({}),
    neurons: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """One row per run with the columns and types of `columns.RESULTS`. Times in wall or CPU seconds.

    Args:
        instances: by id; the facts of one that is not among them are missing.
        neurons: ReLU neurons of the classifier by instance id; -1 is put where there is none.
    """
    columns = {column.name: _values(column, judged, instances) for column in RESULTS}
    if neurons is not None:
        columns["neurons"] = [neurons.get(one.run.instance_id, -1) for one in judged]
    return pd.DataFrame(
        {column.name: pd.Series(columns[column.name], dtype=column.kind) for column in RESULTS}
    )


def _values(
    column: ResultColumn, judged: Sequence[JudgedRun], instances: Mapping[str, Instance]
) -> list[Any]:
    if column.fact is not None:
        missing = "" if column.kind == "str" else None
        found = {key: column.fact(instance) for key, instance in instances.items()}
        values = [found.get(one.run.instance_id) for one in judged]
        return [missing if value is None else value for value in values]
    if column.value is not None:
        return list(map(column.value, judged))
    # A key and a witness are of both records; those of the judgement are meant.
    get = attrgetter(column.name)
    return [get(one.judgement if column.name in _OF_JUDGEMENT else one.run) for one in judged]


def per_instance(frame: pd.DataFrame) -> pd.DataFrame:
    """One row for each solver and instance, whatever the number of repetitions; in the order of the frame.

    It is the median repetition, ordered from the best outcome to the worst and then by wall time (of two the
    worse one), or a wrong one where any is wrong.
    """
    if (frame["repetition"] == 0).all():
        return frame
    by = ["suite", "solver", "instance_id"]
    ordered = frame.assign(rank=_ranked(frame)).sort_values([*by, "rank", "wall_s"], kind="stable")
    groups = ordered.groupby(by, sort=False)
    position, size = groups.cumcount(), groups["rank"].transform("size")
    is_wrong = (groups["rank"].transform("max") == _WORST).to_numpy()
    taken = (position == (size // 2).where(~is_wrong, size - 1)).to_numpy()
    return ordered[taken].sort_index().drop(columns="rank")


def _ranked(frame: pd.DataFrame) -> pd.Series[int]:
    return frame["outcome"].map(OUTCOME_RANKS)


def virtual_best(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a solver that picks, per instance and repetition, the best of all runs.

    Solved before unsolved, then the shortest wall time; `detail` names the solver it picked.
    """
    ordered = frame.assign(rank=_ranked(frame)).sort_values(["rank", "wall_s", "solver"])
    picked = ordered.drop_duplicates(["suite", "instance_id", "repetition"]).sort_index()
    named = picked.assign(detail=picked["solver"], solver=VIRTUAL_BEST, solver_version="")
    return named.drop(columns="rank").reset_index(drop=True)


def leaderboard(
    frame: pd.DataFrame, profile: str = "vnncomp2026", by: By = "suite", unfinished: bool = False
) -> pd.DataFrame:
    """Counts, score and PAR-2 of each solver in each suite or family, best first, virtual best last.

    Every instance counts once (`per_instance`). Equal scores stand in the order of PAR-2.

    Args:
        frame: a `results_frame`.
        profile: key of `PROFILES`.
        by: what a benchmark is; scores compare solvers within it.
        unfinished: the run has jobs left, so neither a score nor a mean such as PAR-2 is given (NaN).

    Returns:
        Columns `by`, `solver` and those of `columns.BOARD`. Under `vnncomp2026` no score is above 100; the
        virtual best does not take part in the best points.

    Raises:
        SalverError: no such profile.
    """
    chosen = find_profile(profile)
    if frame.empty:
        return pd.DataFrame(columns=[by, *LEADERBOARD_COLUMNS])
    # Every other column would be copied by each step.
    frame = per_instance(frame[["suite", by, *_SCORED] if by != "suite" else ["suite", *_SCORED]])
    frame = frame.assign(repetition=0)
    runs = pd.concat([frame, virtual_best(frame)], ignore_index=True)
    found = {column.name: column.of(runs) for column in BOARD if column.of is not None}
    groups = runs[[by, "solver"]].assign(**found).groupby([by, "solver"])
    board = groups.agg({column.name: column.how for column in BOARD if column.of is not None}).reset_index()
    board = board.assign(score=chosen.score(board, by))[[by, *LEADERBOARD_COLUMNS]]
    if unfinished:
        board = _without_means(board)
    return _ordered(board, chosen, by)


def _without_means(board: pd.DataFrame) -> pd.DataFrame:
    return board.assign(**dict.fromkeys(("score", *_MEANS), float("nan")))


def totals(board: pd.DataFrame, profile: str = "vnncomp2026") -> pd.DataFrame:
    """One row per solver over all groups of a leaderboard: counts summed, PAR-2 over all instances.

    The group column holds `total`. Under `vnncomp2026` the score is the mean of the groups' scores, 0 where a
    solver has none: every benchmark weighs the same, as in VNN-COMP's sum, and nobody is above 100.
    """
    chosen = find_profile(profile)
    by = str(board.columns[0])
    runs = board[list(OUTCOMES)].sum(axis="columns")
    weighted = board.assign(runs=runs, **{name: board[name] * runs for name in _MEANS})
    summed = weighted.drop(columns=by).groupby("solver").sum().reset_index()
    whole = summed.assign(**{name: summed[name] / summed["runs"] for name in _MEANS})
    if chosen.relative:
        whole = whole.assign(score=whole["score"] / board[by].nunique())
    if board["score"].isna().all():
        whole = _without_means(whole)
    whole[by] = TOTAL
    if chosen.ascending:
        whole = whole.assign(score=whole["par2"])
    return _ordered(whole[[by, *LEADERBOARD_COLUMNS]], chosen, by)


def intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of instances each solver solved, with its Wilson score interval (Wilson, 1927).

    Returns:
        Columns suite, solver, solved, runs, share, low, high; shares lie in [0, 1], `runs` counts instances.
    """
    frame = per_instance(frame)
    marked = frame.assign(solved=frame["outcome"].isin(SOLVED))
    table = marked.groupby(["suite", "solver"])["solved"].agg(solved="sum", runs="count").reset_index()
    low, high = wilson(table["solved"], table["runs"])
    return table.assign(share=table["solved"] / table["runs"], low=low, high=high)


def wilson(hits: pd.Series[int], of: pd.Series[int]) -> tuple[pd.Series[float], pd.Series[float]]:
    """Ends of the 95 % Wilson score interval (Wilson, 1927) of each share `hits` / `of`, within [0, 1]."""
    z = NormalDist().inv_cdf(0.5 + 0.95 / 2)
    share = hits / of
    middle = (share + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z / (1 + z**2 / of) * (share * (1 - share) / of + z**2 / (4 * of**2)) ** 0.5
    return (middle - reach).clip(0, 1), (middle + reach).clip(0, 1)


def find_profile(name: str) -> Profile:
    """The scoring profile of that name.

    Raises:
        SalverError: there is none.
    """
    if name not in PROFILES:
        raise SalverError(f"no scoring profile {name!r}", hint=f"choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _ordered(board: pd.DataFrame, profile: Profile, by: str) -> pd.DataFrame:
    keyed = board.assign(virtual=board["solver"] == VIRTUAL_BEST)
    order = [by, "virtual", "score", "par2", "solver"]
    ordered = keyed.sort_values(order, ascending=[True, True, profile.ascending, True, True])
    ordered = ordered.drop(columns="virtual").reset_index(drop=True)
    ordered.columns.name = None
    return ordered
