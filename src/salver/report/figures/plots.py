"""Cactus and scatter plots and time against size: as SVG, PDF and LaTeX, each with its content as a table."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from salver.judge.columns import SOLVED
from salver.judge.scoring import VIRTUAL_BEST, virtual_best
from salver.report.figures.curve import curve
from salver.report.figures.drawing import (
    Described,
    drawn,
    log_ticks,
    panels,
    shortened,
    thinned_cloud,
    thinned_steps,
    whole_ticks,
)
from salver.report.figures.pgfplots import Series, clouds, curves
from salver.report.figures.plot import COLUMNS, Plot

__all__ = ["Plot", "all_plots", "cactus", "scatter", "time_against"]

SHORTEST_S = 0.01
"""Times below are drawn here: a logarithmic axis has no zero and process start is about as long."""

# Okabe and Ito's palette without black and yellow: readable for the colour blind, on light and dark ground.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#A0784A")
_DASHES = ([1, 0], [6, 2], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3], [10, 2], [5, 1, 1, 1])
BEST_COLOUR = "#8A8A8A"
"""Of the virtual best, which is no solver."""
MOST_CURVES = 10
"""Solvers in a plot, the first of the leaderboard; its table has all."""
_THINNED = " Where points lie too close to be told apart, one of them is drawn."


def all_plots(frame: pd.DataFrame) -> list[Plot]:
    """The plots of a report, those with nothing to show left out: none where no run was solved.

    Args:
        frame: `COLUMNS` of the results, in which solvers first occur in the order of the leaderboard;
            `neurons` is a number of the instance (-1: not known).
    """
    if not frame["outcome"].isin(SOLVED).any():
        return []
    made = (cactus(frame), scatter(frame), time_against(frame, "neurons", "ReLU neurons"), curve(frame))
    return [plot for plot in made if plot is not None]


def cactus(frame: pd.DataFrame) -> Plot | None:
    """Cactus plot: after how many wall seconds each solver has solved how many runs; None if none has."""
    frame = frame[list(COLUMNS)]
    order = _solvers(frame)
    # Of one solver the virtual best is the solver.
    extra = [virtual_best(frame)] if len(order) > 1 else []
    order += [VIRTUAL_BEST] * len(extra)
    solved = pd.concat([frame, *extra], ignore_index=True)
    solved = solved[solved["outcome"].isin(SOLVED)].sort_values(["solver", "wall_s"])
    if solved.empty:
        return None
    points = solved.assign(
        seconds=solved["wall_s"].clip(lower=SHORTEST_S).round(3),
        solved=solved.groupby("solver").cumcount() + 1,
    )[["solver", "seconds", "solved"]]
    present = set(points["solver"])
    solvers = [name for name in order if name in present]
    headers, rows = _cactus_table(points, solvers)
    own = [name for name in solvers if name != VIRTUAL_BEST]
    few = [*own[:MOST_CURVES], *solvers[len(own) :]]
    groups = {str(name): group for name, group in points.groupby("solver") if name in few}
    thinned = {
        name: group[thinned_steps(group["solved"], group["seconds"])] for name, group in groups.items()
    }
    of_solver = _colours(frame)
    series = [
        Series(name, thinned[name]["solved"].tolist(), thinned[name]["seconds"].tolist(), of_solver[name])
        for name in few
    ]
    title = "Runs solved against wall time" + _first_of(own[:MOST_CURVES], own)
    best = max(solvers, key=lambda name: (name != VIRTUAL_BEST, (points["solver"] == name).sum()))
    description = f"Step curves; further right is more solved, lower is faster. Most runs solved by {best}."
    tex = curves(series, "runs solved", "wall time per run (s)")
    chart = _cactus_chart(pd.concat([thinned[name] for name in few]), few, frame)
    return drawn(chart, Described("cactus", title, description + _THINNED, tex, headers, rows))


def _cactus_chart(
    points: pd.DataFrame, solvers: list[str], frame: pd.DataFrame
) -> alt.LayerChart | alt.FacetChart:
    """Curves that end in a dot, with the solvers' names beside them."""
    of_solver, dashed = _colours(frame), colours_of(_DASHES, frame)
    # What is drawn first lies below.
    below = [*reversed(solvers)]
    scale = alt.Scale(domain=below, range=[of_solver[name] for name in below])
    dashes = alt.Scale(domain=below, range=[dashed[name] for name in below])
    low, high = _ends(points["seconds"])
    most = int(points["solved"].max())
    base = alt.Chart(points).encode(
        x=alt.X(
            "solved:Q",
            title="runs solved",
            axis=alt.Axis(values=whole_ticks(most), format="d"),
            scale=alt.Scale(domain=[0, most], nice=False),
        ),
        y=_log_y("seconds:Q", "wall time per run (s)", low, high),
        color=alt.Color("solver:N", sort=below, scale=scale, legend=None),
    )
    lines = base.mark_line(interpolate="step-after").encode(
        strokeDash=alt.StrokeDash("solver:N", sort=below, scale=dashes, legend=None)
    )
    ends = points.groupby("solver", sort=False).tail(1)
    # A solver with a single solved run has no line; the end point shows it all the same.
    dots = base.mark_point(filled=True, size=30, opacity=1).properties(data=ends)
    height = 220
    labels = ends.assign(
        at=most,
        place=_apart(ends["seconds"].tolist(), low, high, height),
        name=[shortened(name, 17) for name in ends["solver"]],
    )
    names = (
        alt.Chart(labels)
        .mark_text(align="left", dx=7, fontSize=10, limit=110)
        .encode(
            x=alt.X("at:Q"),
            y=alt.Y("place:Q"),
            text="name:N",
            color=alt.Color("solver:N", scale=scale, legend=None),
        )
    )
    return alt.layer(lines, dots, names).properties(
        width=250, height=height, padding={"left": 2, "top": 5, "bottom": 2, "right": 4}
    )


