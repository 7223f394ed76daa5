"""HiResCAM: activations of a layer, every entry weighed by its own gradient.

map(x)[p] = sum over channels ch of d z_c / dA_ch[p] A_ch(x)[p], with A the activations [channels, height,
width] (Draelos and Carin, "Use HiResCAM instead of Grad-CAM", 2020). Where the layers behind A are dense and
ReLUs without biases the entries add up to z_c. As a derivative of z_c, a pixel goes along A at this pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from salver.explain.activation_map import Places, WeighedActivations
from salver.explain.explanation import METHODS, Array
from salver.nets.network import NetworkBuilder
from salver.nets.operators import Node


@METHODS.register
class HiResCam(WeighedActivations):
    """The activations of a layer, every entry weighed by its own derivative.

    It is often shown `rectified`, which the paper does not do.
    """

    paper = "Draelos and Carin, 2020"
    plain_title = "HiResCAM"

    method: Literal["hirescam"] = "hirescam"

    def weights(self, gradient: Array) -> Array:
        return gradient

    def weigh(self, builder: NetworkBuilder, gradient: str) -> str:
        return gradient

    def along(self, layer: Node, matrix: Array) -> Iterator[tuple[Places, Array]]:
        channels, pixels = layer.shape[0], math.prod(layer.shape[1:])
        for pixel in range(pixels):
            places = np.arange(channels) * pixels + pixel
            yield places, matrix[:, places]
