"""Reference evaluation of a network in numpy, in the precision of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.linear_maps import matrix_and_bias
from salver.nets.network import (
    Abs,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Linear,
    Mul,
    Network,
    Operator,
    Relu,
    Reshape,
    Scale,
    Shape,
    Sign,
    Sub,
)


def evaluate(network: Network, x: npt.ArrayLike) -> npt.NDArray[Any]:
    """Outputs [batch, outputs] at inputs `x` [batch, n]; every intermediate keeps the dtype of `x`."""
    points = np.atleast_2d(np.asarray(x))
    values: dict[str, npt.NDArray[Any]] = {network.input: points}
    shapes = network.shapes
    for node in network.nodes:
        arguments = [values[name] for name in node.inputs]
        result = _apply(node.operator, arguments, [shapes[name] for name in node.inputs])
        values[node.name] = result.astype(points.dtype)
    return values[network.output]


def _apply(operator: Operator, arguments: list[npt.NDArray[Any]], shapes: list[Shape]) -> npt.NDArray[Any]:
    """Applies one operator to flat batches [batch, size]."""
    first = arguments[0]
    match operator:
        case Linear():
            return np.asarray(first @ operator.weight.T.astype(first.dtype) + operator.bias)
        case Conv() | ConvTranspose():
            matrix, bias = matrix_and_bias(operator, shapes[0])
            return np.asarray((matrix @ first.T).T + bias)
        case Scale():
            return np.asarray(first * operator.scale.ravel() + operator.shift.ravel())
        case Relu():
            return np.asarray(np.maximum(first, 0))
        case Sign():
            return np.asarray(np.sign(first))
        case Abs():
            return np.asarray(np.abs(first))
        case Mul():
            return np.asarray(first * arguments[1])
        case Add():
            return np.asarray(first + arguments[1])
        case Sub():
            return np.asarray(first - arguments[1])
        case Concat():
            return np.concatenate(arguments, axis=1)
        case Reshape():
            return first
