"""The operator that the recipe's test adds: one class in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from salver.nets.affine import Affine, add, apply
from salver.nets.operators.base import (
    Adjoint,
    Array,
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
class LeakyRelu(Operator):
    """x where x > 0, else slope * x; the derivative at 0 is the slope. 0 <= slope <= 1."""

    onnx = "LeakyRelu"
    torch = "LeakyReLU"
    kinked = True
    slope: float = 0.01

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return np.where(values[0] > 0, values[0], values[0] * self.slope)

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        ends = [np.where(end > 0, end, end * self.slope) for end in given[0]]
        return with_room(ends[0], ends[1], largest(*ends))

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        """slope * z + (1 - slope) * max(z, 0)."""
        z, positive = program.value(node.inputs[0]), program.relu(node.inputs[0], node.name)
        program.define(node.name, add(_times(self.slope, z), _times(1 - self.slope, positive), 1.0))

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        gated = gradient.gated(node.inputs[0], adjoint)
        gradient.accumulate(node.inputs[0], gradient.scaled(1 - self.slope, gated))
        gradient.accumulate(node.inputs[0], gradient.scaled(self.slope, adjoint))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        from torch.nn import functional

        return functional.leaky_relu(values[0], self.slope)

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        graph.node("LeakyRelu", inputs, output, alpha=self.slope)

    @classmethod
    def from_onnx(cls, attributes: Mapping[str, Any], constants: Sequence[Array], source: Shape) -> LeakyRelu:
        slope = float(attributes.get("alpha", np.float32(0.01)))
        if not 0 <= slope <= 1:
            raise ValueError(f"with alpha {slope:g}")
        return cls(slope)

    @classmethod
    def from_torch(cls, layer: Any) -> LeakyRelu:
        return cls(layer.negative_slope)


def _times(factor: float, value: Affine) -> Affine:
    return apply(factor * sparse.eye_array(value.size, format="csr"), value, 0.0)
