"""Guided backpropagation: the gradient, where signals are rectified on their way back through every ReLU.

A signal passes where the ReLU's argument and the signal itself are positive, so the graph is
`Mul(mask, Relu(signal))` at every activation (Springenberg et al., "Striving for Simplicity", ICLR workshop
2015, sec. 3.4). Poolings, leaky ReLUs and clips are no ReLUs: they pass the derivative.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from salver.explain.autograd import rectified_by_autograd
from salver.explain.explanation import METHODS, Array, Explanation, Form
from salver.explain.unroll import Unrolling, unroll
from salver.nets.activations import activations
from salver.nets.network import Network
from salver.nets.operators import Adjoint, Node, Relu


class GuidedUnrolling(Unrolling):
    """Signals are rectified at activations, and pass where the argument is positive."""

    def __init__(self, classifier: Network) -> None:
        super().__init__(classifier)
        self.activations = activations(classifier)

    def through_relu(self, node: Node, adjoint: Adjoint) -> Adjoint:
        if node.name in self.activations:
            return self.past_activation(node, self.rectified(adjoint))
        return super().through_relu(node, adjoint)

    def past_activation(self, node: Node, signal: Adjoint) -> Adjoint:
        """What of a rectified signal passes an activation."""
        return self.gated(node.inputs[0], signal)

    def rectified(self, adjoint: Adjoint) -> Adjoint:
        """max(signal, 0)."""
        if isinstance(adjoint, str):
            return self.emit(Relu(), (adjoint,), self.shapes[adjoint])
        return np.maximum(adjoint, 0.0)


class RectifiedSignals(Explanation):
    """A map whose backward signals are rectified at activations.

    Attributes:
        walk: how they pass one in the graph; masked: whether as a derivative does, besides.
    """

    form = Form.MASKS
    walk: ClassVar[type[GuidedUnrolling]]
    masked: ClassVar[bool]

    def graph(self, classifier: Network) -> Network:
        """See `unroll`. Raises: SalverError: also as `activations`."""
        combination = self.combination(classifier.output_size)
        return unroll(classifier, combination, "abs" if self.absolute else "raw", self.walk)

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation with another rule for ReLUs."""
        combination = self.combination(classifier.output_size)
        return rectified_by_autograd(classifier, combination, x, masked=self.masked)


@METHODS.register
class GuidedBackprop(RectifiedSignals):
    """Guided backpropagation, with 0 passed at an argument of 0."""

    paper = "Springenberg et al., ICLR workshop 2015"
    elsewhere = ("GBP", "guided backpropagation", "guided ReLU")
    walk = GuidedUnrolling
    masked = True
    name: ClassVar[str] = "guided backpropagation"
    short: ClassVar[str] = "guided"

    method: Literal["guided-backprop"] = "guided-backprop"
