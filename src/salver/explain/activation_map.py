"""Maps of a layer's activations A [channels, height, width], weighed and summed over the channels.

The weights w are made of the gradient g = dz/dA with ReLU'(0) = 0. It is piecewise constant, so the map is in
one of three forms, and the first that there is is taken:

* where the layers behind A are linear, w is constant and the map is linear in A;
* where they are dense layers and ReLUs, a pixel may be the derivative of z along a direction that is linear
  in A. Carried forward it meets a linear operator as that operator and a ReLU as mask * value, the one
  product that a gradient has too. Every pixel needs its own, so only small maps have this form;
* else g is unrolled, and w A are products of a piecewise constant and a value.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy
from pydantic import Field, StrictInt

from salver.core.errors import SalverError
from salver.explain.autograd import tensor_and_gradient
from salver.explain.copies import part_behind
from salver.explain.explanation import Array, Explanation, Form
from salver.explain.layers import layer_of, number_of
from salver.explain.unroll import Unrolling
from salver.nets.network import Network, NetworkBuilder, single
from salver.nets.operators import (
    Abs,
    Adjoint,
    Concat,
    Conv,
    Linear,
    Mul,
    Node,
    Pick,
    Relu,
    Reshape,
    Scale,
    Shape,
    held,
)
from salver.nets.operators.linear import MatrixOperator

Places = npt.NDArray[np.intp]

MOST_GATES = 8192
"""Products mask * value of a map without other products: its pixels times the ReLUs behind the layer."""
MOST_WEIGHTS = 1 << 18
"""Weights of all directions, above which each reads its own entries of the layer alone."""


class LayerMap(Explanation):
    """A map with one entry a pixel of a layer.

    Attributes:
        layer: name of its tensor [channels, height, width], or its number among these; None for the last ReLU
            over an image that every path to the output passes. See `salver.explain.layers`.
    """

    layer: StrictInt | str | None = Field(
        default=None,
        exclude_if=lambda layer: layer is None,
        description="name or number of a tensor over an image; the last ReLU by default",
    )

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width of the layer."""
        return layer_of(classifier, self.layer).shape[1:]

    def as_stored(self, classifier: Network) -> Self:
        """With the layer as a number: a stored network has names of its own for its tensors."""
        if self.layer is None:
            return self
        return self.model_copy(update={"layer": number_of(classifier, self.layer)})

    @property
    def name(self) -> str:
        at = "" if self.layer is None else f" at layer {self.layer}"
        return f"{self.title}{at}"

    @property
    def short(self) -> str:
        return self.stem + ("" if self.layer is None else f"-l{self.layer}-")

    @property
    @abstractmethod
    def title(self) -> str:
        """The map without its layer, for readers."""

    @property
    @abstractmethod
    def stem(self) -> str:
        """The same in file names."""


class WeighedActivations(LayerMap):
    """A map whose weights are made of the gradient at the layer.

    Attributes:
        rectified: ReLU of the map in place of the map itself.
    """

    form = Form.PRODUCTS
    plain_title: ClassVar[str]
    """The map's name where it is not rectified."""

    rectified: bool = Field(default=False, description="ReLU of the map")

    @property
    def title(self) -> str:
        return f"rectified {self.plain_title}" if self.rectified else self.plain_title

    @property
    def stem(self) -> str:
        return self.method.replace("-", "") + "relu" * self.rectified

    @abstractmethod
    def weights(self, gradient: Array) -> Array:
        """w [..., channels, height, width] of gradients of that shape."""

    @abstractmethod
    def weigh(self, builder: NetworkBuilder, gradient: str) -> str:
        """The tensor w [channels, height, width] of a tensor that holds the gradient."""

    def along(self, layer: Node, matrix: Array) -> Iterator[tuple[Places, Array]] | None:
        """Directions along which the derivatives of z are the map, one a pixel; None where there are none.

        A direction is linear in A: entries of the flat A [r], and a matrix [k, r] over these entries.

        Args:
            matrix: [k, A's size], the first operator behind the layer; the matrix given is this times the
                direction.
        """
        return None

    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], map [height * width]].

        Raises:
            SalverError: no such layer or class, or an operator behind the layer without an unrolled gradient.
        """
        classifier = single(classifier)
        combination = self.combination(classifier.output_size)
        layer = layer_of(classifier, self.layer)
        pixels = math.prod(layer.shape[1:])
        head = dense_head(classifier, layer)
        relus = sum(math.prod(node.shape) for node in head if isinstance(node.operator, Relu))
        few = 0 < pixels * relus <= MOST_GATES
        directions = self.along(layer, _matrix(head[0], layer.shape).astype(np.float64)) if few else None
        if directions is not None:
            builder: NetworkBuilder = NetworkBuilder(classifier, "map")
            found = _derivatives(builder, layer, head, directions, combination)
        else:
            builder = Unrolling(classifier)
            found = self._by_gradient(builder, layer, builder.back_to(layer.name, combination))
        if self.rectified:
            found = builder.emit(Relu(), (found,), (pixels,))
        if self.absolute:
            found = builder.emit(Abs(), (found,), (pixels,))
        output = builder.emit(Concat(), (classifier.output, found), (classifier.output_size + pixels,))
        return single(part_behind(builder.built(output), output))

    def _by_gradient(self, builder: NetworkBuilder, layer: Node, gradient: Adjoint | None) -> str:
        if gradient is None:
            what = f"the output depends on layer {layer.name!r:.80} by signs alone"
            raise SalverError(what, self.title, "name a layer behind the last Sign")
        if isinstance(gradient, str):
            return summed(
                builder, builder.emit(Mul(), (self.weigh(builder, gradient), layer.name), layer.shape)
            )
        weights = self.weights(gradient.reshape(layer.shape))
        of_channel = weights[:, :1, :1]
        if (weights == of_channel).all():
            return summed(builder, layer.name, of_channel)
        scale = held(weights)
        return summed(builder, builder.emit(Scale(scale, np.zeros_like(scale)), (layer.name,), layer.shape))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation behind the layer."""
        layer = layer_of(classifier, self.layer)
        combination = self.combination(classifier.output_size)
        activations, gradient = tensor_and_gradient(classifier, combination, layer.name, x)
        found = (self.weights(gradient) * activations).sum(axis=1).reshape(len(x), -1)
        return np.asarray(np.maximum(found, 0.0) if self.rectified else found)


