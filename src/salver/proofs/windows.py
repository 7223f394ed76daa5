"""What convolutions, pools and means of an ONNX file mean: exact linear maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from salver.proofs.node import MOST_WEIGHTS, LinearMap, Meaning, NodeUse, places_of
from salver.proofs.onnx_file import MOST_ENTRIES, Shape


@dataclass(frozen=True)
class _Window:
    """Where a kernel lies over an image: per axis its size, stride and dilation; padding before and after."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    def reach(self, axis: int) -> int:
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1


def _window(use: NodeUse, kernel: tuple[int, ...]) -> _Window:
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


def _image(use: NodeUse, name: str) -> tuple[int, int, int]:
    shape = use.variable(name)
    if len(shape) != 4 or shape[0] != 1:
        raise use.refuse(f"of shape {shape!r:.40} and not [1, channels, height, width]")
    return shape[1], shape[2], shape[3]


def _swept(use: NodeUse, size: tuple[int, ...], window: _Window) -> tuple[int, int]:
    """Positions of a window over an image [height, width]."""
    found = []
    for axis in (0, 1):
        room = size[axis] + window.pads[axis] + window.pads[axis + 2] - window.reach(axis)
        if room < 0:
            raise use.refuse("the window is larger than the image")
        found.append(room // window.strides[axis] + 1)
    return found[0], found[1]


def conv(use: NodeUse) -> Meaning:
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


def conv_transpose(use: NodeUse) -> Meaning:
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


def _spread_bias(use: NodeUse, names: list[str], made: tuple[int, int, int]) -> Any:
    if not names:
        return None
    bias = use.constant(names[0])
    if bias.shape != made[:1]:
        raise use.refuse(f"a bias of shape {bias.shape!r:.40}")
    return np.repeat(np.asarray(bias, np.float64), made[1] * made[2])


def _convolution(
    use: NodeUse,
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


def average_pool(use: NodeUse) -> Meaning:
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


def _averaging(use: NodeUse, source: str, made: Shape, places: Any, counts: Any) -> LinearMap:
    """Entry i is the sum of entries places[1] of the source where places[0] is i, over counts[i]."""
    if (counts < 1).any():
        raise use.refuse("a window that sees no entry")
    divisor = math.lcm(*{int(count) for count in counts})
    if divisor > 1 << 40:
        raise use.refuse("windows of too many sizes")
    weights = (divisor // counts)[places[0]].astype(np.float64)
    shape = (math.prod(made), math.prod(use.variable(source)))
    return LinearMap(made, ((source, sparse.coo_array((weights, places), shape=shape), divisor),))


def global_average(use: NodeUse) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only()
    rank = len(use.variable(source))
    if rank < 3:
        raise use.refuse(f"of {rank} axes")
    return _mean(use, source, tuple(range(2, rank)), True)


def reduce_mean(use: NodeUse) -> Meaning:
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


def _mean(use: NodeUse, source: str, axes: tuple[int, ...], keep: bool) -> Meaning:
    shape = use.variable(source)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    target = np.broadcast_to(places_of(kept), shape).ravel()
    count = math.prod(shape[axis] for axis in axes)
    made = kept if keep else tuple(size for axis, size in enumerate(shape) if axis not in axes)
    places = (target, np.arange(target.size))
    return _averaging(use, source, made, places, np.full(math.prod(kept), count))
