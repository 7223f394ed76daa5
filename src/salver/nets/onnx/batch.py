"""A file that fixes its batch to k rows, read for one of them.

That is the file's meaning only where the rows do not see each other and are all treated alike. It is proven
operator by operator: every tensor that depends on the input keeps the rows as its first axis, of k rows in
the file and of one when it is read. What this table does not know is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from salver.core.errors import SalverError
from salver.nets.operators import Shape

Fail = Callable[[onnx.NodeProto, str], SalverError]
_POINTWISE = frozenset(
    "Abs Add Cast Clip Div Dropout Elu Equal Greater GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu "
    "Less LessOrEqual Max Mean Min Mul Neg Not PRelu Relu Sign Sub Sum ThresholdedRelu Where".split()
)
_PER_IMAGE = frozenset(
    "AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalMaxPool MaxPool "
    "SpaceToDepth".split()
)
_ALONG_AXES = frozenset(
    "Concat Gather LogSoftmax ReduceMax ReduceMean ReduceMin ReduceSum Slice Softmax Split Squeeze "
    "Unsqueeze".split()
)
_AXES_INPUT = {"ReduceMax": 1, "ReduceMean": 1, "ReduceMin": 1, "ReduceSum": 1, "Slice": 3, "Squeeze": 1,
               "Unsqueeze": 1}  # fmt: skip
_DEFAULT_AXIS = {"Gather": 0, "Split": 0, "Softmax": -1, "LogSoftmax": -1}


@dataclass(frozen=True)
class Batch:
    """The k rows of a file.

    Attributes:
        size: k. shapes: full shapes of the file's tensors, with k rows.
    """

    size: int
    shapes: Mapping[str, Shape]

    def refuse_mixing(
        self, node: onnx.NodeProto, constants: Mapping[str, Any], shapes: Mapping[str, Shape], fail: Fail
    ) -> None:
        """Checks one operator that reads a variable.

        Args:
            shapes: full shapes with one row.

        Raises:
            SalverError, made by `fail`: it is not shown that the rows are independent and treated alike.
        """
        variable = [name for name in node.input if name and name not in constants]
        ranks = {len(shapes[name]) for name in variable if name in shapes}
        kept = all(
            shapes.get(name, ())[:1] == (1,) and self.shapes.get(name, ())[:1] == (self.size,)
            for name in filter(None, node.output)
        )
        rank = ranks.pop() if len(ranks) == 1 else 0
        if not kept or not rank or not _keeps_rows(node, constants, rank, len(shapes[node.output[0]])):
            what = f"in a batch fixed to {self.size}, whose rows it may mix,"
            raise fail(node, what)

    def for_one(self, node: onnx.NodeProto, constants: Mapping[str, Any]) -> Any | None:
        """The sizes of a Reshape of k rows, for one row; None where they need no change."""
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[0] in constants:
            return None
        sizes = constants.get(node.input[1])
        if sizes is None or np.ndim(sizes) != 1 or not np.size(sizes) or sizes[0] != self.size:
            return None
        return np.concatenate([[1], np.asarray(sizes)[1:]]).astype(np.int64)


def shapes_of(graph: onnx.GraphProto) -> dict[str, Shape]:
    """Full shapes that inference has found, complete ones alone."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and all(axis.HasField("dim_value") for axis in axes):
            found[value.name] = tuple(axis.dim_value for axis in axes)
    return found


def _keeps_rows(node: onnx.NodeProto, constants: Mapping[str, Any], rank: int, result: int) -> bool:
    """Whether the rows, the first axis of variables of this rank, stay apart and alike in the result."""
    kind = node.op_type
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    first = bool(node.input) and node.input[0] not in constants
    if kind in _POINTWISE:
        return result == rank
    if kind in _PER_IMAGE:
        return first and result == rank
    if kind == "Reshape":
        return first
    if kind == "Flatten":
        return bool(attributes.get("axis", 1) in (1, 1 - rank))
    if kind == "Transpose":
        return bool(attributes.get("perm", [-1])[0] == 0)
    if kind == "Gemm":
        return first and not attributes.get("transA", 0) and all(n in constants for n in node.input[1:] if n)
    if kind == "MatMul":
        return result == rank and (rank > 2 or (first and node.input[1] in constants))
    if kind == "Pad":
        pads = _values(node, attributes, constants, "pads", 1)
        axes = _values(node, attributes, constants, "axes", 3)
        return first and axes is None and pads is not None and pads[0] == 0 == pads[len(pads) // 2]
    return kind in _ALONG_AXES and _others(node, attributes, constants, max(rank, result))


def _others(
    node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Any], rank: int
) -> bool:
    """Whether the operator works along axes that are known and are not the first."""
    axes: Sequence[int] | None
    if "axis" in attributes or node.op_type in _DEFAULT_AXIS:
        axes = [attributes.get("axis", _DEFAULT_AXIS.get(node.op_type, 0))]
    else:
        axes = _values(node, attributes, constants, "axes", _AXES_INPUT.get(node.op_type, 99))
    return bool(axes) and all(-rank < axis < rank and axis % rank != 0 for axis in axes or ())


def _values(
    node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, Any], name: str, place: int
) -> list[int] | None:
    """Whole numbers that an attribute or, in later operator sets, a constant input holds."""
    if name in attributes:
        return list(attributes[name])
    if len(node.input) > place and node.input[place]:
        value = constants.get(node.input[place])
        return None if value is None else np.ravel(value).tolist()
    return None
