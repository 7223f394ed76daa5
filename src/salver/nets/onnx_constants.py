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


def pool_scale(shape: Shape, operator: Conv) -> Array:
    """Correction [channels, height, width] for windows that reach over the padding."""
    share = conv_matrix(operator, shape).sum(axis=1).reshape(conv_output_shape(shape, operator))
    return np.asarray(1.0 / share, np.float32)
