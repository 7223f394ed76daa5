"""Draws docs/img/*.svg: a digit and its map by every method, and what a solver found in the box.

    python scripts/pictures.py [NAME ...]

The same code and seed give the same bytes: solvers are seeded, and colours have 12 levels.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.files import write_atomically
from salver.explain import methods as registered  # noqa: F401 - registers the methods
from salver.explain.explanation import METHODS, Explanation
from salver.explain.unroll import logit_combination, unroll
from salver.families.generate import drafts
from salver.families.generator import InstanceDraft
from salver.families.suite import Suite
from salver.nets.network import evaluate
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.solvers.registry import embedded_solver
from salver.zoo.datasets import load
from salver.zoo.networks import ZOO, trained

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "img"
Array = npt.NDArray[np.float64]
CELL, GAP, TOP, FOOT, LEVELS = 14, 26, 22, 20, 12


@dataclass(frozen=True)
class Panel:
    """A square map [rows, columns] with its title, a caption, and the entries that are framed."""

    title: str
    values: Array
    caption: str = ""
    framed: frozenset[int] = frozenset()
    signed: bool = True


@dataclass(frozen=True)
class Picture:
    """A family's parameters, the solver that finds the point, and how many entries are framed."""

    family: str
    params: dict[str, Any]
    solver: str = "falsify"
    k: int = 0


PICTURES = {
    "family-vg-box": Picture(
        "vg_box",
        {"network": "digits-16x16", "points": 1, "epsilons": [0.15], "delta_factors": [1.1]},
        "hybrid",
    ),
    "family-topk-rank": Picture(
        "topk_rank",
        {"network": "digits-16x16", "points": 1, "k": 5, "min_open": 2, "epsilon_factors": [1.1]},
        k=5,
    ),
    "family-cam-topk": Picture(
        "cam_topk", {"network": "digits-gap", "points": 1, "k": 5, "epsilon_factors": [1.1]}, k=5
    ),
    "family-smoothgrad-topk": Picture(
        "smoothgrad_topk",
        {
            "network": "digits-16x16",
            "points": 1,
            "draws": 4,
            "k": 5,
            "smallest": 0.005,
            "epsilon_factors": [1.1],
        },
        k=5,
    ),
    "family-peers": Picture(
        "label_robustness", {"network": "digits-32x32", "points": 1, "epsilon_factors": [1.1]}
    ),
    "family-planted": Picture(
        "planted_sat",
        {"network": "digits-16x16", "points": 1, "epsilon": 0.08, "attack_rounds": 4, "directions": 4},
        "hybrid",
    ),
}


NETWORK, DIGIT = "digits-gap", 3
"""Whose maps are shown, and the row of the test part that every method explains."""
NOISE = {"draws": 16, "sigma": 0.15}
REFERENCES = {"baselines": [[0.0], [0.5], [1.0]], "draws": 12}
DRAWS = {"patch": 2, "draws": {"count": 100}}
MAPS: dict[str, dict[str, Any]] = {
    "smoothgrad": {"noise": NOISE},
    "square-grad": {"noise": NOISE},
    "var-grad": {"noise": NOISE},
    "integrated-gradients": {"steps": 12},
    "local-integrated-gradients": {"steps": 12},
    "expected-gradients": {"references": REFERENCES},
    "local-expected-gradients": {"references": REFERENCES},
    "occlusion": {"window": 2, "stride": 1},
    "feature-ablation": {"patch": 2},
    "rise": {"masks": {"count": 100, "cells": 4}},
    "shapley": {"patch": 4},
    "kernel-shap": DRAWS,
    "lime": DRAWS,
}
"""What else the methods are told."""
QUESTIONS: dict[str, dict[str, Any]] = {
    "top-k-changes": {"k": 5},
    "same-top-k": {"k": 3},
    "same-map": {"delta": 3.0},
    "same-signs": {"threshold": 1.0},
    "sign-changes": {"entry": 27},
    "entry-moves": {"delta": 2.0},
    "label-changes": {},
}


