"""The gradient network: a classifier and its input gradient unrolled into one feed-forward graph.

For a ReLU network f and a fixed combination c of its logits, E(x) = d(c . f(x)) / dx is computed by
walking f backwards: a linear operator becomes its adjoint and a ReLU becomes the gate
Relu(Sign(z)) * v with ReLU'(0) = 0, as in Le et al., "Towards Robust Saliency Maps" (ACML 2024), sec. 4.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.network import Network, NetworkBuilder, single
from salver.nets.operators import Abs, Add, Adjoint, Concat, Mul, Node, Scale, Sign, held

SaliencyMap = Literal["raw", "abs"]


def logit_combination(logits: int, label: int, other: int | None = None) -> npt.NDArray[np.float64]:
    """Coefficients [logits] of z_label, or of z_label - z_other.

    Raises:
        SalverError: a class the network does not have, or twice the same.
    """
    for name, index in (("label", label), *([] if other is None else [("minus", other)])):
        if not 0 <= index < logits:
            raise SalverError(f"class {index} does not exist", name, f"choose one of 0 ... {logits - 1}")
    if label == other:
        raise SalverError(f"class {label} minus itself has no gradient", "minus", "choose another class")
    coefficients = np.zeros(logits)
    coefficients[label] = 1.0
    if other is not None:
        coefficients[other] = -1.0
    return coefficients


def unroll(
    classifier: Network,
    coefficients: npt.NDArray[np.float64],
    kind: SaliencyMap = "raw",
    walk: type[Unrolling] | None = None,
) -> Network:
    """The network X [n] -> Concat[logits [m], saliency [n]].

    Args:
        classifier: feed-forward piecewise linear network with m outputs; its weights are rounded to binary32.
        coefficients: float64 [m]; the gradient is taken of their inner product with the logits.
        kind: `raw` gradient or its absolute values.
        walk: how signals pass a ReLU; None for the gradient.

    Raises:
        SalverError: an operator without a known adjoint, no ReLU between input and output, or a weight that
            leaves the range of binary32.
    """
    classifier = single(classifier)
    builder = (walk or Unrolling)(classifier)
    saliency = builder.arrived(builder.back_to(classifier.input, coefficients))
    if kind == "abs":
        saliency = builder.emit(Abs(), (saliency,), (classifier.input_size,))
    shape = (classifier.output_size + classifier.input_size,)
    output = builder.emit(Concat(), (classifier.output, saliency), shape)
    return single(builder.built(output), "gradient network")


class Unrolling(NetworkBuilder):
    """Adjoints of the tensors met so far: a constant vector until the first gate, then a node's name."""

    def __init__(self, classifier: Network) -> None:
        super().__init__(classifier, "grad")
        self.adjoints: dict[str, list[Adjoint]] = {}
        self.steps: set[str] = set()
        for node in classifier.nodes:
            if isinstance(node.operator, Sign) or self.steps.issuperset(node.inputs):
                self.steps.add(node.name)

    def back_to(self, tensor: str, coefficients: npt.NDArray[np.float64]) -> Adjoint | None:
        """What arrives at a tensor of the network from its output.

        Args:
            coefficients: float64 [m], what leaves the output.

        Returns:
            A constant, flat; the name of the tensor that holds it; or None where the output depends on the
            tensor by signs alone.

        Raises:
            SalverError: an operator without a known adjoint.
        """
        behind = {tensor}
        for node in self.network.nodes:
            if not behind.isdisjoint(node.inputs):
                behind.add(node.name)
        self.accumulate(self.network.output, coefficients)
        for node in reversed(self.network.nodes):
            if node.name == tensor:
                break
            if node.name in self.steps or node.name not in behind:
                continue
            adjoint = self.take(node.name)
            if adjoint is not None:
                node.operator.backward(self, node, adjoint)
        return self.take(tensor)

    def accumulate(self, tensor: str, adjoint: Adjoint) -> None:
        self.adjoints.setdefault(tensor, []).append(adjoint)

    def take(self, tensor: str) -> Adjoint | None:
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

    def arrived(self, adjoint: Adjoint | None) -> str:
        """The tensor of what has arrived at the input. Raises: SalverError: it is constant."""
        if isinstance(adjoint, str):
            return adjoint
        what = "its gradient does not depend on the input"
        raise SalverError(what, "network", "saliency queries need a ReLU between input and output")

    def through_relu(self, node: Node, adjoint: Adjoint) -> Adjoint:
        return self.gated(node.inputs[0], adjoint)

    def gated(self, pre_activation: str, adjoint: Adjoint) -> Adjoint:
        return self.times(self.mask(pre_activation), adjoint)

    def times(self, factor: str, adjoint: Adjoint) -> Adjoint:
        shape = self.shapes[factor]
        if isinstance(adjoint, str):
            return self.emit(Mul(), (factor, adjoint), shape)
        scale = held(adjoint.reshape(shape))
        return self.emit(Scale(scale, np.zeros_like(scale)), (factor,), shape)

    def scaled(self, factor: float, adjoint: Adjoint) -> Adjoint:
        if not isinstance(adjoint, str):
            return factor * adjoint
        shape = self.shapes[adjoint]
        scale = held(np.full(shape, factor))
        return self.emit(Scale(scale, np.zeros_like(scale)), (adjoint,), shape)
