"""ONNX -> `Network`: the operators of feed-forward ReLU classifiers and of gradient networks.

Normalisations, average pools and constants are folded into the few operators of `Network`; anything
else is named in an error. Model files are untrusted: only data inside the file is used, and sizes are checked
before anything is allocated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from salver.errors import SalverError
from salver.nets.fold import fold_scales
from salver.nets.network import (
    Abs,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Linear,
    Mul,
    Network,
    Node,
    Operator,
    Relu,
    Reshape,
    Scale,
    Shape,
    Sign,
    Sub,
    conv_output_shape,
    conv_transpose_output_shape,
)
from salver.nets.onnx_constants import constant_fold, moved_axes, pool_scale, scale_and_shift, window_of
from salver.nets.onnx_file import load_model
from salver.nets.onnx_strict import (
    MOST_ENTRIES,
    checked,
    declared_shape,
    refuse_options,
    refuse_weights,
)

_ELEMENTWISE: dict[str, Operator] = {"Relu": Relu(), "Sign": Sign(), "Abs": Abs()}
SUPPORTED = frozenset(
    "Abs Add AveragePool BatchNormalization Cast Concat Constant Conv ConvTranspose Div Dropout Flatten "
    "Gemm GlobalAveragePool Identity MatMul Mul ReduceMean Relu Reshape Sign Squeeze Sub Transpose "
    "Unsqueeze".split()
)


def read_onnx(path: Path) -> Network:
    """Reads a network from an ONNX file.

    Raises:
        SalverError: unreadable file, unsupported operator or layout, non-finite weights.
    """
    return from_model(load_model(path), str(path))


def from_model(model: onnx.ModelProto, where: str = "ONNX model") -> Network:
    """Converts a loaded model; see `read_onnx`."""
    try:
        return _converted(model, where)
    except _MALFORMED as error:
        what = f"a layout is not supported ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
        raise SalverError(what, where, _MEND) from error


_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)


def _converted(model: onnx.ModelProto, where: str) -> Network:
    graph = model.graph
    constants = {t.name: checked(t, where) for t in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        found = f"has {len(inputs)} inputs and {len(graph.output)} outputs"
        raise SalverError(found, where, "a network with one of each is needed")
    batched = len(inputs[0].type.tensor_type.shape.dim) > 1
    builder = _Builder(where, inputs[0].name, declared_shape(inputs[0], where), constants, batched)
    for node in graph.node:
        builder.add(node)
    return builder.finish(graph.output[0].name)


@dataclass
class _Builder:
    where: str
    input: str
    input_shape: Shape
    constants: dict[str, Any]
    batched: bool
    nodes: list[Node] = field(default_factory=list)
    alias: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    flattened: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shapes[self.input] = (math.prod(self.input_shape),)
        if len(self.input_shape) > 1:
            shaped = f"{self.input}/shaped"
            self._emit(shaped, Reshape(), (self.input,), self.input_shape)
            self.alias[self.input] = shaped

    def add(self, node: onnx.NodeProto) -> None:
        method = getattr(self, f"_{node.op_type.lower()}", None)
        if node.op_type not in SUPPORTED or node.domain not in ("", "ai.onnx"):
            raise SalverError(f"operator {node.op_type} is not supported", self.where, _MEND)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        refuse_options(node, attributes, self._fail)
        output = node.output[0]
        if node.op_type in _ELEMENTWISE:
            source = self._tensor(node.input[0])
            self._emit(output, _ELEMENTWISE[node.op_type], (source,), self.shapes[source])
        elif method is None:
            self._passthrough(node, attributes)
        else:
            method(node, attributes, output)

    def finish(self, output: str) -> Network:
        name = self._tensor(output)
        name = self._flat(name)
        used, needed = [], {name}
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                used.append(node)
        network = Network(self.input, math.prod(self.input_shape), tuple(reversed(used)), name)
        return fold_scales(network)

    def _fail(self, node: onnx.NodeProto, what: str) -> SalverError:
        return SalverError(f"operator {node.op_type} {what} is not supported", self.where, _MEND)

    def _tensor(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        if name not in self.shapes:
            raise SalverError(f"tensor {name!r} is constant where a variable is expected", self.where, _MEND)
        return name

    def _emit(self, name: str, operator: Operator, inputs: tuple[str, ...], shape: Shape) -> None:
        if name in self.shapes or name in self.alias or name in self.constants:
            raise SalverError(f"tensor {name!r} is named twice", self.where, "give every tensor its own name")
        if math.prod(shape) > MOST_ENTRIES or any(size < 1 for size in shape):
            raise SalverError(f"tensor {name!r} of shape {shape} is not supported", self.where, _MEND)
        self.nodes.append(Node(name, operator, inputs, shape))
        self.shapes[name] = shape

    def _flat(self, name: str) -> str:
        source = self._tensor(name)
        if len(self.shapes[source]) == 1:
            return source
        flat = f"{source}/flat"
        if flat not in self.flattened:
            self.flattened.add(flat)
            self._emit(flat, Reshape(), (source,), (math.prod(self.shapes[source]),))
        return flat

    def _passthrough(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> None:
        """Identity, Dropout at inference, Cast to a float type, and axes of size one."""
        output = node.output[0]
        if node.op_type == "Constant":
            self.constants[output] = checked(attributes["value"], self.where)
            return
        source = node.input[0]
        if source in self.constants:
            self.constants[output] = constant_fold(node, self.constants[source], attributes, self._fail)
        elif node.op_type == "Transpose":
            perm = list(attributes.get("perm", []))
            shape = (1, *self.shapes[self._tensor(source)])
            if sorted(perm) != list(range(len(shape))) or [p for p in perm if shape[p] > 1] != sorted(
                p for p in perm if shape[p] > 1
            ):
                raise self._fail(node, "that moves data")
            self._emit(output, Reshape(), (self._tensor(source),), tuple(shape[p] for p in perm)[1:])
        elif node.op_type in ("Squeeze", "Unsqueeze"):
            axes = self.constants[node.input[1]] if len(node.input) > 1 else attributes.get("axes")
            shape = moved_axes(node.op_type, (1, *self.shapes[self._tensor(source)]), axes)
            if shape[0] != 1 or len(shape) < 2:
                raise self._fail(node, "of the batch axis")
            self._emit(output, Reshape(), (self._tensor(source),), shape[1:])
        else:
            self.alias[output] = self._tensor(source)

    def _reshape(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        target = [int(size) for size in np.ravel(self.constants[node.input[1]])]
        if node.input[0] in self.constants:
            self.constants[output] = self.constants[node.input[0]].reshape(target)
            return
        source = self._tensor(node.input[0])
        shape = (1, *self.shapes[source])
        target = [shape[i] if size == 0 else size for i, size in enumerate(target)]
        total = math.prod(shape)
        if -1 in target:
            rest = -math.prod(target)
            target[target.index(-1)] = total // rest if rest else 0
        if math.prod(target) != total:
            raise self._fail(node, f"to {target} from {list(shape)}")
        new = tuple(target[1:]) if target and target[0] == 1 and len(target) > 1 else tuple(target)
        self._emit(output, Reshape(), (source,), new)

    def _flatten(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        if attributes.get("axis", 1) not in (0, 1):
            raise self._fail(node, f"with axis {attributes['axis']}")
        self.alias[output] = self._flat(node.input[0])

    def _gemm(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        if attributes.get("transA", 0) or node.input[1] not in self.constants:
            raise self._fail(node, "with a transposed or variable matrix")
        weight = self.constants[node.input[1]] * np.float32(attributes.get("alpha", 1.0))
        weight = weight if attributes.get("transB", 0) else weight.T
        bias = np.zeros(weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            bias = bias + np.ravel(self.constants[node.input[2]]) * np.float32(attributes.get("beta", 1.0))
        if bias.shape != weight.shape[:1]:
            raise self._fail(node, f"of {weight.shape} with {bias.size} constants")
        self._linear(node, output, self._flat(node.input[0]), weight, bias)

    def _matmul(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        left, right = node.input
        if right in self.constants and self.constants[right].ndim == 2:
            weight, source = self.constants[right].T, self._tensor(left)
        elif left in self.constants and self.constants[left].ndim == 2:
            weight, source = self.constants[left], self._tensor(right)
        else:
            raise self._fail(node, "of two variable tensors")
        if sum(size > 1 for size in self.shapes[source]) > 1:
            raise self._fail(node, "over a batched tensor")
        self._linear(node, output, self._flat(source), weight, np.zeros(weight.shape[0], np.float32))

    def _linear(self, node: onnx.NodeProto, output: str, source: str, weight: Any, bias: Any) -> None:
        if weight.shape[1] != self.shapes[source][0]:
            raise self._fail(node, f"of {weight.shape} on {self.shapes[source][0]} values")
        operator = Linear(np.ascontiguousarray(weight, np.float32), np.asarray(bias, np.float32))
        self._emit(output, operator, (source,), (weight.shape[0],))

    def _conv(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        weight = self.constants[node.input[1]].astype(np.float32)
        bias = np.zeros(weight.shape[0], np.float32)
        if len(node.input) > 2 and node.input[2]:
            bias = self.constants[node.input[2]].astype(np.float32)
        refuse_weights(node, attributes, weight, bias, self.shapes[source][0], self._fail)
        operator = Conv(weight, bias, **self._window(node, attributes), groups=attributes.get("group", 1))
        self._emit(output, operator, (source,), conv_output_shape(self.shapes[source], operator))

    def _convtranspose(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        if any(attributes.get("output_padding", [])) or attributes.get("output_shape") or len(node.input) > 2:
            raise self._fail(node, "with output_padding, output_shape or a bias")
        weight = self.constants[node.input[1]].astype(np.float32)
        refuse_weights(node, attributes, weight, None, self.shapes[source][0], self._fail)
        window = self._window(node, attributes)
        operator = ConvTranspose(weight, **window, groups=attributes.get("group", 1))
        self._emit(output, operator, (source,), conv_transpose_output_shape(self.shapes[source], operator))

    def _averagepool(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        kernel = tuple(attributes["kernel_shape"])
        window = self._window(node, attributes)
        if attributes.get("ceil_mode", 0) or window["dilations"] != (1, 1):
            raise self._fail(node, "with ceil_mode or dilations")
        channels = self.shapes[source][0]
        weight = np.full((channels, 1, *kernel), 1.0 / math.prod(kernel), np.float32)
        operator = Conv(weight, np.zeros(channels, np.float32), **window, groups=channels)
        shape = conv_output_shape(self.shapes[source], operator)
        if any(window["pads"]) and not attributes.get("count_include_pad", 0):
            self._emit(f"{output}/sum", operator, (source,), shape)
            scale = pool_scale(self.shapes[source], operator)
            self._emit(output, Scale(scale, np.zeros_like(scale)), (f"{output}/sum",), shape)
        else:
            self._emit(output, operator, (source,), shape)

    def _globalaveragepool(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        source = self._image(node)
        channels, height, width = self.shapes[source]
        weight = np.full((channels, 1, height, width), 1.0 / (height * width), np.float32)
        operator = Conv(weight, np.zeros(channels, np.float32), groups=channels)
        self._emit(output, operator, (source,), (channels, 1, 1))

    def _reducemean(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        rank = len(self.shapes[self._image(node)]) + 1
        axes = sorted(int(axis) % rank for axis in attributes.get("axes", []))
        if axes != [2, 3]:
            raise self._fail(node, f"over axes {axes}")
        if attributes.get("keepdims", 1):
            self._globalaveragepool(node, attributes, output)
            return
        self._globalaveragepool(node, attributes, f"{output}/mean")
        self._emit(output, Reshape(), (f"{output}/mean",), (self.shapes[f"{output}/mean"][0],))

    def _batchnormalization(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        gamma, beta, mean, variance = (self.constants[name].astype(np.float64) for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + attributes.get("epsilon", 1e-5))
        shift = beta - mean * scale
        source = self._tensor(node.input[0])
        spread = (len(scale), *([1] * (len(self.shapes[source]) - 1)))
        self._scale(output, source, scale.reshape(spread), shift.reshape(spread))

    def _scale(self, output: str, source: str, scale: Any, shift: Any) -> None:
        shape = self.shapes[source]
        full = [np.ascontiguousarray(np.broadcast_to(part, shape), np.float32) for part in (scale, shift)]
        if not all(np.isfinite(part).all() for part in full):
            raise SalverError(f"scaling {output!r} is not finite", self.where, "export the model again")
        self._emit(output, Scale(full[0], full[1]), (source,), shape)

    def _elementwise_constant(self, node: onnx.NodeProto, output: str, kind: str) -> bool:
        left, right = node.input
        if right in self.constants:
            value, source = self.constants[right].astype(np.float64), left
        elif left in self.constants:
            value, source = self.constants[left].astype(np.float64), right
        else:
            return False
        name = self._tensor(source)
        shape = self.shapes[name]
        constant = value.reshape(value.shape[1:]) if value.ndim == len(shape) + 1 else value
        if np.broadcast_shapes(constant.shape, shape) != shape:
            raise self._fail(node, f"of shapes {list(value.shape)} and {list(shape)}")
        reverse = left in self.constants
        if kind == "Div" and (reverse or (constant == 0).any()):
            raise self._fail(node, "by a variable or by zero")
        self._scale(output, name, *scale_and_shift(kind, constant, reverse))
        return True

    def _binary(self, node: onnx.NodeProto, output: str, operator: Operator) -> None:
        if all(name in self.constants for name in node.input):
            raise self._fail(node, "of two constants")
        if self._elementwise_constant(node, output, node.op_type):
            return
        left, right = (self._tensor(name) for name in node.input)
        if math.prod(self.shapes[left]) != math.prod(self.shapes[right]):
            raise self._fail(node, f"of shapes {self.shapes[left]} and {self.shapes[right]}")
        if self.shapes[left] != self.shapes[right]:
            if len(self.shapes[left]) > 1 and len(self.shapes[right]) > 1:  # broadcasts to something larger
                raise self._fail(node, f"of shapes {self.shapes[left]} and {self.shapes[right]}")
            left, right = self._flat(left), self._flat(right)
        self._emit(output, operator, (left, right), self.shapes[left])

    def _add(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        self._binary(node, output, Add())

    def _sub(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        self._binary(node, output, Sub())

    def _mul(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        self._binary(node, output, Mul())

    def _div(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        if not self._elementwise_constant(node, output, "Div"):
            raise self._fail(node, "by a variable")

    def _concat(self, node: onnx.NodeProto, attributes: dict[str, Any], output: str) -> None:
        sources = tuple(self._part(name) for name in node.input)
        axes = (1, -1) if self.batched else (0, -1)
        if any(len(self.shapes[name]) != 1 for name in sources) or attributes.get("axis", 1) not in axes:
            raise self._fail(node, "of unflattened tensors")
        self._emit(output, Concat(), sources, (sum(self.shapes[name][0] for name in sources),))

    def _part(self, name: str) -> str:
        """A tensor to be concatenated; a constant one becomes a linear map that ignores the input."""
        value = self.constants.get(name)
        if value is None or np.shape(value)[:-1] != ((1,) if self.batched else ()):
            return self._tensor(name)
        fixed = f"{name}/fixed"
        if fixed not in self.shapes:
            bias = np.ravel(value).astype(np.float32)
            weight = np.zeros((bias.size, self.shapes[self.input][0]), np.float32)
            self._emit(fixed, Linear(weight, bias), (self.input,), (bias.size,))
        return fixed

    def _image(self, node: onnx.NodeProto) -> str:
        source = self._tensor(node.input[0])
        if len(self.shapes[source]) != 3:
            raise self._fail(node, f"on shape {self.shapes[source]}")
        return source

    def _window(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> dict[str, Any]:
        size = self.shapes[self._image(node)][1:]
        kernel = self.constants[node.input[1]].shape[2:] if node.op_type == "Conv" else ()
        return window_of(node, attributes, size, kernel, self._fail)


_MEND = "see docs/networks.md for the operators that are"
