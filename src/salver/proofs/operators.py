"""What the operators of an ONNX file mean: shapes, and exact linear maps over flat tensors.

A linear map has weights as stored, or whole numbers over one common divisor, a count of averaged entries.
Shapes are those of the file, with the batch axis; entries lie in row-major order. Every attribute that is not
named here is refused, as is every value of one whose meaning is not written down here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from salver.proofs.onnx_file import MOST_ENTRIES, FileNode, NetworkFile, Shape, UnsupportedNetworkError

MOST_WEIGHTS = 1 << 26
"""Entries of one linear map."""
POINTWISE = frozenset(("Relu", "Sign", "Abs"))


@dataclass(frozen=True, eq=False)
class LinearMap:
    """sum over terms of matrix @ tensor / divisor, plus bias [entries]; `shape` is that of the result."""

    shape: Shape
    terms: tuple[tuple[str, Any, int], ...]
    bias: Any = None


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Relu, Sign or Abs of one tensor, entry by entry."""

    kind: str
    source: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Product:
    """The product of two tensors of one shape, entry by entry."""

    left: str
    right: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class SameEntries:
    """The entries of `source` in the same order under another shape."""

    source: str
    shape: Shape


Meaning = LinearMap | Pointwise | Product | SameEntries


def meaning(file: NetworkFile, node: FileNode, shapes: dict[str, Shape]) -> Meaning:
    """What a node computes.

    Args:
        shapes: of every tensor that depends on the input and comes before the node.

    Raises:
        UnsupportedNetworkError: an operator, or a use of one, that proofs do not cover.
    """
    if node.kind not in _READERS:
        raise UnsupportedNetworkError(f"operator {node.kind!r:.40} is not covered by proofs")
    found = _READERS[node.kind](_Use(file, node, shapes))
    if math.prod(found.shape) > MOST_ENTRIES or any(size < 1 for size in found.shape):
        raise UnsupportedNetworkError(f"{node.output!r:.60} has shape {found.shape!r:.60}")
    return found


@dataclass(frozen=True, eq=False)
class _Use:
    """One node with what it reads."""

    file: NetworkFile
    node: FileNode
    shapes: dict[str, Shape]

    def refuse(self, what: str) -> UnsupportedNetworkError:
        return UnsupportedNetworkError(f"{self.node.kind} {self.node.output!r:.60}: {what}")

    def inputs(self, least: int, most: int) -> tuple[str, ...]:
        if not least <= len(self.node.inputs) <= most:
            raise self.refuse(f"{len(self.node.inputs)} inputs")
        return self.node.inputs

    def only(self, *names: str) -> dict[str, Any]:
        """The attributes. Raises: UnsupportedNetworkError: there is another one."""
        strange = set(self.node.attributes) - set(names)
        if strange:
            raise self.refuse(f"attribute {min(strange)!r:.40}")
        return self.node.attributes

    def variable(self, name: str) -> Shape:
        """Shape of a tensor that depends on the input."""
        if name not in self.shapes:
            raise self.refuse(f"{name!r:.60} is constant where a variable is expected")
        return self.shapes[name]

    def constant(self, name: str) -> Any:
        """A stored tensor of the network's number type."""
        value = self.file.constants.get(name)
        if value is None or value.dtype.kind != "f":
            raise self.refuse(f"{name!r:.60} is no constant of the network's type")
        return value

    def whole(self, name: str) -> tuple[int, ...]:
        """A stored list of whole numbers."""
        value = self.file.constants.get(name)
        if value is None or value.dtype.kind != "i" or value.ndim != 1:
            raise self.refuse(f"{name!r:.60} is no constant list of whole numbers")
        return tuple(int(number) for number in value)

    def integer(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if type(value) is not int:
            raise self.refuse(f"attribute {name} is no whole number")
        return value

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, tuple) or any(type(number) is not int for number in value):
            raise self.refuse(f"attribute {name} is no list of whole numbers")
        if len(value) != len(default):
            raise self.refuse(f"attribute {name} has {len(value)} numbers")
        return value

    def flag(self, name: str, default: int) -> bool:
        value = self.integer(name, default)
        if value not in (0, 1):
            raise self.refuse(f"attribute {name} is {value}")
        return bool(value)

    def axis(self, value: int, rank: int, past: int = 0) -> int:
        """An axis, counted from the end where negative."""
        if not -rank <= value < rank + past:
            raise self.refuse(f"axis {value} of {rank}")
        return value + rank if value < 0 else value


