"""Cactus and scatter plots and time against size: as SVG, PDF and LaTeX, each with its content as a table."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from salver.judge.columns import SOLVED
from salver.judge.scoring import VIRTUAL_BEST, virtual_best
from salver.report.figures.curve import curve
from salver.report.figures.drawing import Described, drawn, thinned_cloud, thinned_steps
from salver.report.figures.pgfplots import Series, clouds, curves
from salver.report.figures.plot import COLUMNS, Plot

__all__ = ["Plot", "all_plots", "cactus", "scatter", "time_against"]

SHORTEST_S = 0.01
"""Times below are drawn here: a logarithmic axis has no zero and process start is about as long."""

# Okabe and Ito's palette without black and yellow: readable for the colour blind, on light and dark ground.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A0784A")
_DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3], [10, 2], [5, 1, 1, 1])
_THINNED = " Where points lie too close to be told apart, one of them is drawn."


def all_plots(frame: pd.DataFrame) -> list[Plot]:
    """The plots of a report, those with nothing to show left out.

    Args:
        frame: `COLUMNS` of the results and `neurons`, a number of the instance (-1: not known).
    """
    made = (cactus(frame), scatter(frame), time_against(frame, "neurons", "ReLU neurons"), curve(frame))
    return [plot for plot in made if plot is not None]


def cactus(frame: pd.DataFrame) -> Plot | None:
    """Cactus plot: after how many wall seconds each solver has solved how many runs; None if none has."""
    frame = frame[list(COLUMNS)]
    solved = pd.concat([frame, virtual_best(frame)], ignore_index=True)
    solved = solved[solved["outcome"].isin(SOLVED)].sort_values(["solver", "wall_s"])
    if solved.empty:
        return None
    points = solved.assign(
        seconds=solved["wall_s"].clip(lower=SHORTEST_S).round(3),
        solved=solved.groupby("solver").cumcount() + 1,
    )[["solver", "seconds", "solved"]]
    solvers = _order(points)
    headers, rows = _cactus_table(points, solvers)
    shown = pd.concat(
        [group[thinned_steps(group["solved"], group["seconds"])] for _, group in points.groupby("solver")]
    )
    of_solver, dashed = colours_of(COLOURS, frame), colours_of(_DASHES, frame)
    colours = alt.Scale(domain=solvers, range=[of_solver[name] for name in solvers])
    dashes = alt.Scale(domain=solvers, range=[dashed[name] for name in solvers])
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=2, symbolSize=300)
    base = alt.Chart(shown).encode(
        x=alt.X("solved:Q", title="runs solved", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("seconds:Q", title="wall time per run (s)", scale=alt.Scale(type="log")),
        color=alt.Color("solver:N", sort=solvers, scale=colours, legend=legend),
    )
    lines = base.mark_line(interpolate="step-after").encode(
        strokeDash=alt.StrokeDash("solver:N", sort=solvers, scale=dashes, legend=legend)
    )
    # A solver with a single solved run has no line; the end point shows it all the same.
    last = base.transform_joinaggregate(most="max(solved)", groupby=["solver"])
    ends = last.transform_filter("datum.solved == datum.most").mark_point(filled=True, size=40, opacity=1)
    chart = alt.layer(lines, ends).properties(width=560, height=320)
    groups = {str(name): group for name, group in shown.groupby("solver")}
    series = [
        Series(name, groups[name]["solved"].tolist(), groups[name]["seconds"].tolist(), of_solver[name])
        for name in solvers
    ]
    title = "Runs solved against wall time, by solver"
    best = next((name for name in solvers if name != VIRTUAL_BEST), solvers[0])
    description = f"Step curves; further right is more solved, lower is faster. Most runs solved by {best}."
    tex = curves(series, "runs solved", "wall time per run (s)")
    return drawn(chart, Described("cactus", title, description + _THINNED, tex, headers, rows))


def scatter(frame: pd.DataFrame) -> Plot | None:
    """Wall time of the solver with the least PAR-2 against each other one, run by run; None for one solver.

    An unsolved run stands at twice its limit, as in PAR-2.
    """
    if frame["solver"].nunique() < 2:
        return None
    solved = frame["outcome"].isin(SOLVED)
    cost = frame["wall_s"].where(solved, 2 * frame["limit_s"])
    timed = frame.assign(seconds=cost.clip(lower=SHORTEST_S).round(3), solved=solved)
    reference = timed.groupby("solver")["seconds"].mean().sort_values(kind="stable").index[0]
    keys = ["suite", "instance_id", "repetition"]
    own = ["seconds", "solved"]
    pairs = timed.loc[timed["solver"] != reference, [*keys, "solver", *own]].merge(
        timed.loc[timed["solver"] == reference, [*keys, *own]], on=keys, suffixes=("", "_reference")
    )
    if pairs.empty:
        return None
    low = SHORTEST_S
    high = max(float(pairs[["seconds", "seconds_reference"]].max().max()), 10 * low)
    headers, rows = _scatter_table(pairs, str(reference))
    shown = pd.concat(
        [g[thinned_cloud(g["seconds_reference"], g["seconds"])] for _, g in pairs.groupby("solver")]
    )
    scale = alt.Scale(type="log", domain=[low, high], nice=True)
    base = alt.Chart(shown[["solver", "seconds", "seconds_reference"]])
    points = base.mark_point(size=14, color=COLOURS[0], opacity=1, strokeWidth=1).encode(
        x=alt.X("seconds_reference:Q", title=f"{reference} (s)", scale=scale),
        y=alt.Y("seconds:Q", title="other solver (s)", scale=scale),
    )
    diagonal = (
        base.transform_aggregate(least="min(seconds)", groupby=["solver"])
        .transform_calculate(at=f"[{low}, {high}]")
        .transform_flatten(["at"])
        .mark_line(strokeDash=[3, 3], color="#888", strokeWidth=1)
        .encode(x=alt.X("at:Q"), y=alt.Y("at:Q"))
    )
    chart = (
        alt.layer(diagonal, points)
        .properties(width=200, height=200)
        .facet(alt.Facet("solver:N", title=None), columns=_columns(pairs["solver"].nunique()))
    )
    panels = [
        [Series(str(name), g["seconds_reference"].tolist(), g["seconds"].tolist(), COLOURS[0])]
        for name, g in shown.groupby("solver")
    ]
    title = f"Wall time of {reference} against each other solver; unsolved at twice the limit"
    description = (
        f"One panel per solver, both axes logarithmic. Points above the diagonal: {reference} is faster."
    )
    tex = clouds(panels, f"{reference} (s)", "other solver (s)", (low, high))
    return drawn(chart, Described("scatter", title, description + _THINNED, tex, headers, rows))


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
    headers, rows = _size_table(points, title)
    groups = points.groupby(["solver", "solved"])
    kept = pd.concat([group[thinned_cloud(group["number"], group["seconds"])] for _, group in groups])
    kept = kept.sort_index()
    solvers = sorted(kept["solver"].unique())
    of_solver = colours_of(COLOURS, frame)
    colours = alt.Scale(domain=solvers, range=[of_solver[name] for name in solvers])
    base = alt.Chart(kept[["solver", "seconds", "solved", "number"]]).encode(
        x=alt.X("number:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=12)),
        y=alt.Y("seconds:Q", title="wall time per run (s)", scale=alt.Scale(type="log")),
        color=alt.Color("solver:N", sort=solvers, scale=colours, legend=None),
    )
    full = base.transform_filter("datum.solved").mark_point(filled=True, size=22, opacity=1)
    hollow = base.transform_filter("!datum.solved").mark_point(
        filled=False, size=22, opacity=1, strokeWidth=1
    )
    chart = (
        alt.layer(full, hollow)
        .properties(width=240, height=200)
        .facet(alt.Facet("solver:N", title=None), columns=_columns(len(solvers)))
    )
    panels = [
        [
            Series(name, part["number"].tolist(), part["seconds"].tolist(), of_solver[name], hollow)
            for hollow in (False, True)
            if len(part := kept[(kept["solver"] == name) & (kept["solved"] != hollow)])
        ]
        for name in solvers
    ]
    name = f"Wall time against {title}, by solver; unsolved runs hollow at the limit"
    description = "One panel per solver, both axes logarithmic." + _THINNED
    tex = clouds(panels, title, "wall time per run (s)")
    return drawn(chart, Described(f"time-{column}", name, description, tex, headers, rows))


Table = tuple[tuple[str, ...], list[list[str]]]


def _cactus_table(points: pd.DataFrame, solvers: list[str]) -> Table:
    """How many runs each solver has solved within round numbers of seconds, and its median time."""
    slowest = float(points["seconds"].max())
    marks = [mark for mark in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000) if mark < 3.34 * slowest]
    rows = []
    for name in solvers:
        seconds = points.loc[points["solver"] == name, "seconds"]
        counts = [str(int((seconds <= mark).sum())) for mark in marks]
        rows.append([name, *counts, f"{seconds.median():.2f}"])
    return ("solver", *(f"solved in {mark:g} s" for mark in marks), "median (s)"), rows


def _scatter_table(pairs: pd.DataFrame, reference: str) -> Table:
    """Against each solver: who is faster where both solve, and who alone solves."""
    rows = []
    for name, pair in pairs.groupby("solver"):
        both = pair[pair["solved"] & pair["solved_reference"]]
        counts = (
            len(pair),
            int((both["seconds_reference"] < both["seconds"]).sum()),
            int((both["seconds_reference"] > both["seconds"]).sum()),
            int((pair["solved_reference"] & ~pair["solved"]).sum()),
            int((pair["solved"] & ~pair["solved_reference"]).sum()),
        )
        rows.append([str(name), *map(str, counts)])
    own = (f"{reference} faster", "other faster", f"only {reference} solves", "only the other solves")
    return ("other solver", "runs", *own), rows


def _size_table(points: pd.DataFrame, title: str) -> Table:
    """By solver and quarter of the sizes: runs, runs solved, median time with the unsolved at the limit."""
    numbers = points["number"]
    sizes = sorted(numbers.unique())
    if len(sizes) > 4:
        sizes = sorted({float(numbers.quantile(part)) for part in (0.25, 0.5, 0.75, 1.0)})
    rows = []
    for name in sorted(points["solver"].unique()):
        own, below = points[points["solver"] == name], float("-inf")
        for size in sizes:
            group = own[(own["number"] > below) & (own["number"] <= size)]
            below = size
            if len(group):
                median = f"{group['seconds'].median():.2f}"
                rows.append(
                    [name, f"up to {size:g}", str(len(group)), str(int(group["solved"].sum())), median]
                )
    return ("solver", title, "runs", "solved", "median (s)"), rows


def _order(points: pd.DataFrame) -> list[str]:
    counts = points.groupby("solver")["solved"].max().reset_index()
    counts = counts.assign(virtual=counts["solver"] == VIRTUAL_BEST)
    ordered = counts.sort_values(["virtual", "solved", "solver"], ascending=[True, False, True])
    return [str(name) for name in ordered["solver"]]


def colours_of(values: tuple[Any, ...], frame: pd.DataFrame) -> dict[str, Any]:
    """A colour or dash for every solver of the results and the virtual best: the same in every plot."""
    names = [*sorted(set(map(str, frame["solver"].unique())) - {VIRTUAL_BEST}), VIRTUAL_BEST]
    return {name: values[position % len(values)] for position, name in enumerate(names)}


def _columns(panels: int) -> int:
    """Panels beside each other: three, or two where three would leave one alone."""
    return 2 if panels == 4 else 3