def _apart(values: list[float], low: float, high: float, height: int, gap: int = 12) -> list[float]:
    """Where names stand beside their points on a logarithmic axis, `gap` pixels apart at least."""
    pixels = height * (1 - np.log(np.array(values) / low) / np.log(high / low))
    order = np.argsort(pixels, kind="stable")
    for _ in range(2 * len(order)):
        for upper, lower in pairwise(order.tolist()):
            short = gap - (pixels[lower] - pixels[upper])
            if short > 0:
                pixels[upper] -= short / 2
                pixels[lower] += short / 2
        pixels += max(0.0, -float(pixels.min())) - max(0.0, float(pixels.max()) - height)
    placed: list[float] = (low * (high / low) ** (1 - pixels / height)).tolist()
    return placed


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
    low, high = _ends(pairs[["seconds", "seconds_reference"]].stack())
    others = [name for name in _solvers(frame) if name in set(pairs["solver"])]
    headers, rows = _scatter_table(pairs, str(reference), others)
    few = others[:MOST_CURVES]
    groups = {name: pairs[pairs["solver"] == name] for name in few}
    groups = {name: g[thinned_cloud(g["seconds_reference"], g["seconds"])] for name, g in groups.items()}
    shown = pd.concat(groups.values())
    of_solver = _colours(frame)
    colours = alt.Scale(domain=few, range=[of_solver[name] for name in few])
    base = alt.Chart(shown[["solver", "seconds", "seconds_reference"]])
    points = base.mark_point(size=14, opacity=1, strokeWidth=1).encode(
        x=_log_x("seconds_reference:Q", f"{shortened(reference, 17)} (s)", low, high),
        y=_log_y("seconds:Q", "other solver (s)", low, high),
        color=alt.Color("solver:N", scale=colours, legend=None),
    )
    diagonal = (
        base.transform_aggregate(least="min(seconds)", groupby=["solver"])
        .transform_calculate(at=f"[{low}, {high}]")
        .transform_flatten(["at"])
        .mark_line(strokeDash=[3, 3], color="#888", strokeWidth=1)
        .encode(x=alt.X("at:Q"), y=alt.Y("at:Q"))
    )
    chart = panels(alt.layer(diagonal, points), "solver", few, _solved_none(frame))
    clouded = [
        [Series(name, g["seconds_reference"].tolist(), g["seconds"].tolist(), of_solver[name])]
        for name, g in groups.items()
    ]
    title = f"Wall time of {reference} against each other solver; unsolved at twice the limit"
    title += _first_of(few, others)
    description = (
        f"One panel per solver, both axes logarithmic. Points above the diagonal: {reference} is faster."
    )
    tex = clouds(clouded, f"{reference} (s)", "other solver (s)", (low, high))
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
    solvers = _solvers(points)
    headers, rows = _size_table(points, title, solvers)
    few = solvers[:MOST_CURVES]
    groups = points[points["solver"].isin(few)].groupby(["solver", "solved"])
    kept = pd.concat([group[thinned_cloud(group["number"], group["seconds"])] for _, group in groups])
    kept = kept.sort_index()
    of_solver = _colours(frame)
    colours = alt.Scale(domain=few, range=[of_solver[name] for name in few])
    base = alt.Chart(kept[["solver", "seconds", "solved", "number"]]).encode(
        x=_log_x("number:Q", title, *_ends(kept["number"], integers=True)),
        y=_log_y("seconds:Q", "wall time (s)", *_ends(kept["seconds"])),
        color=alt.Color("solver:N", scale=colours, legend=None),
    )
    full = base.transform_filter("datum.solved").mark_point(filled=True, size=22, opacity=1)
    hollow = base.transform_filter("!datum.solved").mark_point(
        filled=False, size=22, opacity=1, strokeWidth=1
    )
    chart = panels(alt.layer(full, hollow), "solver", few, _solved_none(frame))
    clouded = [
        [
            Series(name, part["number"].tolist(), part["seconds"].tolist(), of_solver[name], hollow)
            for hollow in (False, True)
            if len(part := kept[(kept["solver"] == name) & (kept["solved"] != hollow)])
        ]
        for name in few
    ]
    name = f"Wall time against {title}, by solver; unsolved runs hollow at the limit" + _first_of(
        few, solvers
    )
    description = "One panel per solver, both axes logarithmic." + _THINNED
    tex = clouds(clouded, title, "wall time per run (s)")
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