def _pointwise(use: _Use) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only()
    return Pointwise(use.node.kind, source, use.variable(source))


def _gemm(use: _Use) -> Meaning:
    source, weight, *rest = use.inputs(2, 3)
    attributes = use.only("alpha", "beta", "transA", "transB")
    shape, matrix = use.variable(source), use.constant(weight)
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or use.flag("transA", 0):
        raise use.refuse("alpha and beta must be 1, and the first factor not transposed")
    if matrix.ndim != 2 or len(shape) != 2:
        raise use.refuse(f"factors of shape {shape!r:.40} and {matrix.shape!r:.40}")
    matrix = matrix if use.flag("transB", 0) else matrix.T
    if matrix.shape[1] != shape[1]:
        raise use.refuse(f"factors of shape {shape!r:.40} and {matrix.T.shape!r:.40}")
    made = (shape[0], matrix.shape[0])
    bias = None
    if rest:
        bias = use.constant(rest[0])
        if _spread(bias.shape, made) != made:
            raise use.refuse(f"a constant of shape {bias.shape!r:.40} added to {made}")
        bias = np.broadcast_to(bias, made).ravel()
    return LinearMap(made, ((source, _rows(use, matrix, shape[0]), 1),), bias)


def _matmul(use: _Use) -> Meaning:
    source, weight = use.inputs(2, 2)
    use.only()
    shape, matrix = use.variable(source), use.constant(weight)
    if matrix.ndim != 2 or shape[-1:] != matrix.shape[:1]:
        raise use.refuse(f"factors of shape {shape!r:.40} and {matrix.shape!r:.40}")
    rows = _rows(use, matrix.T, math.prod(shape[:-1]))
    return LinearMap((*shape[:-1], matrix.shape[1]), ((source, rows, 1),))


def _rows(use: _Use, matrix: Any, count: int) -> Any:
    """The map of `count` rows, each by `matrix` [entries, entries of a row]."""
    if count * matrix.size > MOST_WEIGHTS:
        raise use.refuse(f"more than {MOST_WEIGHTS} weights")
    weights = np.asarray(matrix, np.float64)
    return weights if count == 1 else sparse.kron(sparse.eye_array(count), sparse.coo_array(weights))


def _sum(use: _Use) -> Meaning:
    names = use.inputs(2, 2)
    use.only()
    signs = (1.0, 1.0 if use.node.kind == "Add" else -1.0)
    shapes = [use.shapes[name] if name in use.shapes else use.constant(name).shape for name in names]
    made = _spread(*shapes)
    terms, bias = [], None
    for name, shape, sign in zip(names, shapes, signs, strict=True):
        if name in use.shapes:
            terms.append((name, _picking(np.broadcast_to(_places(shape), made), shape, sign), 1))
        else:
            bias = sign * np.broadcast_to(np.asarray(use.constant(name), np.float64), made).ravel()
    if not terms:
        raise use.refuse("of two constants")
    return LinearMap(made, tuple(terms), bias)


def _mul(use: _Use) -> Meaning:
    names = use.inputs(2, 2)
    use.only()
    variables = [name for name in names if name in use.shapes]
    if len(variables) == 2:
        left, right = (use.shapes[name] for name in names)
        if left != right:
            raise use.refuse(f"of tensors of shape {left!r:.40} and {right!r:.40}")
        return Product(names[0], names[1], left)
    if not variables:
        raise use.refuse("of two constants")
    (source,) = variables
    (factor,) = (use.constant(name) for name in names if name != source)
    made = _spread(use.shapes[source], factor.shape)
    places = np.broadcast_to(_places(use.shapes[source]), made)
    matrix = _picking(places, use.shapes[source], np.broadcast_to(np.asarray(factor, np.float64), made))
    return LinearMap(made, ((source, matrix, 1),))


