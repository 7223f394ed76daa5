"""The plots as LaTeX: one `tikzpicture` each, to be input where `pgfplots` is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from salver.report.latex import latex

_HEAD = "% \\usepackage{{pgfplots}} \\pgfplotsset{{compat=1.18}} {libraries}\n"
_DASHES = ("solid", "dashed", "dotted", "dashdotted", "densely dashed", "densely dotted")


@dataclass(frozen=True)
class Series:
    """Points [n] of one curve or cloud; `hollow` marks are runs that were not solved."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    hollow: bool = False


@dataclass(frozen=True)
class Band:
    """A curve [n] with the lower and upper end of an interval at each of its points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


def bands(panels: Sequence[tuple[str, Sequence[Band]]], x_title: str, y_title: str) -> str:
    """Curves with error bars side by side, both axes linear, y from 0 to 1; the first panel has a legend."""
    lines = [_HEAD.format(libraries=r"\usepgfplotslibrary{groupplots}").rstrip(), r"\begin{tikzpicture}"]
    lines += _colours(panels[0][1])
    rows = -(-len(panels) // 3)
    group = f"group style={{group size=3 by {rows}, horizontal sep=1.6cm, vertical sep=1.8cm}}"
    style = f"{group}, ymin=0, ymax=1, grid=major, width=5.6cm, height=5.2cm, legend cell align=left"
    lines.append(rf"\begin{{groupplot}}[{style}, xlabel={{{latex(x_title)}}}, ylabel={{{latex(y_title)}}}]")
    for number, (title, series) in enumerate(panels):
        lines.append(rf"\nextgroupplot[title={{{latex(title)}}}]")
        for place, one in enumerate(series):
            bars = "error bars/.cd, y dir=both, y explicit"
            drawn = f"salver{place}, thick, {_DASHES[place]}, mark=*, mark size=1.2pt, {bars}"
            lines.append(rf"\addplot[{drawn}] coordinates {{{_with_bars(one)}}};")
            lines += [rf"\addlegendentry{{{latex(one.name)}}}"] if number == 0 else []
    return "\n".join([*lines, r"\end{groupplot}", r"\end{tikzpicture}"]) + "\n"


def _with_bars(one: Band) -> str:
    points = zip(one.x, one.y, one.low, one.high, strict=True)
    return " ".join(
        f"({x:.6g},{y:.4g}) += (0,{high - y:.4g}) -= (0,{y - low:.4g})" for x, y, low, high in points
    )


def curves(series: Sequence[Series], x_title: str, y_title: str) -> str:
    """Step curves in one axis, y logarithmic, with a legend."""
    lines = [_HEAD.format(libraries="").rstrip(), r"\begin{tikzpicture}", *_colours(series)]
    options = (
        "ymode=log, legend pos=outer north east, legend cell align=left, grid=major, width=11cm, height=7cm"
    )
    lines.append(rf"\begin{{axis}}[{options}, xlabel={{{latex(x_title)}}}, ylabel={{{latex(y_title)}}}]")
    for number, one in enumerate(series):
        style = f"salver{number}, thick, {_DASHES[number % len(_DASHES)]}, const plot"
        style += ", mark=*" if len(one.x) == 1 else ", mark=none"
        lines += [
            rf"\addplot[{style}] coordinates {{{_points(one)}}};",
            rf"\addlegendentry{{{latex(one.name)}}}",
        ]
    return "\n".join([*lines, r"\end{axis}", r"\end{tikzpicture}"]) + "\n"


def clouds(
    panels: Sequence[Sequence[Series]],
    x_title: str,
    y_title: str,
    diagonal: tuple[float, float] | None = None,
) -> str:
    """Point clouds side by side, both axes logarithmic; a panel is named after its first series."""
    lines = [_HEAD.format(libraries=r"\usepgfplotslibrary{groupplots}").rstrip(), r"\begin{tikzpicture}"]
    lines += _colours([panel[0] for panel in panels])
    rows = -(-len(panels) // 3)
    group = f"group style={{group size=3 by {rows}, horizontal sep=1.6cm, vertical sep=1.8cm}}"
    style = f"{group}, xmode=log, ymode=log, grid=major, width=5.6cm, height=5.2cm"
    lines.append(rf"\begin{{groupplot}}[{style}, xlabel={{{latex(x_title)}}}, ylabel={{{latex(y_title)}}}]")
    for number, panel in enumerate(panels):
        lines.append(rf"\nextgroupplot[title={{{latex(panel[0].name)}}}]")
        if diagonal is not None:
            low, high = (f"{end:.4g}" for end in diagonal)
            lines.append(rf"\addplot[gray, dashed, mark=none] coordinates {{({low},{low}) ({high},{high})}};")
        for one in panel:
            mark = "o" if one.hollow else "*"
            style = f"only marks, mark={mark}, mark size=1.1pt, salver{number}"
            lines.append(rf"\addplot[{style}] coordinates {{{_points(one)}}};")
    return "\n".join([*lines, r"\end{groupplot}", r"\end{tikzpicture}"]) + "\n"


def _colours(series: Sequence[Series | Band]) -> list[str]:
    return [
        rf"\definecolor{{salver{number}}}{{HTML}}{{{one.colour.lstrip('#')}}}"
        for number, one in enumerate(series)
    ]


def _points(series: Series) -> str:
    pairs = zip(np.asarray(series.x).tolist(), np.asarray(series.y).tolist(), strict=True)
    return " ".join(f"({x:.6g},{y:.4g})" for x, y in pairs)
