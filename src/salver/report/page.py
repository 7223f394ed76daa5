"""The report as one HTML page that needs no network and no other file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from salver.judge.verdicts import Disagreement
from salver.report.plots import Plot
from salver.report.tables import SHARE_HEADERS, is_group_best, is_summary, rounded, share_rows


def render_page(
    frame: pd.DataFrame,
    *,
    boards: Sequence[pd.DataFrame],
    intervals: pd.DataFrame,
    found: Sequence[Disagreement],
    doubts: Sequence[str],
    plots: Sequence[Plot],
    facts: Mapping[str, Any],
    profile_title: str,
) -> str:
    """Renders `index.html`; every value is escaped, nothing is loaded from elsewhere.

    Args:
        frame: the `results_frame`.
        boards: leaderboards with totals, one per grouping.
        intervals: table of `scoring.intervals`.
        found: the disagreements to name.
        doubts: instances whose expected verdict is refuted, one line each.
        plots: drawn charts, shown inline.
        facts: what the run was made with; nested values are shown as JSON.
        profile_title: how the score is defined.
    """
    wrong = frame[frame["outcome"] == "wrong"].sort_values(["solver", "suite", "instance"])
    environment = Environment(
        loader=PackageLoader("salver.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("index.html.j2").render(
        facts={_label(key): _text(value) for key, value in facts.items()},
        counts={
            "instances": frame["instance_id"].nunique(),
            "solvers": frame["solver"].nunique(),
            "runs": len(frame),
            "wrong answers": len(wrong),
            "disagreements": len(found),
        },
        boards=[_board(board) for board in boards],
        profile=profile_title,
        share_headers=SHARE_HEADERS,
        shares=share_rows(intervals),
        wrong=wrong.to_dict("records"),
        disagreements=found,
        doubts=doubts,
        plots=[{"title": plot.title, "name": plot.name, "svg": plot.inline} for plot in plots],
        results=[_result(row) for row in frame.to_dict("records")],
    )
    return page.rstrip() + "\n"


def _board(board: pd.DataFrame) -> dict[str, Any]:
    cells = rounded(board)
    rows = [
        {"cells": [str(cell) for cell in row], "best": best, "summary": summary}
        for row, best, summary in zip(
            cells.to_numpy().tolist(), is_group_best(board), is_summary(board), strict=True
        )
    ]
    return {"by": str(board.columns[0]), "headers": [str(name) for name in cells.columns], "rows": rows}


def _result(row: Mapping[Any, Any]) -> dict[str, Any]:
    logs = str(row["logs"])
    # "./" keeps a stored path a path: it cannot become an address of another kind.
    return {**row, "wall": f"{row['wall_s']:.2f}", "href": f"./{quote(logs)}" if logs else ""}


def _label(key: str) -> str:
    return key.replace("_", " ")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
