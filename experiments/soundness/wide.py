"""Random queries of every scale, with ties and touching conditions; small enough for `oracle.enumerate`.

What `queries.draw` makes, with weights of each layer, inputs and outputs of 1e-6 to 1e6, boxes of 1e-6 to
1e3, fixed inputs, pre-activations that are 0 on a whole face of the box, and thresholds at the extreme of an
output or beside it by 1e-9 to 1e-3 of its size.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.soundness.networks import STYLES, single
from experiments.soundness.queries import (
    KINDS,
    MOST_OPEN,
    TOUCHING,
    Array,
    Case,
    class_condition,
    condition,
    random_classifier,
)
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Add, Conv, Linear, Node
from salver.oracle.exact import exact_outputs
from salver.solvers.bounding.propagation import propagate
from salver.solvers.query import Query
from salver.spec import Atom, Clause, Property, float32_down, float32_up

SCALES = ("plain", "layers", "tiny", "outputs", "inputs", "all")
LARGEST = 8.0
"""Decimal digits that the values of a tensor are moved up or down at most."""
BESIDE = (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


def draw_wide(folder: Path, seed: int) -> Case:
    """The query of a seed; its network is written to `folder`."""
    rng = np.random.default_rng((seed, 11))
    style = str(rng.choice(STYLES))
    classifier, centre, traits = random_classifier(rng, style)
    scale = str(rng.choice(SCALES, p=[0.2, 0.25, 0.15, 0.1, 0.15, 0.15]))
    classifier, centre = scaled(rng, classifier, centre, scale)
    logits = classifier.output_size
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    others = [k for k in range(logits) if k != label]
    saliency: SaliencyMap = "abs" if rng.random() < 0.25 else "raw"
    against = int(rng.choice(others)) if rng.random() < 0.3 else None
    combination = logit_combination(logits, label, against)
    network = unroll(classifier, combination, saliency)
    low, high, shape = wide_box(rng, network, centre)
    if rng.random() < 0.25 and (tied := with_tie(rng, classifier, low, high)) is not None:
        network, shape = unroll(tied, combination, saliency), (*shape, "tie")
        low, high = few_open(network, low, high)
    kind, touched, query = ask(rng, folder / f"{seed}.onnx", network, (low, high), (label, others), 0.4)
    return Case(seed, kind, saliency, style, (*traits, scale, *shape, *touched), query)


def ask(
    rng: np.random.Generator,
    path: Path,
    network: Network,
    box: tuple[Array, Array],
    classes: tuple[int, list[int]],
    touching_share: float,
) -> tuple[str, tuple[str, ...], Query]:
    """A condition of a drawn kind on the outputs that a network takes in a box, as a query written to `path`.

    Args:
        classes: the one at the centre, and all others.
        touching_share: how often a threshold touches an extreme.

    Returns:
        The kind, `touching` where it does, and the query.
    """
    low, high = box
    logits = 1 + len(classes[1])
    points = np.vstack([(low + high) / 2, rng.uniform(low, high, (200, len(low)))])
    outputs = lower(network).evaluate(points)[0]
    kind, touched = str(rng.choice(KINDS)), ()
    least = max(0.1 * float(np.abs(outputs[:, logits:]).max()), 1e-300)
    clauses = condition(rng, kind, outputs, logits, class_condition(rng, *classes), least)
    if rng.random() < touching_share:
        clauses, touched = touching(rng, network, low, high, outputs, clauses), (TOUCHING,)
    path.write_bytes(to_bytes(to_model(network)))
    return kind, touched, Query(path, network, Property(low, high, clauses, network.output_size))


def scaled(rng: np.random.Generator, network: Network, centre: Array, scale: str) -> tuple[Network, Array]:
    """The network with factors on its layers; biases follow, so that kinks mostly stay where they were."""
    unit = 10.0 ** rng.uniform(-6.0, 6.0) if scale == "inputs" or scale == "all" else 1.0
    unit = 2.0 ** round(float(np.log2(unit))) if rng.random() < 0.5 else unit
    linear = [n for n in network.nodes if isinstance(n.operator, Linear | Conv)]
    sizes = {network.input: unit}
    adds = {node.inputs[1]: node.inputs[0] for node in network.nodes if isinstance(node.operator, Add)}
    nodes = []
    for node in network.nodes:
        before = sizes[node.inputs[0]]
        if not isinstance(node.operator, Linear | Conv):
            sizes[node.name] = before
            nodes.append(node)
            continue
        after = sizes[adds[node.name]] if node.name in adds else _size(rng, scale, node is linear[-1], before)
        sizes[node.name] = after
        nodes.append(_times(node, after / before, after if rng.random() < 0.9 else 1.0))
    return replace(network, nodes=tuple(nodes)), single(centre * unit)


def _size(rng: np.random.Generator, scale: str, last: bool, before: float) -> float:
    """What the values behind a layer are multiplied by in all."""
    digits = 0.0
    match scale:
        case "layers" | "all":
            digits = rng.uniform(-6.0, 6.0) if rng.random() < 0.7 else 0.0
        case "tiny":
            digits = rng.uniform(-4.5, -3.5)
        case "outputs":
            digits = rng.uniform(-6.0, 6.0) if last else 0.0
    return 10.0 ** float(np.clip(np.log10(before) + digits, -LARGEST, LARGEST)) if digits else before


def _times(node: Node, weight: float, bias: float) -> Node:
    operator = node.operator
    assert isinstance(operator, Linear | Conv)
    new = replace(
        operator,
        weight=(operator.weight.astype(np.float64) * weight).astype(np.float32),
        bias=(operator.bias.astype(np.float64) * bias).astype(np.float32),
    )
    return replace(node, operator=new)


def wide_box(
    rng: np.random.Generator, network: Network, centre: Array, most: int | None = None
) -> tuple[Array, Array, tuple[str, ...]]:
    """A box around, or on one side of, the centre, 1e-6 to 1e3 wide or as wide as the centre is large.

    Args:
        most: open neurons, see `few_open`.
    """
    size = max(float(np.abs(centre).max()), 1e-12)
    if rng.random() < 0.4:
        reach = np.full(len(centre), 10.0 ** rng.uniform(-6.0, 3.0))
    else:
        reach = size * 2.0 ** rng.uniform(-3.0, 2.0, len(centre))
    if rng.random() < 0.5:
        reach = 2.0 ** np.round(np.log2(reach))
    traits: tuple[str, ...] = ()
    if rng.random() < 0.25:
        reach[rng.random(len(centre)) < 0.4] = 0.0
        traits = ("fixed",) if (reach == 0.0).any() else ()
    below = np.where(rng.random(len(centre)) < 0.2, 0.0, reach)
    low, high = few_open(network, float32_down(centre - below), float32_up(centre + reach), most)
    return low, high, traits


def few_open(network: Network, low: Array, high: Array, most: int | None = None) -> tuple[Array, Array]:
    """The box, halved around its middle until at most so many neurons are open."""
    program, most = lower(network), MOST_OPEN[len(low)] if most is None else most
    while propagate(program, low, high, method="interval").undecided > most:
        middle, half = (low + high) / 2, (high - low) / 4
        if not (half > 0).any() or (half < 1e-7 * np.abs(middle)).all():
            break
        low, high = float32_up(middle - half), float32_down(middle + half)
        low = np.minimum(low, high)
    return low, high


def with_tie(rng: np.random.Generator, network: Network, low: Array, high: Array) -> Network | None:
    """The network with a neuron of the first layer that is exactly 0 on one face of the box."""
    nodes = list(network.nodes)
    operator = nodes[0].operator
    if not isinstance(operator, Linear):
        return None
    weight, bias = operator.weight.copy(), operator.bias.copy()
    neuron, entry = int(rng.integers(len(bias))), int(rng.integers(len(low)))
    slope = np.float32(2.0 ** round(float(np.log2(max(float(np.abs(weight).max()), 1e-30)))))
    slope *= np.float32(rng.choice([-1.0, 1.0]))
    weight[neuron] = 0.0
    weight[neuron, entry] = slope
    bias[neuron] = -slope * np.float32((low, high)[int(rng.integers(2))][entry])
    nodes[0] = replace(nodes[0], operator=Linear(weight, bias))
    return replace(network, nodes=tuple(nodes))


def touching(
    rng: np.random.Generator,
    network: Network,
    low: Array,
    high: Array,
    outputs: Array,
    clauses: tuple[Clause, ...],
) -> tuple[Clause, ...]:
    """A threshold at the largest value an output takes at corners and in the middle, or just beside it."""
    corners = [np.array(corner) for corner in itertools.product(*zip(low, high, strict=True))][:16]
    exact = [exact_outputs(network, x) for x in [(low + high) / 2, *corners]]
    left = int(rng.integers(network.output_size))
    up = rng.random() < 0.5
    value = float((max if up else min)(y[left] for y in exact))
    sampled = float((np.max if up else np.min)(outputs[:, left]))
    value = sampled if (sampled > value if up else sampled < value) else value
    off = float(rng.choice(BESIDE)) * float(rng.choice([-1.0, 1.0])) * abs(value)
    atom = Atom(left, ">=" if up else "<=", constant=value + off)
    match rng.integers(4):
        case 0:
            return (((atom,),),)
        case 1:
            other = Atom(
                left, "<=" if up else ">=", constant=value + off + (1.0 if up else -1.0) * abs(value)
            )
            return (((atom, other),),)
        case 2:
            return (((atom,), *(part for clause in clauses[:1] for part in clause)), *clauses[1:])
    return (((atom,),), *clauses)
