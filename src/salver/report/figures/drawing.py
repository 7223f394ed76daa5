"""A chart becomes SVG and PDF, drawn offline by Vega; and what is too dense to be seen is thinned before."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from salver.report.figures.plot import Plot

# Colours no chart uses: replaced by those of paper or of the page around the plot; one drawing serves both.
_INK, _GRID = "#010203", "#040506"
_TEXT: dict[str, Any] = {"labelColor": _INK, "titleColor": _INK, "titleFontWeight": "normal"}
_REDUNDANT = re.compile(r' (?:(?:aria-[a-z]+|role|pointer-events|class)="[^"]*"|opacity="1")')
_UNSEEN = re.compile(
    r'<path [^>]*(?: opacity="0"|display="none")[^>]*/>|<text [^>]* opacity="0"[^>]*>[^<]*</text>'
)
_ROOT = re.compile(r"<svg ([^>]*)>")
_CIRCLE = re.compile(r'<path transform="translate\(([\d.-]+),([\d.-]+)\)" d="M([\d.]+),0A[^"]*"([^>]*)/>')
_CIRCLES = re.compile(rf"(?:{_CIRCLE.pattern})+")
_COORDINATES = re.compile(r' (?:d|transform)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d)\d+")
# A rectangle without a style, where nothing is filled.
_BLANK = re.compile(r'<path d="M[\d.,-]+h[\d.-]+v[\d.-]+h[\d.-]+Z"/>')
_RULE = re.compile(r'<line transform="translate\(([^)]*)\)" x2="([^"]*)" y2="([^"]*)"([^>]*)/>')
_RULES = re.compile(rf"(?:{_RULE.pattern})+")
_EMPTY_GROUP = re.compile(r"<g(?: [^>]*)?/>")
_GROUP = re.compile(r"<g(?: [^>]*)?>|</g>")
_NOTHING = re.compile(r"<g(?: [^>]*)?></g>")
_LINES = re.compile(r"M[\d.-]+,[\d.-]+(?:L[\d.-]+,[\d.-]+){2,}")
PANEL = 140
"""Width and height of a panel, in pixels."""
MOST_LETTERS = 25
"""Of a name in a plot."""


@dataclass(frozen=True)
class Described:
    """A chart's name, title, description, LaTeX text and table, before it is drawn."""

    name: str
    title: str
    description: str
    tex: str
    headers: tuple[str, ...]
    rows: Sequence[Sequence[str]]


def drawn(chart: alt.LayerChart | alt.FacetChart, described: Described) -> Plot:
    """Draws a chart. The same chart gives the same bytes.

    With a second font or with transparency the PDF would not: its writer puts those in no fixed order.
    """
    raw = compact(_REDUNDANT.sub("", vl_convert.vegalite_to_svg(_specification(chart))))
    paper = _titled(raw.replace(_INK, "black").replace(_GRID, "#ddd"), described)
    return Plot(
        name=described.name,
        title=described.title,
        svg=paper,
        pdf=vl_convert.svg_to_pdf(paper),
        inline=_titled(raw.replace(_INK, "currentColor").replace(_GRID, "#8884"), described),
        tex=described.tex,
        headers=described.headers,
        rows=tuple(tuple(row) for row in described.rows),
    )


def panels(
    chart: alt.LayerChart | alt.FacetChart, key: str, order: Sequence[str], none: Sequence[str] = ()
) -> alt.FacetChart:
    """A panel for each value of `key`, two side by side: a small screen shows them whole.

    What is listed in a name stands in lines of its own, and what is too long has its middle left out.

    Args:
        none: values of which nothing was solved; their panels say so.
    """
    end = (MOST_LETTERS - 1) // 2
    brief = f"slice(datum.label, 0, {end}) + '…' + slice(datum.label, -{end})"
    label = f"length(datum.label) <= {MOST_LETTERS} ? datum.label : "
    label += f"indexof(datum.label, ', ') > 0 ? split(datum.label, ', ') : {brief}"
    if none:
        short = f"length(datum.label) <= {MOST_LETTERS} ? datum.label : {brief}"
        label = f"indexof({json.dumps(list(none))}, datum.label) >= 0 ? [{short}, 'solved none'] : {label}"
    header = alt.Header(labelExpr=label, labelLimit=PANEL, labelPadding=4)
    facet = alt.Facet(f"{key}:N", title=None, sort=list(order), header=header)
    width, height = (PANEL, PANEL) if len(order) > 1 else (2 * PANEL, int(1.5 * PANEL))
    faceted = chart.properties(width=width, height=height).facet(
        facet, columns=min(2, len(order)), spacing=14
    )
    # Else an axis stands below the empty place of the last row.
    return faceted.resolve_axis(x="independent") if len(order) % 2 and len(order) > 1 else faceted


