"""The page's table of solvers: place, score, share solved with its interval, outcomes, and what each adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import pandas as pd

from salver.judge.columns import BOARD, OUTCOMES, SOLVED
from salver.judge.scoring import TOTAL, VIRTUAL_BEST, per_instance, virtual_best, wilson
from salver.report.tables import is_summary, ranks, rounded, shown_in

SHARE, FASTEST, ALONE = "solved [95%]", "fastest on", "alone solves"
_KEYS = {column.label: column.name for column in BOARD} | {SHARE: "share", FASTEST: "fastest", ALONE: "alone"}
"""What the page's script calls the columns."""


@dataclass(frozen=True)
class Cell:
    """A cell of the table.

    Attributes:
        kind: how it is shown.
        href: where it leads; empty for nowhere.
        name: of the outcome that it counts, which gives its colour where there is something to count.
        bar: for a share: percent verified, falsified, and both ends of the interval.
    """

    text: str
    kind: Literal["heading", "text", "number"] = "number"
    href: str = ""
    name: str = ""
    bar: tuple[float, ...] = ()


def board_cells(board: pd.DataFrame, frame: pd.DataFrame) -> dict[str, Any]:
    """A leaderboard as cells for the template.

    Args:
        board: with its totals.
        frame: the `results_frame` that it counts.

    Of one solver there is neither a virtual best nor what it adds to others; of an unfinished run no place.
    """
    is_sole = frame["solver"].nunique() == 1
    if is_sole:
        board = board[board["solver"] != VIRTUAL_BEST]
    cells, by = rounded(board), str(board.columns[0])
    is_lone = board.iloc[:, 0].nunique() == 1
    means, counts = _columns(board)
    added = {} if is_sole else _added(per_instance(frame), by)
    ending = [] if is_sole else [FASTEST, ALONE]
    rows = []
    for row, rank, summary, share in zip(
        cells.to_dict("records"), ranks(board), is_summary(board), _shares(board), strict=True
    ):
        group, solver = str(row[by]), str(row["solver"])
        first = [] if is_lone else [Cell(group, "text")]
        shown = [
            *first,
            Cell(solver, "heading"),
            *(Cell(str(row[name])) for name in means[:1]),
            share,
            *(_count(by, row, name) for name in counts),
            *(Cell(str(row[name])) for name in means[1:]),
            *map(Cell, added.get((group, solver), [""] * len(ending))),
        ]
        best = rank == 1 and any(row[name] for name in SOLVED)
        rows.append({"cells": shown, "rank": rank or "", "best": best, "summary": summary})
    heads = ["solver", *means[:1], SHARE, *counts, *means[1:], *ending]
    numbers = [(name, "number", _KEYS.get(name, name)) for name in heads[1:]]
    groups = [] if is_lone else [(by, "text", by)]
    named = f"{by} {board.iloc[:, 0].tolist()[0]}" if is_lone else f"by {by}"
    return {
        "by": by, "named": named, "heads": [*groups, ("solver", "heading", "solver"), *numbers], "rows": rows,
        "ranked": any(row["rank"] for row in rows),
    }  # fmt: skip


def _columns(board: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Labels of the score and the means, if any, and of the counts: those always shown first."""
    # That nothing is wrong stands above the table.
    is_shown = shown_in(board)
    counts = [
        one for one in BOARD
        if one.digits is None and is_shown(one) and (one.name != "wrong" or board["wrong"].any())
    ]  # fmt: skip
    ordered = sorted(counts, key=lambda one: not one.always)
    means = [one.label for one in BOARD if one.digits is not None and board[one.name].notna().any()]
    return means, [one.label for one in ordered]


def _shares(board: pd.DataFrame) -> list[Cell]:
    """Of each row how many instances are solved, with the Wilson interval at 95 %."""
    runs = board[list(OUTCOMES)].sum(axis="columns")
    low, high = wilson(board[list(SOLVED)].sum(axis="columns"), runs)
    ends = zip(*(board[name] for name in SOLVED), runs, low, high, strict=True)
    found = []
    for verified, falsified, of, least, most in ends:
        solved = verified + falsified
        text = f"{solved}/{of}: {solved / of:.0%} [{100 * least:.0f}, {100 * most:.0f}]"
        bar = (100 * verified / of, 100 * falsified / of, 100 * least, 100 * most)
        found.append(Cell(text, bar=tuple(round(float(end), 1) for end in bar)))
    return found


def _count(by: str, row: Mapping[Any, Any], name: str) -> Cell:
    """A count of outcomes, which leads to the results that it counts; not that of the virtual best."""
    group, solver = str(row[by]), str(row["solver"])
    is_counted = name in OUTCOMES and row[name] > 0
    href = ""
    if is_counted and solver != VIRTUAL_BEST:
        wanted = {"solver": solver, "outcome": name, **({} if group == TOTAL else {by: group})}
        href = f"#results?{urlencode(wanted)}"
    return Cell(str(row[name]), href=href, name=name if is_counted else "")


def _added(frame: pd.DataFrame, by: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Of each group and solver: instances it is the fastest right one on, and those it alone solves."""
    keys = ["suite", "instance_id", "repetition"]
    columns = list(dict.fromkeys(["solver", "outcome", "wall_s", *keys, by]))
    frame = frame.assign(repetition=0)[columns]
    solved = frame[frame["outcome"].isin(SOLVED)]
    alone = solved[~solved.duplicated(keys, keep=False)]
    picked = virtual_best(frame)
    picked = picked[picked["outcome"].isin(SOLVED)].assign(solver=lambda rows: rows["detail"])
    counted: list[dict[Any, int]] = []
    for rows in (picked, alone):
        pairs = list(zip(rows[by], rows["solver"], strict=True))
        whole = [(TOTAL, solver) for _, solver in pairs]
        counted.append(pd.Series([*pairs, *whole], dtype=object).value_counts().to_dict())
    everyone = {(str(group), str(name)) for group, name in zip(frame[by], frame["solver"], strict=True)}
    everyone |= {(TOTAL, name) for _, name in everyone}
    return {one: (str(counted[0].get(one, 0)), str(counted[1].get(one, 0))) for one in everyone}