def main(names: Sequence[str]) -> None:
    """Draws the named pictures, or all."""
    for name in names or all_pictures():
        write_atomically(FOLDER / f"{name}.svg", picture(name))
        print(FOLDER / f"{name}.svg")


def picture(name: str) -> str:
    """The SVG text of a picture."""
    kind, _, key = name.partition("-")
    if kind == "method":
        return svg(explained(key))
    if kind == "question":
        return svg(asked(key))
    return svg(regimes() if name == "family-training-pairs" else falsified(PICTURES[name]))


def all_pictures() -> list[str]:
    """Names of all pictures of this script."""
    maps, questions = (f"method-{name}" for name in METHODS.known), (f"question-{name}" for name in QUESTIONS)
    return [*PICTURES, "family-training-pairs", *maps, *questions]


def explained(method: str) -> list[Panel]:
    """The digit, and its map in units of the map's largest entry."""
    data, classifier = load("digits"), from_torch(trained(ZOO[NETWORK], 0, None), 64)
    centre = data.test_x[DIGIT].astype(np.float64)
    label = int(evaluate(classifier, centre[None])[0].argmax())
    named = METHODS.known[method].model_validate({**MAPS.get(method, {}), "logit": label})
    assert isinstance(named, Explanation)
    ready = named.for_data(data.input_shape, *data.bounds)
    shape = ready.map_shape(classifier, data.input_shape)
    values = evaluate(ready.graph(classifier), centre[None])[0][classifier.output_size :]
    largest = float(np.abs(values).max())
    assert shape[-2:] == (8, 8), "panels are of one size"
    return [
        Panel("the digit", square(centre), f"class {label}", signed=False),
        Panel("its map", square(values) / largest, f"largest {largest:.2g}"),
    ]


def asked(question: str) -> list[Panel]:
    """The digit with its gradient, and an input nearby that answers the question with yes."""
    entries, k = {"kind": question, **QUESTIONS[question]}, QUESTIONS[question].get("k", 0)
    needs_map = question != "label-changes"
    params = {
        "network": NETWORK,
        "indices": [DIGIT],
        "question": entries,
        "map": {"method": "gradient"} if needs_map else None,
        "epsilon_factors": [1.1],
    }
    panels = falsified(Picture("saliency", params, "falsify", k))
    if "entry" not in entries:
        return panels
    framed = frozenset({entries["entry"]})
    return [replace(one, framed=framed) if one.signed else one for one in panels]


def falsified(chosen: Picture) -> list[Panel]:
    """Point and map, found point and map, and their difference, of the first instance that is falsified."""
    for draft in instances(chosen.family, chosen.params):
        x = witness(draft, chosen.solver)
        if x is not None:
            return compared(draft, x, chosen.k)
    raise SystemExit(f"{chosen.family}: no instance of the picture is falsified")


def instances(family: str, params: dict[str, Any]) -> list[InstanceDraft]:
    entry = {"generator": family, "params": params}
    suite = Suite.model_validate({"key": "picture", "title": "picture", "timeout": 60, "family": [entry]})
    return list(drafts(suite))


def witness(draft: InstanceDraft, solver: str) -> Array | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.onnx")
        path.write_bytes(to_bytes(to_model(draft.graph, {})))
        found = embedded_solver(solver).load()(Query(path, draft.graph, draft.prop), Budget(600.0), Options())
    return found.witness if found.verdict is Verdict.SAT else None