def shortened(name: str, most: int) -> str:
    """A name with its middle left out where it is too long to stand in a plot: names differ at their ends."""
    end = (most - 1) // 2
    return name if len(name) <= most else f"{name[:end]}…{name[-end:]}"


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers of a logarithmic axis, as dense as `most` of them allow."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        inside = [float(f"{tick:.6g}") for tick in ticks if low <= tick <= high]
        if len(inside) <= most:
            return inside
    return inside[:: -(-len(inside) // most)]


def whole_ticks(last: int, most: int = 7) -> list[int]:
    """Whole numbers from 0 up to `last`, in steps of 1, 2 or 5 times a power of ten, `most` at most."""
    steps = (digit * 10**power for power in range(20) for digit in (1, 2, 5))
    step = next(step for step in steps if last // step < most)
    return list(range(0, last + 1, step))


def thinned_steps(x: pd.Series[float], y: pd.Series[float], cells: int = 400) -> list[bool]:
    """Which points of a rising curve to keep: the first in each cell of a square grid, and the last."""
    grid = pd.DataFrame({"x": _cells(x, cells), "y": _cells(np.log(y), cells)})
    return [*(not repeated for repeated in grid.duplicated()[:-1]), True]


def thinned_cloud(x: pd.Series[float], y: pd.Series[float], most: int = 400, cells: int = 40) -> list[bool]:
    """Which points of a logarithmic cloud to keep: all up to `most`, else the first in each cell."""
    if len(x) <= most:
        return [True] * len(x)
    grid = pd.DataFrame({"x": _cells(np.log(x), cells), "y": _cells(np.log(y), cells)})
    return [not repeated for repeated in grid.duplicated()]


def _cells(values: Any, cells: int) -> Any:
    numbers = np.asarray(values, dtype=np.float64)
    low, high = numbers.min(), numbers.max()
    return np.floor((numbers - low) / max(high - low, 1e-12) * cells)


def compact(svg: str) -> str:
    """The same picture in fewer bytes and elements: clouds and grids as one path each, tenths of a pixel."""
    merged = _CIRCLES.sub(lambda run: _merged(run[0]), _BLANK.sub("", _UNSEEN.sub("", svg)))
    ruled = _RULES.sub(lambda run: _ruled(run[0]), _flat(merged))
    rounded = _COORDINATES.sub(lambda attribute: _DECIMALS.sub(r"\1", attribute[0]), ruled)
    return _LINES.sub(lambda line: _stepped(line[0]), rounded)


def _flat(svg: str) -> str:
    """Without groups that say nothing or have nothing."""
    is_kept: list[bool] = []

    def tag(found: re.Match[str]) -> str:
        if found[0] == "</g>":
            return "</g>" if is_kept.pop() else ""
        is_kept.append(found[0] != "<g>")
        return found[0] if is_kept[-1] else ""

    flat, emptied = _GROUP.sub(tag, _EMPTY_GROUP.sub("", svg)), 1
    while emptied:
        flat, emptied = _NOTHING.subn("", flat)
    return flat


def _ruled(run: str) -> str:
    paths: dict[str, list[str]] = {}
    for start, x, y, style in _RULE.findall(run):
        paths.setdefault(style, []).append(f"M{start}l{x},{y}")
    return "".join(f'<path d="{"".join(rules)}"{style}/>' for style, rules in paths.items())


def _stepped(line: str) -> str:
    """The same line with what goes straight along or up written with one number."""
    first, *others = line[1:].split("L")
    told, (x, y) = [f"M{first}"], first.split(",")
    for point in others:
        to_x, to_y = point.split(",")
        if to_x != x and to_y != y:
            told.append(f"L{point}")
        elif to_x != x:
            told.append(f"H{to_x}")
        elif to_y != y:
            told.append(f"V{to_y}")
        x, y = to_x, to_y
    return "".join(told)


def _merged(run: str) -> str:
    paths: dict[str, list[str]] = {}
    for x, y, radius, style in _CIRCLE.findall(run):
        # All but a tenth of a pixel of a circle is one arc.
        r, right = f"{float(radius):.1f}", f"{float(x) + float(radius):.1f}"
        paths.setdefault(style, []).append(f"M{right},{float(y):.1f}a{r},{r},0,1,1,0,-.1z")
    return "".join(f'<path d="{"".join(circles)}"{style}/>' for style, circles in paths.items())


def _titled(svg: str, described: Described) -> str:
    name = f"plot-{described.name}"
    texts = f'<title id="{name}-title">{escape(described.title)}</title>'
    texts += f'<desc id="{name}-desc">{escape(described.description)}</desc>'
    root = rf'<svg \1 role="img" aria-labelledby="{name}-title {name}-desc">'
    return _ROOT.sub(lambda match: match.expand(root) + texts, svg, count=1)


def _specification(chart: alt.LayerChart | alt.FacetChart) -> dict[str, Any]:
    themed = (
        chart.configure(background="transparent")
        .configure_axis(**_TEXT, tickColor=_INK, domainColor=_INK, gridColor=_GRID)
        .configure_legend(**_TEXT, symbolOpacity=1)
        .configure_header(**_TEXT)
        .configure_view(stroke=_GRID)
    )
    with alt.data_transformers.enable("default", max_rows=None):
        # Not validated against the schema, which takes longer than drawing: Vega reads it right after.
        specification: dict[str, Any] = themed.to_dict(validate=False)
    return specification
