"""One small ONNX classifier of every kind of network, for trying verifiers of others.

The weights are drawn, not trained: a trial asks whether a tool takes the graph, so the accuracy is of no
matter. Every network takes flattened images [N, n] of any N, as the data sets give them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 13, 8
FILTERS = 3

ImageShape = tuple[int, int, int]


class _Layers:
    """Nodes in a chain; `shape` is that of the last tensor without its batch."""

    def __init__(self, image: ImageShape, seed: int) -> None:
        self.image = image
        self.shape: tuple[int, ...] = (math.prod(image),)
        self.last = "image"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def drawn(self, *shape: int, fan_in: int) -> str:
        return self.constant((self.random.normal(size=shape) * math.sqrt(2 / fan_in)).astype(np.float32))

    def add(self, kind: str, *operands: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> str:
        name = f"h{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.last, *operands], [name], **attributes))
        self.last, self.shape = name, shape or self.shape
        return name

    def dense(self, width: int) -> None:
        if len(self.shape) > 1:
            self.add("Flatten", axis=1, shape=(math.prod(self.shape),))
        before = self.shape[0]
        operands = (self.drawn(width, before, fan_in=before), self.drawn(width, fan_in=width))
        self.add("Gemm", *operands, transB=1, shape=(width,))

    def conv(self, stride: int = 1) -> None:
        """`FILTERS` filters as wide as 3, which keep height and width but for the stride."""
        if len(self.shape) == 1:
            target = self.constant(np.array([-1, *self.image], np.int64))
            self.add("Reshape", target, shape=self.image)
        channels, height, width = self.shape
        kernel = tuple(3 if side >= 3 else 1 for side in (height, width))
        strides = (min(stride, height), min(stride, width))
        pads = [side // 2 for side in kernel] * 2
        fan_in = channels * math.prod(kernel)
        operands = (self.drawn(FILTERS, channels, *kernel, fan_in=fan_in), self.drawn(FILTERS, fan_in=8))
        shape = (FILTERS, -(-height // strides[0]), -(-width // strides[1]))
        self.add("Conv", *operands, kernel_shape=kernel, pads=pads, strides=strides, shape=shape)

    def normalized(self) -> None:
        channels = self.shape[0]
        statistics = (self.random.uniform(0.5, 1.5, channels), *self.random.normal(size=(2, channels)) * 0.2)
        variance = self.random.uniform(0.5, 1.5, channels)
        operands = [self.constant(value.astype(np.float32)) for value in (*statistics, variance)]
        self.add("BatchNormalization", *operands)

    def relu(self) -> None:
        self.add("Relu")

    def max_pool(self) -> None:
        channels, height, width = self.shape
        window = (min(2, height), min(2, width))
        shape = (channels, height // window[0], width // window[1])
        self.add("MaxPool", kernel_shape=window, strides=window, shape=shape)

    def plus(self, earlier: str) -> None:
        self.add("Add", earlier)


def _dense(layers: _Layers) -> None:
    for _ in range(2):
        layers.dense(6)
        layers.relu()


def _convolutional(layers: _Layers) -> None:
    for _ in range(2):
        layers.conv(stride=2)
        layers.relu()


def _convolutional_dense(layers: _Layers) -> None:
    layers.conv(stride=2)
    layers.relu()
    layers.dense(6)
    layers.relu()


def _averaged(layers: _Layers) -> None:
    layers.conv(stride=2)
    layers.relu()
    layers.add("GlobalAveragePool", shape=(FILTERS, 1, 1))


def _max_pooled(layers: _Layers) -> None:
    layers.conv(stride=2)
    layers.relu()
    layers.max_pool()


def _residual(layers: _Layers) -> None:
    layers.conv(stride=2)
    layers.relu()
    skipped = layers.last
    layers.conv()
    layers.plus(skipped)
    layers.relu()


def _normalized(layers: _Layers) -> None:
    layers.conv(stride=2)
    layers.normalized()
    layers.relu()


KINDS: dict[str, Callable[[_Layers], None]] = {
    "dense": _dense,
    "convolutional": _convolutional,
    "conv-dense": _convolutional_dense,
    "average-pooled": _averaged,
    "max-pooled": _max_pooled,
    "residual": _residual,
    "batch-norm": _normalized,
}


def classifier_of(kind: str, image: ImageShape, classes: int, seed: int = 0) -> onnx.ModelProto:
    """The classifier of a kind, from flattened images [N, n] to logits, with weights of the seed."""
    layers = _Layers(image, seed)
    KINDS[kind](layers)
    layers.dense(classes)
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("image", math.prod(image)), (layers.last, classes))
    )
    graph = helper.make_graph(layers.nodes, kind, [x], [y], layers.weights)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="salver")
