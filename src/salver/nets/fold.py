"""Folds elementwise affine maps (batch normalisation, bias, scaling) into the operator before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from salver.nets.network import Array, Conv, Linear, Network, Node, Scale, held

SMALLEST, LARGEST = 1e-250, 1e250
"""Between these, float64 has all its digits, and room for products with further weights."""
CANCELLED = 2.0**-20
"""Share of its terms below which a sum counts as cancelled."""


def fold_scales(network: Network) -> Network:
    """The same function with every foldable `Scale` gone; products are formed and held in float64.

    A `Scale` folds into a `Linear`, into another `Scale`, or into a `Conv` when it is constant per channel,
    if nothing else reads that operator's output. What float64 cannot hold well stays apart. The folded node
    has the name of the `Scale`, whose tensor it makes.
    """
    readers = Counter(name for node in network.nodes for name in node.inputs)
    readers[network.output] += 1
    done: dict[str, Node] = {}
    for node in network.nodes:
        before = done.get(node.inputs[0]) if isinstance(node.operator, Scale) else None
        if before is not None and readers[before.name] == 1:
            operator = _merge(before, node)
            if operator is not None:
                del done[before.name]
                done[node.name] = replace(before, name=node.name, operator=operator)
                continue
        done[node.name] = node
    return replace(network, nodes=tuple(done.values()))


def _merge(before: Node, node: Node) -> Linear | Conv | Scale | None:
    assert isinstance(node.operator, Scale)
    operator, scale, shift = before.operator, node.operator.scale, node.operator.shift
    match operator:
        case Scale():
            parts = _product(operator.scale, scale), _sum(operator.shift, scale, shift)
            return None if parts[0] is None or parts[1] is None else Scale(parts[0], parts[1])
        case Linear():
            weight = _product(operator.weight, scale.reshape(-1, 1))
            bias = _sum(operator.bias, scale.ravel(), shift.ravel())
        case Conv():
            per_channel = [part.reshape(node.shape[0], -1) for part in (scale, shift)]
            if any((part != part[:, :1]).any() for part in per_channel):
                return None
            gain, offset = (part[:, 0] for part in per_channel)
            weight = _product(operator.weight, gain[:, None, None, None])
            bias = _sum(operator.bias, gain, offset)
        case _:
            return None
    return None if weight is None or bias is None else replace(operator, weight=weight, bias=bias)


def _product(left: Array, right: Array) -> Array | None:
    """The product in float64, held; None where an entry leaves `SMALLEST` to `LARGEST` without being 0."""
    with np.errstate(over="ignore", under="ignore"):
        product = left.astype(np.float64) * right.astype(np.float64)
    size = np.abs(product)
    lost = ((size < SMALLEST) & (left != 0) & (right != 0)) | ~(size <= LARGEST)
    return None if lost.any() else held(product)


def _sum(before: Array, scale: Array, shift: Array) -> Array | None:
    """before * scale + shift; None where it is not exact but for a relative rounding."""
    product = _product(before, scale)
    if product is None:
        return None
    total = product.astype(np.float64) + shift.astype(np.float64)
    # A difference of close numbers keeps the roundings of both, which are then large in it.
    cancelled = np.abs(total) < CANCELLED * np.maximum(np.abs(product), np.abs(shift))
    return None if (cancelled & (before != 0) & (scale != 1)).any() else held(total)
