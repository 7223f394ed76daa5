"""Solvers held against each other, on random networks too large to enumerate."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.soundness.networks import dense, random_layers, single
from experiments.soundness.queries import Array
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.oracle.exact import exact_margin
from salver.solvers.bounding.propagation import propagate
from salver.solvers.query import Budget, Options, Query, Result, Solver, Verdict
from salver.spec import Property, float32_down, float32_up

SHAPES = ((4, 16, 16, 3), (8, 20, 20, 4), (6, 12, 12, 12, 3), (16, 32, 2))
FACTORS = (0.3, 0.7, 0.9, 0.99, 1.01, 1.5)
"""Deltas relative to the least change that sampling finds together with a change of class."""


def medium(folder: Path, seed: int, most_open: int = 30) -> Query:
    """A query, whose box is shrunk until at most `most_open` neurons are open by interval arithmetic."""
    rng = np.random.default_rng((seed, 3))
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    style = str(rng.choice(["normal", "dyadic", "sparse"]))
    classifier = dense(random_layers(rng, shape, style))
    centre = single(rng.uniform(-1.0, 1.0, classifier.input_size))
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
    return Query(path, network, Property(low, high, clauses, network.output_size))


def _box(network: Network, centre: Array, most_open: int) -> tuple[Array, Array]:
    reach, program = 1.0, lower(network)
    while True:
        low, high = float32_down(centre - reach), float32_up(centre + reach)
        if propagate(program, low, high, method="interval").undecided <= most_open:
            return low, high
        reach *= 0.8


def disagreement(query: Query, solvers: Mapping[str, Solver], budget_s: float, seed: int) -> str:
    """What is wrong with the answers of some solvers to one query; empty where they agree.

    `sat` and `unsat` clash. A `sat` must come with a point that holds in replay.
    """
    results: dict[str, Result] = {}
    for name, solver in solvers.items():
        with contextlib.redirect_stderr(io.StringIO()):
            results[name] = solver(query, Budget(budget_s), Options(seed=seed))
    sat = {name: result.witness for name, result in results.items() if result.verdict is Verdict.SAT}
    unsat = [name for name, result in results.items() if result.verdict is Verdict.UNSAT]
    for name, witness in sat.items():
        if witness is None or query.confirm(witness) is None:
            return f"the witness of {name} does not survive replay"
    if sat and unsat:
        margins = [float(exact_margin(query.network, query.prop, x)) for x in sat.values() if x is not None]
        return f"DISAGREE: unsat by {unsat}, sat by {list(sat)} with margins {margins} over the reals"
    return ""
