"""Maximum pooling written with ReLUs: max(a, b) = a + relu(b - a), so every solver and gradient knows it.

In real arithmetic this is exact. In floating point b - a rounds, so where b > a the value may differ from
b by half a unit in the last place of b - a, and by that of the sum; where a >= b it is a itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from salver.nets.operators import Add, Conv, Node, Operator, Relu, Reshape, Shape, Sub


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
    channels = shape[0]
    kernel = (count, 1) if axis == 0 else (1, count)
    nodes: list[Node] = []

    def add(label: str, operator: Operator, *inputs: str) -> str:
        nodes.append(Node(f"{name}_{label}", operator, inputs, out))
        return nodes[-1].name

    picks = []
    for place in range(count):
        weight = np.zeros((channels, 1, count), np.float32)
        weight[:, :, place] = 1.0
        pick = Conv(
            weight.reshape(channels, 1, *kernel), np.zeros(channels, np.float32), kernel, groups=channels
        )
        out = pick.output_shape(shape)
        picks.append(add(f"pick{place}", pick, source))
    return [*nodes, *_chain(name, picks, out)]


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