def _spread(left: Shape, right: Shape) -> Shape:
    """The shape to which two tensors are broadcast."""
    try:
        made = np.broadcast_shapes(left, right)
    except ValueError:
        raise UnsupportedNetworkError(f"shapes {left!r:.40} and {right!r:.40} do not fit") from None
    if math.prod(made) > MOST_ENTRIES:
        raise UnsupportedNetworkError(f"a tensor of shape {made!r:.60}")
    return tuple(made)


def _places(shape: Shape) -> Any:
    return np.arange(math.prod(shape)).reshape(shape)


def _picking(places: Any, source: Shape, factors: Any) -> Any:
    """The map whose entry i is factors[i] times entry places[i] of the source."""
    flat = np.ravel(places)
    values = np.broadcast_to(np.asarray(factors, np.float64), places.shape).ravel()
    return sparse.coo_array((values, (np.arange(flat.size), flat)), shape=(flat.size, math.prod(source)))


def _concat(use: _Use) -> Meaning:
    names = use.inputs(1, 1 << 16)
    use.only("axis")
    if "axis" not in use.node.attributes:
        raise use.refuse("no axis")
    shapes = [use.variable(name) for name in names]
    axis = use.axis(use.integer("axis", 0), len(shapes[0]))
    if len({(*shape[:axis], *shape[axis + 1 :], len(shape)) for shape in shapes}) != 1:
        raise use.refuse(f"of shapes {shapes!r:.80}")
    made = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    if math.prod(made) > MOST_ENTRIES:
        raise use.refuse(f"a tensor of shape {made!r:.60}")
    targets = np.split(_places(made), np.cumsum([shape[axis] for shape in shapes])[:-1], axis)
    terms = []
    for name, shape, target in zip(names, shapes, targets, strict=True):
        count = math.prod(shape)
        entries = (np.ones(count), (target.ravel(), np.arange(count)))
        terms.append((name, sparse.coo_array(entries, shape=(math.prod(made), count)), 1))
    return LinearMap(made, tuple(terms))


