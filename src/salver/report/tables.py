"""Leaderboards and results as text: terminal, Markdown, CSV, LaTeX and VNN-COMP's six columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from html import escape
from math import inf, isnan

import pandas as pd
from tabulate import tabulate

from salver.families.instance import Instance
from salver.judge.columns import BOARD
from salver.judge.findings import Disagreement
from salver.judge.judgement import Outcome
from salver.judge.scoring import TOTAL, VIRTUAL_BEST, per_instance
from salver.runners.answers import Claim

_FORMULA = frozenset("=+-@\t\r")


def rounded(board: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard as cells for readers: numbers with the digits of their column, `-` for none."""
    texts = {
        column.name: [_cell(value, column.digits) for value in board[column.name]]
        for column in BOARD
        if column.digits is not None
    }
    return board.assign(**texts).rename(columns={column.name: column.label for column in BOARD})


def _cell(value: float, digits: int) -> str:
    return "-" if isnan(value) else f"{value:.{digits}f}"


def terminal_table(board: pd.DataFrame) -> str:
    """A leaderboard for a terminal; a rule separates the suites or families."""
    cells = rounded(board).rename(columns={column.label: column.short or column.label for column in BOARD})
    headers, rows = [str(name) for name in cells.columns], cells.to_numpy().tolist()
    text = tabulate([headers, *rows], tablefmt="plain", disable_numparse=True, colalign=_alignment(cells))
    lines = text.splitlines()
    rule = "-" * max(map(len, lines))
    # The headings stand in a group of their own.
    groups = [None, *board.iloc[:, 0].tolist()]
    for position in range(len(groups) - 1, 0, -1):
        if groups[position] != groups[position - 1]:
            lines.insert(position, rule)
    return "\n".join(lines)


def leaderboard_markdown(
    boards: Sequence[pd.DataFrame], title: str, intervals: pd.DataFrame, notices: Sequence[str] = ()
) -> str:
    """The notices, the leaderboards one after another, then the share solved with its interval: Markdown."""
    parts = ["# Leaderboard\n", *(f"**{escape(line, quote=False)}**\n" for line in notices)]
    parts.append(f"Score: {title}.\n")
    parts += [f"## By {board.columns[0]}\n\n{_markdown(board)}\n" for board in boards]
    alignment = ["left", "left", *["right"] * (len(SHARE_HEADERS) - 2)]
    rows = share_rows(_escaped(intervals))
    shares = tabulate(rows, SHARE_HEADERS, "github", disable_numparse=True, colalign=alignment)
    parts.append(f"## Share solved\n\n{shares}\n")
    return "\n".join(parts)


SHARE_HEADERS = ("suite", "solver", "solved", "instances", "share", "95 % interval")


def share_rows(intervals: pd.DataFrame) -> list[list[str]]:
    """Rows under `SHARE_HEADERS` of the table from `scoring.intervals`."""
    return [
        [
            str(row["suite"]),
            str(row["solver"]),
            str(row["solved"]),
            str(row["runs"]),
            f"{row['share']:.0%}",
            f"{row['low']:.0%} to {row['high']:.0%}",
        ]
        for row in intervals.to_dict("records")
    ]


def leaderboard_csv(boards: Sequence[pd.DataFrame], unfinished: str = "") -> str:
    """All leaderboards in one table; column `by` says what its `group` is.

    The first column is `unfinished` (`13 of 91 jobs`) where the run is.
    """
    parts = [
        board.rename(columns={board.columns[0]: "group"}).assign(by=str(board.columns[0])) for board in boards
    ]
    whole = pd.concat(parts, ignore_index=True).round(
        {column.name: 3 for column in BOARD if column.digits is not None}
    )
    columns = ["by", *(name for name in whole.columns if name != "by")]
    if unfinished:
        whole, columns = whole.assign(unfinished=unfinished), ["unfinished", *columns]
    texts = {name: [plain(str(cell)) for cell in whole[name]] for name in ("group", "solver")}
    return whole[columns].assign(**texts).to_csv(index=False, lineterminator="\n")


def results_csv(frame: pd.DataFrame) -> str:
    """Every result with all columns of a `results_frame`, as in the Parquet file; what misses is empty."""
    texts = {
        str(name): frame[name].map({text: plain(text) for text in frame[name].unique()})
        for name in frame.columns
        if frame[name].dtype == "str"
    }
    return frame.assign(**texts).to_csv(index=False, lineterminator="\n")


