"""The report as one HTML page that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import pandas as pd

from salver.judge.scoring import OUTCOMES, SOLVED, TOTAL, VIRTUAL_BEST, virtual_best
from salver.judge.verdicts import Disagreement
from salver.model import Instance
from salver.report.drawing_beside import Drawing
from salver.report.material import Material
from salver.report.page_data import embedded, page_data
from salver.report.tables import SHARE_HEADERS, is_group_best, is_summary, rounded, share_rows
from salver.report.templating import environment

MOST_LISTED = 500
"""Rows of the wrong answers and of the disagreements; the results table and the CSV have all."""
SCRIPTS = ("data.js", "table.js", "pictures.js", "instance.js", "page.js")


def render_page(
    frame: pd.DataFrame,
    *,
    boards: Sequence[pd.DataFrame],
    intervals: pd.DataFrame,
    found: Sequence[Disagreement],
    doubts: Sequence[str],
    drawing: Drawing,
    facts: Mapping[str, Any],
    profile_title: str,
    instances: Mapping[str, Instance],
    material: Material,
) -> str:
    """Renders `index.html`; every value is escaped, nothing is loaded from elsewhere.

    Args:
        frame: the `results_frame` with a column `neurons`.
        boards: leaderboards with totals, one per grouping.
        intervals: table of `scoring.intervals`.
        found: the disagreements to name.
        doubts: instances whose expected verdict is refuted, one line each.
        drawing: gives the drawn charts, shown inline; asked for them last.
        facts: what the run was made with.
        profile_title: how the score is defined.
        instances: the instances by id.
        material: what is shown of single runs and instances.
    """
    wrong = frame[frame["outcome"] == "wrong"].sort_values(["solver", "suite", "instance"])
    script, style = _asset_text(SCRIPTS), _asset_text(("page.css",))
    data = embedded(page_data(frame, instances, material))
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            policy=_policy(script, style),
            script=script,
            style=style,
            data=data.text,
            packed=data.packed,
            facts=_flat(facts),
            suite=str(facts.get("suite", "")),
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
            best=_virtual_best(frame),
            wrong=wrong.head(MOST_LISTED).to_dict("records"),
            wrong_count=len(wrong),
            disagreements=found[:MOST_LISTED],
            disagreement_count=len(found),
            doubts=doubts,
            plots=drawing(),
            pictures=len(material.pictures),
            texts=len(material.texts),
        )
    )
    return page.rstrip() + "\n"


@cache
def _asset_text(names: tuple[str, ...]) -> str:
    folder = files("salver.report") / "page_assets"
    return "\n" + "".join((folder / name).read_text() for name in names)


def _policy(script: str, style: str) -> str:
    """A content security policy: this script and this style run, nothing is fetched or sent anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _board(board: pd.DataFrame) -> dict[str, Any]:
    cells = rounded(board)
    headers, by = [str(name) for name in cells.columns], str(board.columns[0])
    rows = [
        {
            "cells": [
                {"text": str(cell), "href": _filtered(by, row, header, str(cell))}
                for header, cell in zip(headers, row, strict=True)
            ],
            "best": best,
            "summary": summary,
        }
        for row, best, summary in zip(
            cells.to_numpy().tolist(), is_group_best(board), is_summary(board), strict=True
        )
    ]
    return {"by": by, "headers": headers, "rows": rows}


def _filtered(by: str, row: Sequence[Any], header: str, cell: str) -> str:
    """Where a count of outcomes leads: the results it counts. Empty for other cells and the virtual best."""
    group, solver = str(row[0]), str(row[1])
    if header not in OUTCOMES or cell == "0" or solver == VIRTUAL_BEST:
        return ""
    wanted = {"solver": solver, "outcome": header, **({} if group == TOTAL else {by: group})}
    return f"#results?{urlencode(wanted)}"


def _virtual_best(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each solver: on how many runs the virtual best takes its answer, and how many it alone solves."""
    solved = frame[frame["outcome"].isin(SOLVED)]
    keys = ["suite", "instance_id", "repetition"]
    alone = solved[~solved.duplicated(keys, keep=False)]["solver"].value_counts()
    picked = virtual_best(frame[["solver", "outcome", "wall_s", *keys]])
    taken = picked[picked["outcome"].isin(SOLVED)]["detail"].value_counts()
    rows = [
        {"solver": str(name), "taken": int(taken.get(name, 0)), "alone": int(alone.get(name, 0))}
        for name in sorted(frame["solver"].unique())
    ]
    return sorted(rows, key=lambda row: (-row["taken"], row["solver"]))


def _flat(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as lines of text; what is inside a fact has a line of its own."""
    lines: dict[str, str] = {}
    for key, value in facts.items():
        if isinstance(value, Mapping) and value:
            lines |= {f"{_label(key)}: {name}": text for name, text in _flat(value).items()}
        else:
            lines[_label(key)] = _text(value)
    return lines


def _label(key: str) -> str:
    return key.replace("_", " ")


def _text(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
