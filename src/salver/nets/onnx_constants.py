"""Shapes and constants that the ONNX reader works out while it reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from salver.nets.linear_maps import conv_matrix
from salver.nets.network import Array, Conv, Shape, conv_output_shape


def moved_axes(kind: str, shape: Shape, axes: Any) -> Shape:
    """Shape, batch included, after Squeeze or Unsqueeze. Raises: ValueError: impossible axes."""
    if kind == "Squeeze":
        chosen = None if axes is None else tuple(int(axis) for axis in np.ravel(axes))
        return np.squeeze(np.broadcast_to(np.float32(0), shape), chosen).shape
    return np.expand_dims(np.broadcast_to(np.float32(0), shape), tuple(int(a) for a in np.ravel(axes))).shape


def constant_fold(node: onnx.NodeProto, value: Any, attributes: dict[str, Any], fail: Any) -> Any:
    """An operator on a constant. Raises: SalverError, made by `fail`: not one of the few that are folded."""
    if node.op_type == "Transpose":
        return np.transpose(value, attributes.get("perm"))
    if node.op_type in ("Identity", "Dropout", "Cast"):
        return value
    if node.op_type == "Squeeze" and len(node.input) == 1 and "axes" not in attributes:
        return np.squeeze(value)
    raise fail(node, "of a constant")


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
    return np.asarray(1.0 / share, np.float32)
