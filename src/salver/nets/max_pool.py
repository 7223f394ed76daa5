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
