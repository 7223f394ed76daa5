"""Saliency maps with products, built by hand on the unrolled gradient of a random network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, NetworkBuilder, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Abs, Add, Concat, Linear, Mul, Pick, Relu
from salver.solvers.query import Query
from salver.spec import Atom, Property, box_clauses
from tests.builders.small_queries import relu_network

ProductKind = Literal["times-input", "square", "positive", "absolute", "chain", "variance"]
KINDS: tuple[ProductKind, ...] = ("times-input", "square", "positive", "absolute", "chain", "variance")


def product_network(
    kind: ProductKind, classifier: Network, label: int, rng: np.random.Generator
) -> tuple[Network, int]:
    """Logits and then a map of as many entries as inputs: g x, g^2, max(g, 0) (x - b), |g| x, g (h x), or
    the mean of the squares of two linear images of g less the square of their mean. Also the logits' number.
    """
    logits, inputs = classifier.output_size, classifier.input_size
    gradient = unroll(classifier, logit_combination(logits, label), "raw")
    graph = NetworkBuilder(gradient, "product_")
    shape, total = (inputs,), logits + inputs
    g = graph.emit(Pick(np.arange(logits, total), total), (gradient.output,), shape)
    z = graph.emit(Pick(np.arange(logits), total), (gradient.output,), (logits,))
    x = gradient.input

    def image(source: str) -> str:
        weight = rng.normal(size=(inputs, inputs)).astype(np.float32)
        return graph.emit(Linear(weight, rng.normal(size=inputs).astype(np.float32)), (source,), shape)

    def product(left: str, right: str) -> str:
        return graph.emit(Mul(), (left, right), shape)

    match kind:
        case "times-input":
            entry = product(x, g)
        case "square":
            entry = product(g, g)
        case "positive":
            entry = product(graph.emit(Relu(), (image(g),), shape), image(x))
        case "absolute":
            entry = product(graph.emit(Abs(), (g,), shape), x)
        case "chain":
            entry = product(g, product(image(g), x))
        case "variance":
            one, other = image(g), image(g)
            mean = graph.emit(Add(), (one, other), shape)
            squares = graph.emit(Add(), (product(one, one), product(other, other)), shape)
            half = np.eye(inputs, dtype=np.float32) / 2
            entry = graph.emit(
                Linear(np.hstack([half, -half / 2]), np.zeros(inputs, np.float32)),
                (graph.emit(Concat(), (squares, product(mean, mean)), (2 * inputs,)),),
                shape,
            )
    return graph.built(graph.emit(Concat(), (z, entry), (total,))), logits


def product_query(folder: Path, kind: ProductKind, seed: int, delta: float | None = None) -> Query:
    """The map within delta of the centre's, another class wins; 2-3 inputs, 1-2 layers of 2-4 neurons."""
    rng = np.random.default_rng((seed, 7))
    hidden = [int(width) for width in rng.integers(2, 5, size=rng.integers(1, 3))]
    classifier = relu_network([int(rng.integers(2, 4)), *hidden, int(rng.integers(2, 4))], rng)
    centre = rng.uniform(-1.0, 1.0, classifier.input_size)
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    network, logits = product_network(kind, classifier, label, rng)
    reach = rng.uniform(0.2, 1.2)
    reference = lower(network).evaluate(centre)[0][0][logits:]
    size = float(np.abs(reference).max()) or 1.0
    delta = size * float(10 ** rng.uniform(-2.0, 0.5)) if delta is None else delta
    sides = (centre - reach, centre + reach, reference - delta, reference + delta)
    low, high, least, most = (side.astype(np.float32).astype(np.float64) for side in sides)
    wins = tuple((Atom(k, ">=", label),) for k in range(logits) if k != label)
    path = folder / f"{kind}-{seed}.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    clauses = (*box_clauses(logits, least, most), wins)
    return Query(path, network, Property(low, high, clauses, network.output_size))
