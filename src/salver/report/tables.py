"""Leaderboards and results as text: terminal, Markdown, CSV, LaTeX and VNN-COMP's six columns."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from math import inf, isnan
from typing import Any, TypeVar
from urllib.parse import quote

import pandas as pd
import pyarrow
from pyarrow.csv import WriteOptions, write_csv

from salver.core.errors import SalverError, suggestion
from salver.core.names import LONGEST
from salver.families.instance import Instance
from salver.judge.columns import BOARD, SHARES, BoardColumn, ShareColumn
from salver.judge.findings import Disagreement
from salver.judge.judgement import Outcome
from salver.judge.scoring import TOTAL, VIRTUAL_BEST, Profile, per_instance
from salver.report.latex import PACKAGES
from salver.report.table import Best, Table, best_cells
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


C = TypeVar("C", BoardColumn, ShareColumn)


def chosen_columns(names: Sequence[str] | None, known: Sequence[C], shown: Callable[[C], bool]) -> list[C]:
    """The columns of a table that are asked for by name, in that order; those with something to show else.

    Raises:
        SalverError: there is no such column.
    """
    if names is None:
        return [column for column in known if shown(column)]
    by_name = {column.name: column for column in known}
    for name in names:
        if name not in by_name:
            raise SalverError(f"no column {name[:60]!r}", "--columns", suggestion(name, by_name))
    return [by_name[name] for name in names]


def shown_in(board: pd.DataFrame) -> Callable[[BoardColumn], bool]:
    """Whether a column of a leaderboard has something to show: not a count that is zero everywhere."""
    return lambda column: column.digits is not None or column.always or bool(board[column.name].any())


def board_table(
    board: pd.DataFrame, columns: Sequence[BoardColumn] = BOARD, *, short: bool = False, rising: bool = False
) -> Table:
    """A leaderboard as cells.

    Args:
        short: whether headings are those for a terminal.
        rising: whether a lower score is the better one.
    """
    by, cells = str(board.columns[0]), rounded(board)
    kept = cells[[by, "solver", *(column.label for column in columns)]]
    headings = [(column.short if short else "") or column.label for column in columns]
    measured: list[tuple[int, Best, list[float]]] = [
        (place, "least" if column.name == "score" and rising else column.best, board[column.name].tolist())
        for place, column in enumerate(columns, start=2)
    ]
    competing = (board["solver"] != VIRTUAL_BEST).tolist()
    best = best_cells(board[by].tolist(), competing, measured)
    return Table((by, "solver", *headings), _texts(kept), 2, 1, best)


def share_table(shares: pd.DataFrame, by: Sequence[str], columns: Sequence[ShareColumn]) -> Table:
    """What `robustness` found, as cells: `62% [45, 77]` is a share with its interval."""
    cells = shares[[*by, "solver"]].assign(
        **{key: [_key_text(value) for value in shares[key]] for key in by},
        **{column.label: _share_cells(shares, column) for column in columns},
    )
    groups = list(zip(*(cells[key] for key in by), strict=True))
    measured = [
        (place, column.best, shares[column.name].astype("float64").tolist())
        for place, column in enumerate(columns, start=len(by) + 1)
    ]
    best = best_cells(groups, (shares["solver"] != VIRTUAL_BEST).tolist(), measured)
    return Table(tuple(map(str, cells.columns)), _texts(cells), len(by) + 1, len(by), best)


def _texts(cells: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(str, row)) for row in cells.to_numpy().tolist())


def _key_text(value: Any) -> str:
    if pd.isna(value) or value == "":
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _share_cells(shares: pd.DataFrame, column: ShareColumn) -> list[str]:
    values = shares[column.name].tolist()
    if column.interval:
        ends = zip(*(shares[name].tolist() for name in column.names), strict=True)
        return [f"{value:.0%} [{100 * low:.0f}, {100 * high:.0f}]" for value, low, high in ends]
    if column.share:
        return [f"{value:.0%}" for value in values]
    return [str(value) if column.digits is None else _cell(value, column.digits) for value in values]


def leaderboard_markdown(
    boards: Sequence[pd.DataFrame], title: str, intervals: pd.DataFrame, notices: Sequence[str] = ()
) -> str:
    """The notices, the leaderboards one after another, then the share solved with its interval: Markdown."""
    parts = ["# Leaderboard\n", *(f"**{escape(line, quote=False)}**\n" for line in notices)]
    parts.append(f"Score: {title}.\n")
    parts += [f"## By {board.columns[0]}\n\n{board_table(board).markdown()}\n" for board in boards]
    shares = Table(SHARE_HEADERS, tuple(map(tuple, share_rows(intervals))), 2)
    parts.append(f"## Share solved\n\n{shares.markdown()}\n")
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
    whole = pd.concat(parts, ignore_index=True)
    return numbers_csv(whole[["by", *(name for name in whole.columns if name != "by")]], unfinished, digits=3)


def results_csv(frame: pd.DataFrame) -> str:
    """Every result with all columns of a `results_frame`, as in the Parquet file; what misses is empty."""
    texts = {
        str(name): [plain(text) for text in frame[name]]
        for name in frame.columns
        if frame[name].dtype == "str" and not _FORMULA.isdisjoint(text[:1] for text in frame[name].tolist())
    }
    # Ten times as quick as pandas, which matters for a large run; it puts every text in quotes.
    stream = io.BytesIO()
    table = pyarrow.Table.from_pandas(frame.assign(**texts), preserve_index=False)
    write_csv(table, stream, WriteOptions(include_header=False))
    return ",".join(frame.columns) + "\n" + stream.getvalue().decode()


def plain(cell: str) -> str:
    """A text cell that no spreadsheet takes for a formula: one that begins like it gets an apostrophe.

    Source: OWASP, CSV injection.
    """
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def leaderboard_latex(boards: Sequence[pd.DataFrame], profile: Profile, notices: Sequence[str] = ()) -> str:
    """A `table` for each leaderboard in the style of booktabs, the best of each group in bold.

    The notices stand in comments, the first one also in the captions. Counts that are zero everywhere are
    left out.
    """
    made = []
    for board in boards:
        chosen = chosen_columns(None, BOARD, shown_in(board))
        by = str(board.columns[0])
        caption = f"Results by {by}. Score: {profile.title}."
        made.append((board_table(board, chosen, rising=profile.ascending), caption, f"by-{by}"))
    return latex_file(made, notices)


def latex_file(tables: Sequence[tuple[Table, str, str]], notices: Sequence[str] = ()) -> str:
    """Tables with their captions and labels in one file, which says what package it needs."""
    head = "".join(f"% {' '.join(line.split())}\n" for line in notices) + PACKAGES
    first = f"{notices[0]} " if notices else ""
    return head + "\n".join(table.latex(first + caption, label) for table, caption, label in tables)


def shares_csv(found: Mapping[str, pd.DataFrame], unfinished: str = "") -> str:
    """Tables of `robustness` by one key each, behind one another: column `by` says what `group` is."""
    parts = [
        table.assign(by=key, group=[_key_text(value) for value in table[key]])[
            ["by", "group", *table.columns[1:]]
        ]
        for key, table in found.items()
    ]
    whole = pd.concat(parts, ignore_index=True)
    others = [name for name in whole.columns if name not in ("by", "group")]
    return numbers_csv(whole[["by", "group", *others]], unfinished)


def numbers_csv(table: pd.DataFrame, unfinished: str = "", digits: int = 6) -> str:
    """A table for programs, with decimals of its numbers; of an unfinished run the first column says so."""
    texts = {
        str(name): [plain(str(cell)) for cell in table[name]]
        for name in table.columns
        if not pd.api.types.is_numeric_dtype(table[name])
    }
    whole = table.round(digits).assign(**texts)
    if unfinished:
        whole.insert(0, "unfinished", unfinished)
    return whole.to_csv(index=False, lineterminator="\n")


def shares_latex(found: Mapping[str, pd.DataFrame], notices: Sequence[str] = ()) -> str:
    """A `table` for each of the tables of `robustness`; see `latex_file`."""
    made = []
    for key, shares in found.items():
        columns = chosen_columns(None, SHARES, shown_share(shares))
        made.append((share_table(shares, (key,), columns), shares_caption((key,)), f"by-{key}"))
    return latex_file(made, notices)


def shares_caption(by: Sequence[str]) -> str:
    """What a table of `robustness` shows."""
    told = "Shares of the instances verified, falsified and open, with Wilson intervals at 95 %"
    return f"{told}, by {', '.join(by)}."


def shown_share(shares: pd.DataFrame) -> Callable[[ShareColumn], bool]:
    """Whether a column of `robustness` has something to show: not a count that is zero everywhere."""
    return lambda column: column.share or column.digits is not None or bool(shares[column.name].any())


def disagreements_csv(found: Sequence[Disagreement]) -> str:
    """Every disagreement, one a line; solvers separated by spaces."""
    header = ["suite", "family", "instance", "instance_id", "sat", "unsat", "wrong", "truth", "detail"]
    rows = [
        [value if isinstance(value, str) else " ".join(value) for value in (getattr(d, n) for n in header)]
        for d in found
    ]
    return numbers_csv(pd.DataFrame(rows, columns=header))


def solver_file_name(solver: str) -> str:
    """A solver's name as that of a file or folder; one that is too long for that by its hash."""
    name = quote(solver, safe=" ")
    return name if len(name) <= LONGEST else hashlib.sha256(name.encode()).hexdigest()


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
        f"{vnncomp_result(outcome, claim)},{wall:.3f}\n"
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


def vnncomp_result(outcome: str, claim: str) -> str:
    """VNN-COMP's word for a run: its answer where it came in time, whatever the judge makes of it."""
    if outcome == Outcome.TIMEOUT:
        return "timeout"
    if outcome in (Outcome.MEMOUT, Outcome.ERROR):
        return "error"
    return claim if claim in (Claim.SAT, Claim.UNSAT) else "unknown"


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([plain(cell) for cell in row] for row in rows)
    return stream.getvalue()
