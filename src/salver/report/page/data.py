"""The results of a page as compact data: one column after another, each text stored once."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from salver.families.generator import BY_QUESTION, Generator
from salver.families.instance import Facts, Instance
from salver.families.other_class import OtherClass
from salver.families.registry import generators
from salver.judge.columns import RESULTS, ResultColumn
from salver.judge.scoring import OUTCOME_RANKS
from salver.report.colours import ABOVE, BELOW
from salver.report.page.material import HEAD, Material, RunText
from salver.report.page.pictures import DrawnPoint, Pictures
from salver.report.pictures import shown_range
from salver.report.templating import visible
from salver.report.words import asked, headline, question
from salver.run.manifest import RunManifest
from salver.spec.truth import ANSWER_WORDS, Truth, in_words

_NUMBER = re.compile(r"(\d{1,99})")
NOTHING = ("", "none", "absent", -1)
"""Values of a column that tell nothing."""
PLAIN_BYTES = 200_000
"""Data up to this size stands in the page as it is; larger data is compressed."""


@dataclass(frozen=True)
class Embedded:
    """JSON to stand in a `script` element: plain, or gzip in base64 where `packed`."""

    text: str
    packed: bool


def results_data(
    frame: pd.DataFrame, order: Sequence[str] = (), profile: str = "vnncomp2026", unfinished: bool = False
) -> dict[str, Any]:
    """What the page's script shows first: the results, and the ids of their instances.

    Args:
        frame: the `results_frame`.
        order: the solvers as the leaderboard has them.
        profile: how it is scored.
        unfinished: the run has jobs left, so nothing has a place.
    """
    columns = [_column(frame, column) for column in RESULTS if column.heading]
    (outcomes,) = (column["values"] for column in columns if column["name"] == "outcome")
    at, keys = pd.factorize(frame["instance_id"], sort=False)
    return {
        "rows": len(frame),
        "order": [visible(name) for name in order],
        "profile": profile,
        "unfinished": unfinished,
        "columns": columns,
        "ranks": [OUTCOME_RANKS[outcome] for outcome in outcomes],
        "at": at.tolist(),
        "ids": keys.tolist(),
        # "./" keeps a stored path a path: it cannot become an address of another kind.
        "logs": "\n".join(f"./{quote(path)}/" if path else "" for path in frame["logs"].tolist()),
    }


def details_data(
    frame: pd.DataFrame,
    instances: Mapping[str, Instance],
    material: Material,
    again: Sequence[str] = (),
) -> dict[str, Any]:
    """What the page's script reads after that: facts and pictures of instances.

    Args:
        frame: the `results_frame`.
        instances: by id; they are given in the order of the ids of `results_data`.
        material: texts and pictures.
        again: see `run_again`.
    """
    known = generators(warn=False)
    vectors: Vectors = {}
    truths = dict(zip(frame["instance_id"].tolist(), frame["truth"].tolist(), strict=True))
    shown = [
        _instance(instances[key], Truth(truths[key]), material.pictures.get(key), vectors)
        | {"means": visible(falsified_means(instances[key], known))}
        for key in truths
    ]
    return {
        "colours": [BELOW, ABOVE],
        "again": list(again),
        "instances": shown,
        "vectors": list(vectors),
    }


def texts_data(frame: pd.DataFrame, material: Material) -> dict[str, Any]:
    """What the page's script reads when an instance is opened: command lines and logs, by row."""
    # Lists, since a column of texts is slow to walk through.
    keys = enumerate(frame["key"].tolist())
    texts = [[row, *_text(material.texts[key])] for row, key in keys if key in material.texts]
    return {"head": HEAD, "texts": texts}


def falsified_means(instance: Instance, known: Mapping[str, type[Generator]]) -> str:
    """What falsified means for somebody who relies on the explanation; empty where its family is not known.

    Args:
        known: the families that are installed here.
    """
    text = known[instance.family].falsified if instance.family in known else ""
    return instance.facts.question.falsified if text == BY_QUESTION and instance.facts else text


