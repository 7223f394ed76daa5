"""A drawn chart as the other parts of a report see it, who need none of what draws it."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = (
    "suite", "instance_id", "repetition", "solver", "outcome", "wall_s", "limit_s", "neurons",
    "network", "question", "method", "epsilon", "norm",
)  # fmt: skip
"""Columns of the results that the plots look at."""


@dataclass(frozen=True)
class Plot:
    """A drawn chart.

    Attributes:
        name: stem of its files.
        title: what it shows, in one clause.
        svg, pdf: for paper; `tex` is the same as a pgfplots picture.
        inline: SVG that takes its text colour from the page around it, with title and description.
        headers, rows: the chart's content as a table, for who cannot see it.
    """

    name: str
    title: str
    svg: str
    pdf: bytes
    inline: str
    tex: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
