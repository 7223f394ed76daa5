"""Piecewise linear operators of the ONNX reader, written with ReLUs, which every solver and gradient knows.

Each form has, with ReLU'(0) = 0, the derivative at its kinks that PyTorch gives to the module that is
exported to the operator; `docs/networks.md` lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.arithmetic import affine, combine, subtract
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.layout import axes_of
from salver.nets.onnx.types import without_batch
from salver.nets.operators import Add, Relu, Reshape, Shape

UNBOUNDED = 1e38
"""Bounds of a Clip from here on are none: exporters write the largest number of a type."""
WIDE = 100.0
"""Bounds beyond which a Clip is that of clamp: h - (h - l - ...) would round x by what h and l round."""
Operand = str | Any
"""A tensor by its name, or a constant array, of the full shape or of one entry without axes."""


def leaky_relu(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """slope * x + (1 - slope) * Relu(x), with derivative `slope` at 0."""
    _leaky(builder, node, np.float64(attributes.get("alpha", np.float32(0.01))))


def prelu(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """The same with a slope for every entry."""
    if node.input[1] not in builder.constants:
        raise builder.fail(node, "with a variable slope")
    _leaky(builder, node, builder.constants[node.input[1]].astype(np.float64))


def _leaky(builder: GraphBuilder, node: onnx.NodeProto, slope: Any) -> None:
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    output = node.output[0]
    slopes, positive = np.broadcast_to(slope, full), _relu(builder, source)
    parts = [builder.fresh(f"{output}/{part}") for part in ("all", "positive")]
    affine(builder, parts[0], source, slopes, np.zeros(()), full)
    affine(builder, parts[1], positive, 1.0 - slopes, np.zeros(()), full)
    combine(builder, output, Add(), parts[0], parts[1])


def thresholded_relu(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Relu(x) for the threshold 0; it jumps at any other."""
    if attributes.get("alpha", 1.0) != 0.0:
        raise builder.fail(node, "with a threshold other than 0")
    builder.emit(node.output[0], Relu(), (source := builder.tensor(node.input[0]),), builder.shapes[source])


