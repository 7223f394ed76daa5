"""The input gradient of a classifier: the plainest saliency map, and its value without unrolling."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from salver.explain.autograd import gradient_by_autograd
from salver.explain.explanation import METHODS, Explained, Explanation, Form
from salver.explain.unroll import unroll
from salver.nets.network import Network
from salver.nets.program import AbsBlock, FactorBlock, GateBlock, MaskBlock, ProductBlock, Program, ReluBlock

Array = npt.NDArray[np.float64]


@METHODS.register
class Gradient(Explanation):
    """E = d z / dx, with ReLU'(0) = 0."""

    form = Form.MASKS
    paper = "Simonyan et al., ICLR workshop 2014"
    elsewhere = ("Saliency", "saliency map", "vanilla", "vanilla gradient", "VG", "input gradient")
    name: ClassVar[str] = "gradient"
    short: ClassVar[str] = "g"

    method: Literal["gradient"] = "gradient"

    def graph(self, classifier: Network) -> Network:
        """See `unroll`."""
        kind: Literal["abs", "raw"] = "abs" if self.absolute else "raw"
        return unroll(classifier, self.combination(classifier.output_size), kind)

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation."""
        return gradient_by_autograd(classifier, self.combination(classifier.output_size), x)

    def values(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """By reverse accumulation."""
        logits, gradient = logits_and_gradient(explained.program, x, self.combination(explained.logits))
        return logits, np.abs(gradient) if self.absolute else gradient


def logits_and_gradient(classifier: Program, x: Array, coefficients: Array) -> tuple[Array, Array]:
    """Logits [batch, m] and d(coefficients . logits)/dx [batch, n] with ReLU'(0) = 0, in float64.

    Args:
        classifier: its masks and the factors of its products are piecewise constant, so nothing goes back
            through them.
        x: [batch, n].
        coefficients: [m], or [batch, m] for one combination per point.
    """
    logits, zs, values = classifier.evaluate(x)
    seed = np.broadcast_to(coefficients, logits.shape)
    adjoint: dict[int, Array] = {b: np.zeros_like(v) for b, v in values.items()}
    for source, matrix in classifier.output.terms.items():
        adjoint[source] += (matrix.T @ seed.T).T
    for number in reversed(range(len(classifier.blocks))):
        block = classifier.blocks[number]
        match block:
            case ReluBlock():
                gated = adjoint[number] * (zs[block.pre] > 0)
            case GateBlock():
                gated = adjoint[number] * values[block.mask]
            case AbsBlock():
                gated = adjoint[number] * np.sign(block.value.evaluate(values))
            case ProductBlock():
                gated = adjoint[number] * values[block.factor]
            case MaskBlock() | FactorBlock():
                continue
        for source, matrix in classifier.argument(block).terms.items():
            adjoint[source] += (matrix.T @ gated.T).T
    return logits, adjoint[-1]
