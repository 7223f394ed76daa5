"""Rows of coefficients as small windows: what an entry of a convolutional network reads, and no more.

A backward pass over whole images would spend most of its time on zeros. A row that starts at position p of
its target reads, in an earlier tensor, the window of `size` entries from p * stride + offset on. Windows may
reach beyond the image, where padding is; there every gathered line is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from salver.nets.operators import Conv, Node, Operator, Reshape

Tensor = torch.Tensor
Pair = tuple[int, int]


@dataclass(frozen=True)
class InputWindow:
    """Per axis (rows, columns): start = position * stride + offset, `size` entries."""

    stride: Pair
    offset: Pair
    size: Pair

    def before(self, operator: Operator) -> InputWindow:
        """The window of the operator's input that this window of its output reads."""
        if not isinstance(operator, Conv):
            return self
        kernel = operator.weight.shape[2:]
        made = []
        for axis in (0, 1):
            step, reach = operator.strides[axis], operator.dilations[axis] * (kernel[axis] - 1) + 1
            start = self.offset[axis] * step - operator.pads[axis]
            made.append((self.stride[axis] * step, start, (self.size[axis] - 1) * step + reach))
        stride, offset, size = zip(*made, strict=True)
        return InputWindow((stride[0], stride[1]), (offset[0], offset[1]), (size[0], size[1]))

    def join(self, other: InputWindow) -> InputWindow:
        """The least window that holds both; branches of one network have the same stride."""
        assert self.stride == other.stride
        offset = tuple(min(a, b) for a, b in zip(self.offset, other.offset, strict=True))
        ends = [
            max(a + n, b + m)
            for a, n, b, m in zip(self.offset, self.size, other.offset, other.size, strict=True)
        ]
        return InputWindow(self.stride, (offset[0], offset[1]), (ends[0] - offset[0], ends[1] - offset[1]))

    def embed(self, rows: Tensor, inner: InputWindow) -> Tensor:
        """`rows` [channels, rows, *inner.size] with zeros around them, in this window."""
        if inner == self:
            return rows
        (top, left), (height, width) = (
            tuple(a - b for a, b in zip(inner.offset, self.offset, strict=True)),
            inner.size,
        )
        behind = (self.size[1] - left - width, self.size[0] - top - height)
        return torch.nn.functional.pad(rows, (left, behind[0], top, behind[1]))


@dataclass(frozen=True, eq=False)
class WindowPlaces:
    """Where the windows of some rows lie in one tensor: flat indices into it, padded by `pad` all round."""

    pad: Pair
    indices: Tensor
    shape: tuple[int, int, int]
    inside: bool

    @classmethod
    def of(cls, window: InputWindow, at: Tensor, image: Pair) -> WindowPlaces:
        """Args: at: positions of the rows in the target [rows, 2]; image: height and width of the tensor."""
        axes, outside = [], [0, 0]
        for axis in (0, 1):
            start = at[:, axis] * window.stride[axis] + window.offset[axis]
            axes.append(start[:, None] + torch.arange(window.size[axis]))
            if len(start):
                low, high = int(axes[axis].min()), int(axes[axis].max())
                outside[axis] = max(0, -low, high - image[axis] + 1)
        width = image[1] + 2 * outside[1]
        flat = (axes[0][:, :, None] + outside[0]) * width + axes[1][:, None, :] + outside[1]
        pad = (outside[0], outside[1])
        return cls(pad, flat.reshape(-1), (len(at), *window.size), not any(outside))

    def gather(self, values: Tensor) -> Tensor:
        """Windows [channels, rows, height, width] of `values` [channels, height, width], 0 outside."""
        (top, left) = self.pad
        if not self.inside:
            values = torch.nn.functional.pad(values, (left, left, top, top))
        return values.reshape(len(values), -1).index_select(1, self.indices).reshape(-1, *self.shape)


def transposed(rows: Tensor, operator: Conv, weight: Tensor) -> Tensor:
    """Adjoint of a convolution on windows: [out, rows, h, w] -> [in, rows, h', w'], see `Window.before`.

    Args:
        weight: the operator's weight in float64.
    """
    filters, per_group, height, width = weight.shape
    count, (high, wide) = rows.shape[1], rows.shape[2:]
    step, spread = operator.strides, operator.dilations
    size = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip((high, wide), step, spread, (height, width), strict=True)
    ]
    groups = operator.groups
    made = rows.new_zeros(groups * per_group, count, *size)
    parts = rows.reshape(groups, filters // groups, -1)
    kernels = weight.reshape(groups, filters // groups, -1).transpose(1, 2)
    spread_out = torch.bmm(kernels, parts).reshape(groups * per_group, height, width, count, high, wide)
    for i in range(height):
        for j in range(width):
            top, left = i * spread[0], j * spread[1]
            target = made[
                :, :, top : top + (high - 1) * step[0] + 1 : step[0],
                left : left + (wide - 1) * step[1] + 1 : step[1],
            ]  # fmt: skip
            target += spread_out[:, i, j]
    return made


def windows_below(nodes: Sequence[Node], target: str, size: Pair) -> dict[str, InputWindow]:
    """The window of every tensor that a window of `size` at a position of `target` reads.

    Args:
        nodes: in topological order, the target among them.
    """
    found = {target: InputWindow((1, 1), (0, 0), size)}
    for node in reversed(nodes):
        if node.name not in found or isinstance(node.operator, Reshape):
            continue
        below = found[node.name].before(node.operator)
        for source in node.inputs:
            found[source] = found[source].join(below) if source in found else below
    return found
