"""Ranges of the tensors of a network over a box, by interval arithmetic with room for rounding.

For solvers and their reader. The judge has its own in rational numbers (`judge.intervals`), which shares
no code with these so that it can hold them to account.
"""

from __future__ import annotations

from collections.abc import Iterable

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
    Node,
    Relu,
    Reshape,
    Scale,
    Shape,
    Sign,
    Sub,
)

Array = npt.NDArray[np.float64]
Range = tuple[Array, Array]
RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Room for rounding, relative to the absolute values that are added up."""


def extend(ranges: dict[str, Range], nodes: Iterable[Node], shapes: dict[str, Shape]) -> None:
    """Adds the flat ranges of `nodes`, in their order, to those of the tensors they read."""
    for node in nodes:
        if node.name not in ranges:
            ranges[node.name] = _range(node, [ranges[name] for name in node.inputs], shapes)


def _range(node: Node, given: list[Range], shapes: dict[str, Shape]) -> Range:
    operator, (low, high) = node.operator, given[0]
    match operator:
        case Linear() | Conv() | ConvTranspose():
            matrix, bias = matrix_and_bias(operator, shapes[node.inputs[0]])
            size = abs(matrix)
            middle, radius = matrix @ ((low + high) / 2) + bias, size @ ((high - low) / 2)
            return _roomy(middle - radius, middle + radius, size @ _largest(low, high) + np.abs(bias))
        case Scale():
            ends = [np.asarray(end * operator.scale.ravel(), np.float64) for end in (low, high)]
            shift = operator.shift.ravel().astype(np.float64)
            size = _largest(*ends) + np.abs(shift)
            return _roomy(np.minimum(*ends) + shift, np.maximum(*ends) + shift, size)
        case Relu():
            return np.maximum(low, 0.0), np.maximum(high, 0.0)
        case Sign():
            return np.sign(low), np.sign(high)
        case Abs():
            return np.maximum(np.maximum(low, -high), 0.0), np.maximum(-low, high)
        case Mul() if node.inputs[0] == node.inputs[1]:
            nearest = np.maximum(np.maximum(low, -high), 0.0)
            farthest = _largest(low, high)
            below, above = _roomy(nearest**2, farthest**2, farthest**2)
            return np.maximum(below, 0.0), above
        case Mul():
            products = [one * other for one in given[0] for other in given[1]]
            size = np.maximum.reduce([np.abs(product) for product in products])
            return _roomy(np.minimum.reduce(products), np.maximum.reduce(products), size)
        case Add():
            return _roomy(low + given[1][0], high + given[1][1], _sizes(given))
        case Sub():
            return _roomy(low - given[1][1], high - given[1][0], _sizes(given))
        case Concat():
            return np.concatenate([part[0] for part in given]), np.concatenate([part[1] for part in given])
        case Reshape():
            return low, high


def _largest(low: Array, high: Array) -> Array:
    return np.asarray(np.maximum(np.abs(low), np.abs(high)))


def _sizes(given: list[Range]) -> Array:
    return _largest(*given[0]) + _largest(*given[1])


def _roomy(low: Array, high: Array, size: Array) -> Range:
    room = RELATIVE * size + ABSOLUTE
    return np.asarray(low - room), np.asarray(high + room)
