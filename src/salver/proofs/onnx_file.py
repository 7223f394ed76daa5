"""The checker's own reading of an ONNX file: what the bytes say, refused unless every part is understood.

Only the `onnx` package's protobuf classes are used, as a parser of bytes. Nothing is folded, converted or
made up: the result holds the nodes of the file in its order and its constants as stored. `operators` says
what each node means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

OPSETS = range(9, 22)
"""Operator sets whose meaning `operators` knows."""
MOST_ENTRIES = 1 << 24
"""Entries of a tensor, and of all constants together sixteen times as many."""
MOST_NODES = 100_000
_FLOATS: dict[int, np.dtype[Any]] = {
    onnx.TensorProto.FLOAT: np.dtype("<f4"),
    onnx.TensorProto.DOUBLE: np.dtype("<f8"),
}
_TYPES: dict[int, np.dtype[Any]] = {**_FLOATS, onnx.TensorProto.INT64: np.dtype("<i8")}
_STORES = ("float_data", "double_data", "int64_data", "int32_data", "string_data", "uint64_data")
_STORE_OF: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data",
    onnx.TensorProto.DOUBLE: "double_data",
    onnx.TensorProto.INT64: "int64_data",
}
_SCALARS: dict[int, str] = {
    onnx.AttributeProto.INT: "i",
    onnx.AttributeProto.FLOAT: "f",
    onnx.AttributeProto.STRING: "s",
}
_LISTS: dict[int, str] = {onnx.AttributeProto.INTS: "ints", onnx.AttributeProto.FLOATS: "floats"}

Shape = tuple[int, ...]


class UnsupportedNetworkError(ValueError):
    """The network has something that proofs do not cover; the message says what."""


@dataclass(frozen=True, eq=False)
class FileNode:
    """A node: its kind, the names that it reads, the one that it makes, and its attributes."""

    kind: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """A network as its file states it.

    Attributes:
        input, output: names; input_shape: with its batch axis, which is 1 where the file leaves it open.
        element: number type of all values, float32 or float64.
        constants: stored tensors by name, of `element` or int64.
        output_shape: as declared, None for an axis left open; None where no shape is declared.
    """

    input: str
    input_shape: Shape
    element: np.dtype[Any]
    opset: int
    nodes: tuple[FileNode, ...]
    constants: dict[str, Any]
    output: str
    output_shape: tuple[int | None, ...] | None

    @property
    def input_size(self) -> int:
        """Entries of the input."""
        return math.prod(self.input_shape)


def parse_network(content: bytes) -> NetworkFile:
    """Reads the bytes of an ONNX file.

    Raises:
        UnsupportedNetworkError: no ONNX file, or anything in it that is not understood.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UnsupportedNetworkError(f"the network is no ONNX file ({error})") from None
    graph = model.graph
    if model.ir_version not in range(3, onnx.IR_VERSION + 1):
        raise UnsupportedNetworkError(f"the network is of ONNX version {model.ir_version}")
    _refuse_rest(model)
    opset = _opset(model)
    if len(graph.input) != 1 or len(graph.output) != 1:
        counts = f"{len(graph.input)} inputs and {len(graph.output)} outputs"
        raise UnsupportedNetworkError(f"the network declares {counts}; proofs need one of each")
    if len(graph.node) > MOST_NODES:
        raise UnsupportedNetworkError(f"the network has more than {MOST_NODES} nodes")
    element, declared = _declared(graph.input[0])
    if element is None or declared is None:
        raise UnsupportedNetworkError("the input has no float32 or float64 type with a shape")
    nodes, constants = _body(graph, graph.input[0].name)
    _refuse_mixed(element, constants)
    output = graph.output[0]
    given, output_shape = _declared(output)
    if given is not None and given != element:
        raise UnsupportedNetworkError(f"the input is {element} and the output {given}")
    return NetworkFile(
        graph.input[0].name, _fixed(declared), element, opset, nodes, constants, output.name, output_shape
    )


def _refuse_rest(model: onnx.ModelProto) -> None:
    """Refuses parts of a file that change its meaning and that proofs do not cover."""
    graph = model.graph
    for name, part in (
        ("functions", model.functions),
        ("training parts", model.training_info),
        ("sparse constants", graph.sparse_initializer),
        ("quantisation", graph.quantization_annotation),
    ):
        if len(part):
            raise UnsupportedNetworkError(f"the network holds {name}")


def _opset(model: onnx.ModelProto) -> int:
    found = [(entry.domain, entry.version) for entry in model.opset_import]
    if len(found) != 1 or found[0][0] != "" or found[0][1] not in OPSETS:
        known = f"the default operator set {OPSETS.start} to {OPSETS.stop - 1} alone"
        raise UnsupportedNetworkError(f"operator sets {found!r:.80}; proofs know {known}")
    return int(found[0][1])


def _declared(value: onnx.ValueInfoProto) -> tuple[np.dtype[Any] | None, tuple[int | None, ...] | None]:
    """Type and shape of a declared input or output; None for what is left open."""
    kind = value.type.WhichOneof("value")
    if kind is None:
        return None, None
    if kind != "tensor_type" or value.type.tensor_type.elem_type not in _FLOATS:
        raise UnsupportedNetworkError(f"{value.name!r:.60} is no tensor of float32 or float64")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return _FLOATS[tensor.elem_type], None
    sizes = tuple(
        int(axis.dim_value) if axis.WhichOneof("value") == "dim_value" else None for axis in tensor.shape.dim
    )
    return _FLOATS[tensor.elem_type], sizes


