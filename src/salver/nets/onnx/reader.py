"""ONNX -> `Network`: the operators of feed-forward ReLU classifiers and of gradient networks.

What does not depend on the input is folded; normalisations, pools and whatever picks or adds up entries are
written with the few operators of `Network`; anything else is named in an error. Model files are untrusted:
only data inside the file is used, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
from onnx import helper

from salver.core.errors import SalverError, counted
from salver.nets.network import Network, fold_scales
from salver.nets.onnx import arithmetic, images, layout, matrices, max_pools, piecewise, truth, windows
from salver.nets.onnx.batch import Batch, shapes_of
from salver.nets.onnx.declared import inputs_of
from salver.nets.onnx.external import nodes_of
from salver.nets.onnx.file import load_model
from salver.nets.onnx.fold import FOLDED, folded
from salver.nets.onnx.graph import GraphBuilder, Rule
from salver.nets.onnx.normal import captured, renamed
from salver.nets.onnx.strict import (
    checked,
    declared_shape,
    refuse_options,
    without_stray_pads,
    without_training,
    without_unread,
)
from salver.nets.onnx.types import Types
from salver.nets.onnx.unread import MEND, refuse_unread
from salver.nets.operators import OPERATORS, Linear, Operator, Range, Reshape, held

_RULES: dict[str, Rule] = {
    **arithmetic.RULES, **images.RULES, **layout.RULES, **matrices.RULES, **max_pools.RULES,
    **piecewise.RULES, **truth.RULES, **windows.RULES,
}  # fmt: skip
Message = TypeVar("Message", onnx.ModelProto, onnx.NodeProto)
_OWN = {kind.onnx: kind for kind in OPERATORS.values() if kind.onnx is not None}
"""Operators that are ONNX operators themselves."""
MOST_WHOLE = 1 << 20
"""Largest whole constant that is added to whole numbers; single precision holds the sums."""
_INTEGERS = frozenset(
    helper.np_dtype_to_tensor_dtype(np.dtype(f"{k}{n}")) for k in "iu" for n in (1, 2, 4, 8)
)
_MOVES = layout.PICKS | layout.LAYOUT | {"Cast", "Concat", "Identity", "Transpose"}
OF_VARIABLES = frozenset((*_RULES, *_OWN, "Constant", "ConstantOfShape", "If", "Shape"))
"""Operators that may read what depends on the input, and those that make constants."""
SUPPORTED = OF_VARIABLES | FOLDED


def read_onnx(path: Path) -> Network:
    """Reads a network from an ONNX file.

    Raises:
        SalverError: unreadable file, unsupported operator or layout, non-finite weights.
    """
    return from_model(load_model(path), str(path))


def from_model(model: onnx.ModelProto, where: str = "ONNX model", *, one_of_batch: bool = False) -> Network:
    """Converts a loaded model; see `read_onnx`.

    Args:
        one_of_batch: of a model that fixes its batch to several rows reads what it does with one of them,
            where they are shown to be independent (`nets.onnx.batch`).
    """
    for values, role in ((inputs_of(model.graph), "input"), (model.graph.output, "output")):
        if len(values) != 1:
            names = ", ".join(repr(value.name) for value in values)
            what = f"has {counted(len(values), role)} ({names:.200})"
            raise SalverError(what, where, f"a network with one {role} is needed")
    value = inputs_of(model.graph)[0]
    rows = rows_of(value) if one_of_batch else 1
    batch = Batch(rows, shapes_of(model.graph)) if rows > 1 else None
    if batch is not None:
        model = copied(model)
        value = inputs_of(model.graph)[0]
        value.type.tensor_type.shape.dim[0].dim_value = 1
    shape = declared_shape(value, where)
    return _guarded(model, where, [shape], [model.graph.output[0].name], batch=batch)


def read_for_query(
    model: onnx.ModelProto, outputs: Sequence[str], where: str, box: Range | None = None
) -> Network:
    """Converts a loaded model as a query means it: over all its inputs, one flat tensor after the other.

    Here a tensor may have a first axis longer than one, which `read_onnx` refuses as a batch of samples.

    Args:
        outputs: names of tensors, inner ones too; the output is their entries one after the other.
        box: ranges of the inputs [n]. The network is the file's function on this box; what it is elsewhere is
            open, since whole numbers become staircases over a finite range.

    Raises:
        SalverError: as `read_onnx`.
    """
    shapes = [declared_shape(value, where, batches=True) for value in inputs_of(model.graph)]
    return _guarded(model, where, shapes, outputs, box)


def _guarded(
    model: onnx.ModelProto, where: str, shapes: list[Any], outputs: Sequence[str], box: Range | None = None,
    batch: Batch | None = None,
) -> Network:  # fmt: skip
    try:
        return _converted(model, where, shapes, outputs, box, batch)
    except _MALFORMED as error:
        what = f"a layout is not supported by salver ({_said(error)})"
        raise SalverError(what, where, MEND) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def _converted(
    model: onnx.ModelProto, where: str, shapes: list[Any], outputs: Sequence[str], box: Range | None,
    batch: Batch | None,
) -> Network:  # fmt: skip
    graph = model.graph
    refuse_unread(graph, SUPPORTED, where)
    constants = {t.name: checked(t, where) for t in graph.initializer}
    inputs = inputs_of(graph)
    types = Types(tuple(model.opset_import))
    for value in inputs:
        types.declare(value)
    single = len(inputs) == 1
    taken = {*constants, *(value.name for value in inputs)}
    taken.update(name for node in nodes_of(model) for name in (*node.input, *node.output))
    name = inputs[0].name if single else "/inputs"
    while not single and name in taken:
        name += "_"
    size = sum(math.prod(shape) for shape in shapes)
    builder = _NetworkReader(where, name, size, constants, types, taken=taken | {name})
    builder.batch = batch
    builder.read.update(*(captured(node) for node in graph.node), outputs)
    if box is not None:
        builder.ranges[name] = box
    builder.declare([value.name for value in inputs], shapes)
    for node in graph.node:
        try:
            builder.add(node)
        except _MALFORMED as error:
            raise builder.fail(node, f"in this layout ({_said(error)})") from error
    return builder.finish(outputs)


class _NetworkReader(GraphBuilder):
    """The operators of a file, one after the other.

    Attributes:
        batch: the rows that the file fixes, of which one is read; None where it fixes none.
    """

    batch: Batch | None = None

    def declare(self, names: list[str], shapes: list[Any]) -> None:
        """The inputs of the file as parts of the flat one."""
        first = 0
        for name, shape in zip(names, shapes, strict=True):
            count = math.prod(shape)
            if name != self.input:
                part, places = self.fresh(f"{name}/part"), range(first, first + count)
                self.emit(part, Linear.picking(places, self.input_size), (self.input,), (count,))
                self.alias[name] = part
            if len(shape) > 1:
                source = self.tensor(name)
                shaped = self.fresh(f"{name}/shaped")
                self.emit(shaped, Reshape(), (source,), shape)
                self.alias[name] = shaped
            first += count

    def add(self, node: onnx.NodeProto) -> None:
        node = without_unread(without_stray_pads(node, self.fail), self.read)
        node = without_training(node, self.constants)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.refuse_twice(*filter(None, node.output))
        if self.batch is not None and (sizes := self.batch.for_one(node, self.constants)) is not None:
            node = copied(node)
            node.input[1] = self.fresh(f"{node.input[1]}/one")
            self.constants[node.input[1]] = sizes
        self.types.learn(node, self.constants)
        output, kind = node.output[0], node.op_type
        given = [name for name in node.input if name]
        if kind == "Constant":
            self.constants[output] = checked(constant_value(attributes, output), self.where)
        elif kind == "Shape":
            self._shape(node, attributes)
        elif kind == "If":
            self._branch(node, attributes)
        elif kind in ("Identity", "Dropout") and given[0] in self.constants:
            refuse_options(node, attributes, self.fail)
            self.constants[output] = self.constants[given[0]]
        elif kind in FOLDED and all(name in self.constants for name in given):
            self._store(node, folded(node, self.constants, self.types, self.fail))
        else:
            self._variable(node, attributes)

    def _branch(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """The branch that a constant condition chooses, as if its operators stood here."""
        if node.input[0] not in self.constants:
            raise self.fail(node, "on a condition that is not constant")
        taken = bool(np.ravel(self.constants[node.input[0]])[0])
        branch = attributes["then_branch" if taken else "else_branch"]
        refuse_unread(branch, SUPPORTED, self.where)
        own = [t.name for t in branch.initializer] + [n for inner in branch.node for n in inner.output if n]
        # Branches of several operators may use the same names.
        names = {name: self.fresh(f"{node.output[0]}/{name}") for name in own}
        self.constants.update({names[t.name]: checked(t, self.where) for t in branch.initializer})
        nodes = [renamed(inner, names) for inner in branch.node]
        ends = [names.get(value.name, value.name) for value in branch.output]
        self.read.update(*(captured(inner) for inner in nodes), ends)
        for inner in nodes:
            self.add(inner)
        for end, name in zip(ends, node.output, strict=True):
            self.add(onnx.helper.make_node("Identity", [end], [name]))

    def _variable(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        kind = node.op_type
        if self.batch is not None:
            self.batch.refuse_mixing(node, self.constants, self.types.shapes, self.fail)
        if (
            kind in ("AveragePool", "Conv", "ConvTranspose")
            and len(self.types.shapes.get(node.input[0], ())) == 3
        ):
            attributes = windows.widened(attributes)
        refuse_options(node, attributes, self.fail)
        self._refuse_whole(node)
        if kind in _RULES:
            _RULES[kind](self, node, attributes)
        elif kind in _OWN:
            self._own(_OWN[kind], node, attributes)
        else:
            raise self.fail(node, "of variables")

    def _own(self, kind: type[Operator], node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        source = self.tensor(node.input[0])
        others = [name for name in node.input[1:] if name]
        if any(name not in self.constants for name in others):
            raise self.fail(node, "of several variables")
        try:
            constants = [held(self.constants[name]) for name in others]
            operator = kind.from_onnx(attributes, constants, self.shapes[source])
        except ValueError as error:
            raise self.fail(node, str(error)) from error
        self.emit(node.output[0], operator, (source,), operator.output_shape(self.shapes[source]))

    def _refuse_whole(self, node: onnx.NodeProto) -> None:
        """Whole numbers are only moved, added and negated; other arithmetic rounds them or may overflow."""
        kinds = {self.types.elements.get(name) for name in node.input if name and name not in self.constants}
        if not kinds & _INTEGERS or node.op_type in _MOVES:
            return
        constants = [self.constants[name] for name in node.input if name in self.constants]
        small = all((np.abs(value) <= MOST_WHOLE).all() for value in constants)
        if kinds != {onnx.TensorProto.INT64} or node.op_type not in ("Add", "Sub", "Neg") or not small:
            raise self.fail(node, "of whole numbers")

    def finish(self, outputs: Sequence[str]) -> Network:
        flat = tuple(self.flat(self.fixed(name) if name in self.constants else name) for name in outputs)
        name = flat[0]
        if len(flat) > 1:
            name = self.fresh("/outputs")
            self.join(name, flat)
        used, needed = [], {name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                used.append(node)
        return fold_scales(Network(self.input, self.input_size, tuple(reversed(used)), name))

    def _store(self, node: onnx.NodeProto, values: dict[str, Any]) -> None:
        given = sum(np.size(self.constants[name]) for name in node.input if name in self.constants)
        self.spend(node, max(0, sum(value.size for value in values.values()) - given))
        self.constants.update(values)

    def _shape(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        source = node.input[0]
        shape = self.known(node, source) if source not in self.constants else self.constants[source].shape
        rank = len(shape)
        start, end = attributes.get("start", 0), attributes.get("end", rank)
        self._store(node, {node.output[0]: np.array(shape[slice(start, end)], np.int64)})


def rows_of(value: onnx.ValueInfoProto) -> int:
    """How many rows an input fixes as its batch; one where that is open, or where there is no batch axis."""
    axes = value.type.tensor_type.shape.dim
    return max(1, axes[0].dim_value) if len(axes) > 1 else 1


def copied(message: Message) -> Message:
    """A copy of a part of a model."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def constant_value(attributes: dict[str, Any], name: str) -> onnx.TensorProto:
    """The tensor of a Constant operator. Raises: KeyError: text, or sparse."""
    if "value" in attributes:
        tensor: onnx.TensorProto = attributes["value"]
        return tensor
    for key, kind in (("value_int", np.int64), ("value_float", np.float32)):
        for form in (key, f"{key}s"):
            if form in attributes:
                return onnx.numpy_helper.from_array(np.asarray(attributes[form], kind), name)
    raise KeyError("value")
