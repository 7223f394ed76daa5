"""The robustness curve: which share of the instances is verified, and which falsified, at each epsilon."""

from __future__ import annotations

from collections.abc import Hashable

import altair as alt
import pandas as pd

from salver.judge.robustness import robustness
from salver.judge.scoring import VIRTUAL_BEST
from salver.report.figures.drawing import Described, drawn, panels
from salver.report.figures.pgfplots import Band, bands
from salver.report.figures.plot import Plot

VERIFIED, SAFE, OPEN = "#009E73", "#D55E00", "#BDBDBD"
"""Green is robust, orange is not, grey is not known: as on the page."""
LEAST = 2
"""Instances that an epsilon must have, and epsilons that a panel must have."""
MOST_PANELS = 12


def curve(frame: pd.DataFrame) -> Plot | None:
    """Share verified from below and share not falsified from above, over epsilon; None with nothing to show.

    By all solvers together, one panel a network, question and method. Between the curves it is open.

    Args:
        frame: `plot.COLUMNS` of the results.
    """
    known = frame[frame["epsilon"].notna()]
    if known.empty:
        return None
    # Radii in different norms are no points of one curve.
    known = known.assign(question=known["question"] + known["norm"].map({"l2": " (l2)"}).fillna(""))
    about = ["network", *(key for key in ("question", "method") if known[key].nunique() > 1)]
    shares = robustness(known, (*about, "epsilon"))
    shares = shares[(shares["solver"] == VIRTUAL_BEST) & (shares["instances"] >= LEAST)]
    sizes = shares.groupby(about, sort=False)["epsilon"].transform("size")
    shares = shares[sizes >= LEAST]
    if shares.empty:
        return None
    named = shares[about].agg(", ".join, axis="columns")
    shown = shares.assign(
        panel=named, safe=1 - shares["falsified"],
        safe_low=1 - shares["falsified_high"], safe_high=1 - shares["falsified_low"],
    )  # fmt: skip
    every = [str(name) for name in shown["panel"].unique()]
    names = every[:MOST_PANELS]
    shown = shown[shown["panel"].isin(names)]
    banded = [(name, _bands(shown[shown["panel"] == name])) for name in names]
    title = (
        "Robustness over epsilon, by all solvers together: verified (green) below, not falsified "
        "(orange, dashed) above, open (grey) between"
    )
    title += f"; the first {MOST_PANELS} of {len(every)} panels" if len(names) < len(every) else ""
    description = (
        f"One panel for each {', '.join(about)}. Bars are Wilson intervals at 95 %. "
        f"Epsilons with {LEAST} instances or more."
    )
    headers = ("panel", "epsilon", "instances", "verified", "falsified", "open")
    tex = bands(banded, "epsilon", "share of the instances")
    return drawn(
        _chart(shown, names), Described("robustness", title, description, tex, headers, _rows(shown))
    )


def _chart(shown: pd.DataFrame, names: list[str]) -> alt.FacetChart:
    used = [
        "panel",
        "epsilon",
        "verified",
        "verified_low",
        "verified_high",
        "safe",
        "safe_low",
        "safe_high",
    ]
    base = alt.Chart(shown[used]).encode(
        x=alt.X("epsilon:Q", scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(tickCount=4))
    )
    scale = alt.Scale(domain=[0, 1])
    axis = alt.Axis(format=".0%", title="share of the instances", tickCount=5)
    layers = [
        base.mark_area(color=OPEN, opacity=1).encode(
            y=alt.Y("verified:Q", scale=scale, axis=axis), y2=alt.Y2("safe:Q")
        )
    ]
    for name, colour, dash in (("verified", VERIFIED, [1, 0]), ("safe", SAFE, [6, 2])):
        at = alt.Y(f"{name}:Q", scale=scale, axis=axis)
        layers += [
            base.mark_rule(color=colour, opacity=1).encode(
                y=alt.Y(f"{name}_low:Q", scale=scale, axis=axis), y2=alt.Y2(f"{name}_high:Q")
            ),
            base.mark_line(color=colour, strokeDash=dash, opacity=1).encode(y=at),
            base.mark_point(color=colour, filled=True, size=28, opacity=1).encode(y=at),
        ]
    return panels(alt.layer(*layers), "panel", names)


def _bands(rows: pd.DataFrame) -> list[Band]:
    def band(name: str, key: str, colour: str) -> Band:
        y, low, high = (rows[column].tolist() for column in (key, f"{key}_low", f"{key}_high"))
        return Band(name, rows["epsilon"].tolist(), y, low, high, colour)

    return [band("verified", "verified", VERIFIED), band("not falsified", "safe", SAFE)]


def _rows(shown: pd.DataFrame) -> list[list[str]]:
    def share(row: dict[Hashable, float], name: str) -> str:
        return f"{row[name]:.0%} [{100 * row[f'{name}_low']:.0f}, {100 * row[f'{name}_high']:.0f}]"

    return [
        [
            str(row["panel"]), f"{row['epsilon']:g}", str(row["instances"]),
            share(row, "verified"), share(row, "falsified"), f"{row['open']:.0%}",
        ]
        for row in shown.to_dict("records")
    ]  # fmt: skip
