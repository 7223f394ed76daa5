"""Cactus and scatter plots as SVG and PDF, drawn offline by Vega."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from salver.judge.scoring import SOLVED, VIRTUAL_BEST, virtual_best

SHORTEST_S = 0.01
"""Times below are drawn here: a logarithmic axis has no zero and process start is about as long."""

# Okabe and Ito's palette without black and yellow: readable for the colour blind, on light and dark ground.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A0784A")
_DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3], [10, 2], [5, 1, 1, 1])


@dataclass(frozen=True)
class Plot:
    """A drawn chart. `inline` takes its text colour from the page around it."""

    name: str
    title: str
    svg: str
    pdf: bytes
    inline: str


def cactus(frame: pd.DataFrame) -> Plot | None:
    """Cactus plot: after how many wall seconds each solver has solved how many runs; None if none has."""
    solved = pd.concat([frame, virtual_best(frame)], ignore_index=True)
    solved = solved[solved["outcome"].isin(SOLVED)].sort_values(["solver", "wall_s"])
    if solved.empty:
        return None
    points = solved.assign(
        seconds=solved["wall_s"].clip(lower=SHORTEST_S).round(3),
        solved=solved.groupby("solver").cumcount() + 1,
    )
    solvers = _order(points)
    colours = alt.Scale(domain=solvers, range=_cycle(_COLOURS, solvers))
    dashes = alt.Scale(domain=solvers, range=_cycle(_DASHES, solvers))
    base = alt.Chart(points[["solver", "seconds", "solved"]]).encode(
        x=alt.X("solved:Q", title="runs solved", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("seconds:Q", title="wall time per run (s)", scale=alt.Scale(type="log")),
        color=alt.Color("solver:N", sort=solvers, scale=colours),
    )
    lines = base.mark_line(interpolate="step-after").encode(
        strokeDash=alt.StrokeDash("solver:N", sort=solvers, scale=dashes)
    )
    # A solver with a single solved run has no line; the end point shows it all the same.
    last = base.transform_joinaggregate(most="max(solved)", groupby=["solver"])
    ends = last.transform_filter("datum.solved == datum.most").mark_point(filled=True, size=40)
    chart = alt.layer(lines, ends).properties(width=560, height=320)
    return _drawn("cactus", "Runs solved against wall time, by solver", chart)


def scatter(frame: pd.DataFrame) -> Plot | None:
    """Wall time of the solver with the least PAR-2 against each other one, run by run; None for one solver.

    An unsolved run stands at twice its limit, as in PAR-2.
    """
    if frame["solver"].nunique() < 2:
        return None
    cost = frame["wall_s"].where(frame["outcome"].isin(SOLVED), 2 * frame["limit_s"])
    timed = frame.assign(seconds=cost.clip(lower=SHORTEST_S).round(3))
    reference = timed.groupby("solver")["seconds"].mean().sort_values(kind="stable").index[0]
    keys = ["suite", "instance_id", "repetition"]
    columns = [*keys, "solver", "seconds"]
    pairs = timed.loc[timed["solver"] != reference, columns].merge(
        timed.loc[timed["solver"] == reference, [*keys, "seconds"]], on=keys, suffixes=("", "_reference")
    )
    if pairs.empty:
        return None
    low, high = SHORTEST_S, float(pairs[["seconds", "seconds_reference"]].max().max())
    scale = alt.Scale(type="log", domain=[low, max(high, 10 * low)], nice=True)
    base = alt.Chart(pairs[["solver", "seconds", "seconds_reference"]])
    points = base.mark_point(size=22, color=_COLOURS[0], opacity=0.7).encode(
        x=alt.X("seconds_reference:Q", title=f"{reference} (s)", scale=scale),
        y=alt.Y("seconds:Q", title="other solver (s)", scale=scale),
    )
    diagonal = base.mark_line(strokeDash=[3, 3], color="#888", strokeWidth=1).encode(
        x=alt.X("seconds_reference:Q"), y=alt.Y("seconds_reference:Q")
    )
    chart = (
        alt.layer(diagonal, points)
        .properties(width=200, height=200)
        .facet(alt.Facet("solver:N", title=None), columns=3)
    )
    return _drawn(
        "scatter", f"Wall time of {reference} against each other solver; unsolved at twice the limit", chart
    )


def time_against(frame: pd.DataFrame, column: str, title: str) -> Plot | None:
    """Wall time of every run against a number of its instance, both axes logarithmic; None without runs.

    An unsolved run is drawn hollow at its limit. Runs where the number is not positive are left out.
    """
    shown = frame[frame[column] > 0]
    if shown.empty:
        return None
    solved = shown["outcome"].isin(SOLVED)
    seconds = shown["wall_s"].where(solved, shown["limit_s"]).clip(lower=SHORTEST_S).round(3)
    points = shown.assign(seconds=seconds, solved=solved, number=shown[column])
    solvers = sorted(points["solver"].unique())
    colours = alt.Scale(domain=solvers, range=_cycle(_COLOURS, solvers))
    base = alt.Chart(points[["solver", "seconds", "solved", "number"]]).encode(
        x=alt.X("number:Q", title=title, scale=alt.Scale(type="log")),
        y=alt.Y("seconds:Q", title="wall time per run (s)", scale=alt.Scale(type="log")),
        color=alt.Color("solver:N", sort=solvers, scale=colours, legend=None),
    )
    full = base.transform_filter("datum.solved").mark_point(filled=True, size=28, opacity=0.8)
    hollow = base.transform_filter("!datum.solved").mark_point(filled=False, size=28, opacity=0.8)
    chart = (
        alt.layer(full, hollow)
        .properties(width=240, height=200)
        .facet(alt.Facet("solver:N", title=None), columns=3)
    )
    return _drawn(
        f"time-{column}", f"Wall time against {title}, by solver; unsolved runs hollow at the limit", chart
    )


def _order(points: pd.DataFrame) -> list[str]:
    counts = points.groupby("solver")["solved"].max().reset_index()
    counts = counts.assign(virtual=counts["solver"] == VIRTUAL_BEST)
    ordered = counts.sort_values(["virtual", "solved", "solver"], ascending=[True, False, True])
    return [str(name) for name in ordered["solver"]]


def _cycle(values: tuple[Any, ...], solvers: list[str]) -> list[Any]:
    return [values[position % len(values)] for position in range(len(solvers))]


def _drawn(name: str, title: str, chart: alt.LayerChart | alt.FacetChart) -> Plot:
    paper = _specification(chart, "black", "#ddd")
    inline = _specification(chart, "currentColor", "#8884")
    return Plot(
        name=name,
        title=title,
        svg=vl_convert.vegalite_to_svg(paper),
        pdf=vl_convert.vegalite_to_pdf(paper),
        inline=vl_convert.vegalite_to_svg(inline),
    )


def _specification(chart: alt.LayerChart | alt.FacetChart, ink: str, grid: str) -> dict[str, Any]:
    themed = (
        chart.configure(background="transparent")
        .configure_axis(labelColor=ink, titleColor=ink, tickColor=ink, domainColor=ink, gridColor=grid)
        .configure_legend(labelColor=ink, titleColor=ink)
        .configure_header(labelColor=ink, titleColor=ink)
        .configure_view(stroke=grid)
    )
    with alt.data_transformers.enable("default", max_rows=None):
        specification: dict[str, Any] = themed.to_dict()
    return specification
