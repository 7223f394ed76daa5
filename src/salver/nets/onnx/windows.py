"""ONNX operators over the windows of an image or a signal: convolutions and average pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.strict import Fail, refuse_weights
from salver.nets.operators import Conv, ConvTranspose, Operator, Reshape, Shape, held
from salver.nets.operators.convolution import same_pads

RECOUNTED = 19
"""Operator set from which on ONNX Runtime, too, leaves out of an average what lies beyond the padding."""


def conv(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    output, weight = node.output[0], held(builder.constants[node.input[1]])
    source, signal = opened(builder, node)
    weight = weight[:, :, None] if signal else weight
    bias: Any = np.zeros(weight.shape[0], np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = held(builder.constants[node.input[2]])
    shape = builder.shapes[source]
    refuse_weights(node, attributes, weight, bias, shape[0], builder.fail)
    window = window_of(node, attributes, shape[1:], weight.shape[2:], builder.fail)
    if source in builder.padded and not attributes.get("auto_pad"):
        source, around = builder.padded[source]
        window["pads"] = tuple(a + b for a, b in zip(window["pads"], around, strict=True))
    operator = Conv(weight, bias, **window, groups=attributes.get("group", 1))
    image = inner(builder, output, signal)
    builder.emit(image, operator, (source,), operator.output_shape(builder.shapes[source]))
    closed(builder, output, image, signal)


def conv_transpose(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """As the adjoint of a convolution: an output padding becomes rows of zeros at the end of the kernel."""
    output, weight = node.output[0], held(builder.constants[node.input[1]])
    source, signal = opened(builder, node)
    weight = weight[:, :, None] if signal else weight
    shape, target = builder.shapes[source], target_of(builder, node, signal)
    refuse_weights(node, attributes, weight, None, shape[0], builder.fail)
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    groups = attributes.get("group", 1)
    _refuse_unwritten(builder, node, attributes, strides)
    whole = ConvTranspose(weight, strides, (0, 0, 0, 0), dilations, groups)
    begin, end = _cut(attributes, whole.spans(shape), target)
    more = [max(0, -(cut // dilation)) for cut, dilation in zip(end, dilations, strict=True)]
    builder.spend(node, math.prod(n + rows for n, rows in zip(weight.shape, (0, 0, *more), strict=True)))
    weight = held(np.pad(weight, ((0, 0), (0, 0), (0, more[0]), (0, more[1]))))
    end = [cut + rows * step for cut, rows, step in zip(end, more, dilations, strict=True)]
    operator = ConvTranspose(weight, strides, (begin[0], begin[1], end[0], end[1]), dilations, groups)
    bias = builder.constants[node.input[2]] if len(node.input) > 2 and node.input[2] else np.zeros(target[0])
    if operator.output_shape(shape) != target or bias.shape != target[:1]:
        raise builder.fail(node, f"of {weight.shape} to {target}")
    image = inner(builder, output, signal)
    total = builder.fresh(f"{output}/sum") if bias.any() else image
    builder.emit(total, operator, (source,), target)
    if bias.any():
        builder.scale(image, total, np.float32(1), bias.reshape(-1, 1, 1))
    closed(builder, output, image, signal)


def _refuse_unwritten(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], strides: Sequence[int]
) -> None:
    """Refuses an output padding of which ONNX Runtime makes another size, or leaves entries unwritten."""
    added = attributes.get("output_padding", (0, 0))
    if any(more >= step for more, step in zip(added, strides, strict=True) if more):
        raise builder.fail(node, f"with output_padding {list(added)} not below its strides {list(strides)}")
    if any(added) and attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        raise builder.fail(node, "with both auto_pad and output_padding")


def _cut(attributes: dict[str, Any], spans: Sequence[int], target: Shape) -> tuple[list[int], list[int]]:
    """Rows and columns that are cut off from what windows span, before and behind; below 0 they are added."""
    automatic, pads = attributes.get("auto_pad", b"NOTSET"), attributes.get("pads", (0, 0, 0, 0))
    begin = list(pads[:2])
    if automatic in (b"SAME_UPPER", b"SAME_LOWER") or attributes.get("output_shape"):
        total = [max(0, span - size) for span, size in zip(spans, target[1:], strict=True)]
        begin = [cut // 2 if automatic == b"SAME_UPPER" else cut - cut // 2 for cut in total]
    return begin, [span - size - cut for span, size, cut in zip(spans, target[1:], begin, strict=True)]


def average_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """AveragePool over one axis or two, as a convolution, and a scale where windows see padding.

    Of a window of `ceil_mode` that reaches beyond the padding the places there do not count, as in PyTorch.
    """
    output, (source, signal) = node.output[0], opened(builder, node)
    shape, target = builder.shapes[source], target_of(builder, node, signal)
    kernel = tuple(attributes["kernel_shape"])
    window = window_of(node, attributes, shape[1:], kernel, builder.fail)
    pads = window["pads"] if attributes.get("count_include_pad", 0) else (0, 0, 0, 0)
    views = [views_of(axis, kernel, window, target) for axis in (0, 1)]
    seen = [
        ((view >= -pads[axis]) & (view < shape[1 + axis] + pads[2 + axis])).sum(axis=0)
        for axis, view in enumerate(views)
    ]
    share = np.multiply.outer(*seen) / math.prod(kernel)
    if not share.all():
        raise builder.fail(node, "with windows that see the padding alone")
    weight = held(np.full((shape[0], 1, *kernel), 1.0 / math.prod(kernel)))
    _refuse_disputed(builder, node, attributes, [
        (view, shape[1 + axis], window["pads"][2 + axis]) for axis, view in enumerate(views)
    ])  # fmt: skip
    operator = reaching(Conv(weight, np.zeros(shape[0], np.float32), **window, groups=shape[0]), shape, views)
    if operator.output_shape(shape) != target:
        raise builder.fail(node, f"from {shape} to {target}")
    image = inner(builder, output, signal)
    total = builder.fresh(f"{output}/sum") if (share != 1).any() else image
    builder.emit(total, operator, (source,), target)
    if total != image:
        builder.scale(image, total, 1.0 / share, np.float32(0))
    closed(builder, output, image, signal)


def _refuse_disputed(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], axes: list[tuple[Any, int, int]]
) -> None:
    """Refuses averages to which ONNX Runtime gives other values than the standard and PyTorch.

    Args:
        axes: places that windows see, entries of the image, and padding behind, of both axes.

    Raises:
        SalverError: places beyond the padding are counted, or a window begins behind the image, which is left
            out there.
    """
    beyond = any(view.max() >= size + behind for view, size, behind in axes)
    if beyond and attributes.get("count_include_pad", 0) and builder.types.version < RECOUNTED:
        what = f"that counts padding and reaches beyond it, before operator set {RECOUNTED},"
        raise builder.fail(node, what)
    if attributes.get("ceil_mode", 0) and any(view[0].max() >= size for view, size, _ in axes):
        raise builder.fail(node, "with a window that begins behind the image")


def views_of(axis: int, kernel: Sequence[int], window: dict[str, Any], target: Shape) -> Any:
    """Rows (axis 0) or columns of the image that windows see [places of the kernel, windows]."""
    places = np.arange(kernel[axis])[:, None] * window["dilations"][axis]
    return places + np.arange(target[1 + axis]) * window["strides"][axis] - window["pads"][axis]


def reaching(operator: Conv, shape: Shape, views: list[Any]) -> Conv:
    """With as much padding behind as the last windows need, of which `ceil_mode` has more than is stated."""
    top, left, bottom, right = operator.pads
    behind = [int(view.max()) + 1 - shape[1 + axis] for axis, view in enumerate(views)]
    return replace(operator, pads=(top, left, max(bottom, behind[0]), max(right, behind[1])))


def global_average_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """GlobalAveragePool over one axis or two."""
    output, (source, signal) = node.output[0], opened(builder, node)
    shape, image = builder.shapes[source], inner(builder, output, signal)
    builder.emit(image, average(shape), (source,), (shape[0], 1, 1))
    closed(builder, output, image, signal)


def average(shape: Shape) -> Operator:
    """Mean over height and width of [channels, height, width]."""
    channels, height, width = shape
    weight = held(np.full((channels, 1, height, width), 1.0 / (height * width)))
    return Conv(weight, np.zeros(channels, np.float32), groups=channels)


def widened(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a one-dimensional convolution as those of one over images of height one."""
    ones = {"strides": 1, "dilations": 1, "kernel_shape": 1, "output_shape": 1, "output_padding": 0}
    found = {k: [ones[k], *v] if k in ones else v for k, v in attributes.items()}
    pads = attributes.get("pads")
    return found | ({} if pads is None else {"pads": [0, *pads[:1], 0, *pads[1:]]})