def _scatter_table(pairs: pd.DataFrame, reference: str, others: list[str]) -> Table:
    """Against each solver: who is faster where both solve, and who alone solves."""
    rows = []
    for name in others:
        pair = pairs[pairs["solver"] == name]
        both = pair[pair["solved"] & pair["solved_reference"]]
        counts = (
            len(pair),
            int((both["seconds_reference"] < both["seconds"]).sum()),
            int((both["seconds_reference"] > both["seconds"]).sum()),
            int((pair["solved_reference"] & ~pair["solved"]).sum()),
            int((pair["solved"] & ~pair["solved_reference"]).sum()),
        )
        rows.append([name, *map(str, counts)])
    own = (f"{reference} faster", "other faster", f"only {reference} solves", "only the other solves")
    return ("other solver", "runs", *own), rows


def _size_table(points: pd.DataFrame, title: str, solvers: list[str]) -> Table:
    """By solver and quarter of the sizes: runs, runs solved, median time with the unsolved at the limit."""
    numbers = points["number"]
    sizes = sorted(numbers.unique())
    if len(sizes) > 4:
        sizes = sorted({float(numbers.quantile(part)) for part in (0.25, 0.5, 0.75, 1.0)})
    rows = []
    for name in solvers:
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


def colours_of(values: tuple[Any, ...], frame: pd.DataFrame) -> dict[str, Any]:
    """A colour or dash for every solver of the results and the virtual best: the same in every plot."""
    names = [*sorted(set(map(str, frame["solver"].unique())) - {VIRTUAL_BEST}), VIRTUAL_BEST]
    return {name: values[position % len(values)] for position, name in enumerate(names)}


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    return {**colours_of(COLOURS, frame), VIRTUAL_BEST: BEST_COLOUR}


def _solvers(frame: pd.DataFrame) -> list[str]:
    """The solvers in the order in which they first occur."""
    return [str(name) for name in frame["solver"].unique() if name != VIRTUAL_BEST]


def _solved_none(frame: pd.DataFrame) -> list[str]:
    solved = set(frame.loc[frame["outcome"].isin(SOLVED), "solver"])
    return [name for name in _solvers(frame) if name not in solved]


def _first_of(few: list[str], solvers: list[str]) -> str:
    """What a title says where not all solvers are drawn."""
    return f"; the first {MOST_CURVES} of {len(solvers)} solvers" if len(few) < len(solvers) else ""


def _ends(values: pd.Series[float], *, integers: bool = False) -> tuple[float, float]:
    """Ends of a logarithmic axis that fits the values, with some room around them."""
    low, high = float(values.min()), float(values.max())
    room = max(1.15, (high / low) ** 0.05)
    if high < 2 * low and not integers:
        room = max(room, (2 * low / high) ** 0.5)
    return low / room, high * room


def _log_x(field: str, title: str, low: float, high: float) -> alt.X:
    return alt.X(field, title=title, scale=_log(low, high), axis=_ticked(low, high))


def _log_y(field: str, title: str, low: float, high: float) -> alt.Y:
    return alt.Y(field, title=title, scale=_log(low, high), axis=_ticked(low, high))


def _log(low: float, high: float) -> alt.Scale:
    return alt.Scale(type="log", domain=[low, high], nice=False)


def _ticked(low: float, high: float) -> alt.Axis:
    return alt.Axis(values=log_ticks(low, high), format="~g")
