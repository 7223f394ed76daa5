"""Sums, differences, products and concatenations in the ONNX reader, with the broadcasting of the file."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.operators import Add, Mul, Operator, Shape, Sub


def combined(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Add, Sub, Mul and Div. Raises: SalverError: Div by a variable or by zero."""
    output, (left, right) = node.output[0], node.input
    full = builder.types.shapes.get(output)
    if full is None:
        raise builder.fail(node, "of shapes that do not fit or are not fixed")
    if left in builder.constants or right in builder.constants:
        _with_constant(builder, node, full)
        return
    if node.op_type == "Div":
        raise builder.fail(node, "by a variable")
    combine(
        builder, output, _OPERATORS[node.op_type], *(builder.spread(node, name, full) for name in node.input)
    )


def combine(builder: GraphBuilder, output: str, operator: Operator, left: str, right: str) -> None:
    """Emits an elementwise operator on two tensors of equally many entries."""
    if builder.shapes[left] != builder.shapes[right]:
        left, right = builder.flat(left), builder.flat(right)
    builder.emit(output, operator, (left, right), builder.shapes[left])


def _with_constant(builder: GraphBuilder, node: onnx.NodeProto, full: Shape) -> None:
    left, right = node.input
    reverse = left in builder.constants
    constant = builder.constants[left if reverse else right].astype(np.float64)
    source = builder.spread(node, right if reverse else left, full)
    if node.op_type == "Div" and (reverse or (constant == 0).any()):
        raise builder.fail(node, "by a variable or by zero")
    parts = scale_and_shift(node.op_type, constant, reverse)
    affine(builder, node.output[0], source, *parts, full)


def affine(builder: GraphBuilder, output: str, source: str, scale: Any, shift: Any, full: Shape) -> None:
    """Emits scale * source + shift, where both broadcast to the full shape of the tensor."""
    shape = builder.shapes[source]
    factor, offset = (np.broadcast_to(part, full).reshape(shape) for part in (scale, shift))
    builder.scale(output, source, factor, offset)


def subtract(builder: GraphBuilder, output: str, first: Any, second: Any, full: Shape) -> None:
    """Emits first - second, each a tensor's name or a constant of the full shape, not both constants."""
    if isinstance(first, str) and isinstance(second, str):
        combine(builder, output, Sub(), first, second)
    elif isinstance(first, str):
        affine(builder, output, first, np.ones(()), -second, full)
    else:
        affine(builder, output, second, -np.ones(()), first, full)


def negated(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Neg."""
    builder.scale(node.output[0], builder.tensor(node.input[0]), np.float32(-1), np.float32(0))


def concatenated(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """Concat along any axis: the parts one after the other, then in the order of the result."""
    output = node.output[0]
    shapes = [builder.known(node, name) for name in node.input]
    axis = range(len(shapes[0]))[attributes["axis"]]
    full = builder.types.shapes.get(output)
    sizes = [math.prod(shape) for shape in shapes]
    if full is None or math.prod(full) != sum(sizes):
        raise builder.fail(node, "of shapes that do not fit or are not fixed")
    sources = tuple(_part(builder, name) for name in node.input)
    if math.prod(full[:axis]) == 1 and len(full) <= 2:
        builder.join(output, sources)
        return
    joined = builder.fresh(f"{output}/parts")
    builder.join(joined, sources)
    starts = np.cumsum([0, *sizes[:-1]])
    places = [
        start + np.arange(size).reshape(s) for start, size, s in zip(starts, sizes, shapes, strict=True)
    ]
    builder.pick(output, joined, np.concatenate(places, axis=axis).ravel(), full)


def _part(builder: GraphBuilder, name: str) -> str:
    return builder.fixed(name) if name in builder.constants else builder.flat(name)


def scale_and_shift(kind: str, constant: Any, reverse: bool) -> tuple[Any, Any]:
    """`x kind constant`, or with `reverse` `constant kind x`, as scale * x + shift."""
    one, zero = np.ones(()), np.zeros(())
    if kind == "Add":
        return one, constant
    if kind == "Sub":
        return (-one, constant) if reverse else (one, -constant)
    return (constant, zero) if kind == "Mul" else (1.0 / constant, zero)


_OPERATORS: dict[str, Operator] = {"Add": Add(), "Sub": Sub(), "Mul": Mul()}
RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Div", "Mul", "Sub"), combined), "Neg": negated, "Concat": concatenated,
}  # fmt: skip
