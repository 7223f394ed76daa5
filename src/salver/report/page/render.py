"""The report as one HTML page that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from salver.judge.columns import SHARES, SOLVED
from salver.report.figures.background import Drawing
from salver.report.figures.plot import Plot
from salver.report.page.board import board_cells
from salver.report.page.data import details_data, embedded, results_data, run_again, texts_data
from salver.report.page.material import Material
from salver.report.results import Results
from salver.report.table import Table
from salver.report.tables import chosen_columns, share_table, shown_share
from salver.report.templating import environment
from salver.run.manifest import RunManifest
from salver.spec.truth import ANSWER_WORDS

DOCS = "https://salver.readthedocs.io"
MOST_LISTED = 500
"""Rows of the wrong answers and of the disagreements; the results table and the CSV have all."""
SCRIPTS = (
    "data.js", "scoring.js", "board.js", "table.js", "shares.js", "pictures.js", "plotted.js", "charts.js",
    "gallery.js", "instance.js", "page.js",
)  # fmt: skip
_SQUARES = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path fill="#dc3220" d="M0 0h8v8H0z"/>'
    '<path fill="#fff" d="M2 1h4v1H3v1h3v3H2V5h3V4H2z"/></svg>'
)
ICON = f"data:image/svg+xml;base64,{base64.b64encode(_SQUARES.encode()).decode()}"
"""An s in pixels on the red of a saliency map."""


def render_page(found: Results, material: Material, drawing: Drawing) -> str:
    """Renders `index.html`; every value is escaped, nothing is loaded from elsewhere.

    Args:
        material: what is shown of single runs and instances.
        drawing: gives the drawn charts, shown inline; asked for them last.
    """
    run, frame = found.run, found.frame
    wrong = frame[frame["outcome"] == "wrong"].sort_values(["solver", "suite", "instance"])
    details = details_data(frame, run.instances.by_id, material, run_again(run.manifest))
    texts = texts_data(frame, material)
    shown_first = results_data(frame, found.order, found.profile.name, bool(found.unfinished))
    suite_board, *others = _different(found.boards)
    plots = drawing()
    script, style = _asset_text(SCRIPTS), _asset_text(("page.css",)) + _shapes(plots)
    page = (
        environment()
        .get_template("index.html.j2")
        .render(
            policy=_policy(script, style),
            script=script,
            style=style,
            data={"data": embedded(shown_first), "details": embedded(details), "texts": embedded(texts)},
            facts=_flat(_facts(run.manifest)),
            suite=run.manifest.suite,
            title=run.manifest.title,
            counts={"instance": frame["instance_id"].nunique(), "solver": frame["solver"].nunique()},
            runs=len(frame),
            setting=_setting(frame, run.manifest),
            docs=DOCS,
            icon=ICON,
            covered=run.coverage,
            resumed=_resumed(run.manifest),
            board=board_cells(suite_board, frame),
            boards=[board_cells(board, frame) for board in others],
            profile=found.profile.title,
            shares_by=_shares_by(found),
            wrong_by=wrong["solver"].value_counts().to_dict(),
            solved=bool(frame["outcome"].isin(SOLVED).any()),
            errors=int((frame["outcome"] == "error").sum()),
            wrong=wrong.head(MOST_LISTED).to_dict("records"),
            wrong_count=len(wrong),
            disagreements=found.disagreements[:MOST_LISTED],
            disagreement_count=len(found.disagreements),
            doubts=found.doubts,
            answer_words=ANSWER_WORDS,
            notices=run.notices,
            plots=plots,
            pictures=len(material.pictures),
            texts=len(material.texts),
        )
    )
    return page.rstrip() + "\n"


def _shares_by(found: Results) -> list[tuple[str, Table]]:
    """Shares verified and falsified by each key that tells the instances apart."""
    return [
        (key, share_table(shares, (key,), chosen_columns(None, SHARES, shown_share(shares))))
        for key, unordered in found.shares_by.items()
        for shares in [_in_order(unordered, key, found.order)]
    ]


def _in_order(shares: pd.DataFrame, key: str, order: Sequence[str]) -> pd.DataFrame:
    """Shares with the solvers of every group as the leaderboard has them."""
    place = {name: number for number, name in enumerate(order)}
    placed = shares.assign(place=[place.get(name, len(place)) for name in shares["solver"]])
    return placed.sort_values([key, "place"], kind="stable").drop(columns="place").reset_index(drop=True)


def _shapes(plots: Sequence[Plot]) -> str:
    """The shapes of plots as a style: room is kept for those that are not yet laid out."""
    sizes = [(plot.name, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', plot.inline)) for plot in plots]
    return "".join(f".{name} {{ aspect-ratio: {size[1]} / {size[2]}; }}\n" for name, size in sizes if size)


def _resumed(run: RunManifest) -> str:
    """What goes on with an unfinished run."""
    return shlex.join(["salver", "run", run_again(run)[0], "--resume"])


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
        "img-src data:; base-uri 'none'; form-action 'none'"
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