def clip(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Between two bounds as ReLU6 and Hardtanh, with derivative 0 at both; one as clamp, with 1 at it.

    So are two that are wide.
    """
    source, output = builder.tensor(node.input[0]), node.output[0]
    low, high = (_bound(builder, node, attributes, place) for place in (1, 2))
    if low is None and high is None:
        builder.alias[output] = source
    elif low is not None and high is not None and max(abs(low), abs(high)) <= WIDE:
        _between(builder, output, source, low, high)
    elif low is not None and high is not None:
        above = builder.fresh(f"{output}/above")
        _limited(builder, above, source, low, 1.0)
        _limited(builder, output, above, high, -1.0)
    elif low is not None:
        _limited(builder, output, source, low, 1.0)
    else:
        _limited(builder, output, source, high, -1.0)


def _bound(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any], place: int) -> Any:
    """A bound of a Clip: an attribute up to operator set 10, then an input; None for none."""
    name, found = ("min", "max")[place - 1], None
    if name in attributes:
        found = np.float64(attributes[name])
    elif len(node.input) > place and node.input[place]:
        if node.input[place] not in builder.constants:
            raise builder.fail(node, "with a variable bound")
        found = np.float64(np.ravel(builder.constants[node.input[place]])[0])
    far = UNBOUNDED if name == "max" else -UNBOUNDED
    return None if found is None or found / far >= 1.0 else found


def _between(builder: GraphBuilder, output: str, source: str, low: Any, high: Any) -> None:
    """high - Relu(high - low - Relu(x - low))."""
    above = _relu(builder, _shifted(builder, f"{output}/above", source, 1.0, -low))
    below = _relu(builder, _shifted(builder, f"{output}/below", above, -1.0, high - low))
    builder.scale(output, below, np.float64(-1.0), high)


def _limited(builder: GraphBuilder, output: str, source: str, bound: Any, sign: float) -> None:
    """x + sign * Relu(sign * (bound - x)): the larger of x and the bound for 1, the smaller for -1."""
    short = _relu(builder, _shifted(builder, f"{output}/short", source, -sign, sign * bound))
    signed = short if sign > 0 else _shifted(builder, f"{output}/more", short, -1.0, 0.0)
    combine(builder, output, Add(), source, signed)


def hard_sigmoid(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """slope * x + shift between 0 and 1, with derivative 0 where it reaches them."""
    slope, shift = (np.float64(attributes.get(k, np.float32(v))) for k, v in (("alpha", 0.2), ("beta", 0.5)))
    source, output = builder.tensor(node.input[0]), node.output[0]
    line = _shifted(builder, f"{output}/line", source, slope, shift)
    _between(builder, output, line, np.float64(0.0), np.float64(1.0))


def extreme(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Max and Min, one operand after the other.

    A constant of one entry is a bound as of clamp, with derivative 1 at it; else a tie gives 1/2 to each.
    """
    sign = 1.0 if node.op_type == "Max" else -1.0
    _folded(builder, node, lambda name, left, right, full: _larger(builder, name, left, right, full, sign))


def _larger(
    builder: GraphBuilder, name: str, left: Operand, right: Operand, full: Shape, sign: float
) -> None:
    variable, other = (left, right) if isinstance(left, str) else (right, left)
    if not isinstance(other, str) and other.size == 1:
        _limited(builder, name, variable, other, sign)
        return
    difference = builder.fresh(f"{name}/difference")
    subtract(builder, difference, left, right, full)
    total, half = builder.fresh(f"{name}/sum"), builder.fresh(f"{name}/half")
    _added(builder, total, left, right, full)
    builder.scale(half, total, np.float64(0.5), np.float64(0.0))
    apart = builder.fresh(f"{name}/apart")
    minus = _shifted(builder, f"{name}/minus", difference, -1.0, 0.0)
    combine(builder, apart, Add(), _relu(builder, difference), _relu(builder, minus))
    combine(builder, name, Add(), half, _shifted(builder, f"{name}/more", apart, sign / 2, 0.0))


def summed(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Sum and Mean of several tensors."""
    output, count = node.output[0], len(node.input)
    mean = node.op_type == "Mean" and count > 1
    total = builder.fresh(f"{output}/sum") if mean else output
    _folded(builder, node, lambda *parts: _added(builder, *parts), total)
    if mean:
        builder.scale(output, total, np.float64(1.0 / count), np.float64(0.0))


def _added(builder: GraphBuilder, name: str, left: Operand, right: Operand, full: Shape) -> None:
    if isinstance(left, str) and isinstance(right, str):
        combine(builder, name, Add(), left, right)
        return
    variable, other = (left, right) if isinstance(left, str) else (right, left)
    affine(builder, name, variable, np.ones(()), other, full)


Join = Callable[[str, Operand, Operand, Shape], None]
"""Emits a tensor of the full shape from two operands, of which one at least is a tensor."""


def _folded(builder: GraphBuilder, node: onnx.NodeProto, join: Join, output: str = "") -> None:
    """Emits operands of one node joined one after the other; constants come last."""
    output, full = output or node.output[0], builder.types.shapes.get(node.output[0])
    if full is None:
        raise builder.fail(node, "of shapes that do not fit or are not fixed")
    names = sorted(node.input, key=lambda name: name in builder.constants)
    parts = [_operand(builder, node, name, full) for name in names]
    if len(parts) == 1:
        builder.alias[output] = parts[0]
        return

    def joined(left: Operand, right: tuple[int, Operand]) -> str:
        number, part = right
        name = output if number == len(parts) - 1 else builder.fresh(f"{output}/of{number + 1}")
        join(name, left, part, full)
        return name

    reduce(joined, enumerate(parts[1:], 1), parts[0])


def _operand(builder: GraphBuilder, node: onnx.NodeProto, name: str, full: Shape) -> Operand:
    if name in builder.constants:
        value = builder.constants[name].astype(np.float64)
        return value.reshape(()) if value.size == 1 else np.broadcast_to(value, full)
    return builder.spread(node, name, full)


def reduced_extreme(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """ReduceMax and ReduceMin over fixed axes, by halves: of two entries that tie each has half."""
    output, full = node.output[0], builder.known(node, node.input[0])
    axes, target = axes_of(builder, node, attributes, len(full)), builder.types.shapes.get(output)
    if target is None:
        raise builder.fail(node, f"over axes {axes} of {full}")
    sign = 1.0 if node.op_type == "ReduceMax" else -1.0
    kept = [axis for axis in range(len(full)) if axis not in axes]
    count, rest = (math.prod(full[axis] for axis in part) for part in (axes, kept))
    source = builder.fresh(f"{output}/first")
    builder.rearrange(source, node.input[0], full, [*axes, *kept], (1, count * rest))
    number = 0
    while count > 1:
        half, odd = divmod(count, 2)
        names = [builder.fresh(f"{output}/{part}{number}") for part in ("left", "right", "most", "odd")]
        for place, name in enumerate(names[:2]):
            places = np.arange(place * half * rest, (place + 1) * half * rest)
            builder.pick(name, source, places, (1, half * rest))
        _larger(builder, names[2], names[0], names[1], (1, half * rest), sign)
        if odd:
            builder.pick(names[3], source, np.arange(2 * half * rest, count * rest), (1, rest))
            joined = builder.fresh(f"{output}/joined{number}")
            builder.join(joined, (names[2], names[3]))
        source, count, number = joined if odd else names[2], half + odd, number + 1
    builder.emit(output, Reshape(), (source,), without_batch(target))


def _relu(builder: GraphBuilder, source: str) -> str:
    shape = builder.shapes[source]
    return builder.once(source, "relu", make=lambda name: builder.emit(name, Relu(), (source,), shape))


def _shifted(builder: GraphBuilder, wanted: str, source: str, factor: Any, shift: Any) -> str:
    """factor * source + shift under a fresh name; the source itself where that is the same."""
    if factor == 1.0 and shift == 0.0:
        return source
    name = builder.fresh(wanted)
    builder.scale(name, source, np.float64(factor), np.float64(shift))
    return name


RULES: dict[str, Rule] = {
    "LeakyRelu": leaky_relu, "PRelu": prelu, "ThresholdedRelu": thresholded_relu, "Clip": clip,
    "HardSigmoid": hard_sigmoid, "Max": extreme, "Min": extreme, "Sum": summed, "Mean": summed,
    "ReduceMax": reduced_extreme, "ReduceMin": reduced_extreme,
}  # fmt: skip
