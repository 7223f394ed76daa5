"""Two-dimensional convolutions and transposed ones: shapes, matrices, and the form in which they are written.

auto_LiRPA, and what is built on it, refuses a ConvTranspose in groups, with unequal strides, with paddings
that differ at both ends or with a kernel that is not square; vibecheck reads a Conv as if it had no groups.
`plain` writes each in another way, by weights of 0 and by strides along axes on which nothing moves.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy

from salver.nets.affine import apply
from salver.nets.operators.base import Array, Node, OnnxWriter, Operator, Shape, Values, held, operator
from salver.nets.operators.linear import MatrixOperator, product, sum_with
from salver.nets.program import ProgramBuilder

MOST_WEIGHTS = 1 << 16
"""Of a kernel that is written without its groups; larger ones keep them."""
FEW_PLACES = 9
"""Of a kernel with one channel a group, up to which torch goes over them one by one."""
MOST_ENTRIES = 1 << 22
"""Of a convolution's matrix, above which a vector goes through it place by place."""


class Window(MatrixOperator):
    """What a convolution and a transposed one share: windows over an image [channels, height, width]."""

    weight: Array
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    narrows: ClassVar[bool]
    """Whether strides count positions of the input, and not of the output."""

    def spans(self, windows: Shape) -> tuple[int, int]:
        """Rows and columns that windows at [channels, rows, columns] places span, without padding."""
        spans = []
        for axis in (0, 1):
            reach = self.dilations[axis] * (self.weight.shape[2 + axis] - 1) + 1
            full = self.strides[axis] * (windows[1 + axis] - 1) + reach
            spans.append(full - self.pads[axis] - self.pads[axis + 2])
        return spans[0], spans[1]

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        key = self, source
        if key not in program.matrices:
            program.matrices[key] = self.matrix_and_bias(source)
        matrix, bias = program.matrices[key]
        program.define(node.name, apply(matrix, program.value(node.inputs[0]), bias))

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        """Place by place of the kernel: a matrix of all entries would not fit for a large image."""
        images = values[0].reshape(len(values[0]), self.groups, source[0] // self.groups, *source[1:])
        return self.swept(images, source).reshape(len(images), -1)

    @abstractmethod
    def swept(self, images: Values, source: Shape) -> Values:
        """The output [batch, groups, channels of a group, ...] over images of the same axes."""

    def views(self, windows: Shape) -> Iterator[tuple[int, int, slice, slice]]:
        """Places of the kernel, and the rows and columns of the padded image that windows see there."""
        for i, j in np.ndindex(*self.weight.shape[2:]):
            cuts = [
                slice(k * d, k * d + (count - 1) * s + 1, s)
                for k, d, s, count in zip((i, j), self.dilations, self.strides, windows[1:], strict=True)
            ]
            yield i, j, cuts[0], cuts[1]

    def written_as(self, kind: str, graph: OnnxWriter, inputs: Sequence[str], output: str) -> None:
        """Appends the ONNX operator `kind` with the window's attributes."""
        graph.node(
            kind, inputs, output,
            kernel_shape=list(self.weight.shape[2:]), strides=list(self.strides), pads=list(self.pads),
            dilations=list(self.dilations), group=self.groups,
        )  # fmt: skip

    def plain(self, source: Shape) -> Self:
        return self._in_one_group()._with_equal_strides(source)._evenly_padded()

    @abstractmethod
    def _even_kernel(self, uneven: Sequence[int]) -> tuple[int, int] | None:
        """The kernel size, if any, with which paddings that differ by `uneven` get equal."""

    def _in_one_group(self) -> Self:
        """Weights [a, b / groups, kh, kw] -> [a, b, kh, kw], 0 between channels of different groups."""
        weight, groups = self.weight, self.groups
        if groups == 1 or weight.size * groups > MOST_WEIGHTS:
            return self
        rows, columns, height, width = weight.shape
        dense = np.zeros((groups, rows // groups, groups, columns, height, width), weight.dtype)
        each = np.arange(groups)
        dense[each, :, each] = weight.reshape(groups, rows // groups, columns, height, width)
        return self.changed(weight=dense.reshape(rows, groups * columns, height, width), groups=1)

    def _with_equal_strides(self, source: Shape) -> Self:
        """A stride counts for nothing along an axis with a single position, so it can be the other axis's."""
        target = self.output_shape(source)
        moves = target if self.narrows else source
        for axis in (0, 1):
            step = self.strides[1 - axis]
            equal = self.changed(strides=(step, step))
            if moves[1 + axis] == 1 and equal.output_shape(source) == target:
                return equal
        return self

    def _evenly_padded(self) -> Self:
        """Rows of zeros at the ends of the kernel, against more padding, so that both ends have as much."""
        pads = self.pads
        kernel = self._even_kernel([abs(pads[axis] - pads[axis + 2]) for axis in (0, 1)])
        if kernel is None or self.dilations != (1, 1):
            return self
        grown = []
        for axis in (0, 1):
            more = kernel[axis] - self.weight.shape[2 + axis]
            begin = (more + pads[axis + 2] - pads[axis]) // 2
            grown.append((begin, more - begin))
        (top, left), (bottom, right) = zip(*grown, strict=True)
        weight = held(np.pad(self.weight, ((0, 0), (0, 0), *grown)))
        pads = (pads[0] + top, pads[1] + left, pads[2] + bottom, pads[3] + right)
        return self.changed(weight=weight, pads=pads)


@operator
@dataclass(frozen=True, eq=False)
class Conv(Window):
    """2-D convolution. weight [out, in / groups, kh, kw], bias [out], pads (top, left, bottom, right).

    Average pooling and global average pooling are convolutions with `groups` = channels.
    """

    narrows = True
    weight: Array
    bias: Array
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_shape(self, source: Shape) -> Shape:
        """Shape [out, height, width] over an image `source` [in, height, width]."""
        sizes = []
        for axis in (0, 1):
            padded = source[1 + axis] + self.pads[axis] + self.pads[axis + 2]
            reach = self.dilations[axis] * (self.weight.shape[2 + axis] - 1) + 1
            sizes.append((padded - reach) // self.strides[axis] + 1)
        return (self.weight.shape[0], *sizes)

    def swept(self, images: Values, source: Shape) -> Values:
        target, (top, left, bottom, right) = self.output_shape(source), self.pads
        groups, filters = self.groups, len(self.weight) // self.groups
        padded = np.pad(images, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
        weight = self.weight.reshape(groups, filters, *self.weight.shape[1:]).astype(images.dtype)
        total = np.zeros((len(images), groups, filters, math.prod(target[1:])), images.dtype)
        for i, j, rows, columns in self.views(target):
            if weight[..., i, j].any():
                seen = padded[..., rows, columns].reshape(*images.shape[:3], -1)
                total += weight[..., i, j] @ seen
        return np.asarray(total + self.bias.reshape(groups, filters, 1))

    def matrix(self, source: Shape) -> Any:
        """CSR matrix [outputs, inputs] without the bias over an image `source` [in, height, width]."""
        _, height, width = source
        filters, per_group, rows, columns = self.weight.shape
        _, out_height, out_width = self.output_shape(source)
        o, c, i, j, p, q = np.ogrid[:filters, :per_group, :rows, :columns, :out_height, :out_width]
        y = p * self.strides[0] + i * self.dilations[0] - self.pads[0]
        x = q * self.strides[1] + j * self.dilations[1] - self.pads[1]
        channel = (o // (filters // self.groups)) * per_group + c
        full = (filters, per_group, rows, columns, out_height, out_width)
        inside = np.broadcast_to((y >= 0) & (y < height) & (x >= 0) & (x < width), full)
        targets, sources, weights = (
            np.broadcast_to(part, full)[inside]
            for part in (
                (o * out_height + p) * out_width + q,
                (channel * height + y) * width + x,
                self.weight[..., None, None],
            )
        )
        shape = (filters * out_height * out_width, math.prod(source))
        return scipy.sparse.csr_array((weights.astype(np.float64), (targets, sources)), shape=shape)

    def matrix_and_bias(self, source: Shape) -> tuple[Any, npt.NDArray[Any]]:
        _, height, width = self.output_shape(source)
        return self.matrix(source), np.repeat(self.bias.astype(np.float64), height * width)

    def transposed(self, source: Shape, target: Shape) -> Operator:
        """Rows the stride never reads would need ONNX's output_padding, which some solvers reject; zero rows
        at the end of the kernel say the same, cut off by padding where a dilation makes them too many."""
        spans = self.spans(target)
        short = [source[1 + axis] - spans[axis] for axis in (0, 1)]
        more = [-(-gap // dilation) for gap, dilation in zip(short, self.dilations, strict=True)]
        weight = held(np.pad(self.weight, ((0, 0), (0, 0), (0, more[0]), (0, more[1]))))
        cut = [rows * step - gap for rows, step, gap in zip(more, self.dilations, short, strict=True)]
        top, left, bottom, right = self.pads
        pads = (top, left, bottom + cut[0], right + cut[1])
        return ConvTranspose(weight, self.strides, pads, self.dilations, self.groups)

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        target = self.output_shape(source)
        if self.weight.size * math.prod(target[1:]) > MOST_ENTRIES:
            return np.asarray(self.transposed(source, target).evaluate([adjoint[None]], target)[0])
        return np.asarray(self.matrix(source).T @ adjoint)

    def followed_by(self, scale: Array, shift: Array, shape: Shape) -> Operator | None:
        """Where the map is the same at every place of a channel."""
        per_channel = [part.reshape(shape[0], -1) for part in (scale, shift)]
        if any((part != part[:, :1]).any() for part in per_channel):
            return None
        gain, offset = (part[:, 0] for part in per_channel)
        weight, bias = product(self.weight, gain[:, None, None, None]), sum_with(self.bias, gain, offset)
        return None if weight is None or bias is None else replace(self, weight=weight, bias=bias)

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        from torch.nn import functional

        top, left, bottom, right = self.pads
        padded = functional.pad(values[0], (left, right, top, bottom)) if any(self.pads) else values[0]
        weight = weights["weight"]
        used = (self.weight != 0).any(axis=(0, 1))
        if weight.shape[:2] == (self.groups, 1) and 0 < used.sum() <= FEW_PLACES:
            # torch is slow in groups, and in double precision most of all.
            seen = [
                weight[:, 0, i, j, None, None] * padded[..., rows, columns]
                for i, j, rows, columns in self.views(shape) if used[i, j]
            ]  # fmt: skip
            return sum(seen[1:], seen[0]) + weights["bias"][:, None, None]
        rest = (self.strides, 0, self.dilations, self.groups)
        return functional.conv2d(padded, weights["weight"], weights["bias"], *rest)

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        operands = [*inputs, graph.constant(self.weight)]
        if self.bias.any():
            operands.append(graph.constant(self.bias))
        self.written_as("Conv", graph, operands, output)

    def _even_kernel(self, uneven: Sequence[int]) -> tuple[int, int]:
        height, width = self.weight.shape[2:]
        return height + uneven[0], width + uneven[1]


@operator
@dataclass(frozen=True, eq=False)
class ConvTranspose(Window):
    """Adjoint of a `Conv` without bias. weight [in, out / groups, kh, kw]; never an output padding."""

    narrows = False
    weight: Array
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_shape(self, source: Shape) -> Shape:
        """Shape [out, height, width] over an image `source` [in, height, width]."""
        return (self.weight.shape[1] * self.groups, *self.spans(source))

    def transposed(self, source: Shape, target: Shape) -> Operator:
        none = np.zeros(len(self.weight), np.float32)
        return Conv(self.weight, none, self.strides, self.pads, self.dilations, self.groups)

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        target = self.output_shape(source)
        return np.asarray(self.transposed(source, target).evaluate([adjoint[None]], target)[0])

    def swept(self, images: Values, source: Shape) -> Values:
        target, (top, left, bottom, right) = self.output_shape(source), self.pads
        groups, channels = self.groups, len(self.weight) // self.groups
        weight = self.weight.reshape(groups, channels, *self.weight.shape[1:]).astype(images.dtype)
        size = (target[1] + top + bottom, target[2] + left + right)
        total = np.zeros((len(images), groups, weight.shape[2], *size), images.dtype)
        flat = images.reshape(*images.shape[:3], -1)
        for i, j, rows, columns in self.views(source):
            kernel = weight[..., i, j]
            if kernel.any():
                part = kernel.transpose(0, 2, 1) @ flat
                total[..., rows, columns] += part.reshape(*part.shape[:3], *source[1:])
        return total[..., top : size[0] - bottom, left : size[1] - right]

    def matrix_and_bias(self, source: Shape) -> tuple[Any, npt.NDArray[Any]]:
        """Raises: ValueError: it is no adjoint of a convolution, which would read rows that are not there."""
        none = np.zeros(len(self.weight), np.float32)
        adjoint = Conv(self.weight, none, self.strides, self.pads, self.dilations, self.groups)
        matrix = adjoint.matrix(self.output_shape(source))
        if matrix.shape[0] != math.prod(source):
            raise ValueError(f"transposed convolution of {source} is no adjoint of a convolution")
        return matrix.T.tocsr(), np.zeros(matrix.shape[1])

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        from torch.nn import functional

        top, left, bottom, right = self.pads
        rest = (self.strides, 0, 0, self.groups, self.dilations)
        full = functional.conv_transpose2d(values[0], weights["weight"], None, *rest)
        return full[..., top : full.shape[-2] - bottom, left : full.shape[-1] - right]

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        self.written_as("ConvTranspose", graph, [*inputs, graph.constant(self.weight)], output)

    def _even_kernel(self, uneven: Sequence[int]) -> tuple[int, int] | None:
        """A square one, where the paddings can stay equal."""
        kernel = self.weight.shape[2:]
        for side in range(max(kernel), max(kernel) + max(uneven) + 2):
            added = [side - length for length in kernel]
            if all(more >= gap and (more - gap) % 2 == 0 for more, gap in zip(added, uneven, strict=True)):
                return side, side
        return None


def same_pads(
    size: Shape, kernel: Shape, strides: Shape, dilations: Shape, *, behind: bool = True
) -> tuple[int, int, int, int]:
    """Paddings (top, left, bottom, right) for ceil(size / stride) windows an axis; of an odd total the larger
    part is behind or, as ONNX's SAME_LOWER has it, before."""
    halves = []
    for length, width, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (-(-length // stride) - 1) * stride + dilation * (width - 1) + 1 - length)
        halves.append(sorted((total // 2, total - total // 2), reverse=not behind))
    (top, bottom), (left, right) = halves
    return top, left, bottom, right
