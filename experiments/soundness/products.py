"""Random queries about maps that are products, squares and nested ReLUs, at every scale.

The classifiers, boxes, scales and conditions of `wide`, with one of `FORMS` in place of the gradient g:

* `times-input`, `times-change`: g x and g (x - b);
* `square`, `variance`: g^2, and the mean of two squares less the square of the mean;
* `absolute`, `chain`: |g| x and g (h x) for linear images h of g;
* `guided`, `guided-times-input`: signals that are rectified behind every mask, and their product with x;
* `integrated`: the mean of g at points between b and x, times x - b;
* `squared-noise`: the mean of the squares of g at shifted points;
* `activation`: max(h, 0) times the activations of the first ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments.soundness.networks import STYLES, single
from experiments.soundness.queries import Array, Case, random_classifier
from experiments.soundness.wide import SCALES, ask, few_open, scaled, wide_box
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, NetworkBuilder, lower
from salver.nets.operators import Abs, Add, Concat, Linear, Mul, Node, Pick, Relu, Scale, Sub

FORMS = (
    "times-input",
    "times-change",
    "square",
    "variance",
    "absolute",
    "chain",
    "guided",
    "guided-times-input",
    "integrated",
    "squared-noise",
    "activation",
)


def draw_products(folder: Path, seed: int) -> Case:
    """The query of a seed; its network is written to `folder`."""
    rng = np.random.default_rng((seed, 19))
    style, form = str(rng.choice(STYLES)), FORMS[seed % len(FORMS)]
    classifier, centre, traits = random_classifier(rng, style)
    scale = str(rng.choice(SCALES, p=[0.4, 0.2, 0.1, 0.1, 0.1, 0.1]))
    classifier, centre = scaled(rng, classifier, centre, scale)
    logits = classifier.output_size
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    others = [k for k in range(logits) if k != label]
    against = int(rng.choice(others)) if rng.random() < 0.3 else None
    network = form_network(rng, form, classifier, logit_combination(logits, label, against), centre)
    low, high, shape = wide_box(rng, network, centre)
    low, high = few_open(network, low, high)
    _, touched, query = ask(rng, folder / f"{seed}.onnx", network, (low, high), (label, others), 0.3)
    return Case(seed, form, "raw", style, (*traits, scale, *shape, *touched), query)


def form_network(
    rng: np.random.Generator, form: str, classifier: Network, combination: Array, centre: Array
) -> Network:
    """X [n] -> Concat[logits, map] for one of `FORMS`; `centre` says how large baselines and shifts are."""
    inputs, logits = classifier.input_size, classifier.output_size
    unrolled = unroll(classifier, combination, "raw")
    if form.startswith("guided"):
        unrolled = _guided(unrolled)
    parts = _Parts(rng, unrolled, logits)
    x, size = unrolled.input, max(float(np.abs(centre).max()), 1e-6)
    baseline = single(size * rng.uniform(-1.0, 1.0, inputs))
    match form:
        case "times-input" | "guided-times-input":
            made = parts.product(parts.gradient, x)
        case "times-change":
            made = parts.product(parts.gradient, parts.shifted(x, 1.0, -baseline))
        case "square":
            made = parts.product(parts.gradient, parts.gradient)
        case "variance":
            one, other = parts.image(parts.gradient), parts.image(parts.gradient)
            squares = parts.mean([parts.product(one, one), parts.product(other, other)])
            middle = parts.mean([one, other])
            made = parts.emit(Sub(), (squares, parts.product(middle, middle)), (inputs,))
        case "absolute":
            made = parts.product(parts.emit(Abs(), (parts.gradient,), (inputs,)), x)
        case "chain":
            made = parts.product(parts.gradient, parts.product(parts.image(parts.gradient), x))
        case "guided":
            made = parts.gradient
        case "integrated":
            shares = [0.25, 0.75] if rng.random() < 0.7 else [0.0, 0.5, 1.0]
            copies = [parts.copy(share, (1.0 - share) * baseline) for share in shares]
            made = parts.product(parts.mean(copies), parts.shifted(x, 1.0, -baseline))
        case "squared-noise":
            copies = [parts.copy(1.0, size * rng.normal(0.0, 0.2, inputs)) for _ in range(2)]
            made = parts.mean([parts.product(copy, copy) for copy in copies])
        case "activation":
            relus = [n for n in classifier.nodes if isinstance(n.operator, Relu) and len(n.shape) == 1]
            size_of = {n.name: n.shape[0] for n in relus} or {x: inputs}
            name, width = next(iter(size_of.items()))
            factor = parts.emit(Relu(), (parts.image(parts.gradient, width),), (width,))
            made = parts.product(factor, name)
        case _:
            raise ValueError(form)
    return parts.built(made)


class _Parts(NetworkBuilder):
    """The unrolled network with products behind it."""

    def __init__(self, rng: np.random.Generator, unrolled: Network, logits: int) -> None:
        super().__init__(unrolled, "form_")
        self.rng, self.unrolled, self.logits = rng, unrolled, logits
        self.inputs, total = unrolled.input_size, unrolled.output_size
        last = unrolled.nodes[-1]
        self.gradient = last.inputs[1]
        self.scores = self.emit(Pick(np.arange(logits), total), (last.name,), (logits,))

    def product(self, left: str, right: str) -> str:
        """Either way round."""
        pair = (left, right) if self.rng.random() < 0.5 else (right, left)
        return self.emit(Mul(), pair, self.shapes[left])

    def image(self, source: str, width: int | None = None) -> str:
        """A random linear image of a tensor."""
        size = self.shapes[source][0]
        weight = self.rng.integers(-2, 3, (width or size, size)).astype(np.float32)
        operator = Linear(weight, np.zeros(len(weight), np.float32))
        return self.emit(operator, (source,), (len(weight),))

    def shifted(self, source: str, factor: float, shift: Array) -> str:
        """factor * source + shift."""
        scale = np.full(len(shift), factor, np.float32)
        return self.emit(Scale(scale, shift.astype(np.float32)), (source,), self.shapes[source])

    def mean(self, tensors: Sequence[str]) -> str:
        """Their sum over their number."""
        total = tensors[0]
        for tensor in tensors[1:]:
            total = self.emit(Add(), (total, tensor), self.shapes[total])
        return self.shifted(total, 1.0 / len(tensors), np.zeros(self.shapes[total][0]))

    def copy(self, factor: float, shift: Array) -> str:
        """The gradient at factor * x + shift."""
        names = {self.unrolled.input: self.shifted(self.unrolled.input, factor, shift)}
        for node in self.unrolled.nodes[:-1]:
            inputs = tuple(names[name] for name in node.inputs)
            names[node.name] = self.emit(node.operator, inputs, node.shape)
        return names[self.gradient]

    def built(self, output: str) -> Network:
        shape = (self.logits + self.shapes[output][0],)
        return super().built(self.emit(Concat(), (self.scores, output), shape))


def _guided(unrolled: Network) -> Network:
    """With what every mask is multiplied with rectified, and the map too."""
    nodes: list[Node] = []

    def rectified(source: str, like: tuple[int, ...]) -> str:
        nodes.append(Node(f"rectified{len(nodes)}", Relu(), (source,), like))
        return nodes[-1].name

    for node in unrolled.nodes:
        gate = isinstance(node.operator, Mul)
        inputs = (node.inputs[0], rectified(node.inputs[1], node.shape)) if gate else node.inputs
        nodes.append(replace(node, inputs=inputs))
    last = nodes[-1]
    size = (unrolled.input_size,)
    nodes[-1:] = [
        Node("rectified_map", Relu(), (last.inputs[1],), size),
        replace(last, inputs=(last.inputs[0], "rectified_map")),
    ]
    return replace(unrolled, nodes=tuple(nodes))
