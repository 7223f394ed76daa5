"""Grad-CAM of a network with a dense head as a graph: X [n] -> Concat[logits [m], map [height * width]].

map(x)[p] = sum over channels ch of alpha_ch(x) A_ch(x)[p], with A the last feature map (a ReLU of shape
[channels, height, width]) and alpha_ch the mean over its pixels of d z_c / dA_ch (Selvaraju et al.,
"Grad-CAM", ICCV 2017, eq. 1 and 2), ReLU'(0) = 0.

alpha is piecewise constant but depends on x, so alpha_ch A_ch[p] is a product of two functions of x, which no
solver takes. The same sum read the other way round is the directional derivative of z_c along A_ch[p] spread
evenly over channel ch. Carried forward through the head it meets a linear operator as that operator and a
ReLU as mask * value: the one product that a gradient network has too. All pixels share the masks.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.autograd import last_features, weighted_features
from salver.explain.explanation import METHODS, Array, Explanation, Form
from salver.nets.network import Network, NetworkBuilder, single
from salver.nets.operators import Abs, Concat, Conv, Linear, Mul, Node, Relu, Reshape, held

MOST_GATES = 8192
"""Products mask * value in one graph: pixels of the map times ReLUs of the head."""
_HINT = "use a classifier convolution - ReLU - flatten - dense - ReLU - dense"


@METHODS.register
class GradCam(Explanation):
    """Grad-CAM, one entry a pixel of the last feature map.

    Attributes:
        rectified: ReLU of the map, as in the paper, in place of the map itself.
    """

    form = Form.MASKS
    paper = "Selvaraju et al., ICCV 2017"

    method: Literal["grad-cam"] = "grad-cam"
    rectified: bool = Field(default=False, description="ReLU of the map, as in the paper")

    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], map [height * width]].

        Args:
            classifier: a feature map [channels, height, width] behind a ReLU, then only dense layers, ReLUs
                and at most one global average pooling in a row.

        Raises:
            SalverError: another ending, no such class, or more than `MOST_GATES` products.
        """
        combination = self.combination(classifier.output_size)
        features, head = split_at_features(classifier)
        channels, height, width = features.shape
        pixels = height * width
        gates = pixels * sum(math.prod(node.shape) for node in head if isinstance(node.operator, Relu))
        if gates > MOST_GATES:
            what = f"{pixels} pixels times the head's ReLUs are {gates} products, more than {MOST_GATES}"
            raise SalverError(what, "Grad-CAM", "use a smaller feature map or a narrower head")
        builder = NetworkBuilder(classifier, "gradcam")
        flat = builder.emit(Reshape(), (features.name,), (channels * pixels,))
        along = [_along(builder, features, head, flat, combination, pixel) for pixel in range(pixels)]
        cam = builder.emit(Concat(), tuple(along), (pixels,))
        if self.rectified:
            cam = builder.emit(Relu(), (cam,), (pixels,))
        if self.absolute:
            cam = builder.emit(Abs(), (cam,), (pixels,))
        output = builder.emit(Concat(), (classifier.output, cam), (classifier.output_size + pixels,))
        return single(builder.built(output))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation behind the feature map."""
        found = weighted_features(classifier, self.combination(classifier.output_size), x)
        return np.maximum(found, 0.0) if self.rectified else found

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of the last feature map."""
        return last_features(classifier).shape[1:]

    @property
    def name(self) -> str:
        return "rectified Grad-CAM" if self.rectified else "Grad-CAM"

    @property
    def short(self) -> str:
        return "gradcamrelu" if self.rectified else "gradcam"


def split_at_features(classifier: Network) -> tuple[Node, tuple[Node, ...]]:
    """The last ReLU with image shape, and the layers behind it from the first linear to the last.

    Raises:
        SalverError: there is none, or what follows is no plain chain of dense layers.
    """
    features = last_features(classifier)
    chain = classifier.nodes[classifier.nodes.index(features) + 1 :]
    before = features.name
    for node in chain:
        pooled = isinstance(node.operator, Conv) and node.shape[1:] == (1, 1)
        if node.inputs != (before,) or not (pooled or isinstance(node.operator, Linear | Relu | Reshape)):
            raise SalverError(f"{type(node.operator).__name__} in the head", "Grad-CAM", _HINT)
        before = node.name
    head = tuple(node for node in chain if not isinstance(node.operator, Reshape))
    ends = (head[0].operator, head[-1].operator) if head else (None, None)
    if (
        before != classifier.output
        or not isinstance(ends[0], Linear | Conv)
        or not isinstance(ends[1], Linear)
    ):
        raise SalverError("no dense layer at the end", "Grad-CAM", _HINT)
    return features, head


def _along(
    builder: NetworkBuilder, features: Node, head: tuple[Node, ...], flat: str, combination: Array, pixel: int
) -> str:
    """Derivative [1] of a combination [m] along A_ch[pixel] / pixels at all pixels of all ch, by masks."""
    tangent = flat
    for number, node in enumerate(head):
        if isinstance(node.operator, Relu):
            tangent = builder.emit(Mul(), (builder.mask(node.inputs[0]), tangent), node.shape)
            continue
        weight = _spread(node.operator, features, pixel) if number == 0 else _matrix(node)
        if number == len(head) - 1:
            weight = weight[combination > 0] - weight[combination < 0].sum(axis=0)
        zero = np.zeros(len(weight), np.float32)
        tangent = builder.emit(Linear(weight, zero), (tangent,), (len(weight),))
    return tangent


def _matrix(node: Node) -> Any:
    if not isinstance(node.operator, Linear):
        raise SalverError(f"{type(node.operator).__name__} in the head", "Grad-CAM", _HINT)
    return node.operator.weight


def _spread(operator: Any, features: Node, pixel: int) -> Any:
    """The first layer's weights averaged over the pixels of a channel, at column (channel, pixel)."""
    channels, height, width = features.shape
    pixels = height * width
    dense = (
        operator.weight.astype(np.float64)
        if isinstance(operator, Linear)
        else operator.matrix(features.shape).toarray()
    )
    mean = dense.reshape(len(dense), channels, pixels).mean(axis=2)
    columns = np.zeros((len(dense), channels, pixels))
    columns[:, :, pixel] = mean
    return held(columns.reshape(len(dense), -1))
