"""Grafts a small part with two hidden layers onto a classifier: logits are the sum of both.

Where the classifier has two dense hidden layers itself, the part's neurons are mixed among its own: in
random order and rescaled by powers of two (relu(2^s z) = 2^s relu(z), exact in binary floating point).
Elsewhere the part is a branch beside it that is added to the logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network, NetworkBuilder
from salver.nets.operators import Add, Linear, Relu

Array = npt.NDArray[np.float64]
_SHIFTS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True, eq=False)
class GraftedPart:
    """head @ relu(second @ relu(first @ x + first_bias) + second_bias) + bias.

    Attributes:
        first: float64 [a, n]; first_bias [a]; second [b, a]; second_bias [b]; head [m, b]; bias [m].
    """

    first: Array
    first_bias: Array
    second: Array
    second_bias: Array
    head: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Grafted:
    """The classifier with its part.

    Attributes:
        classifier: the sum, with float32 weights.
        tensor: name of the tensor with the part's first pre-activations; rows: where they are in it [a].
    """

    classifier: Network
    tensor: str
    rows: npt.NDArray[np.intp]


def graft(classifier: Network, part: GraftedPart, rng: np.random.Generator) -> Grafted:
    """Adds the part to the classifier's logits."""
    kinds = [type(node.operator) for node in classifier.nodes]
    if kinds == [Linear, Relu, Linear, Relu, Linear]:
        return _mixed(classifier, part, rng)
    return _beside(classifier, part)


def _mixed(classifier: Network, part: GraftedPart, rng: np.random.Generator) -> Grafted:
    own = [node.operator for node in classifier.nodes if isinstance(node.operator, Linear)]
    one, two, three = ((op.weight.astype(np.float64), op.bias.astype(np.float64)) for op in own)
    first, first_bias = np.vstack([one[0], part.first]), np.concatenate([one[1], part.first_bias])
    second, second_bias = _diagonal(two[0], part.second), np.concatenate([two[1], part.second_bias])
    head = np.hstack([three[0], part.head])
    order, scale = _shuffle(len(first), rng)
    first, first_bias, second = (
        first[order] * scale[:, None],
        first_bias[order] * scale,
        second[:, order] / scale,
    )
    rows = np.argsort(order)[len(one[0]) :]
    order, scale = _shuffle(len(second), rng)
    second, second_bias, head = (
        second[order] * scale[:, None],
        second_bias[order] * scale,
        head[:, order] / scale,
    )
    layers = [(first, first_bias), (second, second_bias), (head, three[1] + part.bias)]
    alone = Network(classifier.input, classifier.input_size, (), classifier.input)
    builder = NetworkBuilder(alone, "dense")
    dense = _layers(builder, layers)
    return Grafted(builder.built(dense[-1]), dense[0], rows)


def _beside(classifier: Network, part: GraftedPart) -> Grafted:
    builder = NetworkBuilder(classifier, "part")
    layers = [(part.first, part.first_bias), (part.second, part.second_bias), (part.head, part.bias)]
    dense = _layers(builder, layers)
    total = builder.emit(Add(), (classifier.output, dense[-1]), (classifier.output_size,))
    return Grafted(builder.built(total), dense[0], np.arange(len(part.first)))


def _layers(builder: NetworkBuilder, layers: list[tuple[Array, Array]]) -> list[str]:
    """Adds dense layers over the input with ReLUs between them; names the dense ones' tensors."""
    tensor, dense = builder.network.input, list[str]()
    for weight, bias in layers:
        tensor = builder.emit(Relu(), (tensor,), builder.shapes[tensor]) if dense else tensor
        operator = Linear(weight.astype(np.float32), bias.astype(np.float32))
        tensor = builder.emit(operator, (tensor,), (len(weight),))
        dense.append(tensor)
    return dense


def _diagonal(first: Array, second: Array) -> Array:
    joined = np.zeros((len(first) + len(second), first.shape[1] + second.shape[1]))
    joined[: len(first), : first.shape[1]] = first
    joined[len(first) :, first.shape[1] :] = second
    return joined


def _shuffle(size: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], Array]:
    return rng.permutation(size), np.exp2(rng.choice(_SHIFTS, size))
