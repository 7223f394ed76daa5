"""What the ONNX reader has built so far: nodes, constants, names and shapes, and how to add to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from salver.core.errors import SalverError
from salver.nets.onnx.strict import MOST_ENTRIES
from salver.nets.onnx.types import Types, without_batch
from salver.nets.onnx.unread import MEND
from salver.nets.operators import (
    Concat,
    Linear,
    Node,
    Operator,
    Pick,
    Range,
    Reshape,
    Scale,
    Shape,
    Transpose,
    held,
)


@dataclass(frozen=True)
class BooleanTensor:
    """A boolean tensor as `constant + sum of sign * 1[z > 0]`, over the pre-activation tensors named.

    Masks are made where the tensor is used, so that a broadcast happens to z and a mask stays a mask.
    """

    constant: int
    parts: tuple[tuple[int, str], ...]

    def negated(self) -> BooleanTensor:
        return BooleanTensor(1 - self.constant, tuple((-sign, name) for sign, name in self.parts))


@dataclass
class GraphBuilder:
    """Nodes in the order of the file.

    Attributes:
        input: name of the flat input tensor; input_size: its number of entries.
        constants: values known without the input, by tensor.
        shapes: shape of every variable tensor, mostly without its batch axis. Entries lie in the order of the
            file's tensor, whose full shape is in `types` where it is known.
        spent: entries written so far that the file does not hold: of selection matrices and folded constants.
        ranges: flat ranges of tensors over the query's box; empty where a network is read without a query.
        taken: every name of the file, and every one that the reader has made for itself.
        derived: the reader's own tensors that are made once, by what they are.
        made: the nodes by name; read: every name of the file that something reads.
        padded: image with zeros around it -> the image, and how many at its top, left, bottom and right; a
            convolution of it pads by itself.
    """

    where: str
    input: str
    input_size: int
    constants: dict[str, Any]
    types: Types
    nodes: list[Node] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    truths: dict[str, BooleanTensor] = field(default_factory=dict)
    spent: int = 0
    ranges: dict[str, Range] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    derived: dict[tuple[str, ...], str] = field(default_factory=dict)
    made: dict[str, Node] = field(default_factory=dict)
    padded: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shapes[self.input] = (self.input_size,)

    def fail(self, node: onnx.NodeProto, what: str) -> SalverError:
        """What to raise for an operator that is not read in this form, `what` in one clause."""
        named = f" (node {node.name!r:.60})" if node.name else ""
        found = f"operator {node.op_type} {what} is not supported by salver{named}"
        return SalverError(found, self.where, MEND)

    def fresh(self, wanted: str) -> str:
        """A name that no tensor has, of the file or made by the reader; `wanted` if that is free."""
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}~{number}"
        self.taken.add(name)
        return name

    def once(self, *key: str, make: Callable[[str], None]) -> str:
        """The reader's own tensor of this key, `make` emitting it under a fresh name when first asked for."""
        if key not in self.derived:
            self.derived[key] = self.fresh("/".join(key))
            make(self.derived[key])
        return self.derived[key]

    def tensor(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        if name not in self.shapes:
            kind = "boolean" if name in self.truths else "constant"
            what = f"tensor {name!r} is {kind} where a variable is expected; this is not supported"
            raise SalverError(what, self.where, MEND)
        return name

    def refuse_twice(self, *names: str) -> None:
        """Raises: SalverError: one of the names is taken, or is there twice."""
        for number, name in enumerate(names):
            taken = (self.shapes, self.alias, self.constants, self.truths, names[:number])
            if any(name in known for known in taken):
                what = f"tensor {name!r} is named twice"
                raise SalverError(what, self.where, "give every tensor its own name")

    def emit(self, name: str, operator: Operator, inputs: tuple[str, ...], shape: Shape) -> None:
        self.refuse_twice(name)
        if math.prod(shape) > MOST_ENTRIES or any(size < 1 for size in shape):
            raise SalverError(f"tensor {name!r} of shape {shape} is not supported", self.where, MEND)
        node = Node(name, operator, inputs, shape)
        self.nodes.append(node)
        self.made[name], self.shapes[name] = node, shape

    def flat(self, name: str) -> str:
        source = self.tensor(name)
        if len(self.shapes[source]) == 1:
            return source
        shape = (math.prod(self.shapes[source]),)
        return self.once(source, "flat", make=lambda name: self.emit(name, Reshape(), (source,), shape))

    def emit_all(self, nodes: Iterable[Node], last: str) -> None:
        """Emits nodes under fresh names, but the one called `last` under its own."""
        names: dict[str, str] = {}
        for node in nodes:
            names[node.name] = node.name if node.name == last else self.fresh(node.name)
            inputs = tuple(names.get(name, name) for name in node.inputs)
            self.emit(names[node.name], node.operator, inputs, node.shape)

    def full(self, name: str) -> Shape | None:
        """Full shape of a tensor of the file, none where it is not known or does not fit."""
        shape = self.types.shapes.get(name)
        if shape is None or name in self.constants or name in self.truths:
            return shape
        return shape if math.prod(shape) == math.prod(self.shapes[self.tensor(name)]) else None

    def known(self, node: onnx.NodeProto, name: str) -> Shape:
        """Full shape of a tensor of the file.

        Raises:
            SalverError: it is not known.
        """
        shape = self.full(name)
        if shape is None:
            raise self.fail(node, f"on {name!r}, whose shape is not fixed,")
        return shape

    def spend(self, node: onnx.NodeProto, count: int) -> None:
        """Raises: SalverError: with `count` entries more, all that was made has more than `MOST_ENTRIES`."""
        self.spent += count
        if self.spent > MOST_ENTRIES:
            raise self.fail(node, f"with {count} entries to write, with others more than {MOST_ENTRIES},")

    def matrix(self, node: onnx.NodeProto, rows: int, columns: int) -> Any:
        """Zeros [rows, columns] in single precision. Raises: SalverError: as `spend`."""
        self.spend(node, rows * columns)
        return np.zeros((rows, columns), np.float32)

    def linear_map(self, node: onnx.NodeProto, name: str, source: str, weight: Any, shape: Shape) -> None:
        """Emits `name` of `shape` as `weight` [entries, source's entries] times the flat source."""
        flat = self.flat(source)
        target = name if len(shape) == 1 else self.fresh(f"{name}/entries")
        self.emit(target, Linear(weight, np.zeros(len(weight), np.float32)), (flat,), (len(weight),))
        if target != name:
            self.emit(name, Reshape(), (target,), shape)

    def pick(self, name: str, source: str, places: Any, full: Shape) -> None:
        """Emits `name` of full shape `full`, whose entry i is entry `places[i]` of `source`; 0 for -1."""
        source, shape = self.tensor(source), without_batch(full)
        count = math.prod(self.shapes[source])
        if len(places) == count and (places == np.arange(count)).all():
            self.emit(name, Reshape(), (source,), shape)
            return
        origin = self._behind_reshapes(source)
        if origin is not None and isinstance(origin.operator, Pick):  # a pick of a pick is one
            places = np.where(places >= 0, origin.operator.places[places], -1)
            source, count = origin.inputs[0], origin.operator.size
        flat = self.flat(source)
        target = name if len(shape) == 1 else self.fresh(f"{name}/entries")
        self.emit(target, Pick(np.asarray(places, np.intp), count), (flat,), (len(places),))
        if target != name:
            self.emit(name, Reshape(), (target,), shape)

    def _behind_reshapes(self, name: str) -> Node | None:
        """What makes the entries of a tensor; None for the input."""
        found = self.made.get(name)
        while found is not None and isinstance(found.operator, Reshape):
            found = self.made.get(found.inputs[0])
        return found

    def shaped(self, source: str, shape: Shape) -> str:
        """The entries of a tensor under another shape; itself where that is its own."""
        if self.shapes[source] == shape:
            return source
        kind = f"as{list(shape)}"
        return self.once(source, kind, make=lambda name: self.emit(name, Reshape(), (source,), shape))

    def rearrange(self, name: str, source: str, sizes: Shape, axes: Sequence[int], full: Shape) -> None:
        """Emits `name` of full shape `full`: `source` as a tensor of `sizes`, with its axes permuted."""
        source, shape = self.tensor(source), without_batch(full)
        order = [axis for axis in axes if sizes[axis] > 1]
        kept = sorted(order)
        if order == kept:
            self.emit(name, Reshape(), (source,), shape)
            return
        given, batch = self.shapes[source], len(sizes) - len(self.shapes[source])
        if batch in (0, 1) and given == sizes[batch:] and list(axes[:batch]) == [0] * batch:
            own, moved = given, [axis - batch for axis in axes[batch:]]
        else:
            own, moved = tuple(sizes[axis] for axis in kept), [kept.index(axis) for axis in order]
        made = tuple(own[axis] for axis in moved)
        target = name if made == shape else self.fresh(f"{name}/moved")
        self.emit(target, Transpose(tuple(moved)), (self.shaped(source, own),), made)
        if target != name:
            self.emit(name, Reshape(), (target,), shape)

    def spread(self, node: onnx.NodeProto, name: str, full: Shape) -> str:
        """A variable tensor of the file broadcast to the full shape `full`; itself where nothing changes."""
        own, source = self.known(node, name), self.tensor(name)
        if math.prod(own) == math.prod(full):
            return source
        if math.prod(full) > MOST_ENTRIES:
            raise self.fail(node, f"from {own} to {full}")
        places = np.broadcast_to(np.arange(math.prod(own)).reshape(own), full).ravel()
        kind = f"spread{list(own)}{list(full)}"
        return self.once(source, kind, make=lambda made: self.pick(made, source, places, full))

    def scale(self, output: str, source: str, scale: Any, shift: Any) -> None:
        """Emits `scale * source + shift`; both broadcast to the shape of `source`."""
        shape = self.shapes[source]
        full = [np.ascontiguousarray(np.broadcast_to(held(part), shape)) for part in (scale, shift)]
        if not all(np.isfinite(part).all() for part in full):
            raise SalverError(f"scaling {output!r} is not finite", self.where, "export the model again")
        self.emit(output, Scale(full[0], full[1]), (source,), shape)

    def fixed(self, name: str) -> str:
        """A constant tensor, flat, as a linear map that ignores the input."""
        bias = held(np.ravel(self.constants[name]))
        weight = np.zeros((bias.size, self.shapes[self.input][0]), np.float32)
        operator = Linear(weight, bias)
        return self.once(
            name, "fixed", make=lambda made: self.emit(made, operator, (self.input,), (bias.size,))
        )

    def join(self, name: str, parts: tuple[str, ...]) -> None:
        """Emits the flat tensors `parts` one after the other."""
        self.emit(name, Concat(), parts, (sum(self.shapes[part][0] for part in parts),))


Rule = Callable[[GraphBuilder, onnx.NodeProto, dict[str, Any]], None]
"""Adds an ONNX operator, of which some input is variable, with its attributes."""
