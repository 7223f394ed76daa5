"""A network as the checker sees it: exact affine maps between switches, read from `Network` alone.

Convolutions are written out here once more on purpose: a proof must not rest on the code that found it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse

from salver.nets import network as nets
from salver.proofs.exact import Matrix

STEP = "step:"
"""Prefix of the variable 1[z > 0] that belongs to a tensor z which some ReLU, mask or Abs reads."""


class UnsupportedNetworkError(ValueError):
    """The network has an operator, or a use of one, that proofs do not cover."""


@dataclass(frozen=True, eq=False)
class Affine:
    """sum of matrix @ tensor over the terms, plus the bias (a matrix of one column)."""

    terms: tuple[tuple[str, Matrix], ...]
    bias: Matrix


@dataclass(frozen=True, eq=False)
class Relu:
    """max(z, 0)."""

    source: str


@dataclass(frozen=True, eq=False)
class Gate:
    """1[z > 0] * value, z being the tensor `switch`."""

    switch: str
    value: str


@dataclass(frozen=True, eq=False)
class Abs:
    """|z|."""

    source: str


Form = Affine | Relu | Gate | Abs


@dataclass(eq=False)
class Graph:
    """Every tensor of a network by name, in topological order.

    Attributes:
        sizes: entries per tensor, the input and the steps included.
        forms: what makes each tensor but the input and the steps.
        switches: tensors that have a step.
    """

    network: nets.Network
    sizes: dict[str, int] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nodes = {node.name: node for node in self.network.nodes}
        # A tensor of such a name would share its ranges with the step of another tensor.
        if any(name.startswith(STEP) for name in (self.network.input, *self._nodes)):
            raise UnsupportedNetworkError(f"a tensor's name begins with {STEP!r}")
        self._shapes = self.network.shapes
        self._first: dict[tuple[type, str], str] = {}
        self.sizes[self.network.input] = self.network.input_size
        for node in self.network.nodes:
            if not isinstance(node.operator, nets.Sign):
                self.sizes[node.name] = math.prod(node.shape)
                self.forms[node.name] = self._form(node)
        if self.network.output not in self.sizes:
            raise UnsupportedNetworkError("the output is a Sign")

    def root(self, name: str) -> str:
        """The tensor behind reshapes."""
        while name in self._nodes and isinstance(self._nodes[name].operator, nets.Reshape):
            name = self._nodes[name].inputs[0]
        return name

    def _switch(self, name: str) -> str:
        root = self.root(name)
        if root not in self.sizes:
            raise UnsupportedNetworkError("a ReLU, Sign or Abs reads a Sign")
        if root not in self.switches:
            self.switches.append(root)
            self.sizes[STEP + root] = self.sizes[root]
        return root

    def _masked(self, name: str) -> str | None:
        """The switch of which a tensor is the mask Relu(Sign(z)), if it is one."""
        node = self._nodes.get(self.root(name))
        if node is None or not isinstance(node.operator, nets.Relu):
            return None
        sign = self._nodes.get(self.root(node.inputs[0]))
        return self._switch(sign.inputs[0]) if sign and isinstance(sign.operator, nets.Sign) else None

    def _form(self, node: nets.Node) -> Form:
        operator = node.operator
        if isinstance(operator, nets.Relu):
            switch = self._masked(node.name)
            if switch is not None:
                return self._copy(STEP + switch)
            return self._once(Relu(self._switch(node.inputs[0])), node.name)
        if isinstance(operator, nets.Abs):
            return self._once(Abs(self._switch(node.inputs[0])), node.name)
        for name in node.inputs:
            if self.root(name) not in self.sizes:
                raise UnsupportedNetworkError("a Sign that is not the argument of a ReLU")
        if isinstance(operator, nets.Mul):
            for mask, value in (node.inputs, node.inputs[::-1]):
                switch = self._masked(mask)
                if switch is not None:
                    return Gate(switch, self.root(value))
            raise UnsupportedNetworkError("a product of which neither factor is a mask Relu(Sign(z))")
        return self._affine(node)

    def _once(self, form: Relu | Abs, name: str) -> Form:
        """The form, or a copy of the tensor that already has it."""
        first = self._first.setdefault((type(form), form.source), name)
        return form if first == name else self._copy(first)

    def _copy(self, source: str) -> Affine:
        size = self.sizes[source]
        return Affine(((source, Matrix(sparse.eye_array(size))),), _column(np.zeros(size)))

    def _affine(self, node: nets.Node) -> Affine:
        operator, (first, *_) = node.operator, node.inputs
        size, shape = self.sizes[node.name], self._shapes[first]
        bias: Any = np.zeros(size)
        match operator:
            case nets.Linear():
                terms, bias = [(first, operator.weight)], operator.bias
            case nets.Conv():
                terms = [(first, _convolution(operator, shape, node.shape))]
                bias = np.repeat(operator.bias, size // node.shape[0])
            case nets.ConvTranspose():
                terms = [(first, _convolution(operator, node.shape, shape).T)]
            case nets.Scale():
                scale = np.broadcast_to(operator.scale, node.shape).ravel()
                terms = [(first, sparse.diags_array(scale.astype(np.float64)))]
                bias = np.broadcast_to(operator.shift, node.shape).ravel()
            case nets.Add() | nets.Sub():
                sign = 1.0 if isinstance(operator, nets.Add) else -1.0
                terms = [(first, sparse.eye_array(size)), (node.inputs[1], sign * sparse.eye_array(size))]
            case nets.Concat():
                terms = _pieces(node.inputs, [self.sizes[name] for name in node.inputs])
            case nets.Reshape():
                terms = [(first, sparse.eye_array(size))]
            case _:
                raise UnsupportedNetworkError(f"operator {type(operator).__name__}")
        try:
            return Affine(tuple((name, Matrix(matrix)) for name, matrix in terms), _column(bias))
        except ValueError as error:
            raise UnsupportedNetworkError(f"{type(operator).__name__} {node.name!r}: {error}") from None


def _column(values: Any) -> Matrix:
    return Matrix(np.asarray(values, np.float64).reshape(-1, 1))


def _pieces(names: tuple[str, ...], sizes: list[int]) -> list[tuple[str, Any]]:
    total, start, pieces = sum(sizes), 0, []
    for name, size in zip(names, sizes, strict=True):
        pieces.append((name, sparse.eye_array(total, size, k=-start)))
        start += size
    return pieces


def _convolution(
    operator: nets.Conv | nets.ConvTranspose, source: tuple[int, ...], target: tuple[int, ...]
) -> Any:
    """Matrix [target, source] of a convolution from images `source` to images `target` [c, h, w]."""
    weight = operator.weight
    filters, per_group, height, width = weight.shape
    rows, columns, values = [], [], []
    p, q = (grid.ravel() for grid in np.mgrid[: target[1], : target[2]])
    for i, j in np.ndindex(height, width):
        y = p * operator.strides[0] + i * operator.dilations[0] - operator.pads[0]
        x = q * operator.strides[1] + j * operator.dilations[1] - operator.pads[1]
        inside = (y >= 0) & (y < source[1]) & (x >= 0) & (x < source[2])
        for o, c in np.ndindex(filters, per_group):
            channel = o // (filters // operator.groups) * per_group + c
            rows.append((o * target[1] + p[inside]) * target[2] + q[inside])
            columns.append((channel * source[1] + y[inside]) * source[2] + x[inside])
            values.append(np.full(int(inside.sum()), weight[o, c, i, j], np.float64))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_array(entries, shape=(math.prod(target), math.prod(source)))
