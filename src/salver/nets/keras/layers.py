"""Single Keras layers as ONNX operators. Some are not piecewise linear: the reader of ONNX refuses them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from salver.nets.keras.emitter import Array, Config, Emitter, LayerError, Tensor, Weights
from salver.nets.operators import Shape

IGNORED = frozenset(
    "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise Identity SpatialDropout1D "
    "SpatialDropout2D".split()
)
"""Layers that do nothing once the model is trained."""
Adder = Callable[[Emitter, Config, Weights, list[Tensor]], Tensor]


def weight_names(kind: str, config: Config) -> list[str]:
    """Names of a layer's weights in the order in which Keras keeps them."""
    match kind:
        case "BatchNormalization":
            kept = [name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)]
            return [*kept, "moving_mean", "moving_variance"]
        case "Dense" | "Conv1D" | "Conv2D" | "DepthwiseConv2D":
            return ["kernel", "bias"] if config.get("use_bias", True) else ["kernel"]
        case "SeparableConv2D":
            names = ["depthwise_kernel", "pointwise_kernel"]
            return [*names, "bias"] if config.get("use_bias", True) else names
        case "PReLU":
            return ["alpha"]
        case "Normalization":
            return ["mean", "variance"] if config.get("mean") is None else []
    return []


def add_layer(emitter: Emitter, kind: str, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    """Appends one call of a layer.

    Raises:
        LayerError: the layer, one of its options or its weights are not supported.
    """
    refuse_precision(config)
    if kind not in ADDERS:
        raise LayerError(f"layer {kind:.40} is not supported by salver")
    if config.get("data_format", "channels_last") not in ("channels_last", None):
        raise LayerError(f"data_format {str(config['data_format'])[:40]} is not supported by salver")
    if len(inputs) != 1 and kind not in _MERGES and kind != "Concatenate":
        raise LayerError(f"{kind} of {len(inputs)} tensors")
    made = ADDERS[kind](emitter, config, weights, inputs)
    return made if kind == "Activation" else activated(emitter, made, config.get("activation"))


def refuse_precision(config: Config) -> None:
    """Raises: LayerError: the layer computes in another precision than float32, or with quantised weights."""
    policy = config.get("dtype") or "float32"
    inner = policy.get("config") if isinstance(policy, dict) else None
    name = inner.get("name") if isinstance(inner, dict) else policy
    if name != "float32" or config.get("quantization_config") or config.get("quantization_mode"):
        raise LayerError(f"the precision {str(name)[:40]} is not supported, only float32")
    if config.get("sparse") or config.get("ragged"):
        raise LayerError("a sparse or ragged input is not supported")


def activated(emitter: Emitter, tensor: Tensor, activation: Any) -> Tensor:
    """Appends an activation by its name in Keras. Raises: LayerError: it is not known."""
    if isinstance(activation, dict):
        activation = activation.get("config") if isinstance(activation.get("config"), str) else activation
    if activation in (None, "linear"):
        return tensor
    if activation in ("softmax", "log_softmax"):
        kind = "Softmax" if activation == "softmax" else "LogSoftmax"
        return emitter.apply(kind, emitter.plain(tensor), axis=-1)
    if activation == "relu6":
        return clipped(emitter, tensor, 0.0, 6.0)
    if activation == "leaky_relu":
        return _sloped(emitter, tensor, 0.2)
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise LayerError(f"activation {str(activation)[:40]} is not supported by salver")
    if activation == "relu" and emitter.made_by(tensor) == "Relu":
        return tensor
    return emitter.apply(_ACTIVATIONS[activation], tensor)


def clipped(emitter: Emitter, tensor: Tensor, low: float, high: float) -> Tensor:
    return emitter.apply("Clip", tensor, emitter.constant(low), emitter.constant(high))


def _array(weights: Weights, name: str, shape: Shape) -> Array:
    if name not in weights or weights[name].shape != shape:
        raise LayerError(f"no {name} of shape {shape}")
    return weights[name]


def _bias(weights: Weights, config: Config, size: int) -> Array:
    return _array(weights, "bias", (size,)) if config.get("use_bias", True) else np.zeros(size, np.float32)


def _sizes(config: Config, key: str, default: Any, rank: int) -> tuple[int, ...]:
    value = config.get(key, default)
    sizes = [value] * rank if isinstance(value, int) else list(value)
    if len(sizes) != rank or any(type(size) is not int or not 1 <= size <= 1024 for size in sizes):
        raise LayerError(f"{key} {str(value)[:40]}")
    return tuple(sizes)


def _whole(config: Config, key: str, default: int | None = None) -> int:
    value = config.get(key, default)
    if type(value) is not int or not 0 < value <= 2**24:
        raise LayerError(f"{key} {str(value)[:40]}")
    return value


def _windows(
    config: Config, shape: Shape, kernel: Shape, strides: Shape, dilations: Shape
) -> tuple[list[int], Shape]:
    """Pads, those before and then those behind, and the number of windows along each axis of an image."""
    padding = str(config.get("padding", "valid"))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    before, behind = [0] * len(kernel), [0] * len(kernel)
    if padding == "same":
        counts = [-(-size // stride) for size, stride in zip(shape, strides, strict=True)]
        for axis, count in enumerate(counts):
            total = max(0, (count - 1) * strides[axis] + reach[axis] - shape[axis])
            before[axis], behind[axis] = total // 2, total - total // 2
    elif padding == "causal" and len(kernel) == 1:
        before = [reach[0] - 1]
    elif padding != "valid":
        raise LayerError(f"padding {padding[:40]} is not supported by salver")
    padded = [s + a + b for s, a, b in zip(shape, before, behind, strict=True)]
    counts = [(s - r) // stride + 1 for s, r, stride in zip(padded, reach, strides, strict=True)]
    if min(counts) < 1 or any(s < r for s, r in zip(padded, reach, strict=True)):
        raise LayerError(f"windows of {reach} on an image of {shape}")
    return [*before, *behind], tuple(counts)


def _convolve(
    emitter: Emitter, config: Config, tensor: Tensor, kernel: Array, bias: Array, groups: int,
    plain: bool = False,
) -> Tensor:  # fmt: skip
    """Appends a convolution; `kernel` is [outputs, inputs of a group, ...]. `plain`: strides of one."""
    rank = kernel.ndim - 2
    strides = (1,) * rank if plain else _sizes(config, "strides", 1, rank)
    dilations = (1,) * rank if plain else _sizes(config, "dilation_rate", 1, rank)
    source = emitter.channels(tensor)
    pads, counts = _windows({} if plain else config, source.shape[:-1], kernel.shape[2:], strides, dilations)
    names = (emitter.constant(kernel), emitter.constant(bias))
    window = {"strides": strides, "dilations": dilations, "pads": pads, "kernel_shape": kernel.shape[2:]}
    return emitter.apply("Conv", source, *names, shape=(*counts, len(kernel)), group=groups, **window)


def _image(tensor: Tensor, rank: int, kind: str) -> Tensor:
    if len(tensor.shape) != rank + 1:
        raise LayerError(f"{kind} on a tensor of shape {tensor.shape}")
    return tensor


def _conv(rank: int) -> Adder:
    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        tensor = _image(inputs[0], rank, f"Conv{rank}D")
        channels, filters, groups = tensor.shape[-1], _whole(config, "filters"), _whole(config, "groups", 1)
        if channels % groups or filters % groups:
            raise LayerError("impossible groups")
        shape = (*_sizes(config, "kernel_size", None, rank), channels // groups, filters)
        kernel = np.moveaxis(_array(weights, "kernel", shape), (-1, -2), (0, 1))
        return _convolve(emitter, config, tensor, kernel, _bias(weights, config, filters), groups)

    return add


def _depthwise(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor = _image(inputs[0], 2, "DepthwiseConv2D")
    name = "kernel" if "kernel" in weights else "depthwise_kernel"
    kernel = _depthwise_kernel(config, weights, tensor, name)
    channels = tensor.shape[-1]
    return _convolve(emitter, config, tensor, kernel, _bias(weights, config, len(kernel)), channels)


def _depthwise_kernel(config: Config, weights: Weights, tensor: Tensor, name: str) -> Array:
    """Kernel [channels * multiplier, 1, height, width] of a convolution of each channel for itself."""
    multiplier, size = _whole(config, "depth_multiplier", 1), _sizes(config, "kernel_size", None, 2)
    stored = _array(weights, name, (*size, tensor.shape[-1], multiplier))
    return stored.transpose(2, 3, 0, 1).reshape(-1, 1, *size)


def _separable(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor, filters = _image(inputs[0], 2, "SeparableConv2D"), _whole(config, "filters")
    kernel = _depthwise_kernel(config, weights, tensor, "depthwise_kernel")
    none = np.zeros(len(kernel), np.float32)
    between = _convolve(emitter, config, tensor, kernel, none, tensor.shape[-1])
    pointwise = _array(weights, "pointwise_kernel", (1, 1, len(kernel), filters)).transpose(3, 2, 0, 1)
    return _convolve(emitter, config, between, pointwise, _bias(weights, config, filters), 1, plain=True)


def _dense(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor, units = inputs[0], _whole(config, "units")
    kernel = _array(weights, "kernel", (tensor.shape[-1], units))
    bias = _bias(weights, config, units)
    if tensor.order == "channels" and len(tensor.shape) == 3:
        return _convolve(emitter, {}, tensor, kernel.T[:, :, None, None], bias, 1, plain=True)
    if tensor.order == "flat":
        order = np.moveaxis(np.arange(tensor.shape[0]).reshape(tensor.image), -1, 0).ravel()
        tensor, kernel = Tensor(tensor.name, tensor.shape), kernel[order]
    shape = (*tensor.shape[:-1], units)
    if len(shape) == 1:
        return emitter.apply("Gemm", tensor, emitter.constant(kernel), emitter.constant(bias), shape=shape)
    product = emitter.apply("MatMul", emitter.plain(tensor), emitter.constant(kernel), shape=shape)
    return emitter.apply("Add", product, emitter.constant(bias))


def _normalised(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    axis = _own_axis(config.get("axis", -1), len(tensor.shape))
    size = (tensor.shape[axis],)
    variance, mean = (_array(weights, f"moving_{name}", size) for name in ("variance", "mean"))
    gamma = _array(weights, "gamma", size) if config.get("scale", True) else np.ones(size, np.float32)
    beta = _array(weights, "beta", size) if config.get("center", True) else np.zeros(size, np.float32)
    epsilon = float(config.get("epsilon", 1e-3))
    if not (variance + epsilon > 0).all():
        raise LayerError("BatchNormalization with an impossible variance")
    if axis == len(tensor.shape) - 1 and tensor.order != "keras":
        if tensor.order == "flat":
            order = np.moveaxis(np.arange(size[0]).reshape(tensor.image), -1, 0).ravel()
            gamma, beta, mean, variance = (part[order] for part in (gamma, beta, mean, variance))
        names = [emitter.constant(part) for part in (gamma, beta, mean, variance)]
        return emitter.apply("BatchNormalization", tensor, *names, epsilon=epsilon)
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    shift = beta - mean.astype(np.float64) * scale
    spread = tuple(part if place == axis else 1 for place, part in enumerate(tensor.shape))
    return _scaled(emitter, tensor, scale.reshape(spread), shift.reshape(spread))


def _own_axis(stated: Any, rank: int) -> int:
    """An axis behind the batch, as Keras counts them from the batch on."""
    axes = stated if isinstance(stated, list) else [stated]
    if len(axes) != 1 or type(axes[0]) is not int or not -rank <= axes[0] <= rank or axes[0] == 0:
        raise LayerError(f"axis {str(stated)[:40]} is not supported by salver")
    return axes[0] - 1 if axes[0] > 0 else rank + axes[0]


def _scaled(emitter: Emitter, tensor: Tensor, scale: Any, shift: Any) -> Tensor:
    """Appends scale * tensor + shift; both broadcast to the shape that Keras has."""
    source = emitter.plain(tensor) if tensor.order == "flat" else tensor
    parts = [np.asarray(part, np.float64) for part in (scale, shift)]
    if any(not np.isfinite(part).all() for part in parts):
        raise LayerError("a scaling that is not finite")
    if source.order == "channels":
        spread = [(1,) * (len(source.shape) - part.ndim) + part.shape for part in parts]
        parts = [np.moveaxis(part.reshape(s), -1, 0) for part, s in zip(parts, spread, strict=True)]
    product = emitter.apply("Mul", source, emitter.constant(parts[0]))
    return emitter.apply("Add", product, emitter.constant(parts[1]))


def _rescaled(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    return _scaled(emitter, inputs[0], _numbers(config, "scale"), _numbers(config, "offset", 0.0))


def _numbers(config: Config, key: str, default: Any = None) -> Any:
    value = config.get(key, default)
    if isinstance(value, dict):  # an array as Keras 3 writes it
        value = value.get("config", {}).get("value")
    return np.asarray(value, np.float64)


def _standardised(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor = inputs[0]
    last = (-1, [-1], len(tensor.shape), [len(tensor.shape)])
    if config.get("invert") or config.get("axis", -1) not in last:
        raise LayerError("Normalization over other axes than the last is not supported by salver")
    if config.get("mean") is None:
        mean, variance = (weights[name].astype(np.float64) for name in ("mean", "variance"))
    else:
        mean, variance = _numbers(config, "mean"), _numbers(config, "variance")
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    parts = (np.ravel(part) for part in (1 / deviation, -mean / deviation))
    return _scaled(emitter, tensor, *(part if part.size > 1 else part[0] for part in parts))


def _pool(kind: str, rank: int) -> Adder:
    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(_image(inputs[0], rank, f"{kind}{rank}D"))
        size = _sizes(config, "pool_size", 2, rank)
        strides = size if config.get("strides") is None else _sizes(config, "strides", 1, rank)
        pads, counts = _windows(config, source.shape[:-1], size, strides, (1,) * rank)
        window = {"kernel_shape": size, "strides": strides, "pads": pads}
        return emitter.apply(kind, source, shape=(*counts, source.shape[-1]), **window)

    return add


def _global_pool(kind: str, rank: int) -> Adder:
    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(_image(inputs[0], rank, kind))
        channels = source.shape[-1]
        pooled = emitter.apply(kind, source, shape=(*[1] * rank, channels))
        return pooled if config.get("keepdims") else Tensor(emitter.flattened(pooled).name, (channels,))

    return add


def _padded(rank: int) -> Adder:
    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(_image(inputs[0], rank, f"ZeroPadding{rank}D"))
        pairs = _pairs(config.get("padding", 1), rank)
        pads = [0, 0, *(p[0] for p in pairs), 0, 0, *(p[1] for p in pairs)]
        sizes = [size + sum(pair) for size, pair in zip(source.shape, pairs, strict=False)]
        names = (emitter.constant(pads, np.int64), emitter.constant(0.0))
        return emitter.apply("Pad", source, *names, shape=(*sizes, source.shape[-1]))

    return add


def _cropped(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    source = emitter.channels(_image(inputs[0], 2, "Cropping2D"))
    pairs = _pairs(config.get("cropping", 0), 2)
    ends = [size - pair[1] for size, pair in zip(source.shape, pairs, strict=False)]
    sizes = [end - pair[0] for end, pair in zip(ends, pairs, strict=True)]
    parts = [emitter.constant(values, np.int64) for values in ([p[0] for p in pairs], ends, [2, 3])]
    return emitter.apply("Slice", source, *parts, shape=(*sizes, source.shape[-1]))


def _pairs(value: Any, rank: int) -> list[tuple[int, int]]:
    values = [value] * rank if isinstance(value, int) else list(value)
    if rank == 1 and len(values) == 2:
        values = [values]
    pairs = [(part, part) if isinstance(part, int) else tuple(part) for part in values]
    if len(pairs) != rank or any(len(p) != 2 or not all(0 <= v <= 1024 for v in p) for p in pairs):
        raise LayerError(f"pads {str(value)[:40]}")
    return [(int(pair[0]), int(pair[1])) for pair in pairs]


def _upsampled(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    source = emitter.channels(_image(inputs[0], 2, "UpSampling2D"))
    if config.get("interpolation", "nearest") != "nearest":
        raise LayerError("UpSampling2D that is not nearest is not supported by salver")
    size = _sizes(config, "size", 2, 2)
    shape = (source.shape[0] * size[0], source.shape[1] * size[1], source.shape[2])
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return emitter.apply("Resize", source, "", emitter.constant([1, 1, *size]), shape=shape, **options)


def _flatten(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    return emitter.flattened(inputs[0])


def _reshape(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    size, target = math.prod(inputs[0].shape), list(config["target_shape"])
    if target.count(-1) == 1:
        target[target.index(-1)] = size // max(1, -math.prod(target))
    if math.prod(target) != size or any(type(part) is not int or part < 1 for part in target):
        raise LayerError(f"Reshape of {inputs[0].shape} to {str(config['target_shape'])[:60]}")
    return emitter.reshaped(inputs[0], tuple(target))


def _permute(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    source, order = emitter.plain(inputs[0]), list(config["dims"])
    if sorted(order) != list(range(1, len(source.shape) + 1)):
        raise LayerError(f"Permute by {str(order)[:40]}")
    shape = tuple(source.shape[axis - 1] for axis in order)
    return emitter.apply("Transpose", source, shape=shape, perm=[0, *order])


def _relu(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    slope, most = config.get("negative_slope") or 0.0, config.get("max_value")
    if config.get("threshold"):
        raise LayerError("ReLU with a threshold is not supported by salver")
    if most is not None and not slope:
        return clipped(emitter, inputs[0], 0.0, float(most))
    made = _sloped(emitter, inputs[0], float(slope)) if slope else emitter.apply("Relu", inputs[0])
    return made if most is None else emitter.apply("Min", made, emitter.constant(float(most)))


def _sloped(emitter: Emitter, tensor: Tensor, slope: float) -> Tensor:
    return emitter.apply("LeakyRelu", tensor, alpha=slope)


def _leaky(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    slope = config.get("negative_slope", config.get("alpha", 0.3))
    return _sloped(emitter, inputs[0], float(slope))


def _prelu(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    source, shared = emitter.plain(inputs[0]), config.get("shared_axes") or []
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(source.shape, 1))
    return emitter.apply("PRelu", source, emitter.constant(_array(weights, "alpha", shape)))


def _softmax(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    if config.get("axis", -1) not in (-1, len(inputs[0].shape)):
        raise LayerError(f"Softmax over axis {str(config['axis'])[:40]} is not supported by salver")
    return activated(emitter, inputs[0], "softmax")


def _activation(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    return activated(emitter, inputs[0], config.get("activation"))


def _merged(kind: str) -> Adder:
    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        parts = emitter.alike(inputs)
        shape = tuple(np.broadcast_shapes(*(part.shape for part in parts)))
        if len({len(part.shape) for part in parts}) > 1:
            raise LayerError("a merge of tensors of several ranks is not supported by salver")
        return emitter.apply(kind, parts[0], *(part.name for part in parts[1:]), shape=shape)

    return add


def _concatenated(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    rank = len(inputs[0].shape)
    axis = _own_axis(config.get("axis", -1), rank)
    parts = [emitter.plain(t) if t.order == "flat" else t for t in inputs]
    if any(part.order == "channels" for part in parts):
        parts = [emitter.channels(part) for part in parts]
    rests = {part.shape[:axis] + part.shape[axis + 1 :] for part in parts}
    if len(rests) > 1:
        raise LayerError(f"Concatenate of shapes {[part.shape for part in parts]}"[:120])
    total = sum(part.shape[axis] for part in parts)
    shape = (*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :])
    stored = axis + 1 if parts[0].order == "keras" else (1 if axis == rank - 1 else axis + 2)
    return emitter.apply("Concat", parts[0], *(part.name for part in parts[1:]), shape=shape, axis=stored)


_ACTIVATIONS = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu", "selu": "Selu", "gelu": "Gelu",
    "softplus": "Softplus", "softsign": "Softsign", "exponential": "Exp",
}  # fmt: skip
_MERGES = {
    "Add": "Add", "Average": "Mean", "Maximum": "Max", "Minimum": "Min", "Multiply": "Mul", "Subtract": "Sub",
}  # fmt: skip
ADDERS: dict[str, Adder] = {
    "Activation": _activation, "BatchNormalization": _normalised, "Concatenate": _concatenated,
    "Conv1D": _conv(1), "Conv2D": _conv(2), "Cropping2D": _cropped, "Dense": _dense,
    "DepthwiseConv2D": _depthwise, "Flatten": _flatten, "LeakyReLU": _leaky, "Normalization": _standardised,
    "PReLU": _prelu, "Permute": _permute, "ReLU": _relu, "Rescaling": _rescaled, "Reshape": _reshape,
    "SeparableConv2D": _separable, "Softmax": _softmax, "UpSampling2D": _upsampled,
    "AveragePooling1D": _pool("AveragePool", 1), "AveragePooling2D": _pool("AveragePool", 2),
    "MaxPooling1D": _pool("MaxPool", 1), "MaxPooling2D": _pool("MaxPool", 2),
    "GlobalAveragePooling1D": _global_pool("GlobalAveragePool", 1),
    "GlobalAveragePooling2D": _global_pool("GlobalAveragePool", 2),
    "GlobalMaxPooling1D": _global_pool("GlobalMaxPool", 1),
    "GlobalMaxPooling2D": _global_pool("GlobalMaxPool", 2),
    "ZeroPadding1D": _padded(1), "ZeroPadding2D": _padded(2),
    **{kind: _merged(operator) for kind, operator in _MERGES.items()},
}  # fmt: skip
