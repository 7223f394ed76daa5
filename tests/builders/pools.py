"""Maximum pools over windows that touch, as nodes of a network."""

from __future__ import annotations

from dataclasses import replace

from salver.nets.max_pool import max_of, picks
from salver.nets.operators import Node, Shape


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
    return [*nodes, *max_of(name, [node.name for node in nodes], out)]
