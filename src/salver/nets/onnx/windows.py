"""ONNX operators over the windows of an image or a signal: convolutions and pools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.max_pool import max_of, places
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.strict import refuse_weights
from salver.nets.onnx.types import without_batch
from salver.nets.operators import Array, Conv, ConvTranspose, Operator, Reshape, Shape, held
from salver.nets.operators.convolution import same_pads

MOST_PLACES = 256
"""Entries of a window of a maximum, each of which is a node."""


def conv(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    output, weight = node.output[0], held(builder.constants[node.input[1]])
    bias: Any = np.zeros(weight.shape[0], np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = held(builder.constants[node.input[2]])
    signal = weight.ndim == 3  # one-dimensional: an image of height one
    source = _signal(builder, node) if signal else _image(builder, node)
    weight = weight[:, :, None] if signal else weight
    shape = builder.shapes[source]
    refuse_weights(node, attributes, weight, bias, shape[0], builder.fail)
    window = window_of(node, attributes, shape[1:], weight.shape[2:], builder.fail)
    operator = Conv(weight, bias, **window, groups=attributes.get("group", 1))
    found = operator.output_shape(shape)
    image = builder.fresh(f"{output}/image") if signal else output
    builder.emit(image, operator, (source,), found)
    if signal:
        builder.emit(output, Reshape(), (image,), (found[0], found[2]))


def conv_transpose(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    output = node.output[0]
    source = _image(builder, node)
    if any(attributes.get("output_padding", [])) or attributes.get("output_shape") or len(node.input) > 2:
        raise builder.fail(node, "with output_padding, output_shape or a bias")
    weight = held(builder.constants[node.input[1]])
    refuse_weights(node, attributes, weight, None, builder.shapes[source][0], builder.fail)
    window = window_of(node, attributes, builder.shapes[source][1:], (), builder.fail)
    operator = ConvTranspose(weight, **window, groups=attributes.get("group", 1))
    builder.emit(output, operator, (source,), operator.output_shape(builder.shapes[source]))


def average_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    output = node.output[0]
    source = _image(builder, node)
    kernel = tuple(attributes["kernel_shape"])
    window = window_of(node, attributes, builder.shapes[source][1:], (), builder.fail)
    if attributes.get("ceil_mode", 0) or window["dilations"] != (1, 1):
        raise builder.fail(node, "with ceil_mode or dilations")
    channels = builder.shapes[source][0]
    weight = held(np.full((channels, 1, *kernel), 1.0 / math.prod(kernel)))
    operator = Conv(weight, np.zeros(channels, np.float32), **window, groups=channels)
    shape = operator.output_shape(builder.shapes[source])
    if any(window["pads"]) and not attributes.get("count_include_pad", 0):
        total = builder.fresh(f"{output}/sum")
        builder.emit(total, operator, (source,), shape)
        builder.scale(output, total, pool_scale(builder.shapes[source], operator), np.float32(0))
    else:
        builder.emit(output, operator, (source,), shape)


def global_average_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    source = _image(builder, node)
    channels = builder.shapes[source][0]
    builder.emit(node.output[0], average(builder.shapes[source]), (source,), (channels, 1, 1))


def average(shape: Shape) -> Operator:
    """Mean over height and width of [channels, height, width]."""
    channels, height, width = shape
    weight = held(np.full((channels, 1, height, width), 1.0 / (height * width)))
    return Conv(weight, np.zeros(channels, np.float32), groups=channels)


def max_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """MaxPool over windows of any stride, padding and dilation, as a chain of max(a, b) = a + relu(b - a)."""
    output, source = node.output[0], node.input[0]
    full, target = builder.known(node, source), builder.types.shapes.get(output)
    if len(node.output) > 1 or attributes.get("storage_order", 0) or len(full) < 3:
        raise builder.fail(node, "with indices")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or target is None:
        raise builder.fail(node, "with auto_pad or a shape that is not fixed")
    kernel = math.prod(attributes["kernel_shape"])
    if not 0 < kernel <= MOST_PLACES or min(attributes.get("pads", [0])) < 0:
        raise builder.fail(node, f"with windows of {kernel} entries or negative pads")
    builder.spend(node, kernel * max(math.prod(target), full[1] * kernel))
    seen = window_places(full, target, attributes)
    first = np.take_along_axis(seen, (seen >= 0).argmax(axis=0)[None], axis=0)
    if (first < 0).any():
        raise builder.fail(node, "with windows that see the padding alone")
    shape = without_batch(target)
    picks = _strided(full, shape, attributes) if (seen >= 0).all() else None
    tensor = builder.tensor(source)
    if picks is None or builder.shapes[tensor] != full[1:]:
        # What lies outside is minus infinity: another entry of the window stands in for it.
        rows = [np.where(row >= 0, row, first[0]) for row in seen]
        names = [builder.fresh(f"{output}/place{number}") for number in range(len(rows))]
        for name, row in zip(names, rows, strict=True):
            builder.pick(node, name, source, row, target)
    else:
        names = [builder.fresh(f"{output}/place{number}") for number in range(len(picks))]
        for name, operator in zip(names, picks, strict=True):
            builder.emit(name, operator, (tensor,), shape)
    builder.emit_all(max_of(output, names, shape), output)


def window_places(full: Shape, target: Shape, attributes: dict[str, Any]) -> Any:
    """Flat positions [places of a window, outputs] that the windows of a pool see, -1 outside.

    Args:
        full: [batch, channels, ...]; target: the same of the output.
    """
    kernel = attributes["kernel_shape"]
    axes = len(kernel)
    strides, dilations = (attributes.get(name, [1] * axes) for name in ("strides", "dilations"))
    begin = attributes.get("pads", [0] * (2 * axes))[:axes]
    offsets = np.stack(np.meshgrid(*(np.arange(k) for k in kernel), indexing="ij")).reshape(axes, -1)
    images = np.arange(math.prod(full[:2])).reshape(-1, *([1] * axes))
    flat, inside = images[None], np.ones((1,) * (axes + 2), bool)
    for axis in range(axes):
        steps = np.arange(target[2 + axis]) * strides[axis] - begin[axis]
        here = steps[None, :] + offsets[axis][:, None] * dilations[axis]
        view = here.reshape(len(here), 1, *(-1 if a == axis else 1 for a in range(axes)))
        flat = flat * full[2 + axis] + view
        inside = inside & (view >= 0) & (view < full[2 + axis])
    return np.where(inside, flat, -1).reshape(offsets.shape[1], -1)


def _strided(full: Shape, shape: Shape, attributes: dict[str, Any]) -> list[Conv] | None:
    """The places of a window as strided convolutions, which stay small for large images."""
    if len(full) != 4 or full[0] != 1:
        return None
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    picks = places(full[1], tuple(attributes["kernel_shape"]), strides, dilations)
    return picks if picks[0].output_shape(full[1:]) == shape else None


def widened(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a one-dimensional convolution as those of one over images of height one."""
    ones = {"strides": 1, "dilations": 1, "kernel_shape": 1}
    found = {k: [ones[k], *v] if k in ones else v for k, v in attributes.items()}
    pads = attributes.get("pads")
    return found | ({} if pads is None else {"pads": [0, *pads[:1], 0, *pads[1:]]})


