"""Folds elementwise affine maps (batch normalisation, bias, scaling) into the operator before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from salver.nets.network import Conv, Linear, Network, Node, Scale


def fold_scales(network: Network) -> Network:
    """The same function with every foldable `Scale` gone; products are formed in float64.

    A `Scale` folds into a `Linear`, or into a `Conv` when it is constant per channel, if nothing else
    reads that operator's output.
    """
    readers = Counter(name for node in network.nodes for name in node.inputs)
    readers[network.output] += 1
    done: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in network.nodes:
        current = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        before = done.get(current.inputs[0]) if isinstance(current.operator, Scale) else None
        folded = _merge(before, current) if before and readers[node.inputs[0]] == 1 else None
        if folded is None or before is None:
            done[current.name] = current
            continue
        del done[before.name]
        done[before.name] = replace(before, operator=folded)
        renamed[current.name] = before.name
        readers[before.name] = readers[current.name]
    output = renamed.get(network.output, network.output)
    return Network(network.input, network.input_size, tuple(done.values()), output)


def _merge(before: Node, node: Node) -> Linear | Conv | Scale | None:
    assert isinstance(node.operator, Scale)
    scale, shift = (part.astype(np.float64) for part in (node.operator.scale, node.operator.shift))
    operator = before.operator
    if isinstance(operator, Scale):
        merged = operator.shift * scale + shift
        return Scale((operator.scale * scale).astype(np.float32), merged.astype(np.float32))
    if isinstance(operator, Linear):
        weight = operator.weight * scale.reshape(-1, 1)
        bias = operator.bias * scale.ravel() + shift.ravel()
        return Linear(weight.astype(np.float32), bias.astype(np.float32))
    if isinstance(operator, Conv):
        per_channel = [part.reshape(node.shape[0], -1) for part in (scale, shift)]
        if any((part != part[:, :1]).any() for part in per_channel):
            return None
        gain, offset = (part[:, 0] for part in per_channel)
        weight = operator.weight * gain[:, None, None, None]
        bias = operator.bias * gain + offset
        return replace(operator, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
    return None
