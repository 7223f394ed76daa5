"""A feed-forward network as plain data: a graph of operators over one flat input.

One representation serves classifiers and their gradient networks, so there is one reader, one
writer and one reference evaluation. Shapes are per sample (no batch axis). Weights are float32, or float64
where binary32 does not hold them (`held`); what is written to a file is float32 throughout (`single`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError

Array = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Shape = tuple[int, ...]
SMALLEST_SINGLE = float(np.finfo(np.float32).tiny)
LARGEST_SINGLE = float(np.finfo(np.float32).max)
"""The normal numbers of binary32; smaller ones have fewer digits, and runtimes may take them for 0."""


@dataclass(frozen=True, eq=False)
class Linear:
    """y = W x + b over a flat x. weight [out, in], bias [out]."""

    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Conv:
    """2-D convolution. weight [out, in / groups, kh, kw], bias [out], pads (top, left, bottom, right).

    Average pooling and global average pooling are convolutions with `groups` = channels.
    """

    weight: Array
    bias: Array
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class ConvTranspose:
    """Adjoint of a `Conv` without bias. weight [in, out / groups, kh, kw]; never an output padding."""

    weight: Array
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Scale:
    """y = scale * x + shift, elementwise; both broadcast to the shape of x."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Sign:
    """-1, 0 or 1; Relu(Sign(z)) is the mask 1[z > 0], also at z = 0."""


@dataclass(frozen=True)
class Abs:
    """|x|."""


@dataclass(frozen=True)
class Mul:
    """Elementwise product of two variable tensors: a gate."""


@dataclass(frozen=True)
class Add:
    """Elementwise sum of two tensors."""


@dataclass(frozen=True)
class Sub:
    """Elementwise difference of two tensors."""


@dataclass(frozen=True)
class Concat:
    """Concatenation of flat tensors."""


@dataclass(frozen=True)
class Reshape:
    """Row-major reshape to the node's own shape."""


Operator = Linear | Conv | ConvTranspose | Scale | Relu | Sign | Abs | Mul | Add | Sub | Concat | Reshape


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: its name is the name of its output tensor."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    shape: Shape


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
            for part in fields(node.operator):
                value: Any = getattr(node.operator, part.name)
                is_array = isinstance(value, np.ndarray)
                digest.update(_bits(value) if is_array else repr(value).encode())
        digest.update(repr(numbers[self.output]).encode())
        return digest.hexdigest()


def _bits(weights: Array) -> bytes:
    """The weights as bytes, binary32 where that holds them."""
    value = held(weights)
    return np.ascontiguousarray(value + value.dtype.type(0), f"<f{value.itemsize}").tobytes()


def held(weights: npt.ArrayLike) -> Array:
    """The weights in float32 where that is exact, else in float64."""
    exact = np.asarray(weights)
    if exact.dtype == np.float32:
        return exact
    exact = exact.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        nearest = exact.astype(np.float32)
    return nearest if np.array_equal(nearest.astype(np.float64), exact) else exact


def single(network: Network, where: str = "network") -> Network:
    """The network with every weight rounded to binary32, as ONNX files are written.

    Raises:
        SalverError: a weight leaves the range of binary32, or the numbers near 0 that have all its digits.
    """
    return replace(network, nodes=tuple(_single_node(node, where) for node in network.nodes))


def _single_node(node: Node, where: str) -> Node:
    rounded: dict[str, Any] = {}
    for part in fields(node.operator):
        value = getattr(node.operator, part.name)
        if isinstance(value, np.ndarray) and value.dtype != np.float32:
            size = np.abs(value[value != 0])
            if size.size and (size.min() < SMALLEST_SINGLE or size.max() > LARGEST_SINGLE):
                what = f"a weight of {node.name!r:.60} leaves the range of single precision"
                raise SalverError(what, where, "scale the network's layers")
            rounded[part.name] = value.astype(np.float32)
    return replace(node, operator=replace(node.operator, **rounded)) if rounded else node


def free_prefix(names: Iterable[str], wanted: str) -> str:
    """`wanted`, with underscores behind it until none of the names begins with it."""
    taken = tuple(names)
    while any(name.startswith(wanted) for name in taken):
        wanted += "_"
    return wanted


def conv_output_shape(shape: Shape, operator: Conv) -> Shape:
    """Shape [out, height, width] of a convolution over `shape` [in, height, width]."""
    kernel = operator.weight.shape[2:]
    sizes = []
    for axis in (0, 1):
        padded = shape[1 + axis] + operator.pads[axis] + operator.pads[axis + 2]
        reach = operator.dilations[axis] * (kernel[axis] - 1) + 1
        sizes.append((padded - reach) // operator.strides[axis] + 1)
    return (operator.weight.shape[0], *sizes)


def conv_transpose_output_shape(shape: Shape, operator: ConvTranspose) -> Shape:
    """Shape [out, height, width] of a transposed convolution over `shape` [in, height, width]."""
    kernel = operator.weight.shape[2:]
    sizes = []
    for axis in (0, 1):
        reach = operator.dilations[axis] * (kernel[axis] - 1) + 1
        full = operator.strides[axis] * (shape[1 + axis] - 1) + reach
        sizes.append(full - operator.pads[axis] - operator.pads[axis + 2])
    return (operator.weight.shape[1] * operator.groups, *sizes)
