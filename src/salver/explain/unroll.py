"""The gradient network: a classifier and its input gradient unrolled into one feed-forward graph.

For a ReLU network f and a fixed combination c of its logits, E(x) = d(c . f(x)) / dx is computed by
walking f backwards: a linear operator becomes its adjoint and a ReLU becomes the gate
Relu(Sign(z)) * v with ReLU'(0) = 0, as in Le et al., "Towards Robust Saliency Maps" (ACML 2024), sec. 4.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.linear_maps import conv_matrix
from salver.nets.network import (
    Abs,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Linear,
    Mul,
    Network,
    Node,
    Relu,
    Reshape,
    Scale,
    Shape,
    Sign,
    Sub,
    free_prefix,
    held,
    single,
)

SaliencyMap = Literal["raw", "abs"]
_FORWARD = (Linear, Conv, Scale, Relu, Add, Sub, Reshape)
_Fixed = npt.NDArray[np.float64]


def logit_combination(logits: int, label: int, other: int | None = None) -> npt.NDArray[np.float64]:
    """Coefficients [logits] of z_label, or of z_label - z_other.

    Raises:
        SalverError: a class the network does not have, or twice the same.
    """
    for index in (label, *([] if other is None else [other])):
        if not 0 <= index < logits:
            raise SalverError(f"class {index} does not exist", "label", f"choose one of 0 ... {logits - 1}")
    if label == other:
        raise SalverError(f"class {label} minus itself has no gradient", "label", "choose two classes")
    coefficients = np.zeros(logits)
    coefficients[label] = 1.0
    if other is not None:
        coefficients[other] = -1.0
    return coefficients


def unroll(classifier: Network, coefficients: npt.NDArray[np.float64], kind: SaliencyMap = "raw") -> Network:
    """The network X [n] -> Concat[logits [m], saliency [n]].

    Args:
        classifier: feed-forward ReLU network with m outputs; its weights are rounded to binary32.
        coefficients: float64 [m]; the gradient is taken of their inner product with the logits.
        kind: `raw` gradient or its absolute values.

    Raises:
        SalverError: an operator without a known adjoint, no ReLU between input and output, or a weight that
            leaves the range of binary32.
    """
    classifier = single(classifier)
    for node in classifier.nodes:
        if not isinstance(node.operator, _FORWARD):
            what = f"operator {type(node.operator).__name__} has no unrolled gradient"
            raise SalverError(what, "network", "unroll needs a feed-forward ReLU classifier")
    builder = _Backward(classifier)
    builder.accumulate(classifier.output, coefficients)
    for node in reversed(classifier.nodes):
        builder.step(node)
    saliency = builder.take(classifier.input)
    if not isinstance(saliency, str):
        what = "its gradient does not depend on the input"
        raise SalverError(what, "network", "saliency queries need a ReLU between input and output")
    if kind == "abs":
        saliency = builder.emit(Abs(), (saliency,), (classifier.input_size,))
    shape = (classifier.output_size + classifier.input_size,)
    builder.emit(Concat(), (classifier.output, saliency), shape)
    nodes = tuple(builder.nodes)
    return single(Network(classifier.input, classifier.input_size, nodes, nodes[-1].name), "gradient network")


class _Backward:
    """Adjoints of the tensors met so far: a constant vector until the first gate, then a node's name."""

    def __init__(self, classifier: Network) -> None:
        self.nodes: list[Node] = list(classifier.nodes)
        self.shapes = classifier.shapes
        self.prefix = free_prefix(self.shapes, "grad")
        self.adjoints: dict[str, list[_Fixed | str]] = {}
        self.masks: dict[str, str] = {}

    def emit(self, operator: Any, inputs: tuple[str, ...], shape: Shape) -> str:
        name = f"{self.prefix}{len(self.nodes)}"
        self.nodes.append(Node(name, operator, inputs, shape))
        self.shapes[name] = shape
        return name

    def accumulate(self, tensor: str, adjoint: _Fixed | str | None) -> None:
        if adjoint is not None:
            self.adjoints.setdefault(tensor, []).append(adjoint)

    def take(self, tensor: str) -> _Fixed | str | None:
        """The sum of all adjoints of a tensor; the constant ones are added up first."""
        parts = self.adjoints.pop(tensor, [])
        fixed = [part for part in parts if not isinstance(part, str)]
        names = [part for part in parts if isinstance(part, str)]
        constant = np.sum(fixed, axis=0) if fixed else None
        if not names:
            return constant
        total = names[0]
        for name in names[1:]:
            total = self.emit(Add(), (total, name), self.shapes[tensor])
        if constant is not None and constant.any():
            shift = held(constant.reshape(self.shapes[tensor]))
            total = self.emit(Scale(np.ones(shift.shape, np.float32), shift), (total,), self.shapes[tensor])
        return total

    def step(self, node: Node) -> None:
        adjoint = self.take(node.name)
        if adjoint is None:
            return
        source = node.inputs[0]
        match node.operator:
            case Add():
                for name in node.inputs:
                    self.accumulate(name, adjoint)
            case Sub():
                self.accumulate(source, adjoint)
                self.accumulate(node.inputs[1], self._negated(adjoint, node.shape))
            case Relu():
                self.accumulate(source, self._gated(self._mask(source), adjoint, node.shape))
            case _ if isinstance(adjoint, str):
                self.accumulate(source, self._adjoint_node(node, adjoint, self.shapes[source]))
            case _:
                self.accumulate(source, _adjoint_value(node, adjoint, self.shapes[source]))

    def _mask(self, pre_activation: str) -> str:
        """Relu(Sign(z)) is 1[z > 0], also at z = 0; one mask serves every path through the ReLU."""
        if pre_activation not in self.masks:
            shape = self.shapes[pre_activation]
            sign = self.emit(Sign(), (pre_activation,), shape)
            self.masks[pre_activation] = self.emit(Relu(), (sign,), shape)
        return self.masks[pre_activation]

    def _gated(self, mask: str, adjoint: _Fixed | str, shape: Shape) -> str:
        if isinstance(adjoint, str):
            return self.emit(Mul(), (mask, adjoint), shape)
        scale = held(adjoint.reshape(shape))
        return self.emit(Scale(scale, np.zeros_like(scale)), (mask,), shape)

    def _negated(self, adjoint: _Fixed | str, shape: Shape) -> _Fixed | str:
        if not isinstance(adjoint, str):
            return -adjoint
        minus = np.full(shape, -1.0, np.float32)
        return self.emit(Scale(minus, np.zeros_like(minus)), (adjoint,), shape)

    def _adjoint_node(self, node: Node, adjoint: str, source: Shape) -> str:
        operator = node.operator
        match operator:
            case Linear():
                weight = held(np.ascontiguousarray(operator.weight.T))
                return self.emit(Linear(weight, np.zeros(len(weight), np.float32)), (adjoint,), source)
            case Conv():
                return self.emit(_transposed(operator, source, node.shape), (adjoint,), source)
            case Scale():
                return self.emit(replace(operator, shift=np.zeros_like(operator.shift)), (adjoint,), source)
            case Reshape():
                return self.emit(Reshape(), (adjoint,), source)
        raise AssertionError(operator)


