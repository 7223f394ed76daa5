"""The same convolutions in the plainest form, which verifiers of others take.

auto_LiRPA, and what is built on it, refuses a ConvTranspose in groups, with unequal strides, with paddings
that differ at both ends or with a kernel that is not square; vibecheck reads a Conv as if it had no groups.
Each can be written in another way, by weights of 0 and by strides along axes on which nothing moves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from salver.nets.network import (
    Conv,
    ConvTranspose,
    Network,
    Shape,
    conv_output_shape,
    conv_transpose_output_shape,
    held,
)

MOST_WEIGHTS = 1 << 16
"""Of a kernel that is written without its groups; larger ones keep them."""
Window = TypeVar("Window", bound=Conv | ConvTranspose)


def with_plain_windows(network: Network) -> Network:
    """The network with every convolution rewritten where that is possible; it computes the same values."""
    shapes = network.shapes
    nodes = [
        replace(node, operator=plain(node.operator, shapes[node.inputs[0]]))
        if isinstance(node.operator, Conv | ConvTranspose)
        else node
        for node in network.nodes
    ]
    return replace(network, nodes=tuple(nodes))


def plain(operator: Window, source: Shape) -> Window:
    """The operator over an image `source` [channels, height, width] in its plainest form."""
    return _evenly_padded(_with_equal_strides(_in_one_group(operator), source))


def _in_one_group(operator: Window) -> Window:
    """Weights [a, b / groups, kh, kw] -> [a, b, kh, kw], 0 between channels of different groups."""
    weight, groups = operator.weight, operator.groups
    if groups == 1 or weight.size * groups > MOST_WEIGHTS:
        return operator
    rows, columns, height, width = weight.shape
    dense = np.zeros((groups, rows // groups, groups, columns, height, width), weight.dtype)
    each = np.arange(groups)
    dense[each, :, each] = weight.reshape(groups, rows // groups, columns, height, width)
    return replace(operator, weight=dense.reshape(rows, groups * columns, height, width), groups=1)


def _with_equal_strides(operator: Window, source: Shape) -> Window:
    """A stride counts for nothing along an axis with a single position, so it can be the other axis's."""
    target = _output_shape(operator, source)
    positions = target if isinstance(operator, Conv) else source
    for axis in (0, 1):
        step = operator.strides[1 - axis]
        equal = replace(operator, strides=(step, step))
        if positions[1 + axis] == 1 and _output_shape(equal, source) == target:
            return equal
    return operator


def _evenly_padded(operator: Window) -> Window:
    """Rows of zeros at the ends of the kernel, against more padding; those of a ConvTranspose get square."""
    if operator.dilations != (1, 1):
        return operator
    kernel = operator.weight.shape[2:]
    uneven = [abs(operator.pads[axis] - operator.pads[axis + 2]) for axis in (0, 1)]
    if isinstance(operator, Conv):
        return _enlarged(operator, (kernel[0] + uneven[0], kernel[1] + uneven[1]))
    for side in range(max(kernel), max(kernel) + max(uneven) + 2):
        added = [side - length for length in kernel]
        if all(more >= gap and (more - gap) % 2 == 0 for more, gap in zip(added, uneven, strict=True)):
            return _enlarged(operator, (side, side))
    return operator


def _enlarged(operator: Window, kernel: tuple[int, int]) -> Window:
    """Zeros around the kernel until it has this size, shared so that the paddings at both ends get equal."""
    grown = []
    for axis in (0, 1):
        more = kernel[axis] - operator.weight.shape[2 + axis]
        begin = (more + operator.pads[axis + 2] - operator.pads[axis]) // 2
        grown.append((begin, more - begin))
    (top, bottom), (left, right) = grown
    before = operator.pads
    pads = (before[0] + top, before[1] + left, before[2] + bottom, before[3] + right)
    weight = held(np.pad(operator.weight, ((0, 0), (0, 0), *grown)))
    return replace(operator, weight=weight, pads=pads)


def _output_shape(operator: Conv | ConvTranspose, source: Shape) -> Shape:
    if isinstance(operator, Conv):
        return conv_output_shape(source, operator)
    return conv_transpose_output_shape(source, operator)
