"""Shapes and constants that the ONNX reader works out while it reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from salver.nets.linear_maps import conv_matrix
from salver.nets.network import Array, Conv, Shape, conv_output_shape


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


def widened(attributes: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a one-dimensional convolution as those of one over images of height one."""
    ones = {"strides": 1, "dilations": 1, "kernel_shape": 1}
    found = {k: [ones[k], *v] if k in ones else v for k, v in attributes.items()}
    pads = attributes.get("pads")
    return found | ({} if pads is None else {"pads": [0, *pads[:1], 0, *pads[1:]]})


def scale_and_shift(kind: str, constant: Any, reverse: bool) -> tuple[Any, Any]:
    """`x kind constant`, or with `reverse` `constant kind x`, as scale * x + shift."""
    one, zero = np.ones(()), np.zeros(())
    if kind == "Add":
        return one, constant
    if kind == "Sub":
        return (-one, constant) if reverse else (one, -constant)
    return (constant, zero) if kind == "Mul" else (1.0 / constant, zero)


def window_of(
    node: onnx.NodeProto, attributes: dict[str, Any], size: Shape, kernel: tuple[int, ...], fail: Any
) -> dict[str, Any]:
    """Strides, pads and dilations of a window over `size` [height, width]; `kernel` is empty but for Conv.

    Raises: SalverError, made by `fail`: `auto_pad` of another operator.
    """
    strides, dilations = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
    pads = tuple(attributes.get("pads", (0, 0, 0, 0)))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER") and len(kernel) == 2:
        pads = same_pads(size, kernel, strides, dilations, automatic)
    elif automatic not in (b"NOTSET", b"VALID"):
        raise fail(node, "with auto_pad")
    return {"strides": strides, "pads": pads, "dilations": dilations}


def same_pads(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    automatic: bytes,
) -> tuple[int, ...]:
    """Paddings (top, left, bottom, right) for ONNX's `auto_pad`: ceil(size / stride) windows an axis."""
    begin, end = [], []
    for length, width, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        windows = -(-length // stride)
        total = max(0, (windows - 1) * stride + dilation * (width - 1) + 1 - length)
        small, large = total // 2, total - total // 2
        begin.append(small if automatic == b"SAME_UPPER" else large)
        end.append(large if automatic == b"SAME_UPPER" else small)
    return (*begin, *end)


def pool_scale(shape: Shape, operator: Conv) -> Array:
    """Correction [channels, height, width] for windows that reach over the padding."""
    share = conv_matrix(operator, shape).sum(axis=1).reshape(conv_output_shape(shape, operator))
    return np.asarray(1.0 / share)
