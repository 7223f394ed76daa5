"""Operators of the ONNX reader that move, pick, add up or compare entries of one tensor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.fold import positions
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.matrices import MOST_DENSE
from salver.nets.onnx.types import without_batch
from salver.nets.onnx.windows import average
from salver.nets.operators import Conv, Reshape, held

LAYOUT = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
RENAMED = frozenset(("Dropout", "Identity"))
PICKS = frozenset(("Expand", "Gather", "GatherElements", "GatherND", "Slice", "Split", "Tile"))


def laid_out(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
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


def picked(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Operators whose every output entry is an entry of the first input; the others must be constant."""
    source = node.input[0]
    if any(name and name not in builder.constants for name in node.input[1:]):
        raise builder.fail(node, "by variable indices or sizes")
    full = builder.known(node, source)
    found = positions(node, source, full, builder.constants, builder.types, builder.fail)
    for name, places in found.items():
        if places.size:
            builder.pick(name, source, places, builder.types.shapes[name])


def transposed(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Transpose."""
    full = builder.known(node, node.input[0])
    axes = attributes.get("perm", list(range(len(full)))[::-1])
    builder.rearrange(node.output[0], node.input[0], full, axes, tuple(full[axis] for axis in axes))


def reduced(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """ReduceSum and ReduceMean over fixed axes; the mean of images over height and width is a convolution."""
    output, source = node.output[0], node.input[0]
    full, target = builder.known(node, source), builder.types.shapes.get(output)
    axes = axes_of(builder, node, attributes, len(full))
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
    if math.prod(target) * math.prod(full) > MOST_DENSE:
        _summed(builder, output, source, axes, mean)
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


def _summed(builder: GraphBuilder, output: str, source: str, axes: tuple[int, ...], mean: bool) -> None:
    """Sums or means as a convolution whose window is all that is added up."""
    full, target = builder.types.shapes[source], builder.types.shapes[output]
    kept = [axis for axis in range(len(full)) if axis not in axes]
    count, rest = math.prod(full) // math.prod(target), math.prod(target)
    rows, total = builder.fresh(f"{output}/rows"), builder.fresh(f"{output}/sums")
    builder.rearrange(rows, source, full, [*kept, *axes], (1, 1, rest, count))
    weight = held(np.full((1, 1, 1, count), 1.0 / count if mean else 1.0))
    builder.emit(total, Conv(weight, np.zeros(1, np.float32)), (rows,), (1, rest, 1))
    builder.emit(output, Reshape(), (total,), without_batch(target))


def axes_of(
    builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], rank: int
) -> tuple[int, ...]:
    """Axes of a reduction, an attribute or an input; all of `rank` where none are named."""
    axes = attributes.get("axes", [])
    if len(node.input) > 1 and node.input[1]:
        if node.input[1] not in builder.constants:
            raise builder.fail(node, "over variable axes")
        axes = np.ravel(builder.constants[node.input[1]]).tolist()
    if not len(axes) and not attributes.get("noop_with_empty_axes", 0):
        return tuple(range(rank))
    return tuple(sorted(range(rank)[axis] for axis in axes))


def renamed(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Identity and Dropout, of booleans too."""
    source, output = node.input[0], node.output[0]
    training = node.input[2] if len(node.input) > 2 else ""
    if training and (training not in builder.constants or builder.constants[training].any()):
        raise builder.fail(node, "in training mode")
    if source in builder.truths:
        builder.truths[output] = builder.truths[source]
    else:
        builder.alias[output] = builder.tensor(source)


RULES: dict[str, Rule] = {
    **dict.fromkeys(LAYOUT, laid_out), **dict.fromkeys(PICKS, picked), **dict.fromkeys(RENAMED, renamed),
    "ReduceMean": reduced, "ReduceSum": reduced, "Transpose": transposed,
}  # fmt: skip