def plain(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula: one that begins like it gets an apostrophe.

    Source: OWASP, CSV injection.
    """
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def leaderboard_latex(boards: Sequence[pd.DataFrame], title: str, notices: Sequence[str] = ()) -> str:
    """One `table` per leaderboard in booktabs style (`\\usepackage{booktabs}`), with everything escaped.

    The notices stand in comments, the first one also in the captions.
    """
    parts = [f"% {' '.join(line.split())}" for line in notices]
    first = f"{_latex(notices[0])} " if notices else ""
    for board in boards:
        by = str(board.columns[0])
        tabular = (
            rounded(board)
            .style.hide(axis="index")
            .format(escape="latex")
            .format_index(escape="latex", axis=1)
        )
        alignment = "ll" + "r" * (board.shape[1] - 2)
        caption = first + f"Results by {by}. Score: {title}.".replace("%", r"\%")
        parts.append(
            tabular.to_latex(hrules=True, column_format=alignment, caption=caption, label=f"tab:by-{by}")
        )
    return "\n".join(parts)


_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {mark: f"\\{mark}" for mark in "&%$#_{}"}
)


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def disagreements_csv(found: Sequence[Disagreement]) -> str:
    """Every disagreement, one a line; solvers separated by spaces."""
    rows = [
        [
            d.suite,
            d.family,
            d.instance,
            d.instance_id,
            *map(" ".join, (d.sat, d.unsat, d.wrong)),
            d.truth,
            d.detail,
        ]
        for d in found
    ]
    header = ["suite", "family", "instance", "instance_id", "sat", "unsat", "wrong", "truth", "detail"]
    return _csv([header, *rows])


VNNCOMP_COLUMNS = ("solver", "suite", "instance", "instance_id", "repetition", "outcome", "claim", "wall_s")
"""Columns of the results that `vnncomp_csv` looks at, and the one to group them by."""


def vnncomp_csv(results: pd.DataFrame, instances: Mapping[str, Instance]) -> str:
    """VNN-COMP's results of one solver: category,onnx,vnnlib,prepare_time,result,runtime; no header.

    One row per instance of the solver's rows of a `results_frame`: the repetition that the leaderboard counts
    (`per_instance`), or `not_run` where the run is unfinished. Preparation is part of the run here, so its
    column is 0; runtime is in wall seconds.
    """
    ordered = per_instance(results).sort_values(["suite", "instance"], kind="stable")
    columns = ("suite", "instance_id", "outcome", "claim", "wall_s")
    rows = zip(*(ordered[name].tolist() for name in columns), strict=True)
    lines = [
        f"{_vnncomp_names(suite, instances[key].onnx, instances[key].vnnlib)},0.0,"
        f"{_vnncomp_result(outcome, claim)},{wall:.3f}\n"
        for suite, key, outcome, claim, wall in rows
    ]
    there = set(ordered["instance_id"])
    missing = sorted((one for key, one in instances.items() if key not in there), key=lambda one: one.name)
    lines += [f"{_vnncomp_names(one.suite, one.onnx, one.vnnlib)},0.0,not_run,0.000\n" for one in missing]
    return "".join(lines)


def ranks(board: pd.DataFrame) -> list[int]:
    """Place of each row in its group, from 1; equal scores share it. 0 for the virtual best or no score."""
    real = board["solver"] != VIRTUAL_BEST
    groups = board.iloc[:, 0]
    position = groups.groupby(groups).cumcount() + 1
    shared = position.groupby([groups, board["score"].fillna(-inf)]).transform("min")
    return [int(place) for place in shared.where(real & board["score"].notna(), 0)]


def is_summary(board: pd.DataFrame) -> list[bool]:
    """Which rows are no single solver in a single group: totals and the virtual best."""
    return ((board["solver"] == VIRTUAL_BEST) | (board.iloc[:, 0] == TOTAL)).tolist()


@lru_cache(1 << 14)
def _vnncomp_names(*names: str) -> str:
    """The first cells, which are the same for every solver."""
    return _csv([names]).removesuffix("\n")


def _vnncomp_result(outcome: str, claim: str) -> str:
    if outcome == Outcome.TIMEOUT:
        return "timeout"
    if outcome in (Outcome.MEMOUT, Outcome.ERROR):
        return "error"
    return claim if claim in (Claim.SAT, Claim.UNSAT) else "unknown"


def _alignment(table: pd.DataFrame) -> list[str]:
    """Group and solver to the left, numbers to the right."""
    return ["left", "left", *["right"] * (table.shape[1] - 2)]


def _markdown(board: pd.DataFrame) -> str:
    cells = _escaped(rounded(board))
    headers, rows = [str(name) for name in cells.columns], cells.to_numpy().tolist()
    return tabulate(rows, headers, "github", disable_numparse=True, colalign=_alignment(cells))


def _escaped(table: pd.DataFrame) -> pd.DataFrame:
    """With the text columns escaped: a name must open neither a new Markdown cell nor an HTML tag."""
    return table.assign(
        **{
            str(name): [escape(str(text), quote=False).replace("|", r"\|") for text in table[name]]
            for name in table.columns[:2]
        }
    )


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([plain(cell) for cell in row] for row in rows)
    return stream.getvalue()
