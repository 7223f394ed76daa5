"""A feed-forward network as plain data: a graph of operators over one flat input.

One representation serves classifiers and their gradient networks, so there is one reader, one
writer and one reference evaluation. Shapes are per sample (no batch axis). Weights are float32, or float64
where binary32 does not hold them (`held`); what is written to a file is float32 throughout (`single`).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.affine import identity
from salver.nets.operators import Array, Node, Operator, Range, Relu, Scale, Shape, Sign, held
from salver.nets.program import Program, ProgramBuilder

SMALLEST_SINGLE = float(np.finfo(np.float32).tiny)
LARGEST_SINGLE = float(np.finfo(np.float32).max)
"""The normal numbers of binary32; smaller ones have fewer digits, and runtimes may take them for 0."""


@dataclass(frozen=True, eq=False)
class Network:
    """Operators in topological order.

    Attributes:
        input: name of the input tensor; flat of size `input_size`.
        input_size: n.
        nodes: each reads the input or earlier nodes only.
        output: name of the output tensor, flat.
    """

    input: str
    input_size: int
    nodes: tuple[Node, ...]
    output: str

    def __post_init__(self) -> None:
        known = {self.input}
        for node in self.nodes:
            unknown = set(node.inputs) - known
            if unknown or node.name in known:
                raise ValueError(f"node {node.name!r} is not in topological order")
            known.add(node.name)
        if self.output not in known:
            raise ValueError(f"no node {self.output!r}")

    @property
    def shapes(self) -> dict[str, Shape]:
        """Shape of every tensor, the input included."""
        return {self.input: (self.input_size,), **{node.name: node.shape for node in self.nodes}}

    @property
    def output_size(self) -> int:
        """Number of output entries."""
        return math.prod(self.shapes[self.output])

    def sha256(self) -> str:
        """Digest of structure and weights; names and the sign of a zero do not count."""
        digest = hashlib.sha256(repr((self.input_size, len(self.nodes))).encode())
        numbers = {self.input: 0, **{node.name: i + 1 for i, node in enumerate(self.nodes)}}
        for node in self.nodes:
            inputs = [numbers[name] for name in node.inputs]
            digest.update(repr((type(node.operator).__name__, inputs, node.shape)).encode())
            for value in node.operator.parts().values():
                digest.update(_bits(value) if isinstance(value, np.ndarray) else repr(value).encode())
        digest.update(repr(numbers[self.output]).encode())
        return digest.hexdigest()


def _bits(weights: Array) -> bytes:
    """The weights as bytes, binary32 where that holds them."""
    value = held(weights)
    return np.ascontiguousarray(value + value.dtype.type(0), f"<f{value.itemsize}").tobytes()


def single(network: Network, where: str = "network") -> Network:
    """The network with every weight rounded to binary32, as ONNX files are written.

    Raises:
        SalverError: a weight leaves the range of binary32, or the numbers near 0 that have all its digits.
    """
    return replace(network, nodes=tuple(_single_node(node, where) for node in network.nodes))


def _single_node(node: Node, where: str) -> Node:
    def rounded(weights: Array) -> Array:
        if weights.dtype == np.float32:
            return weights
        size = np.abs(weights[weights != 0])
        if size.size and (size.min() < SMALLEST_SINGLE or size.max() > LARGEST_SINGLE):
            what = f"a weight of {node.name!r:.60} leaves the range of single precision"
            raise SalverError(what, where, "scale the network's layers")
        return weights.astype(np.float32)

    return node.with_operator(node.operator.with_arrays(rounded))


def free_prefix(names: Iterable[str], wanted: str) -> str:
    """`wanted`, with underscores behind it until none of the names begins with it."""
    taken = tuple(names)
    while any(name.startswith(wanted) for name in taken):
        wanted += "_"
    return wanted


class NetworkBuilder:
    """A network's nodes and what is added behind them, under names that no other tensor has."""

    def __init__(self, network: Network, prefix: str) -> None:
        self.network, self.nodes, self.shapes = network, list(network.nodes), network.shapes
        self.prefix = free_prefix(self.shapes, prefix)
        self.masks: dict[str, str] = {}

    def emit(self, operator: Operator, inputs: tuple[str, ...], shape: Shape) -> str:
        """Appends a node and names its tensor."""
        name = f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(Node(name, operator, inputs, shape))
        self.shapes[name] = shape
        return name

    def mask(self, pre_activation: str) -> str:
        """Relu(Sign(z)), which is 1[z > 0], also at z = 0; one mask serves all that read it."""
        if pre_activation not in self.masks:
            shape = self.shapes[pre_activation]
            sign = self.emit(Sign(), (pre_activation,), shape)
            self.masks[pre_activation] = self.emit(Relu(), (sign,), shape)
        return self.masks[pre_activation]

    def built(self, output: str) -> Network:
        """All nodes, with this output."""
        return replace(self.network, nodes=tuple(self.nodes), output=output)


