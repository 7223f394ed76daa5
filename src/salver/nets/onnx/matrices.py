"""ONNX operators that are one matrix or one factor an entry: dense layers and batch normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.arithmetic import affine, combine
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.types import without_batch
from salver.nets.operators import Add, Conv, Linear, Reshape, Shape, held

MOST_DENSE = 1 << 16
"""Entries of a matrix for several rows, above which they are gone over by a convolution."""


def gemm(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """alpha * A' B' + beta * C, of which A or B is constant; C is a constant or a tensor, or left out."""
    output, full = node.output[0], builder.types.shapes.get(node.output[0])
    if full is None:
        raise builder.fail(node, "of shapes that do not fit or are not fixed")
    left, right = (_turned(builder, node, place, attributes) for place in (0, 1))
    alpha, beta = (np.float64(attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    added = node.input[2] if len(node.input) > 2 else ""
    if added in builder.constants and not builder.constants[added].size:
        added = ""
    bias: Any = None
    if added in builder.constants:
        bias = np.broadcast_to(builder.constants[added] * beta, full).ravel()
    varies = bool(added) and bias is None
    product = builder.fresh(f"{output}/product") if varies else output
    _product(builder, node, product, left, right, full, alpha, bias)
    if varies:
        other, scaled = builder.spread(node, added, full), builder.fresh(f"{output}/added")
        builder.scale(scaled, other, beta, np.float64(0.0))
        combine(builder, output, Add(), product, scaled)


def _turned(builder: GraphBuilder, node: onnx.NodeProto, place: int, attributes: dict[str, Any]) -> Factor:
    """A factor of a Gemm, transposed where its attribute says so."""
    name, turned = node.input[place], attributes.get(("transA", "transB")[place], 0)
    if name in builder.constants:
        value = builder.constants[name]
        return value.T if turned else value
    full = builder.known(node, name)
    if not turned:
        return name, full
    made = builder.fresh(f"{node.output[0]}/turned{place}")
    builder.rearrange(made, name, full, (1, 0), full[::-1])
    return made, full[::-1]


def matmul(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """MatMul with a constant of any rank on either side."""
    full = builder.types.shapes.get(node.output[0])
    if full is None:
        raise builder.fail(node, "of shapes that do not fit or are not fixed")
    left, right = (
        builder.constants[name] if name in builder.constants else (name, builder.known(node, name))
        for name in node.input
    )
    _product(builder, node, node.output[0], left, right, full)


Factor = Any
"""A constant array, or the name of a tensor with its full shape."""


def _product(
    builder: GraphBuilder,
    node: onnx.NodeProto,
    output: str,
    left: Factor,
    right: Factor,
    full: Shape,
    alpha: Any = 1.0,
    bias: Any = None,
) -> None:
    """Emits alpha * left @ right + bias, of full shape `full`; one factor is constant."""
    if isinstance(left, tuple) == isinstance(right, tuple):
        raise builder.fail(node, f"of two {'variable' if isinstance(left, tuple) else 'constant'} tensors")
    first = isinstance(right, tuple)
    name, own = right if first else left
    weight = left if first else right
    weight = weight if alpha == 1.0 else weight * np.float64(alpha)
    while weight.ndim > 2 and len(weight) == 1:
        weight = weight[0]
    source, size, count = builder.flat(name), math.prod(own), math.prod(full)
    if not first and weight.ndim == 2 and size == len(weight):
        matrix = weight.T
    elif weight.ndim == 2 and size * count > MOST_DENSE and (not first or math.prod(own[:-2]) == 1):
        _convolved(builder, output, builder.tensor(name), weight, first, full, bias)
        return
    else:
        builder.spend(node, size * count)
        each = np.eye(size, dtype=weight.dtype).reshape(size, *own)
        # Rank 1 is a row on the left and a column on the right, and the entries are the first axis.
        if first:
            matrix = np.matmul(weight, each[..., None] if len(own) == 1 else each)
        else:
            matrix = np.matmul(each[:, None] if len(own) == 1 else each, weight)
        matrix = matrix.reshape(size, count).T
    _affine(
        builder, node, output, source, matrix, np.zeros(count, np.float32) if bias is None else bias, full
    )


def _convolved(
    builder: GraphBuilder, output: str, source: str, weight: Any, first: bool, full: Shape, bias: Any
) -> None:
    """A product with many rows as a convolution over them, whose weights are those of one row."""
    count = math.prod(builder.shapes[source])
    if first:
        rows, inner = weight.shape
        image, kernel = (inner, count // inner, 1), weight[:, :, None, None]
        made = (rows, count // inner, 1)
    else:
        inner, columns = weight.shape
        image, kernel = (1, count // inner, inner), weight.T[:, None, None, :]
        made = (columns, count // inner, 1)
    operator = Conv(held(np.ascontiguousarray(kernel)), np.zeros(len(kernel), np.float32))
    total = builder.fresh(f"{output}/rows")
    builder.emit(total, operator, (builder.shaped(source, image),), made)
    target = output if bias is None else builder.fresh(f"{output}/product")
    builder.rearrange(target, total, made, (0, 1, 2) if first else (1, 0, 2), full)
    if bias is not None:
        builder.scale(output, target, np.float64(1.0), bias.reshape(builder.shapes[target]))


def _affine(
    builder: GraphBuilder, node: onnx.NodeProto, output: str, source: str, weight: Any, bias: Any, full: Shape
) -> None:
    operator = Linear(held(np.ascontiguousarray(weight)), held(bias))
    shape = without_batch(full)
    if math.prod(shape) != len(weight):
        raise builder.fail(node, f"of {weight.shape} to {shape}")
    several = sum(size > 1 for size in shape) > 1
    target = builder.fresh(f"{output}/entries") if several else output
    builder.emit(target, operator, (source,), (len(weight),))
    if several:
        builder.emit(output, Reshape(), (target,), shape)


def batch_normalization(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    """One factor a channel; up to operator set 8 also one for every entry, where `spatial` is 0."""
    gamma, beta, mean, variance = (builder.constants[name].astype(np.float64) for name in node.input[1:5])
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shift = beta - mean * scale
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    channels = full[1] if len(full) > 1 else 1
    own = scale.shape if attributes.get("spatial", 1) else full[1:]
    if own not in ((channels,), full[1:]) or scale.size != math.prod(own):
        raise builder.fail(node, f"of {scale.shape} channels on shape {full}")
    spread = own if own == full[1:] else (channels, *([1] * (len(full) - 2)))
    affine(builder, node.output[0], source, scale.reshape(spread), shift.reshape(spread), full)


RULES: dict[str, Rule] = {"Gemm": gemm, "MatMul": matmul, "BatchNormalization": batch_normalization}
