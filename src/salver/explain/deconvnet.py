"""The deconvolutional network: signals are rectified on their way back through a ReLU, whatever its argument.

So the map depends on the input at poolings and other operators alone (Zeiler and Fergus, "Visualizing and
Understanding Convolutional Networks", ECCV 2014, sec. 2.1); of a network that has none it is a constant of
the class, and the graph says so.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from salver.explain.autograd import rectified_by_autograd
from salver.explain.explanation import METHODS, Array, Explanation, Form
from salver.explain.guided_backprop import GuidedUnrolling
from salver.explain.unroll import unroll
from salver.nets.network import Network
from salver.nets.operators import Adjoint, Node, Scale, held


@METHODS.register
class Deconvnet(Explanation):
    """What a deconvolutional network projects back from the logits."""

    form = Form.MASKS
    paper = "Zeiler and Fergus, ECCV 2014"
    elsewhere = ("Deconvolution",)

    method: Literal["deconvnet"] = "deconvnet"

    def graph(self, classifier: Network) -> Network:
        """See `unroll`. Raises: SalverError: also as `activations`."""
        combination = self.combination(classifier.output_size)
        return unroll(classifier, combination, "abs" if self.absolute else "raw", _DeconvnetUnrolling)

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation with another rule for ReLUs."""
        combination = self.combination(classifier.output_size)
        return rectified_by_autograd(classifier, combination, x, masked=False)

    @property
    def name(self) -> str:
        return "deconvolutional network map"

    @property
    def short(self) -> str:
        return "deconv"


class _DeconvnetUnrolling(GuidedUnrolling):
    def past_activation(self, node: Node, signal: Adjoint) -> Adjoint:
        return signal

    def arrived(self, adjoint: Adjoint | None) -> str:
        if not isinstance(adjoint, np.ndarray):
            return super().arrived(adjoint)
        source = self.network.input
        shift = held(adjoint.ravel())
        return self.emit(Scale(np.zeros(shift.shape, np.float32), shift), (source,), self.shapes[source])
