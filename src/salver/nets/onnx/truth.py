"""Comparisons, booleans and choices in the ONNX reader, as masks Relu(Sign(z)) = 1[z > 0].

x > y is the mask of z = x - y, whose sign is exact in floating point as well; x = y is neither x > y nor
y > x; a choice between a and b is b + mask * (a - b).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from salver.nets.network import extend_ranges
from salver.nets.onnx.arithmetic import affine, combine, subtract
from salver.nets.onnx.graph import BooleanTensor, GraphBuilder, Rule
from salver.nets.operators import Add, Mul, Relu, Shape, Sign, Sub

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
WHOLE = (TensorProto.INT64, TensorProto.INT32)
MOST_STEPS = 4096
"""Masks of one staircase."""
_LARGEST = 1 << 20
Builder = GraphBuilder
Node = onnx.NodeProto


def compared(builder: Builder, node: Node, attributes: dict[str, Any]) -> None:
    """Greater, Less, GreaterOrEqual, LessOrEqual and Equal of real tensors."""
    kind, output = node.op_type, node.output[0]
    swapped = kind in ("Less", "GreaterOrEqual")
    operands = node.input[::-1] if swapped else node.input
    above = _difference(builder, node, builder.fresh(f"{output}/above"), *operands)
    truth = BooleanTensor(0, ((1, above),))
    if kind == "Equal":
        truth = _unequal(builder, above).negated()
    elif kind.endswith("OrEqual"):
        truth = truth.negated()
    builder.truths[output] = truth


def inverted(builder: Builder, node: Node, attributes: dict[str, Any]) -> None:
    """Not."""
    builder.truths[node.output[0]] = _truth(builder, node, node.input[0]).negated()


def cast(builder: Builder, node: Node, attributes: dict[str, Any]) -> None:
    """Cast between real types, from real to boolean (whether not 0) or whole (towards 0), and back."""
    source, output, target = node.input[0], node.output[0], attributes["to"]
    if source in builder.truths:
        if target not in _FLOATS:
            raise builder.fail(node, "of a boolean to another type than float32 or float64")
        _number(builder, node, output, builder.truths[source])
    elif builder.types.elements.get(source) in WHOLE and target in _FLOATS:
        builder.alias[output] = builder.tensor(source)
    elif builder.types.elements.get(source) not in _FLOATS:
        raise builder.fail(node, "of a variable that is not real")
    elif target == TensorProto.BOOL:
        builder.truths[output] = _unequal(builder, builder.tensor(source))
    elif target in _FLOATS:
        builder.alias[output] = builder.tensor(source)
    elif target in WHOLE and builder.ranges:
        _whole(builder, node, output, builder.tensor(source))
    else:
        raise builder.fail(node, "to another type than float32, float64 or bool")


def chosen(builder: Builder, node: Node, attributes: dict[str, Any]) -> None:
    """Where."""
    condition, left, right = node.input
    output = node.output[0]
    full = builder.types.shapes.get(output)
    if full is None or builder.types.elements.get(output) not in _FLOATS:
        raise builder.fail(node, "of shapes that are not fixed or values that are not real")
    if condition in builder.constants:
        _chosen_by_constant(builder, node, full)
        return
    truth = _truth(builder, node, condition)
    total: str | Any = _operand(builder, node, left if truth.constant else right, full)
    for number, (sign, above) in enumerate(truth.parts):
        mask = _spread_mask(builder, node, condition, above, full)
        name = output if number + 1 == len(truth.parts) else builder.fresh(f"{output}/sum{number}")
        first, second = (left, right) if sign > 0 else (right, left)
        product = _gated(builder, node, builder.fresh(f"{name}/gate"), mask, (first, second), full)
        if isinstance(total, str):
            combine(builder, name, Add(), total, product)
        else:
            affine(builder, name, product, np.ones(()), total, full)
        total = name


def _gated(builder: Builder, node: Node, name: str, mask: str, operands: tuple[str, str], full: Shape) -> str:
    """mask * (first - second)."""
    first, second = (_operand(builder, node, operand, full) for operand in operands)
    if not isinstance(first, str) and not isinstance(second, str):
        affine(builder, name, mask, first - second, np.zeros(()), full)
        return name
    difference = builder.fresh(f"{name}/difference")
    subtract(builder, difference, first, second, full)
    combine(builder, name, Mul(), mask, difference)
    return name


def _chosen_by_constant(builder: Builder, node: Node, full: Shape) -> None:
    condition, left, right = node.input
    first, second = (_operand(builder, node, name, full) for name in (left, right))
    share = np.broadcast_to(builder.constants[condition], full).astype(np.float64)
    output = node.output[0]
    if isinstance(first, str) and isinstance(second, str):
        names = [builder.fresh(f"{output}/{which}") for which in ("first", "second")]
        affine(builder, names[0], first, share, np.zeros(()), full)
        affine(builder, names[1], second, 1.0 - share, np.zeros(()), full)
        combine(builder, output, Add(), *names)
    elif isinstance(first, str):
        affine(builder, output, first, share, (1.0 - share) * second, full)
    else:
        affine(builder, output, second, 1.0 - share, share * first, full)


def _whole(builder: Builder, node: Node, output: str, source: str) -> None:
    """Rounding towards 0, as a staircase over the range that the source has on the query's box."""
    extend_ranges(builder.ranges, builder.nodes, builder.shapes)
    low, high = builder.ranges[source]
    first, last = math.floor(low.min()), math.ceil(high.max())
    if not -_LARGEST <= first <= last <= _LARGEST or (last - first) * len(low) > MOST_STEPS:
        raise builder.fail(node, f"to whole numbers, of a range from {first:.3g} to {last:.3g} at most,")
    total = ""
    one, base = np.float32(1), np.float32(first)
    for step in [s for s in range(first, last + 1) if s > max(first, 0) or s < min(last, 0)]:
        above, name = (builder.fresh(f"{output}/{which}{step}") for which in ("step", "sum"))
        # Up to 0 a step is climbed right after its edge, beyond 0 right on it.
        builder.scale(above, source, -one if step > 0 else one, np.float32(abs(step)))
        mask = _mask(builder, above)
        if not total:
            builder.scale(name, mask, *((-one, base + one) if step > 0 else (one, base)))
        elif step > 0:
            climbed = builder.fresh(f"{name}/climbed")
            builder.scale(climbed, mask, -one, one)
            combine(builder, name, Add(), total, climbed)
        else:
            combine(builder, name, Add(), total, mask)
        total = name
    if total:
        builder.alias[output] = total
    else:
        builder.scale(output, source, np.float32(0), base)