def window_of(
    node: onnx.NodeProto, attributes: dict[str, Any], size: Shape, kernel: tuple[int, ...], fail: Any
) -> dict[str, Any]:
    """Strides, pads and dilations of a window over `size` [height, width]; `kernel` is empty but for Conv.

    Raises: SalverError, made by `fail`: `auto_pad` of another operator.
    """
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER") and len(kernel) == 2:
        pads = same_pads(size, kernel, strides, dilations, behind=automatic == b"SAME_UPPER")
    elif automatic not in (b"NOTSET", b"VALID"):
        raise fail(node, "with auto_pad")
    return {"strides": strides, "pads": pads, "dilations": dilations}


def pool_scale(shape: Shape, operator: Conv) -> Array:
    """Correction [channels, height, width] for windows that reach over the padding."""
    share = operator.matrix(shape).sum(axis=1).reshape(operator.output_shape(shape))
    return np.asarray(1.0 / share)


def _image(builder: GraphBuilder, node: onnx.NodeProto) -> str:
    """The first input as [channels, height, width]."""
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    if len(full) != 4 or full[0] != 1:
        raise builder.fail(node, f"on shape {full}")
    return _shaped(builder, source, full[1:])


def _signal(builder: GraphBuilder, node: onnx.NodeProto) -> str:
    """The first input, [channels, length], as an image of height one."""
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    if len(full) != 3 or full[0] != 1:
        raise builder.fail(node, f"on shape {full}")
    return _shaped(builder, source, (full[1], 1, full[2]))


def _shaped(builder: GraphBuilder, source: str, shape: Shape) -> str:
    if builder.shapes[source] == shape:
        return source
    kind = f"as{list(shape)}"
    return builder.once(source, kind, make=lambda name: builder.emit(name, Reshape(), (source,), shape))


RULES: dict[str, Rule] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "MaxPool": max_pool, "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
}  # fmt: skip
