"""Operators that only move entries: an index says where each comes from, and no matrix is made of it."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from salver.core.errors import SalverError
from salver.nets.affine import apply
from salver.nets.operators.base import (
    Adjoint,
    Array,
    GradientBuilder,
    Node,
    OnnxWriter,
    Operator,
    Range,
    Shape,
    Values,
    operator,
)
from salver.nets.operators.linear import Linear
from salver.nets.program import ProgramBuilder

Places = npt.NDArray[np.intp]
MOST_COPIES = 16
"""Of one entry, above which their derivatives are added up by a matrix and not by one node each."""
MOST_ENTRIES = 1 << 22
"""Of such a matrix."""


class Arrangement(Operator):
    """y[i] = x[places[i]], and 0 where that place is -1."""

    @abstractmethod
    def places_in(self, source: Shape) -> Places:
        """Where each entry of the flat output comes from [outputs], for an input of shape `source`."""

    def evaluate(self, values: Sequence[Values], source: Shape) -> Values:
        return _moved(values[0], self.places_in(source))

    def range(self, given: Sequence[Range], source: Shape) -> Range:
        low, high = (_moved(end, self.places_in(source)) for end in given[0])
        return low, high

    def lower(self, program: ProgramBuilder, node: Node, source: Shape) -> None:
        places = self.places_in(source)
        rows = np.flatnonzero(places >= 0)
        entries = (np.ones(len(rows)), (rows, places[rows]))
        index = scipy.sparse.csr_array(entries, shape=(len(places), math.prod(source)))
        program.define(node.name, apply(index, program.value(node.inputs[0]), 0.0))

    def pulled(self, adjoint: npt.NDArray[np.float64], source: Shape) -> npt.NDArray[np.float64]:
        places, size = self.places_in(source), math.prod(source)
        return np.bincount(places[places >= 0], adjoint[places >= 0], size).astype(np.float64)


@operator
@dataclass(frozen=True)
class Transpose(Arrangement):
    """Axis i of the output is axis `axes[i]` of the input."""

    axes: tuple[int, ...]

    def places_in(self, source: Shape) -> Places:
        return np.arange(math.prod(source)).reshape(source).transpose(self.axes).ravel()

    def output_shape(self, source: Shape) -> Shape:
        return tuple(source[axis] for axis in self.axes)

    def transposed(self, source: Shape, target: Shape) -> Operator:
        return Transpose(tuple(np.argsort(self.axes).tolist()))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        return values[0].permute(0, *(axis + 1 for axis in self.axes))

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        graph.node("Transpose", inputs, output, perm=[0, *(axis + 1 for axis in self.axes)])


@operator
@dataclass(frozen=True, eq=False)
class Pick(Arrangement):
    """y[i] = x[places[i]] over flat tensors, and 0 where that place is -1: slices, pads, gathers, copies.

    Attributes:
        places: [outputs]; size: entries of x.
    """

    places: Places
    size: int

    def places_in(self, source: Shape) -> Places:
        return self.places

    def output_shape(self, source: Shape) -> Shape:
        return (len(self.places),)

    def arrays(self) -> dict[str, Array]:
        """None: places are no weights."""
        return {}

    def backward(self, gradient: GradientBuilder, node: Node, adjoint: Adjoint) -> None:
        """Of an entry that is copied, the derivatives of the copies are added up."""
        source = gradient.shapes[node.inputs[0]]
        if isinstance(adjoint, str):
            for part in self._returning():
                gradient.accumulate(node.inputs[0], gradient.emit(part, (adjoint,), source))
        else:
            gradient.accumulate(node.inputs[0], self.pulled(adjoint.ravel(), source))

    def _returning(self) -> Iterator[Operator]:
        """Operators whose sum is the transposed one."""
        used = np.flatnonzero(self.places >= 0)
        order = used[np.argsort(self.places[used], kind="stable")]
        first = np.searchsorted(self.places[order], self.places[order])
        copy = np.arange(len(order)) - first
        count = int(copy.max(initial=-1)) + 1
        if count <= MOST_COPIES:
            for number in range(count):
                back = np.full(self.size, -1, np.intp)
                back[self.places[order[copy == number]]] = order[copy == number]
                yield Pick(back, len(self.places))
            return
        if self.size * len(self.places) > MOST_ENTRIES:
            what = f"an operator that copies an entry {count} times has no unrolled gradient"
            raise SalverError(what, "network", "see docs/networks.md for what has")
        weight = np.zeros((self.size, len(self.places)), np.float32)
        weight[self.places[used], used] = 1.0
        yield Linear(weight, np.zeros(self.size, np.float32))

    def in_torch(self, values: Sequence[Any], weights: Mapping[str, Any], shape: Shape) -> Any:
        import torch

        places = torch.as_tensor(self.places, device=values[0].device)
        picked = values[0].flatten(1).index_select(1, places.clamp(min=0))
        return torch.where(places >= 0, picked, torch.zeros_like(picked))

    def write(self, graph: OnnxWriter, inputs: Sequence[str], output: str, shape: Shape) -> None:
        """As a Slice or a Pad where it is one, else as a Gather, behind a Pad of one 0 where zeros are read.

        A stretch of places one after the other, with zeros around it, is sliced and padded. The identity is a
        Gather.
        """
        (source,), count = inputs, len(self.places)
        used = np.flatnonzero(self.places >= 0)
        same = len(used) == count == self.size and (self.places == np.arange(count)).all()
        if len(used) and not same and (np.diff(used) == 1).all() and (np.diff(self.places[used]) == 1).all():
            around = (int(used[0]), count - 1 - int(used[-1]))
            start, end = int(self.places[used[0]]), int(self.places[used[-1]]) + 1
            target = f"{output}_part" if any(around) else output
            if end - start < self.size:
                _slice(graph, source, target, start, end)
                source = target
            if any(around):
                _pad(graph, source, output, around)
            return
        places = self.places
        if len(used) < count:
            _pad(graph, source, f"{output}_padded", (1, 0))
            source, places = f"{output}_padded", places + 1
        graph.node("Gather", [source, graph.constant(places.astype(np.int64))], output, axis=1)


def _moved(values: Values, places: Places) -> Values:
    """Entries at `places` of the last axis, 0 for -1."""
    return np.asarray(np.where(places >= 0, values[..., places], np.zeros((), values.dtype)))


def _slice(graph: OnnxWriter, source: str, target: str, start: int, end: int) -> None:
    ends = (graph.constant(np.array([value], np.int64)) for value in (start, end, 1))
    graph.node("Slice", [source, *ends], target)


def _pad(graph: OnnxWriter, source: str, target: str, around: tuple[int, int]) -> None:
    pads = graph.constant(np.array([0, around[0], 0, around[1]], np.int64))
    graph.node("Pad", [source, pads], target)
