"""A table for readers: on a terminal, in Markdown, in LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isnan
from typing import Literal

from tabulate import tabulate

from salver.report.latex import booktabs

Best = Literal["", "most", "least"]


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        texts: how many columns are text and stand to the left; numbers stand to the right.
        grouped: how many columns name the group of a row; groups are kept apart.
        best: the best cells of their groups, as row and column.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: int
    grouped: int = 1
    best: frozenset[tuple[int, int]] = frozenset()

    @property
    def alignment(self) -> list[str]:
        """Texts to the left, numbers to the right."""
        return [*["left"] * self.texts, *["right"] * (len(self.headings) - self.texts)]

    @property
    def rules(self) -> list[int]:
        """Rows that begin another group than the row before them is of."""
        return [
            number
            for number in range(1, len(self.rows))
            if self.rows[number][: self.grouped] != self.rows[number - 1][: self.grouped]
        ]

    def text(self) -> str:
        """For a terminal; a rule separates the groups, and the headings from them."""
        plain = tabulate(
            [self.headings, *self.rows], tablefmt="plain", disable_numparse=True, colalign=self.alignment
        )
        lines = plain.splitlines()
        rule = "-" * max(map(len, lines))
        for position in reversed([0, *self.rules] if self.rows else []):
            lines.insert(position + 1, rule)
        return "\n".join(lines)

    def markdown(self) -> str:
        """For a Markdown file: a name must open neither a new cell nor an HTML tag."""
        rows = [
            [_escaped(cell) if at < self.texts else cell for at, cell in enumerate(row)] for row in self.rows
        ]
        return tabulate(rows, self.headings, "github", disable_numparse=True, colalign=self.alignment)

    def latex(self, caption: str, label: str) -> str:
        """For a paper, with the best cells in bold; see `latex.booktabs`."""
        rules = frozenset(self.rules)
        return booktabs(self.headings, self.rows, self.texts, self.best, rules, caption, label)


def _escaped(text: str) -> str:
    return escape(text, quote=False).replace("|", r"\|")


def best_cells(
    groups: Sequence[object],
    competing: Sequence[bool],
    columns: Sequence[tuple[int, Best, Sequence[float]]],
) -> frozenset[tuple[int, int]]:
    """The cells with the best value of their group, as row and column; of equal ones all.

    A group with a single competitor has no best one, and nothing that is 0 is the most.

    Args:
        groups: of each row. competing: whether a row takes part.
        columns: place in the table, which values are better, and the values of all rows.
    """
    found = set()
    for group in dict.fromkeys(groups):
        rows = [row for row, own in enumerate(groups) if own == group and competing[row]]
        for place, best, values in columns:
            known = [row for row in rows if not isnan(values[row])]
            if len(rows) < 2 or not best or not known:
                continue
            top = (max if best == "most" else min)(values[row] for row in known)
            found |= {(row, place) for row in known if values[row] == top and (best == "least" or top > 0)}
    return frozenset(found)
