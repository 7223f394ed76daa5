"""What the operators of an ONNX file mean: shapes, and exact linear maps over flat tensors.

A linear map has weights as stored, or whole numbers over one common divisor, a count of averaged entries.
Shapes are those of the file, with the batch axis; entries lie in row-major order. Every attribute that is not
named here is refused, as is every value of one whose meaning is not written down here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from salver.proofs.arrangement import gather, pad, slice_, transpose
from salver.proofs.node import (
    MOST_WEIGHTS,
    LinearMap,
    Meaning,
    NodeUse,
    Pointwise,
    Product,
    SameEntries,
    places_of,
)
from salver.proofs.onnx_file import MOST_ENTRIES, FileNode, NetworkFile, Shape, UnsupportedNetworkError
from salver.proofs.windows import average_pool, conv, conv_transpose, global_average, reduce_mean

POINTWISE = frozenset(("Relu", "Sign", "Abs"))


def meaning(file: NetworkFile, node: FileNode, shapes: dict[str, Shape]) -> Meaning:
    """What a node computes.

    Args:
        shapes: of every tensor that depends on the input and comes before the node.

    Raises:
        UnsupportedNetworkError: an operator, or a use of one, that proofs do not cover.
    """
    if node.kind not in _READERS:
        raise UnsupportedNetworkError(f"operator {node.kind!r:.40} is not covered by proofs")
    found = _READERS[node.kind](NodeUse(file, node, shapes))
    if math.prod(found.shape) > MOST_ENTRIES or any(size < 1 for size in found.shape):
        raise UnsupportedNetworkError(f"{node.output!r:.60} has shape {found.shape!r:.60}")
    return found


def _pointwise(use: NodeUse) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only()
    return Pointwise(use.node.kind, source, use.variable(source))


def _gemm(use: NodeUse) -> Meaning:
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


def _matmul(use: NodeUse) -> Meaning:
    source, weight = use.inputs(2, 2)
    use.only()
    shape, matrix = use.variable(source), use.constant(weight)
    if matrix.ndim != 2 or shape[-1:] != matrix.shape[:1]:
        raise use.refuse(f"factors of shape {shape!r:.40} and {matrix.shape!r:.40}")
    rows = _rows(use, matrix.T, math.prod(shape[:-1]))
    return LinearMap((*shape[:-1], matrix.shape[1]), ((source, rows, 1),))


def _rows(use: NodeUse, matrix: Any, count: int) -> Any:
    """The map of `count` rows, each by `matrix` [entries, entries of a row]."""
    if count * matrix.size > MOST_WEIGHTS:
        raise use.refuse(f"more than {MOST_WEIGHTS} weights")
    weights = np.asarray(matrix, np.float64)
    return weights if count == 1 else sparse.kron(sparse.eye_array(count), sparse.coo_array(weights))


def _sum(use: NodeUse) -> Meaning:
    names = use.inputs(2, 2)
    use.only()
    signs = (1.0, 1.0 if use.node.kind == "Add" else -1.0)
    shapes = [use.shapes[name] if name in use.shapes else use.constant(name).shape for name in names]
    made = _spread(*shapes)
    terms, bias = [], None
    for name, shape, sign in zip(names, shapes, signs, strict=True):
        if name in use.shapes:
            terms.append((name, _picking(np.broadcast_to(places_of(shape), made), shape, sign), 1))
        else:
            bias = sign * np.broadcast_to(np.asarray(use.constant(name), np.float64), made).ravel()
    if not terms:
        raise use.refuse("of two constants")
    return LinearMap(made, tuple(terms), bias)


def _mul(use: NodeUse) -> Meaning:
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
    places = np.broadcast_to(places_of(use.shapes[source]), made)
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


def _picking(places: Any, source: Shape, factors: Any) -> Any:
    """The map whose entry i is factors[i] times entry places[i] of the source."""
    flat = np.ravel(places)
    values = np.broadcast_to(np.asarray(factors, np.float64), places.shape).ravel()
    return sparse.coo_array((values, (np.arange(flat.size), flat)), shape=(flat.size, math.prod(source)))


def _concat(use: NodeUse) -> Meaning:
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
    targets = np.split(places_of(made), np.cumsum([shape[axis] for shape in shapes])[:-1], axis)
    terms = []
    for name, shape, target in zip(names, shapes, targets, strict=True):
        count = math.prod(shape)
        entries = (np.ones(count), (target.ravel(), np.arange(count)))
        terms.append((name, sparse.coo_array(entries, shape=(math.prod(made), count)), 1))
    return LinearMap(made, tuple(terms))


def _flatten(use: NodeUse) -> Meaning:
    (source,) = use.inputs(1, 1)
    use.only("axis")
    shape = use.variable(source)
    axis = use.axis(use.integer("axis", 1), len(shape), past=1)
    return SameEntries(source, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _reshape(use: NodeUse) -> Meaning:
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


_READERS: dict[str, Callable[[NodeUse], Meaning]] = {
    **dict.fromkeys(POINTWISE, _pointwise),
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _sum,
    "Sub": _sum,
    "Mul": _mul,
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "ReduceMean": reduce_mean,
    "Transpose": transpose,
    "Slice": slice_,
    "Gather": gather,
    "Pad": pad,
}
