"""Class activation maps as graphs: X [n] -> Concat[logits [m], CAM_c [pixels]] (Gu et al., CORGI, 2020).

CAM_c(x)[p] = sum over channels ch of w[c, ch] A_ch(x)[p], with A the ReLU before global average pooling, or
another layer there that is named, and w the weights of the dense layer behind it.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import scipy

from salver.core.errors import SalverError
from salver.explain.activation_map import LayerMap, summed
from salver.explain.autograd import tensor_and_gradient
from salver.explain.explanation import METHODS, Array, Form
from salver.explain.layers import images, layer_of
from salver.nets.network import Network, NetworkBuilder, single
from salver.nets.operators import Abs, Concat, Conv, Linear, Node, Relu, Reshape

_HINT = "use a classifier that ends in ReLU - global average pooling - dense"


@METHODS.register
class Cam(LayerMap):
    """The activations that a global average pooling reads, weighed by the dense layer behind it."""

    form = Form.FORWARD
    paper = "Zhou et al., CVPR 2016"
    elsewhere = ("class activation map", "class activation mapping")
    title: ClassVar[str] = "class activation map"
    stem: ClassVar[str] = "cam"

    method: Literal["cam"] = "cam"

    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], CAM [height * width]].

        Raises:
            SalverError: the ending is not ReLU - global average pooling - dense, the layer is not what the
                pooling reads, or there is no such class.
        """
        dense, source = self._ending(classifier)
        combination = self.combination(classifier.output_size)
        rows = dense.weight[combination > 0] - dense.weight[combination < 0].sum(axis=0)
        pixels = math.prod(source.shape[1:])
        builder = NetworkBuilder(classifier, "cam")
        found = summed(builder, source.name, rows.reshape(-1, 1, 1))
        if self.absolute:
            found = builder.emit(Abs(), (found,), (pixels,))
        shape = (classifier.output_size + pixels,)
        return single(builder.built(builder.emit(Concat(), (classifier.output, found), shape)))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """Grad-CAM times the pixels: behind a global average pooling dz/dA is w over their number."""
        _, source = self._ending(classifier)
        combination = self.combination(classifier.output_size)
        activations, gradient = tensor_and_gradient(classifier, combination, source.name, x)
        return np.asarray(
            (gradient.sum(axis=(2, 3), keepdims=True) * activations).sum(axis=1).reshape(len(x), -1)
        )

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of what the pooling reads."""
        return self._ending(classifier)[1].shape[1:]

    def _ending(self, classifier: Network) -> tuple[Linear, Node]:
        """The dense layer at the end, and the layer that its global average pooling reads."""
        made_by = {node.name: node for node in classifier.nodes}
        dense = made_by[classifier.output]
        if not isinstance(dense.operator, Linear):
            raise SalverError("the last layer is not dense", "class activation map", _hint(classifier))
        pool = made_by.get(dense.inputs[0])
        while pool is not None and isinstance(pool.operator, Reshape):
            pool = made_by.get(pool.inputs[0])
        source = made_by.get(pool.inputs[0]) if pool is not None else None
        if pool is None or source is None or not _is_gap(pool, source):
            what = "no global average pooling before the dense layer"
            raise SalverError(what, "class activation map", _hint(classifier))
        return dense.operator, self._read(classifier, source)

    def _read(self, classifier: Network, source: Node) -> Node:
        """What the pooling reads, where that is a ReLU or the layer that was named."""
        if self.layer is None and not isinstance(source.operator, Relu):
            what = f"the global average pooling reads {source.name!r:.80}, which is no ReLU"
            raise SalverError(what, "class activation map", "name it as the layer if you mean it")
        if self.layer is not None and layer_of(classifier, self.layer) is not source:
            what = f"layer {self.layer!r:.80} is not what the global average pooling reads"
            hint = f"use {source.name!r:.80}, or the method grad-cam"
            raise SalverError(what, "class activation map", hint)
        return source


def _hint(classifier: Network) -> str:
    """Names Grad-CAM where the network allows it."""
    return f"{_HINT}, or the method grad-cam for another head" if images(classifier) else _HINT


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