def dense_head(classifier: Network, layer: Node) -> tuple[Node, ...]:
    """What follows a layer, from the first linear operator to the last, without what only reshapes.

    Nothing where it is more than dense layers, ReLUs and a global pooling in a row.
    """
    before, head = layer.name, list[Node]()
    for node in classifier.nodes[classifier.nodes.index(layer) + 1 :]:
        if node.inputs != (before,):
            return ()
        before = node.name
        if not isinstance(node.operator, Reshape):
            head.append(node)
    for node in head[1:]:
        if not isinstance(node.operator, Linear | Relu):
            return ()
    pooled = head and isinstance(head[0].operator, Conv) and head[0].shape[1:] == (1, 1)
    ends = (
        pooled or (head and isinstance(head[0].operator, Linear)),
        head and isinstance(head[-1].operator, Linear),
    )
    return tuple(head) if all(ends) else ()


def _derivatives(
    builder: NetworkBuilder,
    layer: Node,
    head: tuple[Node, ...],
    directions: Iterator[tuple[Places, Array]],
    combination: Array,
) -> str:
    """Derivatives of a combination [m] of the logits along directions, one after the other."""
    size = math.prod(layer.shape)
    flat = builder.emit(Reshape(), (layer.name,), (size,))
    # Most verifiers know no Gather.
    few = math.prod(layer.shape[1:]) * size * math.prod(head[0].shape) <= MOST_WEIGHTS
    found = []
    for places, weight in directions:
        read, rows, matrix = flat, len(weight), weight
        if few:
            matrix = np.zeros((rows, size))
            matrix[:, places] = weight
        elif len(places) < size:
            read = builder.emit(Pick(places, size), (flat,), places.shape)
        start = builder.emit(Linear(held(matrix), np.zeros(rows, np.float32)), (read,), (rows,))
        found.append(_carried(builder, start, head[1:], combination))
    return builder.emit(Concat(), tuple(found), (len(found),))


def _carried(builder: NetworkBuilder, tangent: str, head: tuple[Node, ...], combination: Array) -> str:
    """The derivative [1] of a combination [m] of the logits, from that of the first operator of the head."""
    for node in head:
        if isinstance(node.operator, Relu):
            mask = builder.mask(node.inputs[0])
            tangent = builder.emit(Mul(), (mask, _shaped(builder, tangent, node.shape)), node.shape)
            tangent = _shaped(builder, tangent, (math.prod(node.shape),))
            continue
        weight = _matrix(node, builder.shapes[node.inputs[0]])
        if node is head[-1]:
            weight = weight[combination > 0] - weight[combination < 0].sum(axis=0)
        zero = np.zeros(len(weight), np.float32)
        tangent = builder.emit(Linear(weight, zero), (tangent,), (len(weight),))
    return tangent


def _shaped(builder: NetworkBuilder, tensor: str, shape: Shape) -> str:
    """The tensor in this shape: one of another shape would be copied along axes in a product."""
    return tensor if builder.shapes[tensor] == shape else builder.emit(Reshape(), (tensor,), shape)


def _matrix(node: Node, source: Shape) -> npt.NDArray[Any]:
    """Of a dense layer or a pooling [outputs, inputs]."""
    assert isinstance(node.operator, MatrixOperator), "a dense head"
    matrix, _ = node.operator.matrix_and_bias(source)
    return np.asarray(matrix.toarray() if scipy.sparse.issparse(matrix) else matrix)


def summed(builder: NetworkBuilder, image: str, weights: npt.ArrayLike = 1.0) -> str:
    """The sum over channels of an image, flat, each times a weight; `weights` [channels, 1, 1], or one."""
    channels, *size = builder.shapes[image]
    kernel = held(np.broadcast_to(weights, (channels, 1, 1))[None])
    total = builder.emit(Conv(kernel, np.zeros(1, np.float32)), (image,), (1, *size))
    return builder.emit(Reshape(), (total,), (math.prod(size),))
