"""The deconvolutional network: signals are rectified on their way back through a ReLU, whatever its argument.

So the map depends on the input at poolings and other operators alone (Zeiler and Fergus, "Visualizing and
Understanding Convolutional Networks", ECCV 2014, sec. 2.1); of a network that has none it is a constant of
the class, and the graph says so.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from salver.explain.explanation import METHODS
from salver.explain.guided_backprop import GuidedUnrolling, RectifiedSignals
from salver.nets.operators import Adjoint, Node, Scale, held


class _DeconvnetUnrolling(GuidedUnrolling):
    def past_activation(self, node: Node, signal: Adjoint) -> Adjoint:
        return signal

    def arrived(self, adjoint: Adjoint | None) -> str:
        if not isinstance(adjoint, np.ndarray):
            return super().arrived(adjoint)
        source = self.network.input
        shift = held(adjoint.ravel())
        return self.emit(Scale(np.zeros(shift.shape, np.float32), shift), (source,), self.shapes[source])


@METHODS.register
class Deconvnet(RectifiedSignals):
    """What a deconvolutional network projects back from the logits."""

    paper = "Zeiler and Fergus, ECCV 2014"
    elsewhere = ("Deconvolution",)
    walk = _DeconvnetUnrolling
    masked = False
    name: ClassVar[str] = "deconvolutional network map"
    short: ClassVar[str] = "deconv"

    method: Literal["deconvnet"] = "deconvnet"
