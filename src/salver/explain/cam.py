"""Class activation maps as graphs: X [n] -> Concat[logits [m], CAM_c [pixels]] (Gu et al., CORGI, 2020).

CAM_c(x)[p] = sum over channels ch of w[c, ch] A_ch(x)[p], with A the last ReLU before global average
pooling and w the weights of the dense layer behind it.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse

from salver.core.errors import SalverError
from salver.explain.autograd import last_features, weighted_features
from salver.explain.explanation import METHODS, Array, Explanation, Form
from salver.explain.grad_cam import split_at_features
from salver.nets.network import Network, free_prefix, single
from salver.nets.operators import Abs, Concat, Conv, Linear, Node, Relu, Reshape

_HINT = "use a classifier that ends in ReLU - global average pooling - dense"


@METHODS.register
class Cam(Explanation):
    """The class activation map, one entry a pixel of the last feature map."""

    form = Form.FORWARD
    paper = "Zhou et al., CVPR 2016"

    method: Literal["cam"] = "cam"

    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], CAM [height * width]].

        Raises:
            SalverError: the ending is not ReLU - global average pooling - dense, or there is no such class.
        """
        dense, source = _ending(classifier)
        combination = self.combination(classifier.output_size)
        rows = dense.weight[combination > 0] - dense.weight[combination < 0].sum(axis=0)
        channels, height, width = source.shape
        pixels = height * width
        prefix = free_prefix(classifier.shapes, "cam_")
        cam, flat, size, output = (f"{prefix}{part}" for part in ("map", "flat", "abs", "output"))
        convolution = Conv(rows.reshape(1, channels, 1, 1), np.zeros(1, np.float32))
        added = [
            Node(cam, convolution, (source.name,), (1, height, width)),
            Node(flat, Reshape(), (cam,), (pixels,)),
        ]
        if self.absolute:
            added.append(Node(size, Abs(), (flat,), (pixels,)))
        shape = (classifier.output_size + pixels,)
        added.append(Node(output, Concat(), (classifier.output, added[-1].name), shape))
        return single(Network(classifier.input, classifier.input_size, (*classifier.nodes, *added), output))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """Grad-CAM times the pixels: behind a global average pooling dz/dA is w over their number."""
        mean = weighted_features(classifier, self.combination(classifier.output_size), x)
        return np.asarray(mean * mean.shape[1])

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of the last feature map."""
        return last_features(classifier).shape[1:]

    @property
    def name(self) -> str:
        return "class activation map"

    @property
    def short(self) -> str:
        return "cam"


def _ending(classifier: Network) -> tuple[Linear, Node]:
    """The dense layer at the end, and the ReLU in front of its global average pooling."""
    made_by = {node.name: node for node in classifier.nodes}
    dense = made_by[classifier.output]
    if not isinstance(dense.operator, Linear):
        raise SalverError("the last layer is not dense", "class activation map", _hint(classifier))
    pool = made_by.get(dense.inputs[0])
    while pool is not None and isinstance(pool.operator, Reshape):
        pool = made_by.get(pool.inputs[0])
    source = made_by.get(pool.inputs[0]) if pool is not None else None
    if pool is None or source is None or not isinstance(source.operator, Relu) or not _is_gap(pool, source):
        what = "no global average pooling before the dense layer"
        raise SalverError(what, "class activation map", _hint(classifier))
    return dense.operator, source


def _hint(classifier: Network) -> str:
    """Names Grad-CAM where the network allows it."""
    try:
        split_at_features(classifier)
    except SalverError:
        return _HINT
    return f'{_HINT}, or map = "grad-cam" for this dense head'


def _is_gap(pool: Node, source: Node) -> bool:
    """Whether `pool` averages every channel of the image that `source` gives, with groups or without."""
    operator = pool.operator
    if not isinstance(operator, Conv) or len(source.shape) != 3 or operator.bias.any():
        return False
    channels, *image = source.shape
    if pool.shape != (channels, 1, 1):
        return False
    share = 1.0 / math.prod(image)
    averaging = scipy.sparse.kron(scipy.sparse.identity(channels), np.full((1, math.prod(image)), share))
    return bool(abs(operator.matrix(source.shape) - averaging).max() <= 1e-5 * share)
