"""Random queries about every method and every question, as suites and people ask them.

Graphs are those of `Explanation.graph`, conditions those of `Question.clauses`. Classifiers are dense ones
with kinks, copies and dead neurons, and small images with poolings, normalisation and shortcuts, at every
scale. Draws, baselines and levels follow the scale. Thresholds lie where a sampled value is, or beside it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.soundness.networks import STYLES, images
from experiments.soundness.queries import MOST_OPEN, NEAR, Array, Case, random_centre, random_classifier
from experiments.soundness.wide import SCALES, few_open, scaled, wide_box
from salver.core.errors import SalverError
from salver.explain.explanation import METHODS, Explanation
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.questions import QUESTIONS
from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.solvers.query import Query

IMAGE = (1, 2, 3)
OF_LAYERS = ("cam", "grad-cam", "hirescam", "layercam")
Entries = dict[str, Any]


def draw_maps(folder: Path, seed: int) -> Case:
    """The query of a seed, which names method and question in turn; its network is written to `folder`."""
    method = sorted(METHODS.known)[seed % len(METHODS.known)]
    kind = sorted(QUESTIONS.known)[seed // len(METHODS.known) % len(QUESTIONS.known)]
    rng = np.random.default_rng((seed, 23))
    while True:
        # A map of zeros or a tie gives many questions no meaning; a network without a ReLU has no map.
        with contextlib.suppress(SalverError):
            return _drawn(rng, folder, seed, method, kind)


def _drawn(rng: np.random.Generator, folder: Path, seed: int, method: str, kind: str) -> Case:
    style, scale = str(rng.choice(STYLES)), str(rng.choice(SCALES))
    if method in OF_LAYERS or rng.random() < 0.4:
        classifier, traits = images(rng, style, IMAGE)
        centre = random_centre(rng, 6, style)
    else:
        classifier, centre, traits = random_classifier(rng, style)
    classifier, centre = scaled(rng, classifier, centre, scale)
    explanation = METHODS.known[method].model_validate(_entries(rng, method, centre))
    shape = IMAGE if len(centre) == 6 else (len(centre),)
    factory = InstanceFactory("maps", classifier, "net", "none", shape, None)
    point = Point(0, centre.astype(np.float32), int(factory.predict(centre[None])[0]))
    posed = _posed(rng, factory, point, kind, explanation)
    low, high, box = _box(rng, posed.map.graph, centre)
    asked = _at_a_threshold(rng, posed, low, high)
    prop = asked.prop((low, high))
    path = folder / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(asked.graph)))
    map_kind = "abs" if explanation.absolute else "raw"
    return Case(
        seed, f"{method} {kind}", map_kind, style, (*traits, scale, *box), Query(path, asked.graph, prop)
    )


def _posed(
    rng: np.random.Generator, factory: InstanceFactory, point: Point, kind: str, explanation: Explanation
) -> PosedQuestion:
    """A question with drawn entries; one about some entry is about one that is not 0."""
    others = [k for k in range(factory.classifier.output_size) if k != point.label]
    minus = int(rng.choice(others)) if rng.random() < 0.3 else None
    mapped = explanation.of(point.label, minus)
    size = len(factory.pose(point, QUESTIONS.known["entry-moves"](), mapped).reference)
    k = int(rng.integers(1, max(2, size)))
    entries: Entries = {}
    match kind:
        case "top-k-changes":
            entries = {"k": k, "same_label": bool(rng.random() < 0.5)}
            relaxed = rng.random()
            if relaxed < 0.25 and k > 1:
                entries["stay"] = int(rng.integers(1, k + 1))
            elif relaxed < 0.5 and k < size:
                entries["within"] = int(rng.integers(k, size))
        case "same-top-k":
            entries = {"k": k}
        case "sign-changes":
            entries = {"entry": int(rng.integers(size))}
    return factory.pose(point, QUESTIONS.known[kind].model_validate(entries), mapped)


def _at_a_threshold(rng: np.random.Generator, posed: PosedQuestion, low: Array, high: Array) -> PosedQuestion:
    """With its number, where it has one, at a value that the map takes in the box or beside one."""
    question, factor = posed.question, float(rng.choice(NEAR))
    points = np.vstack([posed.point.centre, rng.uniform(low, high, (200, len(low)))])
    logits, maps = posed.map.values(points)
    changes = np.abs(maps - posed.reference).max(axis=1)
    if question.kind == "entry-moves":
        return posed.asking(delta=factor * float(rng.choice([changes.max(), rng.choice(changes)])))
    if question.kind == "same-map":
        others = np.delete(logits, posed.point.label, axis=1).max(axis=1) >= logits[:, posed.point.label]
        of_others = changes[others] if others.any() else changes
        return posed.asking(delta=factor * float(rng.choice([of_others.min(), rng.choice(of_others)])))
    if question.kind == "sign-changes" and rng.random() < 0.7:
        scores = question.score(logits, maps, posed.reference, posed.point.label)
        return posed.asking(level=-factor * float(rng.choice([scores.max(), rng.choice(scores)])))
    return posed


def _box(rng: np.random.Generator, graph: Network, centre: Array) -> tuple[Array, Array, tuple[str, ...]]:
    """As `wide_box`, where at most four entries move."""
    low, high, traits = wide_box(rng, graph, centre, most=16)
    fixed = rng.permutation(len(low))[4:]
    low[fixed] = high[fixed] = centre[fixed]
    low, high = few_open(graph, low, high, most=MOST_OPEN[min(len(low), 4)])
    return low, high, traits


def _entries(rng: np.random.Generator, method: str, centre: Array) -> Entries:
    """Entries of a method for inputs around a centre [n]."""
    size, many = max(float(np.abs(centre).max()), 1e-6), len(centre)
    baseline = [float(np.float32(size * rng.choice([0.0, 0.5, -1.0, rng.uniform(-1, 1)])))]
    noise = {"draws": 2, "sigma": size * 10.0 ** rng.uniform(-2, 0), "seed": int(rng.integers(100))}
    made = METHODS.known[method]
    entries: Entries = {"absolute": bool(rng.random() < 0.25)}
    if "baseline" in made.model_fields:
        entries["baseline"] = baseline
    if "noise" in made.model_fields:
        entries["noise"] = noise
    if "steps" in made.model_fields:
        entries["steps"] = int(rng.integers(2, 4))
        entries["quadrature"] = str(rng.choice(["gausslegendre", "riemann_trapezoid", "riemann_right"]))
    if "references" in made.model_fields:
        entries["references"] = {
            "draws": 2, "sigma": noise["sigma"] if rng.random() < 0.5 else 0.0,
            "baselines": [baseline, [0.0]], "seed": noise["seed"],
        }  # fmt: skip
    if "rectified" in made.model_fields:
        entries["rectified"] = bool(rng.random() < 0.3)
    if "layer" in made.model_fields and method != "cam" and rng.random() < 0.5:
        entries["layer"] = 0
    if method == "occlusion":
        entries["window"] = int(rng.integers(1, 3)) if many > 1 else 1
    if "draws" in made.model_fields:
        entries["draws"] = {"count": 3 * many + 2, "seed": noise["seed"]}
    if "masks" in made.model_fields:
        entries["masks"] = {"count": 4, "seed": noise["seed"], "cells": int(many == 6 and rng.random() < 0.5)}
    if many == 6 and "groups" in made.model_fields:
        entries |= {"groups": [0, 0, 1, 1, 2, 2], "grouped": True}
    return entries
