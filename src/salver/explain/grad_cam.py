"""Grad-CAM: activations of a layer, every channel weighed by the mean of its gradient.

map(x)[p] = sum over channels ch of alpha_ch(x) A_ch(x)[p], with A the activations [channels, height, width]
and alpha_ch the mean over the pixels of d z_c / dA_ch (Selvaraju et al., "Grad-CAM", ICCV 2017, eq. 1 and 2).
As a derivative of z_c, a pixel goes along A_ch[p] spread evenly over channel ch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from salver.explain.activation_map import Places, WeighedActivations
from salver.explain.explanation import METHODS, Array
from salver.nets.network import NetworkBuilder
from salver.nets.operators import Conv, ConvTranspose, Node


@METHODS.register
class GradCam(WeighedActivations):
    """The activations of a layer, every channel weighed by its mean derivative.

    The paper's is `rectified`.
    """

    paper = "Selvaraju et al., ICCV 2017"
    plain_title = "Grad-CAM"
    elsewhere = ("LayerGradCam", "GCAM")

    method: Literal["grad-cam"] = "grad-cam"

    def weights(self, gradient: Array) -> Array:
        return np.broadcast_to(gradient.mean(axis=(-2, -1), keepdims=True), gradient.shape)

    def weigh(self, builder: NetworkBuilder, gradient: str) -> str:
        """The mean of every channel at all of its pixels."""
        channels, *image = shape = builder.shapes[gradient]
        ones = np.ones((channels, 1, *image), np.float32)
        mean = Conv(ones / np.float32(math.prod(image)), np.zeros(channels, np.float32), groups=channels)
        alpha = builder.emit(mean, (gradient,), (channels, 1, 1))
        return builder.emit(ConvTranspose(ones, groups=channels), (alpha,), shape)

    def along(self, layer: Node, matrix: Array) -> Iterator[tuple[Places, Array]]:
        channels, pixels = layer.shape[0], math.prod(layer.shape[1:])
        mean = matrix.reshape(len(matrix), channels, pixels).mean(axis=2)
        for pixel in range(pixels):
            columns = np.zeros((len(matrix), channels, pixels))
            columns[:, :, pixel] = mean
            yield np.arange(channels * pixels), columns.reshape(matrix.shape)
