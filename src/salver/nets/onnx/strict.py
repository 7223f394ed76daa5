"""What the ONNX reader refuses before it looks at an operator: options that would change its meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import onnx

from salver.core.errors import SalverError

MOST_ENTRIES = 1 << 24
"""Largest intermediate result, and largest constant that is worked out."""
MOST_WEIGHTS = 1 << 28
"""Largest constant that the file itself holds, so that it is no larger than the file."""
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
_KINDS = "fiub"
_WINDOWED = ("Conv", "ConvTranspose", "AveragePool", "MaxPool")
_SPARE_OUTPUTS = ("Dropout", "MaxPool")
"""Operators whose further outputs are by the way."""
Fail = Callable[[onnx.NodeProto, str], SalverError]


def checked(tensor: onnx.TensorProto, where: str) -> Any:
    """A constant of the file as an array.

    Raises:
        SalverError: not finite, not representable in single precision, too large, or no numbers at all.
    """
    name = tensor.name
    if any(size < 0 for size in tensor.dims) or np.prod([float(s) for s in tensor.dims]) > MOST_WEIGHTS:
        raise SalverError(f"tensor {name!r} has more than {MOST_WEIGHTS} entries", where, _SMALLER)
    try:
        value = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # wrong length, unknown type, no text
        raise SalverError(f"tensor {name!r} is malformed", where, "export the model again") from error
    if value.dtype.kind not in _KINDS:
        raise SalverError(f"tensor {name!r} of type {value.dtype} is not supported", where, "use float32")
    if value.dtype.kind == "f":
        if not np.isfinite(value).all():
            raise SalverError(f"tensor {name!r} holds NaN or infinity", where, "export the model again")
        if value.itemsize > 4 and (np.abs(value) > np.finfo(np.float32).max).any():
            raise SalverError(f"tensor {name!r} is beyond single precision", where, "export it in float32")
    return value


def refuse_input_type(value: onnx.ValueInfoProto, where: str) -> None:
    """Raises: SalverError: the input is neither float32 nor float64."""
    element = value.type.tensor_type.elem_type
    if element in _FLOATS:
        return
    kind = onnx.TensorProto.DataType.Name(element).lower()
    what = f"input {value.name!r:.60} is of type {kind}, and salver reads float32 and float64"
    raise SalverError(what, where, "export the network in float32, not quantised")


def declared_shape(value: onnx.ValueInfoProto, where: str, *, batches: bool = False) -> tuple[int, ...]:
    """Shape of the input without its batch axis.

    Args:
        batches: takes a first axis longer than one as an axis like others.

    Raises:
        SalverError: of another type than float32 or float64, too large, not of batch size 1 and fixed sizes.
    """
    refuse_input_type(value, where)
    axes = value.type.tensor_type.shape.dim
    dims = [-1 if d.HasField("dim_value") and not d.dim_value else d.dim_value for d in axes]
    if math.prod(dims if batches else dims[1:] or dims) > MOST_ENTRIES:
        raise SalverError(f"input {value.name!r} is too large", where, "use a smaller network")
    if not dims or any(size <= 0 for size in dims[1:]) or not 0 <= dims[0] <= 1:
        if all(size > 0 for size in dims) and dims and (batches or len(dims) == 1):
            return tuple(dims)
        has = f"shape [{', '.join(str(size) if size else '?' for size in dims)}]" if dims else "no shape"
        hint = "export it with fixed sizes: batch size 1, or an open one, and fixed sizes behind it are read"
        raise SalverError(f"input {value.name!r:.60} has {has}", where, hint)
    return tuple(dims[1:]) or (1,)


def without_stray_pads(node: onnx.NodeProto, fail: Fail) -> onnx.NodeProto:
    """The operator without the pads that its `auto_pad` overrides, which shape inference would count.

    Raises:
        SalverError, made by `fail`: a convolution has both, which ONNX Runtime refuses.
    """
    given = {attribute.name: attribute for attribute in node.attribute}
    automatic = given["auto_pad"].s if "auto_pad" in given else b"NOTSET"
    if node.op_type not in _WINDOWED or "pads" not in given or automatic == b"NOTSET":
        return node
    if node.op_type in ("Conv", "ConvTranspose"):
        raise fail(node, "with both auto_pad and pads")
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    kept.attribute.remove(given["pads"])
    return kept


def without_training(node: onnx.NodeProto, constants: Mapping[str, Any]) -> onnx.NodeProto:
    """A Dropout that a constant says to be out of training, without its ratio and that constant."""
    if node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]:
        return node
    if np.any(constants.get(node.input[2], True)):
        return node
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    del plain.input[1:]
    return plain


def without_unread(node: onnx.NodeProto, read: Container[str]) -> onnx.NodeProto:
    """The operator without the last of its outputs that nothing reads."""
    if node.op_type not in _SPARE_OUTPUTS or len(node.output) == 1:
        return node
    kept = onnx.NodeProto()
    kept.CopyFrom(node)
    while len(kept.output) > 1 and kept.output[-1] not in read:
        del kept.output[-1]
    return kept


def refuse_options(node: onnx.NodeProto, attributes: Mapping[str, Any], fail: Fail) -> None:
    """Raises: SalverError: an option that the reader does not model."""
    match node.op_type:
        case "Dropout" if len(node.output) > 1:
            raise fail(node, "whose mask is read")
        case "BatchNormalization" if attributes.get("training_mode", 0) or len(node.output) > 1:
            raise fail(node, "in training mode, as its further outputs or its attribute say,")
        case "Conv" | "ConvTranspose" | "AveragePool":
            _refuse_window(node, attributes, fail)
        case _:
            pass


def _refuse_window(node: onnx.NodeProto, attributes: Mapping[str, Any], fail: Fail) -> None:
    for name, length, least in (
        ("strides", 2, 1),
        ("dilations", 2, 1),
        ("pads", 4, 0),
        ("kernel_shape", 2, 1),
    ):
        values = attributes.get(name)
        if values is not None and (len(values) != length or any(not least <= v <= 4096 for v in values)):
            raise fail(node, f"with {name} {list(values)[:6]}")
    if attributes.get("group", 1) < 1:
        raise fail(node, "without groups")


def refuse_weights(
    node: onnx.NodeProto, attributes: Mapping[str, Any], weight: Any, bias: Any, channels: int, fail: Fail
) -> None:
    """Raises: SalverError: weights of a convolution that fit neither its channels nor its attributes."""
    groups = attributes.get("group", 1)
    transposed = node.op_type == "ConvTranspose"
    kernel = tuple(attributes.get("kernel_shape", weight.shape[2:]))
    if weight.ndim != 4 or kernel != weight.shape[2:] or weight.size == 0:
        raise fail(node, f"with weights of shape {weight.shape}")
    read = weight.shape[0] if transposed else weight.shape[1] * groups
    divisible = weight.shape[0] % groups == 0 and channels % groups == 0
    if read != channels or not divisible or (bias is not None and bias.shape != weight.shape[:1]):
        raise fail(node, f"of {weight.shape} on {channels} channels")


_SMALLER = "use a smaller network"
