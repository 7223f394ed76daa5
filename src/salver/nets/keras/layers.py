"""Single Keras layers as ONNX operators. Some are not piecewise linear: the reader of ONNX refuses them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from salver.nets.keras.emitter import Config, Emitter, LayerError, Tensor, Weights
from salver.nets.keras.windows import (
    Adder,
    array,
    bias_of,
    conv,
    convolve,
    cropped,
    depthwise,
    global_pool,
    padded,
    pool,
    separable,
    upsampled,
    whole,
)

IGNORED = frozenset(
    "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise Identity SpatialDropout1D "
    "SpatialDropout2D".split()
)
"""Layers that do nothing once the model is trained."""


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
    """Appends a Clip between two numbers."""
    return emitter.apply("Clip", tensor, emitter.constant(low), emitter.constant(high))


def _dense(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    tensor, units = inputs[0], whole(config, "units")
    kernel = array(weights, "kernel", (tensor.shape[-1], units))
    bias = bias_of(weights, config, units)
    if tensor.order == "channels" and len(tensor.shape) == 3:
        return convolve(emitter, {}, tensor, kernel.T[:, :, None, None], bias, 1, plain=True)
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
    variance, mean = (array(weights, f"moving_{name}", size) for name in ("variance", "mean"))
    gamma = array(weights, "gamma", size) if config.get("scale", True) else np.ones(size, np.float32)
    beta = array(weights, "beta", size) if config.get("center", True) else np.zeros(size, np.float32)
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
    return emitter.apply("PRelu", source, emitter.constant(array(weights, "alpha", shape)))


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
    "Conv1D": conv(1), "Conv2D": conv(2), "Cropping2D": cropped, "Dense": _dense,
    "DepthwiseConv2D": depthwise, "Flatten": _flatten, "LeakyReLU": _leaky, "Normalization": _standardised,
    "PReLU": _prelu, "Permute": _permute, "ReLU": _relu, "Rescaling": _rescaled, "Reshape": _reshape,
    "SeparableConv2D": separable, "Softmax": _softmax, "UpSampling2D": upsampled,
    "AveragePooling1D": pool("AveragePool", 1), "AveragePooling2D": pool("AveragePool", 2),
    "MaxPooling1D": pool("MaxPool", 1), "MaxPooling2D": pool("MaxPool", 2),
    "GlobalAveragePooling1D": global_pool("GlobalAveragePool", 1),
    "GlobalAveragePooling2D": global_pool("GlobalAveragePool", 2),
    "GlobalMaxPooling1D": global_pool("GlobalMaxPool", 1),
    "GlobalMaxPooling2D": global_pool("GlobalMaxPool", 2),
    "ZeroPadding1D": padded(1), "ZeroPadding2D": padded(2),
    **{kind: _merged(operator) for kind, operator in _MERGES.items()},
}  # fmt: skip
