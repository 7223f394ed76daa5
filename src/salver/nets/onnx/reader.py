"""ONNX -> `Network`: the operators of feed-forward ReLU classifiers and of gradient networks.

What does not depend on the input is folded; normalisations, pools and whatever picks or adds up entries are
written with the few operators of `Network`; anything else is named in an error. Model files are untrusted:
only data inside the file is used, and sizes are checked before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from salver.core.errors import SalverError
from salver.nets.fold import fold_scales
from salver.nets.network import (
    Abs,
    Conv,
    ConvTranspose,
    Linear,
    Network,
    Operator,
    Relu,
    Reshape,
    Shape,
    Sign,
    conv_output_shape,
    conv_transpose_output_shape,
    held,
)
from salver.nets.onnx.arithmetic import ARITHMETIC, concatenated
from salver.nets.onnx.constants import constant_value, pool_scale, widened, window_of
from salver.nets.onnx.declared import inputs_of
from salver.nets.onnx.file import load_model
from salver.nets.onnx.fold import FOLDED, folded
from salver.nets.onnx.graph import MEND, GraphBuilder
from salver.nets.onnx.layout import LAYOUT, PICKS, average, laid_out, max_pool, picked, reduced
from salver.nets.onnx.strict import (
    checked,
    declared_shape,
    refuse_options,
    refuse_weights,
    without_stray_pads,
)
from salver.nets.onnx.truth import TRUTHS, cast
from salver.nets.onnx.types import Types
from salver.nets.ranges import Range

_ELEMENTWISE: dict[str, Operator] = {"Relu": Relu(), "Sign": Sign(), "Abs": Abs()}
MOST_WHOLE = 1 << 20
"""Largest whole constant that is added to whole numbers; single precision holds the sums."""
_INTEGERS = frozenset(
    helper.np_dtype_to_tensor_dtype(np.dtype(f"{k}{n}")) for k in "iu" for n in (1, 2, 4, 8)
)
_MOVES = PICKS | LAYOUT | {"Identity", "Concat"}
SUPPORTED = frozenset(
    "Abs Add AveragePool BatchNormalization Cast Concat Constant ConstantOfShape Conv ConvTranspose Div "
    "Dropout Equal Expand Flatten Gather Gemm GlobalAveragePool Greater GreaterOrEqual Identity Less "
    "LessOrEqual MatMul MaxPool Mul Neg Not ReduceMean ReduceSum Relu Reshape Shape Sign Slice Split Squeeze "
    "Sub Transpose Unsqueeze Where".split()
)


def read_onnx(path: Path) -> Network:
    """Reads a network from an ONNX file.

    Raises:
        SalverError: unreadable file, unsupported operator or layout, non-finite weights.
    """
    return from_model(load_model(path), str(path))


def from_model(model: onnx.ModelProto, where: str = "ONNX model") -> Network:
    """Converts a loaded model; see `read_onnx`."""
    inputs, outputs = len(inputs_of(model.graph)), len(model.graph.output)
    if inputs != 1 or outputs != 1:
        found = f"has {inputs} inputs and {outputs} outputs"
        raise SalverError(found, where, "a network with one of each is needed")
    value = inputs_of(model.graph)[0]
    return _guarded(model, where, [declared_shape(value, where)], [model.graph.output[0].name])


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
    model: onnx.ModelProto, where: str, shapes: list[Any], outputs: Sequence[str], box: Range | None = None
) -> Network:
    try:
        return _converted(model, where, shapes, outputs, box)
    except _MALFORMED as error:
        what = f"a layout is not supported ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise SalverError(what, where, MEND) from error


_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def _converted(
    model: onnx.ModelProto, where: str, shapes: list[Any], outputs: Sequence[str], box: Range | None
) -> Network:
    graph = model.graph
    constants = {t.name: checked(t, where) for t in graph.initializer}
    inputs = inputs_of(graph)
    types = Types(tuple(model.opset_import))
    for value in inputs:
        types.declare(value)
    single = len(inputs) == 1
    taken = {*constants, *(value.name for value in inputs)}
    taken.update(name for node in graph.node for name in (*node.input, *node.output))
    name = inputs[0].name if single else "/inputs"
    while not single and name in taken:
        name += "_"
    size = sum(math.prod(shape) for shape in shapes)
    builder = _Builder(where, name, size, constants, types, taken=taken | {name})
    if box is not None:
        builder.ranges[name] = box
    builder.declare([value.name for value in inputs], shapes)
    for node in graph.node:
        builder.add(node)
    return builder.finish(outputs)


class _Builder(GraphBuilder):
    def declare(self, names: list[str], shapes: list[Any]) -> None:
        """The inputs of the file as parts of the flat one."""
        first = 0
        for name, shape in zip(names, shapes, strict=True):
            count = math.prod(shape)
            if name != self.input:
                weight = np.zeros((count, self.input_size), np.float32)
                weight[np.arange(count), first + np.arange(count)] = 1.0
                bias = np.zeros(count, np.float32)
                part = self.fresh(f"{name}/part")
                self.emit(part, Linear(weight, bias), (self.input,), (count,))
                self.alias[name] = part
            if len(shape) > 1:
                source = self.tensor(name)
                shaped = self.fresh(f"{name}/shaped")
                self.emit(shaped, Reshape(), (source,), shape)
                self.alias[name] = shaped
            first += count

    def add(self, node: onnx.NodeProto) -> None:
        if node.op_type not in SUPPORTED or node.domain not in ("", "ai.onnx"):
            raise SalverError(f"operator {node.op_type} is not supported", self.where, MEND)
        node = without_stray_pads(node, self.fail)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.refuse_twice(*filter(None, node.output))
        self.types.learn(node, self.constants)
        output, kind = node.output[0], node.op_type
        given = [name for name in node.input if name]
        if kind == "Constant":
            self.constants[output] = checked(constant_value(attributes, output), self.where)
        elif kind == "Shape":
            self._shape(node, attributes)
        elif kind in ("Identity", "Dropout") and given[0] in self.constants:
            refuse_options(node, attributes, self.fail)
            self.constants[output] = self.constants[given[0]]
        elif kind in FOLDED and all(name in self.constants for name in given):
            self._store(node, folded(node, self.constants, self.types, self.fail))
        else:
            self._variable(node, attributes, output)

    def _variable(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        kind = node.op_type
        if kind == "Conv" and self.constants[node.input[1]].ndim == 3:
            attributes = widened(attributes)
        refuse_options(node, attributes, self.fail)
        self._refuse_whole(node)
        if kind in _ELEMENTWISE:
            source = self.tensor(node.input[0])
            self.emit(output, _ELEMENTWISE[kind], (source,), self.shapes[source])
        elif kind in ("Identity", "Dropout"):
            self._renamed(output, node.input[0])
        elif kind == "Cast":
            cast(self, node, attributes)
        elif kind in TRUTHS:
            TRUTHS[kind](self, node)
        elif kind in PICKS:
            picked(self, node)
        elif kind in LAYOUT:
            laid_out(self, node)
        elif kind in ("ReduceMean", "ReduceSum"):
            reduced(self, node, attributes)
        elif kind == "MaxPool":
            max_pool(self, node, attributes)
        elif kind in ARITHMETIC:
            ARITHMETIC[kind](self, node)
        elif kind == "Concat":
            concatenated(self, node, attributes)
        else:
            getattr(self, f"_{kind.lower()}")(node, attributes, output)

    def _refuse_whole(self, node: onnx.NodeProto) -> None:
        """Whole numbers are only moved, added and negated; other arithmetic rounds them or may overflow."""
        kinds = {self.types.elements.get(name) for name in node.input if name and name not in self.constants}
        if not kinds & _INTEGERS or node.op_type in _MOVES or node.op_type == "Cast":
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

    def _renamed(self, output: str, source: str) -> None:
        if source in self.truths:
            self.truths[output] = self.truths[source]
        else:
            self.alias[output] = self.tensor(source)

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

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        if attributes.get("transA", 0) or node.input[1] not in self.constants:
            raise self.fail(node, "with a transposed or variable matrix")
        weight = self.constants[node.input[1]] * np.float64(attributes.get("alpha", 1.0))
        weight = weight if attributes.get("transB", 0) else weight.T
        bias = np.zeros(weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            added = self.constants[node.input[2]]
            if added.shape not in (bias.shape, (1, *bias.shape)):
                raise self.fail(node, f"of {weight.shape} with constants of shape {added.shape}")
            bias = np.ravel(added) * np.float64(attributes.get("beta", 1.0))
        self._rows(node, output, weight, bias)

    def _matmul(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        left, right = node.input
        if right in self.constants and self.constants[right].ndim == 2:
            weight = self.constants[right].T
            self._rows(node, output, weight, np.zeros(len(weight), np.float32))
        elif left in self.constants and self.constants[left].ndim == 2:
            self._columns(node, output, self.constants[left])
        else:
            raise self.fail(node, "of two variable tensors")

    def _rows(self, node: onnx.NodeProto, output: str, weight: Any, bias: Any) -> None:
        """Emits weight @ row + bias for every row of the first input, of which there is mostly one."""
        source = self.flat(node.input[0])
        size = self.shapes[source][0]
        count = size // weight.shape[1]
        if count != 1 or count * weight.shape[1] != size:
            full = self.known(node, node.input[0])
            if full[-1] != weight.shape[1]:
                raise self.fail(node, f"of {weight.shape} on {size} values")
            self.spend(node, count * len(weight) * size)
            weight, bias = np.kron(np.eye(count, dtype=weight.dtype), weight), np.tile(bias, count)
        self._affine(node, output, source, weight, bias)

    def _columns(self, node: onnx.NodeProto, output: str, weight: Any) -> None:
        """Emits weight @ x for a constant left factor."""
        source, full = self.flat(node.input[1]), self.known(node, node.input[1])
        height, width = full[-2:] if len(full) > 1 else (full[0], 1)
        if height * width != self.shapes[source][0] or weight.shape[1] != height:
            raise self.fail(node, f"of {weight.shape} and {full}")
        if width > 1:
            self.spend(node, len(weight) * width * height * width)
            weight = np.kron(weight, np.eye(width, dtype=weight.dtype))
        self._affine(node, output, source, weight, np.zeros(len(weight), np.float32))

    def _affine(self, node: onnx.NodeProto, output: str, source: str, weight: Any, bias: Any) -> None:
        operator = Linear(held(np.ascontiguousarray(weight)), held(bias))
        shape = self.types.plain(output)
        if math.prod(shape) != len(weight):
            raise self.fail(node, f"of {weight.shape} to {shape}")
        several = sum(size > 1 for size in shape) > 1
        target = self.fresh(f"{output}/entries") if several else output
        self.emit(target, operator, (source,), (len(weight),))
        if several:
            self.emit(output, Reshape(), (target,), shape)

    def _conv(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        weight = held(self.constants[node.input[1]])
        bias: Any = np.zeros(weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            bias = held(self.constants[node.input[2]])
        signal = weight.ndim == 3  # one-dimensional: an image of height one
        source = self._signal(node) if signal else self._image(node)
        weight = weight[:, :, None] if signal else weight
        shape = self.shapes[source]
        refuse_weights(node, attributes, weight, bias, shape[0], self.fail)
        window = window_of(node, attributes, shape[1:], weight.shape[2:], self.fail)
        operator = Conv(weight, bias, **window, groups=attributes.get("group", 1))
        found = conv_output_shape(shape, operator)
        image = self.fresh(f"{output}/image") if signal else output
        self.emit(image, operator, (source,), found)
        if signal:
            self.emit(output, Reshape(), (image,), (found[0], found[2]))

    def _convtranspose(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        if any(attributes.get("output_padding", [])) or attributes.get("output_shape") or len(node.input) > 2:
            raise self.fail(node, "with output_padding, output_shape or a bias")
        weight = held(self.constants[node.input[1]])
        refuse_weights(node, attributes, weight, None, self.shapes[source][0], self.fail)
        window = window_of(node, attributes, self.shapes[source][1:], (), self.fail)
        operator = ConvTranspose(weight, **window, groups=attributes.get("group", 1))
        self.emit(output, operator, (source,), conv_transpose_output_shape(self.shapes[source], operator))

    def _averagepool(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        kernel = tuple(attributes["kernel_shape"])
        window = window_of(node, attributes, self.shapes[source][1:], (), self.fail)
        if attributes.get("ceil_mode", 0) or window["dilations"] != (1, 1):
            raise self.fail(node, "with ceil_mode or dilations")
        channels = self.shapes[source][0]
        weight = held(np.full((channels, 1, *kernel), 1.0 / math.prod(kernel)))
        operator = Conv(weight, np.zeros(channels, np.float32), **window, groups=channels)
        shape = conv_output_shape(self.shapes[source], operator)
        if any(window["pads"]) and not attributes.get("count_include_pad", 0):
            total = self.fresh(f"{output}/sum")
            self.emit(total, operator, (source,), shape)
            self.scale(output, total, pool_scale(self.shapes[source], operator), np.float32(0))
        else:
            self.emit(output, operator, (source,), shape)

    def _globalaveragepool(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        channels = self.shapes[source][0]
        self.emit(output, average(self.shapes[source]), (source,), (channels, 1, 1))

    def _batchnormalization(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        gamma, beta, mean, variance = (self.constants[name].astype(np.float64) for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        shift = beta - mean * scale
        source, full = self.tensor(node.input[0]), self.known(node, node.input[0])
        if len(scale) != (full[1] if len(full) > 1 else 1):
            raise self.fail(node, f"of {len(scale)} channels on shape {full}")
        spread = (len(scale), *([1] * (len(full) - 2)))
        shape = self.shapes[source]
        factor, offset = (np.broadcast_to(p.reshape(spread), full).reshape(shape) for p in (scale, shift))
        self.scale(output, source, factor, offset)

    def _image(self, node: onnx.NodeProto) -> str:
        """The first input as [channels, height, width]."""
        source, full = self.tensor(node.input[0]), self.known(node, node.input[0])
        if len(full) != 4 or full[0] != 1:
            raise self.fail(node, f"on shape {full}")
        return self._shaped(source, full[1:])

    def _signal(self, node: onnx.NodeProto) -> str:
        """The first input, [channels, length], as an image of height one."""
        source, full = self.tensor(node.input[0]), self.known(node, node.input[0])
        if len(full) != 3 or full[0] != 1:
            raise self.fail(node, f"on shape {full}")
        return self._shaped(source, (full[1], 1, full[2]))

    def _shaped(self, source: str, shape: Shape) -> str:
        if self.shapes[source] == shape:
            return source
        kind = f"as{list(shape)}"
        return self.once(source, kind, make=lambda name: self.emit(name, Reshape(), (source,), shape))
