"""Operators of the ONNX reader that pad or enlarge tensors, or move entries between channels and places."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.arithmetic import affine
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.strict import MOST_ENTRIES
from salver.nets.onnx.windows import closed, inner, opened
from salver.nets.operators import Conv, ConvTranspose, Shape

_MODES = ("reflect", "edge", "wrap")
"""Ways of padding with entries of the tensor itself, of the same names in numpy."""


def pad(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Pad: with a constant, or with entries of the tensor itself; negative pads cut off."""
    output, full = node.output[0], builder.known(node, node.input[0])
    mode, pads = attributes.get("mode", b"constant").decode(), _pads(builder, node, attributes, full)
    value = _padded_with(builder, node, attributes)
    image = len(full) in (3, 4) and full[0] == 1 and not any(sum(pair) for pair in pads[:2])
    if mode == "constant" and value == 0 and image and min(map(min, pads)) >= 0 and any(map(any, pads)):
        _as_convolution(builder, node, pads)
        return
    if mode != "constant" and mode not in _MODES:
        raise builder.fail(node, f"with mode {mode!r:.40}")
    if mode == "wrap" and any(not 0 <= pad <= n for n, pair in zip(full, pads, strict=True) for pad in pair):
        # ONNX Runtime then reads behind the tensor's end.
        raise builder.fail(node, "with mode 'wrap' and pads that are negative or longer than their axis")
    places = np.arange(math.prod(full)).reshape(full)
    around = [(max(0, before), max(0, behind)) for before, behind in pads]
    options: Any = {"constant_values": -1} if mode == "constant" else {"mode": mode}
    builder.spend(node, math.prod(n + sum(pair) for n, pair in zip(full, around, strict=True)))
    cut = tuple(
        slice(max(0, -before), n + sum(grown) - max(0, -behind))
        for n, (before, behind), grown in zip(full, pads, around, strict=True)
    )
    places = np.pad(places, around, **options)[cut]
    outside = places.ravel() < 0
    if value == 0 or not outside.any():
        builder.pick(output, node.input[0], places.ravel(), places.shape)
        return
    zeros = builder.fresh(f"{output}/zeros")
    builder.pick(zeros, node.input[0], places.ravel(), places.shape)
    affine(builder, output, zeros, np.ones(()), value * outside.reshape(places.shape), places.shape)


def _pads(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], full: Shape
) -> list[tuple[int, int]]:
    """Pads (before, behind) of every axis."""
    given = list(attributes.get("pads", ()))
    axes = list(range(len(full)))
    if len(node.input) > 1:
        names = [node.input[1], *(name for name in node.input[3:4] if name)]
        if any(name not in builder.constants for name in names):
            raise builder.fail(node, "by variable sizes")
        given = builder.constants[names[0]].ravel().tolist()
        if len(names) > 1:
            axes = [range(len(full))[axis] for axis in builder.constants[names[1]].ravel().tolist()]
    pads = [(0, 0)] * len(full)
    for number, axis in enumerate(axes):
        pads[axis] = (given[number], given[number + len(axes)])
    return pads


