"""Element types and full shapes of the tensors of an ONNX graph, by the inference of the onnx package.

Full means with the batch axis, as the file's own operators see a tensor. What is not known beforehand (a size
that depends on values, an operator without inference) stays unknown; whoever needs it must refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from salver.nets.operators import Shape

_LIKE = {"GreaterOrEqual": "Greater", "LessOrEqual": "Less"}
"""Operators whose types and shapes are those of another; operator set 13 has no inference for them."""
_MOST_DATA = 4096
"""Largest constant handed to the inference as data: it reads shapes, axes and sizes, never weights."""


@dataclass
class Types:
    """What is known of the tensors met so far; unknown sizes of the input are batches and count as one.

    Attributes:
        opsets: operator sets of the model.
        elements: `TensorProto` element type by tensor.
        shapes: full shape by tensor, complete ones alone.
    """

    opsets: tuple[onnx.OperatorSetIdProto, ...]
    elements: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """Operator set of ONNX's own operators."""
        return next((o.version for o in self.opsets if o.domain in ("", "ai.onnx")), 1)

    def declare(self, value: onnx.ValueInfoProto) -> None:
        """Takes an input of the graph."""
        tensor = value.type.tensor_type
        self.elements[value.name] = tensor.elem_type
        self.shapes[value.name] = tuple(axis.dim_value or 1 for axis in tensor.shape.dim)

    def learn(self, node: onnx.NodeProto, constants: Mapping[str, Any]) -> None:
        """Takes one operator, of whose inputs `constants` holds the values that are known."""
        types, data = {}, {}
        for name in filter(None, node.input):
            if name in constants:
                value = np.asarray(constants[name])
                element = helper.np_dtype_to_tensor_dtype(value.dtype)
                types[name] = helper.make_tensor_type_proto(element, value.shape)
                if value.size <= _MOST_DATA:
                    data[name] = numpy_helper.from_array(value, name)
            elif name in self.elements:
                types[name] = helper.make_tensor_type_proto(self.elements[name], self.shapes.get(name))
        for name, found in self._inferred(node, types, data).items():
            tensor = found.tensor_type
            if name and tensor.elem_type:
                self.elements[name] = tensor.elem_type
                axes = tensor.shape.dim
                if tensor.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
                    self.shapes[name] = tuple(axis.dim_value for axis in axes)

    def _inferred(self, node: onnx.NodeProto, types: Any, data: Any) -> dict[str, onnx.TypeProto]:
        try:
            schema = onnx.defs.get_schema(_LIKE.get(node.op_type, node.op_type), self.version, "")
            return shape_inference.infer_node_outputs(
                schema, node, types, data, opset_imports=list(self.opsets)
            )
        except Exception:  # inference raises many unrelated types; the tensors stay unknown
            return {}

    def plain(self, name: str) -> Shape:
        """Shape without a batch axis of one, as the reader's nodes have it.

        Raises:
            KeyError: the shape is not known.
        """
        return without_batch(self.shapes[name])


def without_batch(shape: Shape) -> Shape:
    """A full shape without its leading one; a vector and a tensor with a longer first axis stay whole."""
    return tuple(shape[1:]) if len(shape) > 1 and shape[0] == 1 else tuple(shape) or (1,)
