"""Random and trained networks too large to enumerate: on these the solvers are held against each other."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from experiments.soundness.networks import dense, random_layers, single
from experiments.soundness.queries import Array
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.solvers.bounding.propagation import propagate
from salver.solvers.query import Query
from salver.spec import Property, float32_down, float32_up

SHAPES = {
    "4-16-16-3": (4, 16, 16, 3),
    "8-20-20-4": (8, 20, 20, 4),
    "6-12-12-12-3": (6, 12, 12, 12, 3),
    "16-32-2": (16, 32, 2),
}
FACTORS = (0.3, 0.7, 0.9, 0.99, 1.01, 1.5)
"""Deltas relative to the least change that sampling finds together with a change of class."""


def medium(folder: Path, seed: int, trained: bool = False, most_open: int = 30) -> tuple[str, Query]:
    """A label and a query; with `trained`, every third seed is about a digits network and a small box.

    The box is shrunk until at most `most_open` neurons are open by interval arithmetic.
    """
    rng = np.random.default_rng((seed, 3))
    name = str(rng.choice(list(SHAPES)))
    if trained and seed % 3 == 0:
        name, classifier, centre = _digits(seed)
    else:
        style = str(rng.choice(["normal", "dyadic", "sparse"]))
        classifier = dense(random_layers(rng, SHAPES[name], style))
        centre = single(rng.uniform(-1.0, 1.0, classifier.input_size))
        name = f"{name} {style}"
    logits = classifier.output_size
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    kind: SaliencyMap = "abs" if rng.random() < 0.2 else "raw"
    network = unroll(classifier, logit_combination(logits, label), kind)
    low, high = _box(network, centre, most_open)
    others = [k for k in range(logits) if k != label]
    wins = conditions.some_class_beats(label, others if rng.random() < 0.6 else [int(rng.choice(others))])
    outputs = lower(network).evaluate(np.vstack([centre, rng.uniform(low, high, (4000, len(low)))]))[0]
    won = Property(low, high, wins, network.output_size).margin(outputs) >= 0
    change = np.abs(outputs[:, logits:] - outputs[0, logits:]).max(axis=1)
    least = float(change[won].min()) if won.any() else float(np.median(change))
    delta = max(least, 1e-3 * float(np.abs(outputs).max())) * float(rng.choice(FACTORS))
    clauses = (*conditions.saliency_box(logits, outputs[0, logits:], delta), *wins)
    path = folder / f"medium{seed}.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    return name, Query(path, network, Property(low, high, clauses, network.output_size))


def _box(network: Network, centre: Array, most_open: int) -> tuple[Array, Array]:
    reach, program = 1.0, lower(network)
    while True:
        low, high = float32_down(centre - reach), float32_up(centre + reach)
        if propagate(program, low, high, method="interval").undecided <= most_open:
            return low, high
        reach *= 0.8


@cache
def _trained(name: str) -> tuple[Network, Array]:
    from salver.zoo.datasets import load
    from salver.zoo.networks import ZOO, trained

    data = load("digits")
    return from_torch(trained(ZOO[name], 0), data.test_x.shape[1]), data.test_x


def _digits(seed: int) -> tuple[str, Network, Array]:
    name = ("digits-16x16", "digits-32x32", "digits-conv")[seed // 3 % 3]
    network, points = _trained(name)
    return name, network, single(points[seed % len(points)])
