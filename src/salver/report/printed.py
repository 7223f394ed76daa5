"""The one table that `salver report` prints: a leaderboard, or shares by what the instances are about."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd

from salver.core.errors import SalverError, suggestion
from salver.judge.columns import BOARD, SHARES
from salver.judge.robustness import KEYS, robustness
from salver.report import tables
from salver.report.results import Results
from salver.report.table import Table


@dataclass(frozen=True)
class PrintOptions:
    """What is to be printed.

    Attributes:
        by: keys that instances are grouped by; None for the leaderboard by suite.
        columns: names of columns, in order; None for those with something to show.
        form: text, markdown, latex or csv.
    """

    by: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    form: str = "text"

    def refuse_unknown(self) -> None:
        """Refuses a key or column that there is not, before anything is judged.

        Raises:
            SalverError: naming what is near.
        """
        for key in self.by or ():
            if key not in KEYS:
                raise SalverError(f"no table is by {key[:60]!r}", "--by", suggestion(key, KEYS))
        if self.by is None:
            tables.chosen_columns(self.columns, BOARD, lambda _: True)
        else:
            tables.chosen_columns(self.columns, SHARES, lambda _: True)


def printed(found: Results, wanted: PrintOptions) -> str:
    """The table as text in the form that is wanted, with its last line ended.

    Raises:
        SalverError: no instance has a fact that is asked for.
    """
    if wanted.by is not None:
        shares = robustness(found.frame, wanted.by, bool(found.unfinished))
        columns = tables.chosen_columns(wanted.columns, SHARES, tables.shown_share(shares))
        table = tables.share_table(shares, wanted.by, columns)
        numbers = shares[[*wanted.by, "solver", *(name for column in columns for name in column.names)]]
        caption, label = tables.shares_caption(wanted.by), f"by-{'-'.join(wanted.by)}"
    else:
        board, profile = found.by_suite, found.profile
        everything = wanted.columns is None and wanted.form == "text"
        chosen = tables.chosen_columns(
            wanted.columns, BOARD, (lambda _: True) if everything else tables.shown_in(board)
        )
        table = tables.board_table(board, chosen, short=wanted.form == "text", rising=profile.ascending)
        numbers = board[["suite", "solver", *(column.name for column in chosen)]]
        caption, label = f"Results by suite. Score: {profile.title}.", "by-suite"
    return _as(wanted.form, table, numbers, found, (caption, label))


def _as(form: str, table: Table, numbers: pd.DataFrame, found: Results, captioned: tuple[str, str]) -> str:
    notices = found.run.notices
    match form:
        case "csv":
            return tables.numbers_csv(numbers, found.unfinished)
        case "latex":
            return tables.latex_file([(table, *captioned)], notices)
        case "markdown":
            said = "".join(f"**{escape(line, quote=False)}**\n\n" for line in notices)
            return f"{said}{table.markdown()}\n"
    return f"{table.text()}\n"
