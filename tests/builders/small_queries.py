"""Random small saliency queries, and the published bandit network, as solver inputs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.solvers.query import Query
from salver.spec.property import Atom, Property, box_clauses


def relu_network(sizes: list[int], generator: np.random.Generator, gain: float = 2.0) -> Network:
    layers: list[torch.nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layer = torch.nn.Linear(wide, narrow)
        scale = gain / np.sqrt(wide)
        layer.weight.data = torch.tensor(generator.normal(0.0, scale, (narrow, wide)), dtype=torch.float32)
        layer.bias.data = torch.tensor(generator.normal(0.0, 0.3, narrow), dtype=torch.float32)
        layers += [layer, torch.nn.ReLU()]
    return from_torch(torch.nn.Sequential(*layers[:-1]), sizes[0])


def saliency_query(
    folder: Path,
    classifier: Network,
    centre: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
    delta: float,
    kind: SaliencyMap = "raw",
) -> Query:
    """A vg_box query: saliency of the predicted class within delta of the centre's, another class wins."""
    logits = classifier.output_size
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    network = unroll(classifier, logit_combination(logits, label), kind)
    reference = lower(network).evaluate(centre)[0][0][logits:]
    wins = tuple((Atom(k, ">=", label),) for k in range(logits) if k != label)
    sides = (*box, reference - delta, reference + delta)
    low, high, least, most = (side.astype(np.float32).astype(np.float64) for side in sides)
    clauses = (*box_clauses(logits, least, most), wins)
    path = folder / "query.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    return Query(path, network, Property(low, high, clauses, network.output_size))


def random_query(folder: Path, seed: int) -> Query:
    """2-4 inputs, 1-2 hidden layers of 2-6 neurons, 2-3 classes, a random box and delta."""
    generator = np.random.default_rng(seed)
    hidden = [int(generator.integers(2, 7)) for _ in range(int(generator.integers(1, 3)))]
    sizes = [int(generator.integers(2, 5)), *hidden, int(generator.integers(2, 4))]
    classifier = relu_network(sizes, generator)
    centre = generator.uniform(-1.0, 1.0, sizes[0])
    reach = generator.uniform(0.2, 1.2)
    delta = float(10 ** generator.uniform(-2.0, 0.5))
    kind: SaliencyMap = "abs" if generator.random() < 0.25 else "raw"
    return saliency_query(folder, classifier, centre, (centre - reach, centre + reach), delta, kind)


def boxes_of(query: Query) -> list[tuple[np.ndarray, np.ndarray]]:
    """The box of a query, and one of a tenth of its width around the middle."""
    low, high = query.prop.input_lower, query.prop.input_upper
    middle, reach = (low + high) / 2, (high - low) / 2
    return [(middle - share * reach, middle + share * reach) for share in (1.0, 0.1)]


def bandit_query(data: Path, folder: Path, delta: float) -> Query:
    """The published 5-6-6-2 network at [1, 1, 0, 1, 1] over the whole of [0, 1]^5."""
    stored = np.load(data / "paper" / "banditnet.npz")
    layers: list[torch.nn.Module] = []
    for number in (1, 2, 3):
        weight = torch.tensor(stored[f"W{number}"])
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, torch.tensor(stored[f"b{number}"])
        layers += [layer, torch.nn.ReLU()]
    classifier = from_torch(torch.nn.Sequential(*layers[:-1]), 5)
    centre = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    return saliency_query(folder, classifier, centre, (np.zeros(5), np.ones(5)), delta)


def toy_gap(folder: Path, low: float = 0.4, high: float = 0.6) -> Query:
    """One ReLU whose gradient is 0 or 1, asked to lie in [low, high]."""
    layer, head = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for part in (layer, head):
        part.weight.data.fill_(1.0)
        part.bias.data.zero_()
    classifier = from_torch(torch.nn.Sequential(layer, torch.nn.ReLU(), head), 1)
    network = unroll(classifier, logit_combination(1, 0))
    path = folder / "toy.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    clauses = box_clauses(1, np.array([low]), np.array([high]))
    return Query(path, network, Property(-np.ones(1), np.ones(1), clauses, 2))
