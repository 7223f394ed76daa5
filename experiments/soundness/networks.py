"""Random small classifiers with everything that makes ReLU networks awkward: kinks, copies, zeros, scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.max_pool import max_of, picks
from salver.nets.network import Network
from salver.nets.operators import Add, Conv, Linear, Node, Operator, Relu, Reshape, Scale

Array = npt.NDArray[np.float64]
Layer = tuple[Array, Array]
"""Weight [out, in] and bias [out]; every entry is a binary32 number."""

STYLES = ("normal", "dyadic", "ternary", "sparse", "skewed", "cancelling")
FAULTS = ("dead", "constant", "duplicate", "opposite", "unread", "twin-classes")


def random_layers(rng: np.random.Generator, sizes: Sequence[int], style: str) -> list[Layer]:
    """One layer per consecutive pair of sizes, with weights in one of `STYLES`."""
    layers = []
    for wide, narrow in pairwise(sizes):
        weight, bias = _drawn(rng, (narrow, wide), style)
        layers.append((single(weight), single(bias)))
    return layers


def _drawn(
    rng: np.random.Generator, shape: tuple[int, int], style: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    normal = rng.normal(0.0, 1.5 / math.sqrt(shape[1]), shape)
    bias = rng.normal(0.0, 0.3, shape[0])
    match style:
        case "dyadic":
            return rng.integers(-6, 7, shape) / 4.0, rng.integers(-4, 5, shape[0]) / 4.0
        case "ternary":
            return rng.integers(-1, 2, shape) * 1.0, rng.integers(-1, 2, shape[0]) * 1.0
        case "sparse":
            return normal * 1.5 * (rng.random(shape) < 0.5), bias * (rng.random(shape[0]) < 0.5)
        case "skewed":
            scale = 10.0 ** rng.uniform(-3.0, 3.0, (shape[0], 1))
            return normal * scale, bias * scale[:, 0]
        case "cancelling":
            scale = 2.0 ** float(rng.integers(0, 12))
            return scale * rng.integers(-3, 4, shape), scale * rng.integers(-2, 3, shape[0]) / 8.0
    return normal, bias


def with_fault(rng: np.random.Generator, layers: list[Layer], fault: str) -> list[Layer]:
    """The same network with one neuron of one hidden layer made awkward as `FAULTS` says."""
    number = int(rng.integers(len(layers) - 1))
    (weight, bias), (after, shift) = ((w.copy(), b.copy()) for w, b in layers[number : number + 2])
    neuron, other = (int(rng.integers(len(bias))) for _ in range(2))
    match fault:
        case "dead":
            weight[neuron], bias[neuron] = 0.0, rng.choice([-1.0, 0.0])
        case "constant":
            weight[neuron], bias[neuron] = 0.0, 0.5
        case "duplicate":
            weight[other], bias[other] = weight[neuron], bias[neuron]
        case "opposite":
            weight[other], bias[other], after[:, other] = weight[neuron], bias[neuron], -after[:, neuron]
        case "unread":
            after[:, neuron] = 0.0
        case "twin-classes":
            last, constant = (part.copy() for part in layers[-1])
            last[0], constant[0] = last[-1], constant[-1]
            return [*layers[:-1], (last, constant)]
    return [*layers[:number], (weight, bias), (after, shift), *layers[number + 2 :]]


def through(layers: list[Layer], centre: Array) -> list[Layer]:
    """The same network with the first neuron's kink moved onto `centre` (exactly, if dyadic)."""
    weight, bias = (part.copy() for part in layers[0])
    bias[0] = single(-weight[0] @ centre)
    return [(weight, bias), *layers[1:]]


def dense(layers: Sequence[Layer]) -> Network:
    """Linear-ReLU-...-Linear."""
    chain = Chain((layers[0][0].shape[1],))
    for number, (weight, bias) in enumerate(layers):
        if number:
            chain.relu()
        chain.linear(weight, bias)
    return chain.network()


def residual(layers: Sequence[Layer], skip: Layer) -> Network:
    """`dense`, with a linear path from the input to the logits besides."""
    chain = Chain((layers[0][0].shape[1],))
    for number, (weight, bias) in enumerate(layers):
        if number:
            chain.relu()
        chain.linear(weight, bias)
    main = chain.last
    chain.last = "X"
    chain.linear(*skip)
    chain.add(Add(), chain.shape, main)
    return chain.network()


