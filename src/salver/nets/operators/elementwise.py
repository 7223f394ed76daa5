"""Operators without weights: on the entries of one tensor or of two, and those that only arrange entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from salver.nets.affine import add, concat
from salver.nets.operators.arrangement import Pick
from salver.nets.operators.base import (
    Adjoint,
    GradientBuilder,
    Node,
    OnnxWriter,
    Operator,
    Range,
    Shape,
    Values,
    largest,
    operator,
    with_room,
)
from salver.nets.program import ProgramBuilder


@operator
@dataclass(frozen=True)
class Relu(Operator):
    """max(x, 0), with derivative 0 at 0."""

    onnx = "Relu"
    torch = "ReLU"
    kinked = True

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(np.maximum(values[0], 0))

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        low, high = given[0]
        return np.maximum(low, 0.0), np.maximum(high, 0.0)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        program.define(node.name, program.relu(node.inputs[0], node.name))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        gradient.accumulate(node.inputs[0], gradient.through_relu(node, adjoint))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0].relu()

    def magnitude(self) -> Operator:
        return Abs()


@operator
@dataclass(frozen=True)
class Sign(Operator):
    """-1, 0 or 1; Relu(Sign(z)) is the mask 1[z > 0], also at z = 0."""

    onnx = "Sign"
    kinked = True

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(np.sign(values[0]))

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        low, high = given[0]
        return np.sign(low), np.sign(high)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        program.define_sign(node.name, node.inputs[0])

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        """A step has derivative 0."""

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0].sign()


@operator
@dataclass(frozen=True)
class Abs(Operator):
    """|x|, with derivative 0 at 0."""

    onnx = "Abs"
    kinked = True

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(np.abs(values[0]))

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        low, high = given[0]
        return np.maximum(np.maximum(low, -high), 0.0), np.maximum(-low, high)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        program.define(node.name, program.absolute(node.inputs[0], node.name))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        """(1[z > 0] - 1[-z > 0]) * v."""
        source = node.inputs[0]
        minus = gradient.scaled(-1.0, source)
        assert isinstance(minus, str)
        gradient.accumulate(source, gradient.gated(source, adjoint))
        gradient.accumulate(source, gradient.scaled(-1.0, gradient.gated(minus, adjoint)))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0].abs()


@operator
@dataclass(frozen=True)
class Mul(Operator):
    """Elementwise product of two variable tensors: a gate where one is a mask."""

    onnx = "Mul"

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(values[0] * values[1])

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        if given[0] is given[1]:
            return _squares(*given[0])
        products = [one * other for one in given[0] for other in given[1]]
        size = np.maximum.reduce([np.abs(product) for product in products])
        return with_room(np.minimum.reduce(products), np.maximum.reduce(products), size)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        left, right = node.inputs
        program.define(node.name, program.product(left, right, node.name))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        """Of a product one factor of which is a step.

        Raises:
            SalverError: none is, so the gradient would not be piecewise constant.
        """
        left, right = node.inputs
        if left not in gradient.steps and right not in gradient.steps:
            raise self.no_gradient()
        for step, value in ((left, right), (right, left)):
            if step in gradient.steps and value not in gradient.steps:
                gradient.accumulate(value, gradient.times(step, adjoint))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0] * values[1]


def _squares(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Range:
    nearest = np.maximum(np.maximum(low, -high), 0.0)
    farthest = largest(low, high)
    below, above = with_room(nearest**2, farthest**2, farthest**2)
    return np.maximum(below, 0.0), above


class Sum(Operator):
    """first + sign * second, elementwise, for a sign of 1 or -1."""

    sign: ClassVar[float]

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        # No factor, which is a float: fractions stay fractions.
        return np.asarray(values[0] + values[1] if self.sign > 0 else values[0] - values[1])

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        (low, high), second = given
        ends = sorted((0, 1), reverse=self.sign < 0)
        size = largest(low, high) + largest(*second)
        return with_room(low + self.sign * second[ends[0]], high + self.sign * second[ends[1]], size)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        left, right = map(program.value, node.inputs)
        program.define(node.name, add(left, right, self.sign))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        gradient.accumulate(node.inputs[0], adjoint)
        signed = adjoint if self.sign > 0 else gradient.scaled(self.sign, adjoint)
        gradient.accumulate(node.inputs[1], signed)

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0] + self.sign * values[1]

    def magnitude(self) -> Operator:
        return Add()


@operator
@dataclass(frozen=True)
class Add(Sum):
    """Elementwise sum of two tensors."""

    onnx = "Add"
    sign = 1.0


@operator
@dataclass(frozen=True)
class Sub(Sum):
    """Elementwise difference of two tensors."""

    onnx = "Sub"
    sign = -1.0


@operator
@dataclass(frozen=True)
class Concat(Operator):
    """Concatenation of flat tensors."""

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.concatenate(values, axis=1)

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        return np.concatenate([part[0] for part in given]), np.concatenate([part[1] for part in given])

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        program.define(node.name, concat([program.value(name) for name in node.inputs]))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        total, first = node.shape[0], 0
        for name in node.inputs:
            shape = gradient.shapes[name]
            places = np.arange(first, first + shape[0])
            if isinstance(adjoint, str):
                gradient.accumulate(name, gradient.emit(Pick(places, total), (adjoint,), shape))
            else:
                gradient.accumulate(name, adjoint.ravel()[places])
            first += shape[0]

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        import torch

        return torch.cat(list(values), dim=1)

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        graph.node("Concat", inputs, output, axis=1)


@operator
@dataclass(frozen=True)
class Reshape(Operator):
    """Row-major reshape to the node's own shape."""

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return values[0]

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        return given[0]

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        program.define_renamed(node.name, node.inputs[0])

    def transposed(self, source: Shape, target: Shape) -> Operator:
        return Reshape()

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        return adjoint

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0].reshape(len(values[0]), *shape)

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        if len(shape) == 1:
            graph.node("Flatten", inputs, output, axis=1)
        else:
            rows = np.array([-1, *shape], np.int64)  # -1: rows are never mixed
            graph.node("Reshape", [*inputs, graph.constant(rows)], output)