def _transposed(operator: Conv, source: Shape, target: Shape) -> ConvTranspose:
    """Adjoint of a convolution. Rows the stride never reads would need ONNX's output_padding, which
    some solvers reject; zero rows at the end of the kernel say the same."""
    short = []
    for axis in (0, 1):
        reach = operator.dilations[axis] * (operator.weight.shape[2 + axis] - 1) + 1
        full = operator.strides[axis] * (target[1 + axis] - 1) + reach
        short.append(source[1 + axis] - (full - operator.pads[axis] - operator.pads[axis + 2]))
    if any(gap and operator.dilations[axis] > 1 for axis, gap in enumerate(short)):
        raise SalverError("Conv with dilation and a stride that leaves rows unread has no unrolled gradient")
    weight = held(np.pad(operator.weight, ((0, 0), (0, 0), (0, short[0]), (0, short[1]))))
    return ConvTranspose(weight, operator.strides, operator.pads, operator.dilations, operator.groups)


def _adjoint_value(node: Node, adjoint: _Fixed, source: Shape) -> _Fixed:
    """Adjoint of a linear operator applied to a constant vector, in float64."""
    operator, flat = node.operator, adjoint.ravel()
    match operator:
        case Linear():
            return np.asarray(operator.weight.astype(np.float64).T @ flat)
        case Conv():
            return np.asarray(conv_matrix(operator, source).T @ flat)
        case Scale():
            return np.asarray(operator.scale.ravel().astype(np.float64) * flat)
    if math.prod(source) != len(flat):
        raise AssertionError(operator)
    return flat