def _padded_with(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> float:
    if len(node.input) > 2 and node.input[2]:
        if node.input[2] not in builder.constants:
            raise builder.fail(node, "with a variable value")
        return float(builder.constants[node.input[2]].ravel()[0])
    return float(attributes.get("value", 0.0))


def _as_convolution(builder: GraphBuilder, node: onnx.NodeProto, pads: list[tuple[int, int]]) -> None:
    """Zeros around an image: a kernel of one 1 with padding."""
    output, (source, signal) = node.output[0], opened(builder, node)
    channels, height, width = builder.shapes[source]
    (top, bottom), (left, right) = [(0, 0), pads[2]] if signal else pads[2:]
    around, image = (top, left, bottom, right), inner(builder, output, signal)
    ones, none = np.ones((channels, 1, 1, 1), np.float32), np.zeros(channels, np.float32)
    shape = (channels, height + top + bottom, width + left + right)
    builder.emit(image, Conv(ones, none, pads=around, groups=channels), (source,), shape)
    builder.padded[image] = (source, around)
    closed(builder, output, image, signal)


def resize(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Resize and Upsample to the nearest entry; by whole factors of an image as a transposed convolution."""
    full, target = builder.known(node, node.input[0]), builder.types.shapes.get(node.output[0])
    mode, policy = attributes.get("mode", b"nearest"), attributes.get("keep_aspect_ratio_policy", b"stretch")
    if target is None or len(target) != len(full) or math.prod(target) > MOST_ENTRIES:
        raise builder.fail(node, f"from {full} to {target}")
    if mode != b"nearest" or policy != b"stretch":
        raise builder.fail(node, f"with mode {mode.decode()!r:.40} and policy {policy.decode()!r:.40}")
    factors = _factors(builder, node, attributes, full, target)
    found = [_nearest(builder, node, attributes, *axis) for axis in zip(full, target, factors, strict=True)]
    if target == full:
        found = [np.arange(size) for size in full]  # copied whatever the factors say, as where it is run
    times = [new // old for old, new in zip(full, target, strict=True)]
    whole = all((axis == np.arange(len(axis)) // n).all() for axis, n in zip(found, times, strict=True) if n)
    if whole and 0 not in times and len(full) in (3, 4) and full[0] == target[0] == 1 and times[1] == 1:
        output, (source, signal) = node.output[0], opened(builder, node)
        channels, height, width = builder.shapes[source]
        down, across = (1, times[2]) if signal else times[2:]
        operator = ConvTranspose(
            np.ones((channels, 1, down, across), np.float32), (down, across), groups=channels
        )
        image = inner(builder, output, signal)
        builder.emit(image, operator, (source,), (channels, height * down, width * across))
        closed(builder, output, image, signal)
        return
    places = np.arange(math.prod(full)).reshape(full)[np.ix_(*found)]
    builder.pick(node.output[0], node.input[0], places.ravel(), target)


def _factors(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], full: Shape, target: Shape
) -> list[float]:
    """By how much each axis grows: as given, else from the sizes."""
    last = node.input[2] if node.op_type == "Resize" and len(node.input) > 2 else node.input[-1]
    given = attributes.get("scales", [])
    if last in builder.constants and builder.constants[last].size:
        given = builder.constants[last].ravel().tolist()
    axes = attributes.get("axes", range(len(full)))
    factors = [new / old for old, new in zip(full, target, strict=True)]
    if len(given) == len(axes) and (len(node.input) < 4 or not node.input[3]):
        for axis, factor in zip(axes, given, strict=True):
            factors[axis] = float(factor)
    return factors


def _nearest(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], old: int, new: int, factor: float
) -> Any:
    """Where each of the `new` entries of an axis comes from, of `old`: in single precision, as it is run."""
    default = b"asymmetric" if node.op_type == "Upsample" or len(node.input) < 3 else b"half_pixel"
    way = attributes.get("coordinate_transformation_mode", default)
    at: Any = np.arange(new, dtype=np.float32)
    seen: Any
    half, ratio = np.float32(0.5), np.float32(factor)
    match way:
        case b"asymmetric":
            seen = at / ratio
        case b"half_pixel":
            seen = (at + half) / ratio - half
        case b"pytorch_half_pixel":
            seen = (at + half) / ratio - half if new > 1 else np.zeros(1)
        case b"align_corners":
            seen = at * np.float32(old - 1) / np.float32(new - 1) if new > 1 else np.zeros(1)
        case _:
            raise builder.fail(node, f"with coordinates {way!r:.40}")
    rounding = b"floor" if default == b"asymmetric" else b"round_prefer_floor"
    if default == b"asymmetric" and factor < 1:
        rounding = b"ceil"  # of what operator set 10 leaves open, as ONNX Runtime has it
    match attributes.get("nearest_mode", rounding):
        case b"round_prefer_floor":
            found = np.ceil(seen - half)
        case b"round_prefer_ceil":
            found = np.floor(seen + half)
        case b"floor":
            found = np.floor(seen)
        case b"ceil":
            found = np.ceil(seen)
        case other:
            raise builder.fail(node, f"with nearest_mode {other!r:.40}")
    return np.clip(found, 0, old - 1).astype(np.intp)


def depth_to_space(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Blocks of channels become blocks of places."""
    (_, channels, height, width), block = _image_shape(builder, node), attributes["blocksize"]
    rest = channels // block**2
    full = (1, rest, height * block, width * block)
    if attributes.get("mode", b"DCR") == b"DCR":
        sizes, axes = (block, block, rest, height, width), (2, 3, 0, 4, 1)
    else:
        sizes, axes = (rest, block, block, height, width), (0, 3, 1, 4, 2)
    builder.rearrange(node.output[0], node.input[0], sizes, axes, full)


def space_to_depth(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Blocks of places become blocks of channels."""
    (_, channels, height, width), block = _image_shape(builder, node), attributes["blocksize"]
    sizes = (channels, height // block, block, width // block, block)
    full = (1, channels * block**2, height // block, width // block)
    builder.rearrange(node.output[0], node.input[0], sizes, (2, 4, 0, 1, 3), full)


def _image_shape(builder: GraphBuilder, node: onnx.NodeProto) -> Shape:
    full = builder.known(node, node.input[0])
    if len(full) != 4 or full[0] != 1:
        raise builder.fail(node, f"on shape {full}")
    return full


RULES: dict[str, Rule] = {
    "Pad": pad, "Resize": resize, "Upsample": resize, "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}  # fmt: skip