def _operand(builder: Builder, node: Node, name: str, full: Shape) -> Any:
    """A tensor broadcast to the full shape: its name, or its value in float64 if it is constant."""
    if name in builder.constants:
        return np.broadcast_to(_exact(builder, node, name), full)
    return builder.spread(node, name, full)


def _exact(builder: Builder, node: Node, name: str) -> Any:
    value = builder.constants[name]
    if value.dtype.kind != "f":
        raise builder.fail(node, f"with values of {name!r} that are no real numbers,")
    return value.astype(np.float64)


def _difference(builder: Builder, node: Node, name: str, left: str, right: str) -> str:
    full = builder.types.shapes.get(node.output[0])
    if full is None or any(
        builder.types.elements.get(x) not in _FLOATS for x in node.input if x not in builder.constants
    ):
        raise builder.fail(node, "of shapes that are not fixed or values that are not real")
    first, second = (_operand(builder, node, operand, full) for operand in (left, right))
    subtract(builder, name, first, second, full)
    return name


def _unequal(builder: Builder, source: str) -> BooleanTensor:
    """Whether a tensor is not 0."""
    minus = (np.float32(-1), np.float32(0))
    below = builder.once(source, "negated", make=lambda name: builder.scale(name, source, *minus))
    return BooleanTensor(0, ((1, source), (1, below)))


def _truth(builder: Builder, node: Node, name: str) -> BooleanTensor:
    if name not in builder.truths:
        raise builder.fail(node, f"on {name!r}, which is no comparison,")
    return builder.truths[name]


def _number(builder: Builder, node: Node, output: str, truth: BooleanTensor) -> None:
    if truth.constant == 0 and len(truth.parts) == 1:
        builder.alias[output] = _mask(builder, truth.parts[0][1])
        return
    total, shift = "", np.float32(truth.constant)
    for number, (sign, above) in enumerate(truth.parts):
        name = output if number + 1 == len(truth.parts) else builder.fresh(f"{output}/sum{number}")
        mask = _mask(builder, above)
        if total:
            combine(builder, name, Add() if sign > 0 else Sub(), total, mask)
        else:
            builder.scale(name, mask, np.float32(sign), shift)
        total = name


def _spread_mask(builder: Builder, node: Node, condition: str, above: str, full: Shape) -> str:
    """The mask of z, where the condition's z is first broadcast to the full shape."""
    own = builder.known(node, condition)
    places = np.broadcast_to(np.arange(np.prod(own, dtype=int)).reshape(own), full).ravel()
    if len(places) == np.prod(own, dtype=int):
        return _mask(builder, above)
    kind = f"spread{list(own)}{list(full)}"
    wide = builder.once(above, kind, make=lambda name: builder.pick(name, above, places, full))
    return _mask(builder, wide)


def _mask(builder: Builder, above: str) -> str:
    shape = builder.shapes[above]
    sign = builder.once(above, "sign", make=lambda name: builder.emit(name, Sign(), (above,), shape))
    return builder.once(above, "mask", make=lambda name: builder.emit(name, Relu(), (sign,), shape))


RULES: dict[str, Rule] = {
    "Greater": compared, "GreaterOrEqual": compared, "Less": compared, "LessOrEqual": compared,
    "Equal": compared, "Not": inverted, "Where": chosen, "Cast": cast,
}  # fmt: skip