def _flatten(use: _Use) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only("axis")
    shape = use.variable(source)
    axis = use.axis(use.integer("axis", 1), len(shape), past=1)
    return SameEntries(source, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshape(use: _Use) -> Meaning:
    source, target = use.inputs(2, 2)
    use.only("allowzero")
    shape, asked = use.variable(source), list(use.whole(target))
    if "allowzero" in use.node.attributes and use.file.opset < 14:
        raise use.refuse("allowzero before operator set 14")
    keeps_zero = use.flag("allowzero", 0)
    for place, size in enumerate(asked):
        if size == 0 and (keeps_zero or place >= len(shape)):
            raise use.refuse("a size of 0")
        asked[place] = shape[place] if size == 0 else size
    if min(asked, default=1) < -1 or asked.count(-1) > 1:
        raise use.refuse(f"to shape {asked!r:.60}")
    if -1 in asked:
        rest = -math.prod(asked)
        asked[asked.index(-1)] = math.prod(shape) // rest
    if math.prod(asked) != math.prod(shape):
        raise use.refuse(f"from shape {shape!r:.40} to {asked!r:.40}")
    return SameEntries(source, tuple(asked))


@dataclass(frozen=True)
class _Window:
    """Where a kernel lies over an image: per axis its size, stride and dilation; padding before and after."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    def reach(self, axis: int) -> int:
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1


def _window(use: _Use, kernel: tuple[int, ...]) -> _Window:
    if use.node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise use.refuse("auto_pad")
    if use.integers("kernel_shape", kernel) != kernel or len(kernel) != 2:
        raise use.refuse(f"kernel_shape differs from the kernel's shape {kernel!r:.40}")
    strides, dilations = use.integers("strides", (1, 1)), use.integers("dilations", (1, 1))
    pads = use.integers("pads", (0, 0, 0, 0))
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0 or max(*strides, *dilations, *pads) > 1 << 20:
        raise use.refuse("a stride, dilation or padding out of range")
    (h, w), (top, left, bottom, right) = kernel, pads
    return _Window((h, w), (strides[0], strides[1]), (dilations[0], dilations[1]), (top, left, bottom, right))


def _image(use: _Use, name: str) -> tuple[int, int, int]:
    shape = use.variable(name)
    if len(shape) != 4 or shape[0] != 1:
        raise use.refuse(f"of shape {shape!r:.40} and not [1, channels, height, width]")
    return shape[1], shape[2], shape[3]


def _swept(use: _Use, size: tuple[int, ...], window: _Window) -> tuple[int, int]:
    """Positions of a window over an image [height, width]."""
    found = []
    for axis in (0, 1):
        room = size[axis] + window.pads[axis] + window.pads[axis + 2] - window.reach(axis)
        if room < 0:
            raise use.refuse("the window is larger than the image")
        found.append(room // window.strides[axis] + 1)
    return found[0], found[1]


def _conv(use: _Use) -> Meaning:
    source, name, *rest = use.inputs(2, 3)
    use.only("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    channels, height, width = _image(use, source)
    weight, groups = use.constant(name), use.integer("group", 1)
    if weight.ndim != 4 or groups < 1 or weight.shape[0] % groups or weight.shape[1] * groups != channels:
        raise use.refuse(f"weights {weight.shape!r:.40} in {groups} groups over {channels} channels")
    window = _window(use, weight.shape[2:])
    made = (weight.shape[0], *_swept(use, (height, width), window))
    matrix = _convolution(use, weight, groups, window, (channels, height, width), made)
    return LinearMap((1, *made), ((source, matrix, 1),), _spread_bias(use, rest, made))


def _conv_transpose(use: _Use) -> Meaning:
    """The transpose of the matrix of the Conv with these weights from the result's shape to the source's."""
    source, name, *rest = use.inputs(2, 3)
    use.only("auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides")
    channels, height, width = _image(use, source)
    weight, groups = use.constant(name), use.integer("group", 1)
    if weight.ndim != 4 or groups < 1 or weight.shape[0] != channels or channels % groups:
        raise use.refuse(f"weights {weight.shape!r:.40} in {groups} groups over {channels} channels")
    window = _window(use, weight.shape[2:])
    if any(use.integers("output_padding", (0, 0))):
        raise use.refuse("output_padding")
    sizes = [
        window.strides[axis] * (size - 1) + window.reach(axis) - window.pads[axis] - window.pads[axis + 2]
        for axis, size in enumerate((height, width))
    ]
    made = (weight.shape[1] * groups, sizes[0], sizes[1])
    if min(made) < 1 or math.prod(made) > MOST_ENTRIES:
        raise use.refuse(f"a result of shape {made!r:.60}")
    matrix = _convolution(use, weight, groups, window, made, (channels, height, width))
    return LinearMap((1, *made), ((source, matrix.T.tocoo(), 1),), _spread_bias(use, rest, made))


def _spread_bias(use: _Use, names: list[str], made: tuple[int, int, int]) -> Any:
    if not names:
        return None
    bias = use.constant(names[0])
    if bias.shape != made[:1]:
        raise use.refuse(f"a bias of shape {bias.shape!r:.40}")
    return np.repeat(np.asarray(bias, np.float64), made[1] * made[2])


def _convolution(
    use: _Use,
    weight: Any,
    groups: int,
    window: _Window,
    source: tuple[int, int, int],
    target: tuple[int, int, int],
) -> Any:
    """Matrix [target, source]: y[o, p, q] adds up w[o, c, i, j] x[channel, s p + d i - t, s q + d j - l]."""
    filters, per_group = weight.shape[:2]
    if weight.size * target[1] * target[2] > MOST_WEIGHTS:
        raise use.refuse(f"more than {MOST_WEIGHTS} weights")
    o, c = (grid.reshape(-1, 1) for grid in np.mgrid[:filters, :per_group])
    channel = o // (filters // groups) * per_group + c
    parts = []
    for i, j in np.ndindex(*window.kernel):
        p, q, y, x = _positions(window, (i, j), source, target)
        values = np.broadcast_to(np.asarray(weight[:, :, i, j], np.float64).reshape(-1, 1), (o.size, p.size))
        rows = (o * target[1] + p) * target[2] + q
        columns = (channel * source[1] + y) * source[2] + x
        parts.append((values.ravel(), rows.ravel(), columns.ravel()))
    data, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    shape = (math.prod(target), math.prod(source))
    return sparse.coo_array((data, (rows, columns)), shape=shape)


def _positions(
    window: _Window, place: tuple[int, int], source: tuple[int, ...], target: tuple[int, ...]
) -> tuple[Any, Any, Any, Any]:
    """Positions p, q of the window for which its entry `place` lies in the image, and where: y, x."""
    p, q = (grid.ravel() for grid in np.mgrid[: target[1], : target[2]])
    y = p * window.strides[0] + place[0] * window.dilations[0] - window.pads[0]
    x = q * window.strides[1] + place[1] * window.dilations[1] - window.pads[1]
    inside = (y >= 0) & (y < source[1]) & (x >= 0) & (x < source[2])
    return p[inside], q[inside], y[inside], x[inside]


def _average_pool(use: _Use) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")
    channels, height, width = _image(use, source)
    window = _window(use, use.integers("kernel_shape", (0, 0)))
    padded = use.flag("count_include_pad", 0)
    if use.flag("ceil_mode", 0) or window.dilations != (1, 1):
        raise use.refuse("ceil_mode or dilations")
    if any(window.pads[axis] >= window.kernel[axis % 2] for axis in range(4)):
        raise use.refuse("a padding as large as the window")
    made = (channels, *_swept(use, (height, width), window))
    if math.prod(window.kernel) * math.prod(made) > MOST_WEIGHTS:
        raise use.refuse(f"more than {MOST_WEIGHTS} weights")
    rows, columns = [], []
    for place in np.ndindex(*window.kernel):
        p, q, y, x = _positions(window, place, (1, height, width), made)
        c = np.arange(channels).reshape(-1, 1)
        rows.append(((c * made[1] + p) * made[2] + q).ravel())
        columns.append(((c * height + y) * width + x).ravel())
    places = (np.concatenate(rows), np.concatenate(columns))
    counts = np.bincount(places[0], minlength=math.prod(made))
    if padded:
        counts = np.full_like(counts, math.prod(window.kernel))
    return _averaging(use, source, (1, *made), places, counts)


def _averaging(use: _Use, source: str, made: Shape, places: Any, counts: Any) -> LinearMap:
    """Entry i is the sum of entries places[1] of the source where places[0] is i, over counts[i]."""
    if (counts < 1).any():
        raise use.refuse("a window that sees no entry")
    divisor = math.lcm(*{int(count) for count in counts})
    if divisor > 1 << 40:
        raise use.refuse("windows of too many sizes")
    weights = (divisor // counts)[places[0]].astype(np.float64)
    shape = (math.prod(made), math.prod(use.variable(source)))
    return LinearMap(made, ((source, sparse.coo_array((weights, places), shape=shape), divisor),))


def _global_average(use: _Use) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only()
    rank = len(use.variable(source))
    if rank < 3:
        raise use.refuse(f"of {rank} axes")
    return _mean(use, source, tuple(range(2, rank)), True)


def _reduce_mean(use: _Use) -> Meaning:
    source, *rest = use.inputs(1, 1 if use.file.opset < 18 else 2)
    use.only(*(("axes", "keepdims") if use.file.opset < 18 else ("keepdims", "noop_with_empty_axes")))
    if use.flag("noop_with_empty_axes", 0):
        raise use.refuse("noop_with_empty_axes")
    rank = len(use.variable(source))
    axes = use.node.attributes.get("axes", use.whole(rest[0]) if rest else tuple(range(rank)))
    if not isinstance(axes, tuple) or not axes:
        raise use.refuse("axes")
    found = tuple(use.axis(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise use.refuse("an axis twice")
    return _mean(use, source, found, use.flag("keepdims", 1))


def _mean(use: _Use, source: str, axes: tuple[int, ...], keep: bool) -> Meaning:
    shape = use.variable(source)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    target = np.broadcast_to(_places(kept), shape).ravel()
    count = math.prod(shape[axis] for axis in axes)
    made = kept if keep else tuple(size for axis, size in enumerate(shape) if axis not in axes)
    places = (target, np.arange(target.size))
    return _averaging(use, source, made, places, np.full(math.prod(kept), count))


_READERS: dict[str, Callable[[_Use], Meaning]] = {
    **dict.fromkeys(POINTWISE, _pointwise),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _sum,
    "Sub": _sum,
    "Mul": _mul,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _reduce_mean,
}
