"""What operators of an ONNX file mean that only move entries: each of a result is one of the source, or 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse

from salver.proofs.node import LinearMap, Meaning, NodeUse, places_of
from salver.proofs.onnx_file import MOST_ENTRIES


def transpose(use: NodeUse) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only("perm")
    rank = len(use.variable(source))
    axes = use.integers("perm", tuple(range(rank))[::-1])
    if sorted(axes) != list(range(rank)):
        raise use.refuse(f"perm {axes!r:.60}")
    return _moved(use, source, np.transpose(places_of(use.variable(source)), axes))


def slice_(use: NodeUse) -> Meaning:
    """Starts, ends, axes and steps as inputs; steps of 1 or more, and places as Python's slices have them."""
    source, *given = use.inputs(3, 5)
    use.only()
    if use.file.opset < 10:
        raise use.refuse("before operator set 10")
    shape = use.variable(source)
    starts, ends = (use.whole(name) for name in given[:2])
    axes = use.whole(given[2]) if len(given) > 2 else tuple(range(len(starts)))
    steps = use.whole(given[3]) if len(given) > 3 else (1,) * len(starts)
    found = [use.axis(axis, len(shape)) for axis in axes]
    if len({len(starts), len(ends), len(axes), len(steps)}) != 1 or len(set(found)) != len(found):
        raise use.refuse("starts, ends, axes and steps that do not fit")
    if min(steps, default=1) < 1:
        raise use.refuse("a step below 1")
    cut = [slice(None)] * len(shape)
    for axis, start, end, step in zip(found, starts, ends, steps, strict=True):
        cut[axis] = slice(start, end, step)
    return _moved(use, source, places_of(shape)[tuple(cut)])


def gather(use: NodeUse) -> Meaning:
    source, name = use.inputs(2, 2)
    use.only("axis")
    shape = use.variable(source)
    axis = use.axis(use.integer("axis", 0), len(shape))
    places = np.array(use.whole(name), np.int64)
    least = -shape[axis] if use.file.opset >= 11 else 0
    if (places < least).any() or (places >= shape[axis]).any():
        raise use.refuse("an index out of range")
    if places.size * math.prod(shape) // shape[axis] > MOST_ENTRIES:
        raise use.refuse("a result too large")
    return _moved(use, source, np.take(places_of(shape), places % shape[axis], axis))


def pad(use: NodeUse) -> Meaning:
    """Zeros around a tensor."""
    source, name = use.inputs(2, 2)
    if use.only("mode").get("mode", b"constant") != b"constant" or use.file.opset < 11:
        raise use.refuse("of another kind than with zeros, or before operator set 11")
    shape, pads = use.variable(source), use.whole(name)
    rank = len(shape)
    if len(pads) != 2 * rank or min(pads) < 0 or max(pads) > MOST_ENTRIES:
        raise use.refuse(f"pads {pads!r:.60}")
    around = list(zip(pads[:rank], pads[rank:], strict=True))
    if math.prod(size + sum(pair) for size, pair in zip(shape, around, strict=True)) > MOST_ENTRIES:
        raise use.refuse("a result too large")
    return _moved(use, source, np.pad(places_of(shape), around, constant_values=-1))


def _moved(use: NodeUse, source: str, places: Any) -> LinearMap:
    """The map whose entry i is entry places[i] of the source, 0 where that is -1."""
    flat = places.ravel()
    rows = np.flatnonzero(flat >= 0)
    entries = (np.ones(len(rows)), (rows, flat[rows]))
    matrix = sparse.coo_array(entries, shape=(flat.size, math.prod(use.variable(source))))
    return LinearMap(tuple(places.shape), ((source, matrix, 1),))
