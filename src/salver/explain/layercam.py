"""LayerCAM: activations of a layer, every entry weighed by its own gradient where that is positive.

map(x)[p] = sum over channels ch of ReLU(d z_c / dA_ch[p]) A_ch(x)[p], with A the activations [channels,
height, width] (Jiang et al., "LayerCAM", IEEE TIP 2021, before the ReLU of the sum).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from salver.explain.activation_map import WeighedActivations
from salver.explain.explanation import METHODS, Array
from salver.nets.network import NetworkBuilder
from salver.nets.operators import Relu


@METHODS.register
class LayerCam(WeighedActivations):
    """The activations of a layer, every entry weighed by its own derivative where that is positive.

    The paper's is `rectified`, which changes nothing where the layer is a ReLU.
    """

    paper = "Jiang et al., IEEE TIP 2021"
    plain_title = "LayerCAM"

    method: Literal["layercam"] = "layercam"

    def weights(self, gradient: Array) -> Array:
        return np.maximum(gradient, 0.0)

    def weigh(self, builder: NetworkBuilder, gradient: str) -> str:
        return builder.emit(Relu(), (gradient,), builder.shapes[gradient])
