"""What an ONNX file declares of its inputs and outputs, against what a VNN-LIB 2.0 query declares of them."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from salver.core.errors import SalverError

_ELEMENTS = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    **{name: getattr(TensorProto, name.upper()) for name in ("int8", "int16", "int32", "int64")},
    **{f"u{name}": getattr(TensorProto, f"U{name.upper()}") for name in ("int8", "int16", "int32", "int64")},
}


def inputs_of(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that are no weights."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def is_double(value: onnx.ValueInfoProto) -> bool:
    """Whether a tensor is of double precision."""
    return bool(value.type.tensor_type.elem_type == TensorProto.DOUBLE)


def refuse_contradiction(declared: str, value: onnx.ValueInfoProto, where: str) -> None:
    """Compares `NAME type [shape]` of a query with a tensor of the file; `real` is any type.

    Raises:
        SalverError: another element type, or a shape that the file's does not allow.
    """
    name, element, shape = declared.split(maxsplit=2)
    tensor = value.type.tensor_type
    if element != "real" and tensor.elem_type and _ELEMENTS.get(element.lower()) != tensor.elem_type:
        own = TensorProto.DataType.Name(tensor.elem_type).lower()
        what = f"declares {name} as {element}, the network's {value.name!r:.60} is of type {own}"
        raise SalverError(what, where, "declare the network's own type, or real")
    sizes = [int(size) for size in shape.strip("[]").split(",") if size]
    axes = [axis.dim_value if axis.dim_value > 0 else None for axis in tensor.shape.dim]
    if not tensor.HasField("shape") or (not axes and len(sizes) == 1):
        return
    fits = len(axes) == len(sizes) and all(own in (None, size) for own, size in zip(axes, sizes, strict=True))
    if not fits:
        own = str(["?" if axis is None else axis for axis in axes]).replace("'", "")
        what = f"declares {name} with shape {sizes}, the network's {value.name!r:.60} has {own}"
        raise SalverError(what, where, "declare the network's own shape")