def embedded(data: Mapping[str, Any], plain_bytes: int = PLAIN_BYTES) -> Embedded:
    """The data as JSON that cannot end its `script` element; compressed where it is large."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    if len(text) > plain_bytes:
        packed = gzip.compress(text.encode(), compresslevel=5, mtime=0)
        return Embedded(base64.b64encode(packed).decode(), True)
    return Embedded(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"), False)


def _column(frame: pd.DataFrame, column: ResultColumn) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": column.name, "label": column.heading}
    shown |= {"hidden": True} if column.hidden else {}
    shown["telling"] = len({value for value in frame[column.name].dropna().unique() if value not in NOTHING})
    if column.digits is None:
        codes, values = pd.factorize(frame[column.name], sort=False)
        words = ANSWER_WORDS if column.name in ("claim", "truth") else {}
        texts = [visible(words.get(value, str(value))) for value in values]
        # In the order of the alphabet, so that a column sorts by its codes.
        order = sorted(range(len(texts)), key=lambda code: alphabetical(texts[code]))
        places = np.argsort(order)
        return {**shown, "values": [texts[code] for code in order], "codes": _short(places[codes].tolist())}
    # JSON has no infinity and no NaN; the page shows what is below zero as not known.
    numbers = frame[column.name].astype("float64").replace([np.inf, -np.inf], np.nan).fillna(-1)
    numbers = numbers.round(column.digits)
    whole = column.digits == 0
    cells = (numbers.astype("int64") if whole else numbers).tolist()
    return {**shown, "digits": column.digits, "numbers": _short(cells)}


def _short(cells: list[Any]) -> list[Any]:
    """One cell for a column in which all are alike, as in most runs half of the columns are."""
    return cells[:1] if len(set(cells)) == 1 else cells


def alphabetical(text: str) -> tuple[str | int, ...]:
    """What a text sorts by: its letters whatever their case, and numbers in it by their value."""
    parts = enumerate(_NUMBER.split(text))
    return tuple(int(part) if place % 2 else part.casefold() for place, part in parts)


def _text(text: RunText) -> list[Any]:
    argv = None if text.argv is None else [visible(part) for part in text.argv]
    environment = [[visible(key), visible(value)] for key, value in sorted(text.environment.items())]
    return [argv, environment, visible(text.stdout), visible(text.stderr), *map(int, text.cut)]


Vectors = dict[tuple[float, ...], int]
"""Points and maps with their places; many instances are about the same point."""


def run_again(run: RunManifest) -> list[str]:
    """The command that runs instances of a run again: the set, and what follows the solvers and the limit."""
    options = run.options
    end = ["-j", "1", *(["--proofs"] if options.proofs else [])]
    end += ["--device", options.device] if options.device != "cpu" else []
    return [run.instance_set if run.given else run.suite, *end]


def _instance(instance: Instance, truth: Truth, drawn: Pictures | None, vectors: Vectors) -> dict[str, Any]:
    facts = instance.facts
    told = {"family": instance.family}
    classes = drawn.names.classes if drawn else ()
    if facts is not None:
        told |= _about(facts, classes) | {"network": instance.network}
    told |= {"query's ONNX": ", ".join(instance.network_files), "query's VNN-LIB": instance.vnnlib}
    shown: dict[str, Any] = {
        "name": visible(instance.name),
        "suite": visible(instance.suite),
        "headline": visible(_headline(instance, truth, drawn)),
        "question": visible(question(facts, classes)),
        "asked": visible(asked(facts)),
        "facts": [[name, visible(value)] for name, value in told.items()],
    }
    if drawn is not None and facts is not None:
        shown["picture"] = _picture(drawn, facts, vectors)
    return shown


def _headline(instance: Instance, truth: Truth, drawn: Pictures | None) -> str:
    if instance.facts is None:
        return f"Query {instance.name}"
    classes = drawn.names.classes if drawn else ()
    reached = drawn.witness.label if drawn and drawn.witness else None
    return headline(instance.facts, truth, classes, reached)


def _class(label: int, names: Sequence[str]) -> str:
    return f"{label} ({names[label]})" if label < len(names) else str(label)


def _targets(facts: Facts) -> dict[str, str]:
    """The classes that a witness may have, where the question is about another class."""
    if not isinstance(facts.question, OtherClass):
        return {}
    found = facts.question.classes(facts.label, facts.logits)
    every = len(found) == facts.logits - 1 and len(found) > 1
    return {"asked for class": "any other" if every else ", ".join(map(str, found))}


def _about(facts: Facts, classes: Sequence[str]) -> dict[str, str]:
    in_data = {} if facts.data_label is None else {"class in the data": _class(facts.data_label, classes)}
    return {
        "data set": facts.dataset,
        "test point": str(facts.index),
        "class of xhat": _class(facts.label, classes),
        **in_data,
        **_targets(facts),
        "explained": facts.explained,
        "condition": facts.question.text,
        "epsilon": f"{facts.epsilon:g}",
        "expected": f"{in_words(facts.expected)} ({facts.evidence})",
    }


def _picture(drawn: Pictures, facts: Facts, vectors: Vectors) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "shape": drawn.shape,
        "mapShape": drawn.map_shape,
        "range": shown_range(facts.clip, drawn.shape) if facts.clip else None,
        "epsilon": facts.epsilon,
        "delta": facts.question.tolerance,
        "exact": drawn.exact,
        "features": [visible(name) for name in drawn.names.features],
        "classes": [visible(name) for name in drawn.names.classes],
        "xhat": _drawn(drawn.xhat, vectors),
    }
    if drawn.witness is not None:
        own: dict[str, Any] = {"solver": visible(drawn.solver), "verdict": drawn.verdict}
        own |= {"moved": drawn.moved, "mapMoved": drawn.map_moved}
        shown["witness"] = {**_drawn(drawn.witness, vectors), **own}
    return shown


def _drawn(drawn: DrawnPoint, vectors: Vectors) -> dict[str, Any]:
    x, shown = (vectors.setdefault(values, len(vectors)) for values in (drawn.x, drawn.map))
    return {"x": x, "map": shown, "label": drawn.label, "top": drawn.top}
