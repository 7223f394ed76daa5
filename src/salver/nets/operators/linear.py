"""Operators that are linear in one tensor: dense layers, elementwise maps, and all that have a matrix."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from salver.nets.affine import LARGEST, SMALLEST, apply
from salver.nets.operators.base import (
    Array,
    Node,
    OnnxWriter,
    Operator,
    Range,
    Shape,
    Values,
    held,
    largest,
    operator,
    with_room,
)
from salver.nets.program import ProgramBuilder

CANCELLED = 2.0**-20
"""Share of its terms below which a sum counts as cancelled."""


class MatrixOperator(Operator):
    """y = A x + b over flat tensors."""

    @abstractmethod
    def matrix_and_bias(self, source: Shape) -> tuple[Any, npt.NDArray[Any]]:
        """A [outputs, inputs], dense or CSR, and b [outputs], for an input of shape `source`."""

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        matrix, bias = self.matrix_and_bias(source)
        return np.asarray((matrix @ values[0].T).T + bias)

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        (low, high), (matrix, bias) = given[0], self.matrix_and_bias(source)
        size = abs(matrix)
        middle, radius = matrix @ ((low + high) / 2) + bias, size @ ((high - low) / 2)
        return with_room(middle - radius, middle + radius, size @ largest(low, high) + np.abs(bias))

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        matrix, bias = self.matrix_and_bias(source)
        program.define(
            node.name, apply(matrix.astype(np.float64, copy=False), program.value(node.inputs[0]), bias)
        )


@operator
@dataclass(frozen=True, eq=False)
class Linear(MatrixOperator):
    """y = W x + b over a flat x. weight [out, in], bias [out]."""

    weight: Array
    bias: Array

    @classmethod
    def picking(cls, places: npt.ArrayLike, size: int) -> Linear:
        """The entries at `places` [out] of a tensor of `size` entries."""
        numbers = np.asarray(places, np.intp)
        weight = np.zeros((len(numbers), size), np.float32)
        weight[np.arange(len(numbers)), numbers] = 1.0
        return cls(weight, np.zeros(len(numbers), np.float32))

    def matrix_and_bias(self, source: Shape) -> tuple[Any, npt.NDArray[Any]]:
        return self.weight, self.bias

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(values[0] @ self.weight.T.astype(values[0].dtype) + self.bias)

    def output_shape(self, source: Shape) -> Shape:
        return (len(self.weight),)

    def transposed(self, source: Shape, target: Shape) -> Operator:
        weight = held(self.weight.T)  # a view: weights of a large layer are there once
        return Linear(weight, np.zeros(len(weight), np.float32))

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        return np.asarray(self.weight.astype(np.float64).T @ adjoint)

    def followed_by(self, scale: Array, shift: Array, shape: Shape) -> Operator | None:
        weight = product(self.weight, scale.reshape(-1, 1))
        bias = sum_with(self.bias, scale.ravel(), shift.ravel())
        return None if weight is None or bias is None else replace(self, weight=weight, bias=bias)

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        from torch.nn import functional

        return functional.linear(values[0], weights["weight"], weights["bias"])

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        if self.bias.any():
            operands = [*inputs, graph.constant(self.weight), graph.constant(self.bias)]
            graph.node("Gemm", operands, output, transB=1)
        else:
            graph.node("MatMul", [*inputs, graph.constant(np.ascontiguousarray(self.weight.T))], output)


@operator
@dataclass(frozen=True, eq=False)
class Scale(Operator):
    """y = scale * x + shift, elementwise; both broadcast to the shape of x."""

    scale: Array
    shift: Array

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.asarray(values[0] * self.scale.ravel() + self.shift.ravel())

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        ends = [np.asarray(end * self.scale.ravel(), np.float64) for end in given[0]]
        shift = self.shift.ravel().astype(np.float64)
        size = largest(*ends) + np.abs(shift)
        return with_room(np.minimum(*ends) + shift, np.maximum(*ends) + shift, size)

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        scale = scipy.sparse.diags_array(self.scale.ravel().astype(np.float64), format="csr")
        program.define(node.name, apply(scale, program.value(node.inputs[0]), self.shift.ravel()))

    def transposed(self, source: Shape, target: Shape) -> Operator:
        return replace(self, shift=np.zeros_like(self.shift))

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        return np.asarray(self.scale.ravel().astype(np.float64) * adjoint)

    def followed_by(self, scale: Array, shift: Array, shape: Shape) -> Operator | None:
        parts = product(self.scale, scale), sum_with(self.shift, scale, shift)
        return None if parts[0] is None or parts[1] is None else Scale(parts[0], parts[1])

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0] * weights["scale"] + weights["shift"]

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        source = inputs[0]
        scaled = bool((self.scale != 1).any())
        shifted = bool(self.shift.any()) or not scaled
        if scaled:
            target = f"{output}_scaled" if shifted else output
            graph.node("Mul", [source, graph.constant(self.scale[None])], target)
            source = target
        if shifted:
            graph.node("Add", [source, graph.constant(self.shift[None])], output)


def product(left: Array, right: Array) -> Array | None:
    """The product in float64, held; None where an entry leaves `SMALLEST` to `LARGEST` without being 0."""
    with np.errstate(over="ignore", under="ignore"):
        found = left.astype(np.float64) * right.astype(np.float64)
    size = np.abs(found)
    lost = ((size < SMALLEST) & (left != 0) & (right != 0)) | ~(size <= LARGEST)
    return None if lost.any() else held(found)


def sum_with(before: Array, scale: Array, shift: Array) -> Array | None:
    """before * scale + shift; None where it is not exact but for a relative rounding."""
    scaled = product(before, scale)
    if scaled is None:
        return None
    total = scaled.astype(np.float64) + shift.astype(np.float64)
    # A difference of close numbers keeps the roundings of both, which are then large in it.
    cancelled = np.abs(total) < CANCELLED * np.maximum(np.abs(scaled), np.abs(shift))
    return None if (cancelled & (before != 0) & (scale != 1)).any() else held(total)
