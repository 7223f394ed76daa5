"""Operators of the ONNX reader that move, pick, add up or compare entries of one tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.max_pool import max_of
from salver.nets.network import Conv, Operator, Reshape, Shape, conv_output_shape, held
from salver.nets.onnx.fold import positions
from salver.nets.onnx.graph import GraphBuilder
from salver.nets.onnx.types import without_batch

MOST_PLACES = 256
"""Entries of a window of a maximum, each of which is a node."""
LAYOUT = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
PICKS = frozenset(("Expand", "Gather", "Slice", "Split", "Transpose"))


def laid_out(builder: GraphBuilder, node: onnx.NodeProto) -> None:
    """Operators that change the shape alone."""
    source, full = builder.tensor(node.input[0]), builder.types.shapes.get(node.output[0])
    if full is None or math.prod(full) != math.prod(builder.shapes[source]):
        raise builder.fail(
            node, f"from {builder.full(node.input[0])} to a shape that does not fit or is not fixed"
        )
    if node.op_type == "Flatten":
        builder.alias[node.output[0]] = builder.flat(source)
    else:
        builder.emit(node.output[0], Reshape(), (source,), without_batch(full))


def picked(builder: GraphBuilder, node: onnx.NodeProto) -> None:
    """Operators whose every output entry is an entry of the first input; the others must be constant."""
    source = node.input[0]
    if any(name and name not in builder.constants for name in node.input[1:]):
        raise builder.fail(node, "by variable indices or sizes")
    full = builder.known(node, source)
    found = positions(node, source, full, builder.constants, builder.types, builder.fail)
    for name, places in found.items():
        builder.pick(node, name, source, places, builder.types.shapes[name])


def reduced(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """ReduceSum and ReduceMean over fixed axes; the mean of images over height and width is a convolution."""
    output, source = node.output[0], node.input[0]
    full, target = builder.known(node, source), builder.types.shapes.get(output)
    axes = _axes(builder, node, attributes, len(full))
    if target is None:
        raise builder.fail(node, f"over axes {axes} of {full}")
    mean = node.op_type == "ReduceMean"
    if (
        mean
        and len(full) == 4
        and full[0] == 1
        and axes == (2, 3)
        and builder.shapes[builder.tensor(source)] == full[1:]
    ):
        keep = bool(attributes.get("keepdims", 1))
        name = output if keep else builder.fresh(f"{output}/mean")
        builder.emit(name, average(full[1:]), (builder.tensor(source),), (full[1], 1, 1))
        if not keep:
            builder.emit(output, Reshape(), (name,), (full[1],))
        return
    kept = np.arange(math.prod(full)).reshape(full)
    for axis in axes:
        kept = np.broadcast_to(np.take(kept, [0], axis), full)
    _, group = np.unique(kept, return_inverse=True)
    weight = builder.matrix(node, math.prod(target), math.prod(full))
    count = math.prod(full[axis] for axis in axes)
    weight[group.ravel(), np.arange(math.prod(full))] = 1.0
    if mean:
        weight = held(weight / np.float64(count))
    builder.linear_map(node, output, source, weight, without_batch(target))


def _axes(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], rank: int
) -> tuple[int, ...]:
    axes = attributes.get("axes", [])
    if len(node.input) > 1 and node.input[1]:
        if node.input[1] not in builder.constants:
            raise builder.fail(node, "over variable axes")
        axes = np.ravel(builder.constants[node.input[1]]).tolist()
    if not len(axes) and not attributes.get("noop_with_empty_axes", 0):
        return tuple(range(rank))
    return tuple(sorted(range(rank)[axis] for axis in axes))


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
    places = window_places(full, target, attributes)
    first = np.take_along_axis(places, (places >= 0).argmax(axis=0)[None], axis=0)
    if (first < 0).any():
        raise builder.fail(node, "with windows that see the padding alone")
    shape = without_batch(target)
    picks = _strided(full, shape, attributes) if (places >= 0).all() else None
    tensor = builder.tensor(source)
    if picks is None or builder.shapes[tensor] != full[1:]:
        # What lies outside is minus infinity: another entry of the window stands in for it.
        rows = [np.where(row >= 0, row, first[0]) for row in places]
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


def _strided(full: Shape, shape: Shape, attributes: dict[str, Any]) -> list[Operator] | None:
    """The places of a window as strided convolutions, which stay small for large images."""
    kernel = tuple(attributes["kernel_shape"])
    if len(full) != 4 or full[0] != 1:
        return None
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    picks: list[Operator] = []
    for place in range(math.prod(kernel)):
        weight = np.zeros((full[1], 1, math.prod(kernel)), np.float32)
        weight[:, :, place] = 1.0
        bias = np.zeros(full[1], np.float32)
        pick = Conv(weight.reshape(full[1], 1, *kernel), bias, strides, dilations=dilations, groups=full[1])
        if conv_output_shape(full[1:], pick) != shape:
            return None
        picks.append(pick)
    return picks