def compared(draft: InstanceDraft, x: Array, k: int) -> list[Panel]:
    facts = draft.facts
    centre = load(facts.dataset).test_x[facts.index].astype(np.float64)
    graph = draft.graph
    if not facts.saliencies:
        graph = unroll(draft.classifier, logit_combination(facts.logits, facts.label))
    before, after = evaluate(graph, np.stack([centre, x]))
    maps = [row[facts.logits : facts.logits + len(centre)] for row in (before, after)]
    classes = [int(row[: facts.logits].argmax()) for row in (before, after)]
    framed = [frozenset(np.argsort(-np.asarray(m), kind="stable")[:k].tolist()) for m in maps]
    scale = max(float(np.abs(m).max()) for m in maps)
    moved = float(np.abs(maps[1] - maps[0]).max())
    kept = f"top {k}: {len(framed[0] & framed[1])} stay" if k else f"moved by at most {moved:.2g}"
    return [
        Panel("the point", square(centre), f"class {classes[0]}", signed=False),
        Panel("its map", square(maps[0]) / scale, f"top {k} framed" if k else "", framed[0]),
        Panel(f"within {facts.epsilon:.2g}", square(x), f"class {classes[1]}", signed=False),
        Panel("its map", square(maps[1]) / scale, kept, framed[1]),
    ]


def regimes() -> list[Panel]:
    """The map of one digit in every training regime, each in units of its own largest entry."""
    data = load("digits")
    networks = {regime: f"digits-16x16-{regime}" for regime in ("wd", "softplus", "guided", "r2et", "adv")}
    networks = {"plain": "digits-16x16", **networks}
    centre, label = data.test_x[0].astype(np.float64), int(data.test_y[0])
    panels = [Panel("the point", square(centre), f"class {label}", signed=False)]
    for regime, key in networks.items():
        classifier = from_torch(trained(ZOO[key], 0, None), len(centre))
        graph = unroll(classifier, logit_combination(len(data.classes), label))
        values = evaluate(graph, centre[None])[0][len(data.classes) :]
        largest = float(np.abs(values).max())
        panels.append(Panel(regime, square(values) / largest, f"largest {largest:.2g}"))
    return panels


def square(values: Array) -> Array:
    side = round(len(values) ** 0.5)
    return np.asarray(values).reshape(side, side)


def svg(panels: Sequence[Panel]) -> str:
    """Panels side by side on white, with one path for each colour."""
    side = panels[0].values.shape[0] * CELL
    width, height = len(panels) * (side + GAP) - GAP + 2 * CELL, TOP + side + FOOT + CELL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        parts += drawn(panel, CELL + number * (side + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def drawn(panel: Panel, left: int) -> list[str]:
    columns = panel.values.shape[1]
    cells: dict[str, list[str]] = {}
    for position, value in enumerate(panel.values.ravel().tolist()):
        x, y = left + position % columns * CELL, TOP + position // columns * CELL
        cells.setdefault(colour(value, panel.signed), []).append(f"M{x} {y}h{CELL}v{CELL}h-{CELL}z")
    parts = [f'<text x="{left}" y="15">{panel.title}</text>']
    parts += [f'<path fill="{fill}" d="{"".join(path)}"/>' for fill, path in sorted(cells.items())]
    frames = [
        f"M{left + i % columns * CELL + 1} {TOP + i // columns * CELL + 1}h{CELL - 2}v{CELL - 2}h-{CELL - 2}z"
        for i in sorted(panel.framed)
    ]
    if frames:
        parts.append(f'<path fill="none" stroke="#000" stroke-width="2" d="{"".join(frames)}"/>')
    edge = columns * CELL
    parts.append(f'<path fill="none" stroke="#999" d="M{left} {TOP}h{edge}v{edge}h-{edge}z"/>')
    return [*parts, f'<text x="{left}" y="{TOP + edge + 15}">{panel.caption}</text>']


def colour(value: float, signed: bool) -> str:
    """White at 0; red for positive and blue for negative values of a map, black for those of an image."""
    shade = round(255 * (1 - round(LEVELS * min(abs(value), 1.0)) / LEVELS))
    if not signed:
        return f"#{shade:02x}{shade:02x}{shade:02x}"
    return f"#ff{shade:02x}{shade:02x}" if value >= 0 else f"#{shade:02x}{shade:02x}ff"


if __name__ == "__main__":
    main(sys.argv[1:])