def evaluate(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    """Outputs [batch, outputs] at inputs `x` [batch, n]; every intermediate keeps the dtype of `x`."""
    points = np.atleast_2d(np.asarray(x))
    values: dict[str, npt.NDArray[Any]] = {network.input: points}
    shapes = network.shapes
    for node in network.nodes:
        given = [values[name] for name in node.inputs]
        values[node.name] = node.operator.evaluate(given, shapes[node.inputs[0]]).astype(points.dtype)
    return values[network.output]


def extend_ranges(ranges: dict[str, Range], nodes: Iterable[Node], shapes: Mapping[str, Shape]) -> None:
    """Adds the flat ranges of `nodes`, in their order, to those of the tensors they read.

    For solvers and their reader; the judge has its own in rational numbers, which shares no code with these
    so that it can hold them to account.
    """
    for node in nodes:
        if node.name not in ranges:
            given = [ranges[name] for name in node.inputs]
            ranges[node.name] = node.operator.range(given, shapes[node.inputs[0]])


def lower(network: Network) -> Program:
    """Composes the linear operators of a network and pairs masks with their ReLUs.

    Raises:
        UnsupportedQueryError: a Sign outside Relu(Sign(z)), or a product without a piecewise constant factor.
    """
    builder, shapes, size = ProgramBuilder(), network.shapes, network.input_size
    builder.define(network.input, identity(-1, size))
    for node in network.nodes:
        node.operator.lower(builder, node, shapes[node.inputs[0]])
    return builder.program(size, network.output)


def fold_scales(network: Network) -> Network:
    """The same function with every foldable `Scale` gone; products are formed and held in float64.

    A `Scale` folds into a `Linear`, into another `Scale`, or into a `Conv` when it is constant per channel,
    if nothing else reads that operator's output. What float64 cannot hold well stays apart. The folded node
    has the name of the `Scale`, whose tensor it makes.
    """
    readers = Counter(name for node in network.nodes for name in node.inputs)
    readers[network.output] += 1
    done: dict[str, Node] = {}
    for node in network.nodes:
        before, folded = done.get(node.inputs[0]), None
        if isinstance(node.operator, Scale) and before is not None and readers[before.name] == 1:
            folded = before.operator.followed_by(node.operator.scale, node.operator.shift, node.shape)
        if before is None or folded is None:
            done[node.name] = node
        else:
            del done[before.name]
            done[node.name] = replace(before, name=node.name, operator=folded)
    return replace(network, nodes=tuple(done.values()))


def with_plain_windows(network: Network) -> Network:
    """The network in the form that most verifiers read (`Operator.plain`); it computes the same values."""
    shapes = network.shapes
    nodes = (n.with_operator(n.operator.plain(shapes[n.inputs[0]])) for n in network.nodes)
    return replace(network, nodes=tuple(nodes))
