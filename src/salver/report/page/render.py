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

from salver.judge.columns import BOARD, OUTCOMES, SHARES, SOLVED
from salver.judge.scoring import TOTAL, VIRTUAL_BEST, per_instance, virtual_best
from salver.report.figures.background import Drawing
from salver.report.page.data import embedded, page_data
from salver.report.page.material import Material
from salver.report.results import Results
from salver.report.table import Table
from salver.report.tables import (
    SHARE_HEADERS,
    chosen_columns,
    is_summary,
    ranks,
    rounded,
    share_rows,
    share_table,
    shown_in,
    shown_share,
)
from salver.report.templating import environment
from salver.run.manifest import RunManifest

MOST_LISTED = 500
"""Rows of the wrong answers and of the disagreements; the results table and the CSV have all."""
SCRIPTS = ("data.js", "table.js", "pictures.js", "instance.js", "page.js")


def render_page(found: Results, material: Material, drawing: Drawing) -> str:
    """Renders `index.html`; every value is escaped, nothing is loaded from elsewhere.

    Args:
        material: what is shown of single runs and instances.
        drawing: gives the drawn charts, shown inline; asked for them last.
    """
    run, frame = found.run, found.frame
    wrong = frame[frame["outcome"] == "wrong"].sort_values(["solver", "suite", "instance"])
    shares = found.shares.sort_values(["suite", "share"], ascending=[True, False], kind="stable")
    script, style = _asset_text(SCRIPTS), _asset_text(("page.css",))
    data = embedded(page_data(frame, run.instances.by_id, material))
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            policy=_policy(script, style),
            script=script,
            style=style,
            data=data.text,
            packed=data.packed,
            facts=_flat(_facts(run.manifest)),
            suite=run.manifest.suite,
            title=run.manifest.title,
            counts={"instance": frame["instance_id"].nunique(), "solver": frame["solver"].nunique()},
            runs=len(frame),
            setting=_setting(frame, run.manifest),
            boards=[_board(board) for board in _different(found.boards)],
            profile=found.profile.title,
            share_headers=SHARE_HEADERS,
            shares=share_rows(shares),
            best=_virtual_best(per_instance(frame)),
            shares_by=_shares_by(found),
            wrong_by=wrong["solver"].value_counts().to_dict(),
            errors=int((frame["outcome"] == "error").sum()),
            wrong=wrong.head(MOST_LISTED).to_dict("records"),
            wrong_count=len(wrong),
            disagreements=found.disagreements[:MOST_LISTED],
            disagreement_count=len(found.disagreements),
            doubts=found.doubts,
            notices=run.notices,
            plots=drawing(),
            pictures=len(material.pictures),
            texts=len(material.texts),
        )
    )
    return page.rstrip() + "\n"


def _shares_by(found: Results) -> list[tuple[str, Table]]:
    """Shares certified and attacked by each key that tells the instances apart."""
    return [
        (key, share_table(shares, (key,), chosen_columns(None, SHARES, shown_share(shares))))
        for key, shares in found.shares_by.items()
    ]


def _facts(run: RunManifest) -> dict[str, Any]:
    """What the page says of how a run was made: its beginning, then every resume."""
    facts = run.model_dump(mode="json", exclude={"recipe", "planned", "kept", "resumed"})
    sessions = run.model_dump(mode="json", include={"resumed"})["resumed"]
    return facts | {f"resume {number}": session for number, session in enumerate(sessions, start=1)}


@cache
def _asset_text(names: tuple[str, ...]) -> str:
    folder = files("salver.report.page") / "assets"
    return "\n" + "".join((folder / name).read_text() for name in names)


def _policy(script: str, style: str) -> str:
    """A content security policy: this script and this style run, nothing is fetched or sent anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _different(boards: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Without a leaderboard that repeats the one before: of one suite with one family both are the same."""
    first, *others = boards
    return [first, *(b for b in others if not b.iloc[:, 1:].equals(first.iloc[:, 1:]))]


def _setting(frame: pd.DataFrame, run: RunManifest) -> list[str]:
    """What a reader must know to read the times: limit, machine, date, version; of what is known."""
    limits = sorted(frame["limit_s"].unique())
    between = f"{limits[0]:g}" if len(limits) == 1 else f"{limits[0]:g} to {limits[-1]:g}"
    told = [f"limit {between} s of wall time a run"]
    if run.machine.processor:
        told.append(f"{run.machine.processor}, {run.machine.cores or '?'} cores")
    return [*told, run.started[:10], f"salver {run.salver}"]


def _board(board: pd.DataFrame) -> dict[str, Any]:
    """A leaderboard as cells: place and solver, then score and means, then the counts of what occurs."""
    cells, by = rounded(board), str(board.columns[0])
    lone = board.iloc[:, 0].nunique() == 1
    counts = [one for one in filter(shown_in(board), BOARD) if one.digits is None]
    numbers = [one for one in BOARD if one.digits is not None]
    columns = [*numbers, *sorted(counts, key=lambda one: not one.always)]
    order = [*([] if lone else [by]), "solver", *(one.label for one in columns)]
    rows = [
        {
            "cells": [
                {
                    "text": str(row[name]),
                    "href": _filtered(by, row, name),
                    "kind": _kind(by, name),
                    "bad": name == "wrong" and row[name] > 0,
                }
                for name in order
            ],
            "rank": rank or "",
            "best": rank == 1,
            "summary": summary,
        }
        for row, rank, summary in zip(cells.to_dict("records"), ranks(board), is_summary(board), strict=True)
    ]
    named = f"{by} {board.iloc[:, 0].tolist()[0]}" if lone else f"by {by}"
    return {"named": named, "heads": [(name, _kind(by, name)) for name in order], "rows": rows}


def _kind(by: str, name: str) -> str:
    return {by: "text", "solver": "heading"}.get(name, "number")


def _filtered(by: str, row: Mapping[Any, Any], header: str) -> str:
    """Where a count of outcomes leads: the results it counts. Empty for other cells and the virtual best."""
    group, solver = str(row[by]), str(row["solver"])
    if header not in OUTCOMES or not row[header] or solver == VIRTUAL_BEST:
        return ""
    wanted = {"solver": solver, "outcome": header, **({} if group == TOTAL else {by: group})}
    return f"#results?{urlencode(wanted)}"


def _virtual_best(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Of each solver: on how many instances the virtual best takes its answer, how many it alone solves."""
    solved = frame[frame["outcome"].isin(SOLVED)]
    keys = ["suite", "instance_id", "repetition"]
    solved = solved.assign(repetition=0)
    alone = solved[~solved.duplicated(keys, keep=False)]["solver"].value_counts()
    picked = virtual_best(frame[["solver", "outcome", "wall_s", *keys]].assign(repetition=0))
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
    return key.removesuffix("_mb").replace("_", " ") + (" (MiB)" if key.endswith("_mb") else "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (None, "", {}, [], ()):
        return "none" if value in ({}, [], ()) else "not given"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
