"""Maximum pools of the ONNX reader, as chains of max(a, b) = a + relu(b - a) over the places of a window.

A tie goes to the first place of a window, row by row, as in PyTorch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from salver.nets.max_pool import max_of, picks
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.types import without_batch
from salver.nets.onnx.windows import closed, inner, opened, reaching, target_of, views_of, widened, window_of
from salver.nets.operators import Add, Relu, Reshape, Shape, Sub

MOST_PLACES = 256
"""Entries of a window of a maximum, each of which is a node."""
MOST_AT_ONCE = 16
"""Entries of a window above which the largest of every row is found first."""


def max_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """MaxPool over windows of any stride, padding and dilation, as a chain of max(a, b) = a + relu(b - a)."""
    full = builder.known(node, node.input[0])
    if len(node.output) > 1 or attributes.get("storage_order", 0) or len(full) < 3:
        raise builder.fail(node, "with indices")
    if min(attributes.get("pads", [0])) < 0:
        raise builder.fail(node, "with negative pads")
    if full[0] == 1 and len(full) < 5:
        attributes = widened(attributes) if len(full) == 3 else attributes
        _largest_of(builder, node, tuple(attributes["kernel_shape"]), attributes)
    else:
        _largest_by_index(builder, node, attributes)


def global_max_pool(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """GlobalMaxPool over one axis or two; the first of the largest entries has the derivative."""
    full = builder.known(node, node.input[0])
    _largest_of(builder, node, (1, full[2]) if len(full) == 3 else full[2:], {})


def _largest_of(
    builder: GraphBuilder, node: onnx.NodeProto, kernel: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    """The largest entry of every window of an image: of its rows first where windows are large.

    Either way a tie goes to the first place of a window, row by row.
    """
    output, (source, signal) = node.output[0], opened(builder, node)
    shape, target = builder.shapes[source], target_of(builder, node, signal)
    window = window_of(node, attributes, shape[1:], kernel, builder.fail)
    image = inner(builder, output, signal)
    if math.prod(kernel) > MOST_AT_ONCE and min(kernel) > 1:
        (sy, sx), (dy, dx), (top, left, bottom, right) = (window[k] for k in ("strides", "dilations", "pads"))
        rows = builder.fresh(f"{output}/rows")
        across = {"strides": (1, sx), "dilations": (1, dx), "pads": (0, left, 0, right)}
        _chain_of(builder, node, rows, source, (1, kernel[1]), across, (shape[0], shape[1], target[2]))
        down = {"strides": (sy, 1), "dilations": (dy, 1), "pads": (top, 0, bottom, 0)}
        _chain_of(builder, node, image, rows, (kernel[0], 1), down, target)
    else:
        _chain_of(builder, node, image, source, kernel, window, target)
    closed(builder, output, image, signal)


def _chain_of(
    builder: GraphBuilder,
    node: onnx.NodeProto,
    name: str,
    source: str,
    kernel: tuple[int, ...],
    window: dict[str, Any],
    target: Shape,
) -> None:
    """The places of a window as strided convolutions, and their maximum.

    What lies outside is minus infinity. So the maximum starts at the first place inside, and later places
    count where they are inside.
    """
    count, shape = math.prod(kernel), builder.shapes[source]
    if count > MOST_PLACES:
        raise builder.fail(node, f"with windows of {count} entries")
    builder.spend(node, count * shape[0] * count)
    views = [views_of(axis, kernel, window, target) for axis in (0, 1)]
    inside = [(view >= 0) & (view < shape[1 + axis]) for axis, view in enumerate(views)]
    if not all(part.any(axis=0).all() for part in inside):
        raise builder.fail(node, "with windows that see the padding alone")
    first = [part.argmax(axis=0) for part in inside]
    places = list(np.ndindex(*kernel))
    shares = [np.multiply.outer(inside[0][i], inside[1][j]) for i, j in places]
    starts = [np.multiply.outer(first[0] == i, first[1] == j) for i, j in places]
    names = []
    for number, pick in enumerate(picks(shape[0], kernel, window["strides"], window["dilations"])):
        moved = reaching(replace(pick, pads=window["pads"]), shape, views)
        if moved.output_shape(shape) != target:
            raise builder.fail(node, f"from {shape} to {target}")
        names.append(builder.fresh(f"{name}/place{number}"))
        builder.emit(names[-1], moved, (source,), target)
    firsts = [_masked(builder, node, p, share) for p, share in zip(names, starts, strict=True) if share.any()]
    most = firsts[0]
    for number, part in enumerate(firsts[1:], 1):
        total = builder.fresh(f"{name}/start{number}")
        builder.emit(total, Add(), (most, part), target)
        most = total
    # Where a place is the first it is the maximum so far, and no difference that could round.
    later = [share & ~start for share, start in zip(shares, starts, strict=True)]
    for number, (place, share) in enumerate(zip(names[1:], later[1:], strict=True), 1):
        excess, relu = (builder.fresh(f"{name}/{label}{number}") for label in ("excess", "relu"))
        builder.emit(excess, Sub(), (place, most), target)
        builder.emit(relu, Relu(), (_masked(builder, node, excess, share),), target)
        total = name if number == count - 1 else builder.fresh(f"{name}/max{number}")
        builder.emit(total, Add(), (most, relu), target)
        most = total
    if most != name:
        builder.emit(name, Reshape(), (most,), target)


def _masked(builder: GraphBuilder, node: onnx.NodeProto, source: str, share: Any) -> str:
    """An image where a mask [height, width] is one, 0 elsewhere."""
    if share.all():
        return source
    name = builder.fresh(f"{source}/inside")
    builder.spend(node, math.prod(builder.shapes[source]))
    builder.scale(name, source, share.astype(np.float32), np.float32(0))
    return name


def _largest_by_index(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """The same over three axes, or of several images."""
    output, source = node.output[0], node.input[0]
    full, target = builder.known(node, source), builder.types.shapes.get(output)
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or target is None:
        raise builder.fail(node, "with auto_pad or a shape that is not fixed")
    kernel = math.prod(attributes["kernel_shape"])
    if not 0 < kernel <= MOST_PLACES:
        raise builder.fail(node, f"with windows of {kernel} entries")
    builder.spend(node, kernel * max(math.prod(target), full[1]))
    seen = window_places(full, target, attributes)
    first = np.take_along_axis(seen, (seen >= 0).argmax(axis=0)[None], axis=0)
    if (first < 0).any():
        raise builder.fail(node, "with windows that see the padding alone")
    # What lies outside is minus infinity: another entry of the window stands in for it.
    names = [builder.fresh(f"{output}/place{number}") for number in range(len(seen))]
    for name, row in zip(names, seen, strict=True):
        builder.pick(name, source, np.where(row >= 0, row, first[0]), target)
    builder.emit_all(max_of(output, names, without_batch(target)), output)


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


RULES: dict[str, Rule] = {"MaxPool": max_pool, "GlobalMaxPool": global_max_pool}