def convolutional(rng: np.random.Generator, style: str) -> Network:
    """Conv-ReLU-[Conv-ReLU-]Flatten-Linear over a 1 x 2 x 2 or 1 x 1 x 4 image, 2-3 classes."""
    shape = ((1, 2, 2), (1, 1, 4))[int(rng.integers(2))]
    chain = Chain((4,))
    chain.add(Reshape(), shape)
    for _ in range(int(rng.integers(1, 3))):
        kernel = tuple(int(rng.integers(1, min(size, 2) + 1)) for size in chain.shape[1:])
        channels = int(rng.integers(1, 3))
        weight, bias = _drawn(rng, (channels, chain.shape[0] * math.prod(kernel)), style)
        pads = (0, 0, 0, int(rng.integers(0, 2)))
        stride = (1, int(rng.integers(1, 3)))
        operator = Conv(
            weight.reshape(channels, chain.shape[0], *kernel).astype(np.float32),
            bias.astype(np.float32),
            stride,
            pads,
        )
        chain.conv(operator)
        chain.relu()
    chain.flat()
    [(weight, bias)] = random_layers(rng, (chain.shape[0], int(rng.integers(2, 4))), style)
    chain.linear(weight, bias)
    return chain.network()


def images(
    rng: np.random.Generator, style: str, shape: tuple[int, int, int]
) -> tuple[Network, tuple[str, ...]]:
    """Conv-ReLU, a part of some kind, global average pooling, and a dense layer to 2-3 classes.

    The part is a maximum pooling, a convolution with a shortcut around it, a normalisation, or nothing; where
    none of them is, a dense layer and a ReLU may stand in the place of the global pooling.
    """
    part = str(rng.choice(["pooled", "shortcut", "normed", "none", "dense-head"]))
    chain = Chain((math.prod(shape),))
    chain.add(Reshape(), shape)

    def convolution(channels: int, kernel: tuple[int, int], pads: tuple[int, int, int, int]) -> None:
        weight, bias = _drawn(rng, (channels, chain.shape[0] * math.prod(kernel)), style)
        kernels = weight.reshape(channels, chain.shape[0], *kernel).astype(np.float32)
        operator = Conv(kernels, bias.astype(np.float32), pads=pads)
        chain.conv(operator)

    convolution(2, (2, 2), (0, 0, 0, 0))
    if part == "normed":
        scale, shift = (rng.normal(size=(2, 1, 1)).astype(np.float32) for _ in range(2))
        chain.add(Scale(*(np.broadcast_to(one, chain.shape).copy() for one in (scale, shift))), chain.shape)
    chain.relu()
    if part == "pooled":
        places = picks(2, (1, 2), (1, 1))
        target, source = places[0].output_shape(chain.shape), chain.last
        names = []
        for place in places:
            chain.nodes.append(Node(f"n{len(chain.nodes)}", place, (source,), target))
            names.append(chain.nodes[-1].name)
        chain.nodes += max_of("most", names, target)
        chain.last, chain.shape = "most", target
    if part == "shortcut":
        shortcut = chain.last
        convolution(2, (1, 1), (0, 0, 0, 0))
        chain.add(Add(), chain.shape, shortcut)
        chain.relu()
    classes = int(rng.integers(2, 4))
    if part == "dense-head":
        chain.flat()
        widths = [chain.shape[0], 2, classes]
    else:
        channels, *image = chain.shape
        mean = np.full((channels, 1, *image), 1 / math.prod(image), np.float32)
        chain.add(Conv(mean, np.zeros(channels, np.float32), groups=channels), (channels, 1, 1))
        chain.add(Reshape(), (channels,))
        widths = [channels, classes]
    for number, (weight, bias) in enumerate(random_layers(rng, widths, style)):
        if number:
            chain.relu()
        chain.linear(weight, bias)
    return chain.network(), (part,)


def single(values: npt.ArrayLike) -> Array:
    """The nearest binary32 numbers, as float64."""
    return np.asarray(values, np.float64).astype(np.float32).astype(np.float64)


class Chain:
    """Nodes appended one after another, from an input X of some shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.nodes: list[Node] = []
        self.size = math.prod(shape)
        self.last, self.shape = "X", shape

    def add(self, operator: Operator, shape: tuple[int, ...], *earlier: str) -> None:
        """An operator on earlier tensors, where it takes several, and on the last one."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name, operator, (*earlier, self.last), shape))
        self.last, self.shape = name, shape

    def relu(self) -> None:
        self.add(Relu(), self.shape)

    def conv(self, operator: Conv) -> None:
        self.add(operator, operator.output_shape(self.shape))

    def flat(self) -> None:
        self.add(Reshape(), (math.prod(self.shape),))

    def linear(self, weight: Array, bias: Array) -> None:
        self.add(Linear(weight.astype(np.float32), bias.astype(np.float32)), (len(bias),))

    def network(self) -> Network:
        return Network("X", self.size, tuple(self.nodes), self.last)
