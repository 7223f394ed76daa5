"""Single Keras layers as operators of a network; shapes are channel, height, width throughout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.max_pool import max_pool_nodes
from salver.nets.network import Network
from salver.nets.operators import Conv, Linear, Node, Operator, Relu, Reshape, Scale, Shape
from salver.nets.operators.convolution import same_pads

Array = npt.NDArray[np.float32]
Config = Mapping[str, Any]
Weights = Mapping[str, Array]
MOST_ENTRIES = 2**24
_IGNORED = {"Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"}


class LayerError(Exception):
    """A layer that has no counterpart; the text says which and why in one clause."""


@dataclass
class Building:
    """A network under construction.

    Attributes:
        shape: of the last tensor; empty before the input is known.
        image: (channels, height, width) that a flattening has just rearranged, until a dense layer reads it.
        ended: a softmax has closed the network.
    """

    nodes: list[Node] = field(default_factory=list)
    input_shape: Shape = ()
    shape: Shape = ()
    image: Shape | None = None
    ended: bool = False

    def append(self, operator: Operator, shape: Shape | None = None) -> None:
        name, shape = f"n{len(self.nodes)}", shape or operator.output_shape(self.shape)
        if math.prod(shape) > MOST_ENTRIES or min(shape) < 1:
            raise LayerError(f"a tensor of shape {shape}")
        self.nodes.append(Node(name, operator, (self.last,), shape))
        self.shape = shape

    @property
    def last(self) -> str:
        return self.nodes[-1].name if self.nodes else "X"

    def network(self) -> Network:
        """Raises: LayerError: it has no layers, or does not end flat."""
        if not self.nodes or len(self.shape) != 1 or self.image is not None:
            raise LayerError("the last layer is not dense")
        return Network("X", math.prod(self.input_shape), tuple(self.nodes), self.last)


def add_layer(building: Building, kind: Any, config: Config, weights: Weights) -> None:
    """Appends one layer.

    Raises:
        LayerError: the layer, one of its options or its weights are not supported.
    """
    _refuse_precision(config)
    if not building.input_shape:
        _input(building, config)
    if kind == "InputLayer" or kind in _IGNORED:
        return
    if building.ended:
        raise LayerError("layers behind a softmax")
    adders = {
        "Conv2D": _conv,
        "Dense": _dense,
        "BatchNormalization": _normalise,
        "MaxPooling2D": _max_pool,
        "AveragePooling2D": _average_pool,
        "GlobalAveragePooling2D": _global_average,
        "Flatten": _flatten,
        "ReLU": _relu,
        "Activation": lambda *_: None,
    }
    if kind not in adders:
        raise LayerError(f"layer {str(kind)[:40]} is not supported")
    if config.get("data_format", "channels_last") != "channels_last":
        raise LayerError(f"data_format {str(config['data_format'])[:40]} is not supported")
    adders[kind](building, config, weights)
    _activate(building, config.get("activation", "linear"))


def _refuse_precision(config: Config) -> None:
    """Raises: LayerError: the layer computes in another precision than float32, or with quantised weights."""
    policy = config.get("dtype") or "float32"
    inner = policy.get("config") if isinstance(policy, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else policy
    if name != "float32" or config.get("quantization_config") or config.get("quantization_mode"):
        raise LayerError(f"the precision {str(name)[:40]} is not supported, only float32")
    if config.get("sparse") or config.get("ragged"):
        raise LayerError("a sparse or ragged input is not supported")


def _input(building: Building, config: Config) -> None:
    batch = config.get("batch_input_shape") or config.get("batch_shape")
    if not batch:
        raise LayerError("no input shape is given")
    sizes = tuple(batch[1:])
    if len(sizes) not in {1, 3} or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise LayerError(f"input shape {str(sizes)[:60]} is neither flat nor an image")
    building.input_shape = sizes if len(sizes) == 1 else (sizes[2], *sizes[:2])
    building.shape = building.input_shape
    if len(sizes) == 3:
        building.append(Reshape(), building.input_shape)


def _image_shape(building: Building, kind: str) -> Shape:
    if len(building.shape) != 3:
        raise LayerError(f"{kind} on a tensor that is no image")
    return building.shape


def _sizes(config: Config, key: str, default: Any) -> tuple[int, int]:
    value = config.get(key, default)
    pair = [value, value] if isinstance(value, int) else list(value)
    if len(pair) != 2 or any(not isinstance(size, int) or not 1 <= size <= 1024 for size in pair):
        raise LayerError(f"{key} {str(value)[:40]}")
    return pair[0], pair[1]


def _array(weights: Weights, name: str, shape: Shape) -> Array:
    if name not in weights or weights[name].shape != shape:
        raise LayerError(f"no {name} of shape {shape}")
    return weights[name]


def _conv(building: Building, config: Config, weights: Weights) -> None:
    channels, height, width = _image_shape(building, "Conv2D")
    filters, groups = config.get("filters"), config.get("groups", 1)
    if not isinstance(filters, int) or not isinstance(groups, int) or groups < 1 or channels % groups:
        raise LayerError("Conv2D with impossible filters or groups")
    kernel, strides = _sizes(config, "kernel_size", None), _sizes(config, "strides", 1)
    dilations = _sizes(config, "dilation_rate", 1)
    stored = _array(weights, "kernel", (*kernel, channels // groups, filters))
    bias = _array(weights, "bias", (filters,)) if config.get("use_bias", True) else np.zeros(filters)
    padding = str(config.get("padding", "valid"))
    if padding not in ("valid", "same"):
        raise LayerError(f"padding {padding[:40]} is not supported")
    same = same_pads((height, width), kernel, strides, dilations)
    pads = same if padding == "same" else (0, 0, 0, 0)
    weight = np.ascontiguousarray(stored.transpose(3, 2, 0, 1))
    operator = Conv(weight, bias.astype(np.float32), strides, pads, dilations, groups)
    building.append(operator)


def _dense(building: Building, config: Config, weights: Weights) -> None:
    if len(building.shape) != 1:
        raise LayerError("Dense on an image without Flatten or pooling before it")
    units = config.get("units")
    if not isinstance(units, int) or units < 1:
        raise LayerError("Dense without units")
    kernel = _array(weights, "kernel", (building.shape[0], units))
    if building.image is not None:
        channels, height, width = building.image
        kernel = kernel.reshape(height, width, channels, units).transpose(2, 0, 1, 3).reshape(-1, units)
        building.image = None
    bias = _array(weights, "bias", (units,)) if config.get("use_bias", True) else np.zeros(units)
    building.append(Linear(np.ascontiguousarray(kernel.T), bias.astype(np.float32)))


def _normalise(building: Building, config: Config, weights: Weights) -> None:
    if building.image is not None:
        raise LayerError("BatchNormalization between Flatten and Dense is not supported")
    axis = _own_axis(building.shape, config.get("axis", -1))
    features = (building.shape[axis],)
    variance = _array(weights, "moving_variance", features).astype(np.float64)
    gain = 1.0 / np.sqrt(variance + float(config.get("epsilon", 1e-3)))
    if config.get("scale", True):
        gain = gain * _array(weights, "gamma", features)
    shift = -_array(weights, "moving_mean", features).astype(np.float64) * gain
    if config.get("center", True):
        shift = shift + _array(weights, "beta", features)
    spread = tuple(size if place == axis else 1 for place, size in enumerate(building.shape))
    parts = [np.broadcast_to(part.reshape(spread), building.shape) for part in (gain, shift)]
    if not all(np.isfinite(part).all() for part in parts):
        raise LayerError("BatchNormalization with an impossible variance")
    building.append(Scale(parts[0].astype(np.float32), parts[1].astype(np.float32)))


def _own_axis(shape: Shape, stated: Any) -> int:
    """The axis of `shape` that Keras numbers `stated`, with its batch first and the channels last."""
    axes = stated if isinstance(stated, list) else [stated]
    order = {1: 1, 2: 2, 3: 0} if len(shape) == 3 else {1: 0}
    rank = len(shape) + 1
    if len(axes) != 1 or type(axes[0]) is not int or axes[0] % rank not in order or abs(axes[0]) > rank:
        raise LayerError(f"BatchNormalization over axis {str(stated)[:40]} is not supported")
    return order[axes[0] % rank]


def _pool_size(building: Building, config: Config, kind: str) -> tuple[int, int]:
    """Window of a pooling whose windows touch, do not overlap and are not padded."""
    _, height, width = _image_shape(building, kind)
    size = _sizes(config, "pool_size", 2)
    strides = _sizes(config, "strides", 1) if config.get("strides") is not None else size
    padded = config.get("padding", "valid") != "valid" and (height % size[0] or width % size[1])
    if strides != size or padded or size[0] > height or size[1] > width:
        raise LayerError(f"{kind} whose windows overlap or are padded is not supported")
    return size


def _max_pool(building: Building, config: Config, weights: Weights) -> None:
    size = _pool_size(building, config, "MaxPooling2D")
    if size == (1, 1):
        return
    nodes = max_pool_nodes(f"n{len(building.nodes)}_max", building.last, building.shape, size)
    building.nodes += nodes
    building.shape = nodes[-1].shape


def _average_pool(building: Building, config: Config, weights: Weights) -> None:
    _average(building, _pool_size(building, config, "AveragePooling2D"))


def _global_average(building: Building, config: Config, weights: Weights) -> None:
    channels, height, width = _image_shape(building, "GlobalAveragePooling2D")
    _average(building, (height, width))
    building.append(Reshape(), (channels,))


def _average(building: Building, size: tuple[int, int]) -> None:
    channels = building.shape[0]
    weight = np.full((channels, 1, *size), 1.0 / math.prod(size), np.float32)
    building.append(Conv(weight, np.zeros(channels, np.float32), size, groups=channels))


def _flatten(building: Building, config: Config, weights: Weights) -> None:
    if len(building.shape) == 3:
        building.image = building.shape
        building.append(Reshape(), (math.prod(building.shape),))


def _relu(building: Building, config: Config, weights: Weights) -> None:
    if config.get("max_value") is not None or config.get("negative_slope") or config.get("threshold"):
        raise LayerError("ReLU with max_value, negative_slope or threshold is not supported")
    _activate(building, "relu")


def _activate(building: Building, activation: Any) -> None:
    if activation == "linear" or activation is None:
        return
    if activation == "relu":
        repeated = building.nodes and isinstance(building.nodes[-1].operator, Relu)
        if not repeated:
            building.append(Relu())
    elif activation == "softmax" and len(building.shape) == 1:
        building.ended = True
    else:
        raise LayerError(f"activation {str(activation)[:40]} is not supported")