def window_of(
    node: onnx.NodeProto, attributes: dict[str, Any], size: Shape, kernel: tuple[int, ...], fail: Fail
) -> dict[str, Any]:
    """Strides, pads and dilations of a window over `size` [height, width]; `SAME` pads are worked out."""
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = same_pads(size, kernel, strides, dilations, behind=automatic == b"SAME_UPPER")
    elif automatic not in (b"NOTSET", b"VALID"):
        raise fail(node, f"with auto_pad {automatic!r:.40}")
    return {"strides": strides, "pads": pads, "dilations": dilations}


def opened(builder: GraphBuilder, node: onnx.NodeProto) -> tuple[str, bool]:
    """The first input as an image [channels, height, width], and whether it is a signal [channels, length].

    A signal is an image of height one.
    """
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    if len(full) not in (3, 4) or full[0] != 1:
        raise builder.fail(node, f"on shape {full}")
    return builder.shaped(source, full[1:] if len(full) == 4 else (full[1], 1, full[2])), len(full) == 3


def target_of(builder: GraphBuilder, node: onnx.NodeProto, signal: bool) -> Shape:
    """Shape of the output as an image."""
    full = builder.types.shapes.get(node.output[0])
    if full is None or len(full) != 4 - signal or math.prod(full) < 1:
        raise builder.fail(node, f"to shape {full}")
    return (full[1], 1, full[2]) if signal else full[1:]


def inner(builder: GraphBuilder, output: str, signal: bool) -> str:
    """Name of the output as an image."""
    return builder.fresh(f"{output}/image") if signal else output


def closed(builder: GraphBuilder, output: str, image: str, signal: bool) -> None:
    """Emits the output of a signal, of which the image was emitted."""
    if signal:
        channels, _, length = builder.shapes[image]
        builder.emit(output, Reshape(), (image,), (channels, length))


RULES: dict[str, Rule] = {
    "Conv": conv, "ConvTranspose": conv_transpose, "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
}  # fmt: skip
