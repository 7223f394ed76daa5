"""A feed-forward network as plain data: a graph of operators over one flat input.

One representation serves classifiers and their gradient networks, so there is one reader, one
writer and one reference evaluation. Shapes are per sample (no batch axis); weights are float32.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]


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
                digest.update(
                    np.ascontiguousarray(value + np.float32(0), "<f4").tobytes()
                    if is_array
                    else repr(value).encode()
                )
        digest.update(repr(numbers[self.output]).encode())
        return digest.hexdigest()


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
