"""ONNX operators that are one matrix or one factor an entry: dense layers and batch normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.operators import Linear, Reshape, held


def gemm(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    if attributes.get("transA", 0) or node.input[1] not in builder.constants:
        raise builder.fail(node, "with a transposed or variable matrix")
    weight = builder.constants[node.input[1]] * np.float64(attributes.get("alpha", 1.0))
    weight = weight if attributes.get("transB", 0) else weight.T
    bias = np.zeros(weight.shape[0], np.float32)
    if len(node.input) > 2 and node.input[2]:
        added = builder.constants[node.input[2]]
        if added.shape not in (bias.shape, (1, *bias.shape)):
            raise builder.fail(node, f"of {weight.shape} with constants of shape {added.shape}")
        bias = np.ravel(added) * np.float64(attributes.get("beta", 1.0))
    _rows(builder, node, node.output[0], weight, bias)


def matmul(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    left, right = node.input
    if right in builder.constants and builder.constants[right].ndim == 2:
        weight = builder.constants[right].T
        _rows(builder, node, node.output[0], weight, np.zeros(len(weight), np.float32))
    elif left in builder.constants and builder.constants[left].ndim == 2:
        _columns(builder, node, node.output[0], builder.constants[left])
    else:
        raise builder.fail(node, "of two variable tensors")


def _rows(builder: GraphBuilder, node: onnx.NodeProto, output: str, weight: Any, bias: Any) -> None:
    """Emits weight @ row + bias for every row of the first input, of which there is mostly one."""
    source = builder.flat(node.input[0])
    size = builder.shapes[source][0]
    count = size // weight.shape[1]
    if count != 1 or count * weight.shape[1] != size:
        full = builder.known(node, node.input[0])
        if full[-1] != weight.shape[1]:
            raise builder.fail(node, f"of {weight.shape} on {size} values")
        builder.spend(node, count * len(weight) * size)
        weight, bias = np.kron(np.eye(count, dtype=weight.dtype), weight), np.tile(bias, count)
    _affine(builder, node, output, source, weight, bias)


def _columns(builder: GraphBuilder, node: onnx.NodeProto, output: str, weight: Any) -> None:
    """Emits weight @ x for a constant left factor."""
    source, full = builder.flat(node.input[1]), builder.known(node, node.input[1])
    height, width = full[-2:] if len(full) > 1 else (full[0], 1)
    if height * width != builder.shapes[source][0] or weight.shape[1] != height:
        raise builder.fail(node, f"of {weight.shape} and {full}")
    if width > 1:
        builder.spend(node, len(weight) * width * height * width)
        weight = np.kron(weight, np.eye(width, dtype=weight.dtype))
    _affine(builder, node, output, source, weight, np.zeros(len(weight), np.float32))


def _affine(
    builder: GraphBuilder, node: onnx.NodeProto, output: str, source: str, weight: Any, bias: Any
) -> None:
    operator = Linear(held(np.ascontiguousarray(weight)), held(bias))
    shape = builder.types.plain(output)
    if math.prod(shape) != len(weight):
        raise builder.fail(node, f"of {weight.shape} to {shape}")
    several = sum(size > 1 for size in shape) > 1
    target = builder.fresh(f"{output}/entries") if several else output
    builder.emit(target, operator, (source,), (len(weight),))
    if several:
        builder.emit(output, Reshape(), (target,), shape)


def batch_normalization(builder: GraphBuilder, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
    gamma, beta, mean, variance = (builder.constants[name].astype(np.float64) for name in node.input[1:5])
    scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
    shift = beta - mean * scale
    source, full = builder.tensor(node.input[0]), builder.known(node, node.input[0])
    if len(scale) != (full[1] if len(full) > 1 else 1):
        raise builder.fail(node, f"of {len(scale)} channels on shape {full}")
    spread = (len(scale), *([1] * (len(full) - 2)))
    shape = builder.shapes[source]
    factor, offset = (np.broadcast_to(p.reshape(spread), full).reshape(shape) for p in (scale, shift))
    builder.scale(node.output[0], source, factor, offset)


RULES: dict[str, Rule] = {"Gemm": gemm, "MatMul": matmul, "BatchNormalization": batch_normalization}
