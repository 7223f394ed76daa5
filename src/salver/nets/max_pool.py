"""Maximum pooling written with ReLUs: max(a, b) = a + relu(b - a), so every solver and gradient knows it.

In real arithmetic this is exact. In floating point b - a rounds, so where b > a the value may differ from
b by half a unit in the last place of b - a, and by that of the sum; where a >= b it is a itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from salver.nets.operators import Add, Conv, Node, Relu, Reshape, Shape, Sub


def max_pool_nodes(name: str, source: str, shape: Shape, size: tuple[int, int]) -> list[Node]:
    """Nodes of a maximum over windows of `size` (rows, columns) that touch and do not overlap.

    Rows and columns that fill no window are dropped. The last node is called `name`.

    Args:
        source: tensor of `shape` [channels, height, width].
    """
    nodes: list[Node] = []
    for axis, count in ((1, size[1]), (0, size[0])):
        if count > 1:
            nodes += _along(f"{name}_{'rc'[axis]}", source, shape, axis, count)
            source, shape = nodes[-1].name, nodes[-1].shape
    if not nodes:
        raise ValueError("a window of one entry is no pooling")
    nodes[-1] = replace(nodes[-1], name=name)
    return nodes


def _along(name: str, source: str, shape: Shape, axis: int, count: int) -> list[Node]:
    kernel = (count, 1) if axis == 0 else (1, count)
    one = picks(shape[0], kernel, kernel)
    out = one[0].output_shape(shape)
    nodes = [Node(f"{name}_pick{place}", pick, (source,), out) for place, pick in enumerate(one)]
    return [*nodes, *_chain(name, [node.name for node in nodes], out)]


def picks(
    channels: int, kernel: Sequence[int], strides: tuple[int, int], dilations: tuple[int, int] = (1, 1)
) -> list[Conv]:
    """Per place of a window the convolution that picks the entry there, in every channel by itself."""
    found = []
    for place in range(math.prod(kernel)):
        weight = np.zeros((channels, 1, math.prod(kernel)), np.float32)
        weight[:, :, place] = 1.0
        bias = np.zeros(channels, np.float32)
        found.append(
            Conv(weight.reshape(channels, 1, *kernel), bias, strides, dilations=dilations, groups=channels)
        )
    return found


def max_of(name: str, sources: list[str], shape: Shape) -> list[Node]:
    """Nodes of the maximum of tensors of `shape`, the last called `name`; ties go to the first."""
    nodes = _chain(name, sources, shape)
    if not nodes:
        return [Node(name, Reshape(), (sources[0],), shape)]
    return [*nodes[:-1], replace(nodes[-1], name=name)]


def _chain(name: str, sources: list[str], shape: Shape) -> list[Node]:
    nodes: list[Node] = []
    most = sources[0]
    for place, source in enumerate(sources[1:], 1):
        excess, relu, total = (f"{name}_{label}{place}" for label in ("excess", "relu", "max"))
        nodes.append(Node(excess, Sub(), (source, most), shape))
        nodes.append(Node(relu, Relu(), (excess,), shape))
        nodes.append(Node(total, Add(), (most, relu), shape))
        most = total
    return nodes