def _fixed(declared: tuple[int | None, ...]) -> Shape:
    """The input's shape, a batch axis that is left open being 1."""
    sizes = [1 if number == 0 and size is None else size for number, size in enumerate(declared)]
    if not sizes or any(size is None or size < 1 for size in sizes):
        raise UnsupportedNetworkError(f"the input has shape {declared!r:.60}, which is not fixed")
    shape = tuple(int(size) for size in sizes if size is not None)
    if math.prod(shape) > MOST_ENTRIES:
        raise UnsupportedNetworkError(f"the input has more than {MOST_ENTRIES} entries")
    return shape


def _body(graph: onnx.GraphProto, first: str) -> tuple[tuple[FileNode, ...], dict[str, Any]]:
    """Nodes and constants; every tensor has one name of its own and is made before it is read."""
    known, constants, nodes, total = {first}, {}, [], 0
    if not first:
        raise UnsupportedNetworkError("the input has no name")

    def name(value: str) -> str:
        if not value or value in known:
            raise UnsupportedNetworkError(f"tensor {value!r:.60} is named twice or not at all")
        known.add(value)
        return value

    for tensor in graph.initializer:
        constants[name(tensor.name)] = stored = _stored(tensor, tensor.name)
        total += stored.size
    for node in graph.node:
        made = _node(node)
        unknown = next((read for read in made.inputs if read not in known), None)
        if unknown is not None:
            raise UnsupportedNetworkError(f"{made.kind} reads {unknown!r:.60}, which nothing before it makes")
        name(made.output)
        if made.kind == "Constant":
            constants[made.output] = _constant(made)
            total += constants[made.output].size
        else:
            nodes.append(made)
        if total > 16 * MOST_ENTRIES:
            raise UnsupportedNetworkError("the constants have too many entries")
    return tuple(nodes), constants


def _node(node: onnx.NodeProto) -> FileNode:
    kind = node.op_type
    if node.domain != "" or node.overload:
        raise UnsupportedNetworkError(f"operator {kind!r:.60} of another domain")
    if len(node.output) != 1:
        raise UnsupportedNetworkError(f"operator {kind!r:.60} with {len(node.output)} outputs")
    inputs = list(node.input)
    while inputs and inputs[-1] == "":
        inputs.pop()
    if "" in inputs:
        raise UnsupportedNetworkError(f"operator {kind!r:.60} with an input left out")
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in attributes or attribute.ref_attr_name:
            raise UnsupportedNetworkError(f"attribute {attribute.name!r:.60} is given twice or by reference")
        attributes[attribute.name] = _attribute(attribute)
    return FileNode(kind, tuple(inputs), node.output[0], attributes)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    """Value of an attribute: int, float, bytes, tuple or tensor."""
    if attribute.type in _SCALARS:
        return getattr(attribute, _SCALARS[attribute.type])
    if attribute.type in _LISTS:
        return tuple(getattr(attribute, _LISTS[attribute.type]))
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _stored(attribute.t, attribute.name)
    raise UnsupportedNetworkError(f"attribute {attribute.name!r:.60} of a type that proofs do not cover")


def _constant(node: FileNode) -> Any:
    value = node.attributes.get("value")
    if node.inputs or set(node.attributes) != {"value"} or not isinstance(value, np.ndarray):
        raise UnsupportedNetworkError("a Constant that is no stored tensor")
    return value


def _stored(tensor: onnx.TensorProto, name: str) -> Any:
    """The numbers of a tensor, bit for bit."""
    kind = _TYPES.get(tensor.data_type)
    if kind is None:
        raise UnsupportedNetworkError(f"constant {name!r:.60} is neither float32, float64 nor int64")
    if tensor.HasField("segment") or tensor.external_data or tensor.data_location:
        raise UnsupportedNetworkError(f"constant {name!r:.60} is kept outside the file or in parts")
    shape = tuple(int(size) for size in tensor.dims)
    if any(size < 1 for size in shape) or math.prod(shape) > MOST_ENTRIES:
        raise UnsupportedNetworkError(f"constant {name!r:.60} has shape {shape!r:.60}")
    used = [store for store in _STORES if len(getattr(tensor, store))]
    if tensor.HasField("raw_data"):
        if used:
            raise UnsupportedNetworkError(f"constant {name!r:.60} is stored twice")
        if len(tensor.raw_data) != math.prod(shape) * kind.itemsize:
            raise UnsupportedNetworkError(f"constant {name!r:.60} has more or fewer numbers than its shape")
        values = np.frombuffer(tensor.raw_data, kind)
    else:
        if used != [_STORE_OF[tensor.data_type]]:
            raise UnsupportedNetworkError(f"constant {name!r:.60} is stored as another type, or not at all")
        values = np.array(list(getattr(tensor, used[0])), kind)
        if values.size != math.prod(shape):
            raise UnsupportedNetworkError(f"constant {name!r:.60} has more or fewer numbers than its shape")
    if kind.kind == "f" and not np.isfinite(values).all():
        raise UnsupportedNetworkError(f"constant {name!r:.60} has a number that is not finite")
    return values.reshape(shape)


def _refuse_mixed(element: np.dtype[Any], constants: dict[str, Any]) -> None:
    floats: Iterable[Any] = (value.dtype for value in constants.values() if value.dtype.kind == "f")
    if any(kind != element for kind in floats):
        raise UnsupportedNetworkError("float32 and float64 are mixed in the network")
