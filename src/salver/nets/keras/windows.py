"""Keras layers over windows of an image or a signal: convolutions, pools, pads, crops and enlargements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from salver.nets.keras.emitter import Array, Config, Emitter, LayerError, Tensor, Weights
from salver.nets.operators import Shape

Adder = Callable[[Emitter, Config, Weights, list[Tensor]], Tensor]
"""Appends one call of a layer, by its configuration and its weights, to its inputs."""


def array(weights: Weights, name: str, shape: Shape) -> Array:
    """A weight of a layer. Raises: LayerError: it is not there, or of another shape."""
    if name not in weights or weights[name].shape != shape:
        raise LayerError(f"no {name} of shape {shape}")
    return weights[name]


def bias_of(weights: Weights, config: Config, size: int) -> Array:
    """The bias [size] of a layer, zeros where it has none. Raises: LayerError: as `array`."""
    return array(weights, "bias", (size,)) if config.get("use_bias", True) else np.zeros(size, np.float32)


def _sizes(config: Config, key: str, default: Any, rank: int) -> tuple[int, ...]:
    value = config.get(key, default)
    sizes = [value] * rank if isinstance(value, int) else list(value)
    if len(sizes) != rank or any(type(size) is not int or not 1 <= size <= 1024 for size in sizes):
        raise LayerError(f"{key} {str(value)[:40]}")
    return tuple(sizes)


def whole(config: Config, key: str, default: int | None = None) -> int:
    """A positive whole number of a configuration. Raises: LayerError: it is none, or too large."""
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
    whole_sizes = [s + a + b for s, a, b in zip(shape, before, behind, strict=True)]
    counts = [(s - r) // stride + 1 for s, r, stride in zip(whole_sizes, reach, strides, strict=True)]
    if min(counts) < 1 or any(s < r for s, r in zip(whole_sizes, reach, strict=True)):
        raise LayerError(f"windows of {reach} on an image of {shape}")
    return [*before, *behind], tuple(counts)


def convolve(
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


def image(tensor: Tensor, rank: int, kind: str) -> Tensor:
    """The tensor, with so many axes beside its channels. Raises: LayerError: it has others."""
    if len(tensor.shape) != rank + 1:
        raise LayerError(f"{kind} on a tensor of shape {tensor.shape}")
    return tensor


def conv(rank: int) -> Adder:
    """Conv1D or Conv2D."""

    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        tensor = image(inputs[0], rank, f"Conv{rank}D")
        channels, filters, groups = tensor.shape[-1], whole(config, "filters"), whole(config, "groups", 1)
        if channels % groups or filters % groups:
            raise LayerError("impossible groups")
        shape = (*_sizes(config, "kernel_size", None, rank), channels // groups, filters)
        kernel = np.moveaxis(array(weights, "kernel", shape), (-1, -2), (0, 1))
        return convolve(emitter, config, tensor, kernel, bias_of(weights, config, filters), groups)

    return add


def depthwise(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    """DepthwiseConv2D."""
    tensor = image(inputs[0], 2, "DepthwiseConv2D")
    name = "kernel" if "kernel" in weights else "depthwise_kernel"
    kernel = _depthwise_kernel(config, weights, tensor, name)
    channels = tensor.shape[-1]
    return convolve(emitter, config, tensor, kernel, bias_of(weights, config, len(kernel)), channels)


def _depthwise_kernel(config: Config, weights: Weights, tensor: Tensor, name: str) -> Array:
    """Kernel [channels * multiplier, 1, height, width] of a convolution of each channel for itself."""
    multiplier, size = whole(config, "depth_multiplier", 1), _sizes(config, "kernel_size", None, 2)
    stored = array(weights, name, (*size, tensor.shape[-1], multiplier))
    return stored.transpose(2, 3, 0, 1).reshape(-1, 1, *size)


def separable(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    """SeparableConv2D."""
    tensor, filters = image(inputs[0], 2, "SeparableConv2D"), whole(config, "filters")
    kernel = _depthwise_kernel(config, weights, tensor, "depthwise_kernel")
    none = np.zeros(len(kernel), np.float32)
    between = convolve(emitter, config, tensor, kernel, none, tensor.shape[-1])
    pointwise = array(weights, "pointwise_kernel", (1, 1, len(kernel), filters)).transpose(3, 2, 0, 1)
    return convolve(emitter, config, between, pointwise, bias_of(weights, config, filters), 1, plain=True)


def pool(kind: str, rank: int) -> Adder:
    """A pool over windows: the ONNX operator `kind`."""

    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(image(inputs[0], rank, f"{kind}{rank}D"))
        size = _sizes(config, "pool_size", 2, rank)
        strides = size if config.get("strides") is None else _sizes(config, "strides", 1, rank)
        pads, counts = _windows(config, source.shape[:-1], size, strides, (1,) * rank)
        window = {"kernel_shape": size, "strides": strides, "pads": pads}
        return emitter.apply(kind, source, shape=(*counts, source.shape[-1]), **window)

    return add


def global_pool(kind: str, rank: int) -> Adder:
    """A pool over the whole image: the ONNX operator `kind`."""

    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(image(inputs[0], rank, kind))
        channels = source.shape[-1]
        pooled = emitter.apply(kind, source, shape=(*[1] * rank, channels))
        return pooled if config.get("keepdims") else Tensor(emitter.flattened(pooled).name, (channels,))

    return add


def padded(rank: int) -> Adder:
    """ZeroPadding1D or ZeroPadding2D."""

    def add(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
        source = emitter.channels(image(inputs[0], rank, f"ZeroPadding{rank}D"))
        pairs = _pairs(config.get("padding", 1), rank)
        pads = [0, 0, *(p[0] for p in pairs), 0, 0, *(p[1] for p in pairs)]
        sizes = [size + sum(pair) for size, pair in zip(source.shape, pairs, strict=False)]
        names = (emitter.constant(pads, np.int64), emitter.constant(0.0))
        return emitter.apply("Pad", source, *names, shape=(*sizes, source.shape[-1]))

    return add


def cropped(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    """Cropping2D."""
    source = emitter.channels(image(inputs[0], 2, "Cropping2D"))
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


def upsampled(emitter: Emitter, config: Config, weights: Weights, inputs: list[Tensor]) -> Tensor:
    """UpSampling2D."""
    source = emitter.channels(image(inputs[0], 2, "UpSampling2D"))
    if config.get("interpolation", "nearest") != "nearest":
        raise LayerError("UpSampling2D that is not nearest is not supported by salver")
    size = _sizes(config, "size", 2, 2)
    shape = (source.shape[0] * size[0], source.shape[1] * size[1], source.shape[2])
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return emitter.apply("Resize", source, "", emitter.constant([1, 1, *size]), shape=shape, **options)
