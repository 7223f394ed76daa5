"""Operators on constants, evaluated by the reference implementation of the onnx package.

It is numpy throughout, so that a hostile file ends in an exception and not in the death of the process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from salver.nets.onnx.strict import MOST_ENTRIES, Fail
from salver.nets.onnx.types import Types
from salver.nets.operators import Shape

FOLDED = frozenset(
    "Abs Add Cast Concat ConstantOfShape Div Equal Expand Gather Greater GreaterOrEqual Less LessOrEqual Max "
    "Min Mod Mul Neg Not Pad ReduceSum Reshape Slice Split Squeeze Sub Tile Transpose Unsqueeze Where".split()
)
"""Operators that vanish when all their inputs are constant."""
ROUNDED = frozenset(("Add", "Div", "Mul", "Neg", "ReduceSum", "Sub"))
"""Those that round in the precision of the file; the others move, compare or convert entries."""
EXACT_ENOUGH = 1e-6
"""Largest relative rounding of a folded value, of which single precision makes 6e-8 in one operator."""
_LARGEST = float(np.finfo(np.float32).max)


def folded(node: onnx.NodeProto, constants: Mapping[str, Any], types: Types, fail: Fail) -> dict[str, Any]:
    """Values of the outputs of an operator whose inputs are all constant.

    Args:
        types: has learnt the operator; the sizes are checked before anything is allocated.

    Raises:
        SalverError, made by `fail`: sizes unknown or too large, values that are not finite or leave the range
            of their type, a division of integers by zero.
    """
    for name in filter(None, node.output):
        shape = types.shapes.get(name)
        if shape is None or math.prod(shape) > MOST_ENTRIES:
            raise fail(node, "of constants, with a size that is unknown or too large,")
    values = {name: np.asarray(constants[name]) for name in filter(None, node.input)}
    _refuse_lossy(node, list(values.values()), fail)
    results = evaluated(node, values, types.opsets, fail)
    if node.op_type in ROUNDED:
        _refuse_inexact(node, results, values, types, fail)
    for name, value in results.items():
        if value.dtype.kind not in "fiub" or value.shape != types.shapes[name]:
            raise fail(node, f"of constants, with a result of type {value.dtype},")
        if value.dtype.kind == "f" and not (np.abs(value) <= _LARGEST).all():
            raise fail(node, "of constants, with a result beyond single precision,")
    return results


def _refuse_inexact(
    node: onnx.NodeProto, results: Mapping[str, Any], values: Mapping[str, Any], types: Types, fail: Fail
) -> None:
    """Raises: SalverError: in double precision the values are others, as after cancellation."""
    wide = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in values.items()}
    for name, exact in evaluated(node, wide, types.opsets, fail).items():
        found = results[name]
        if found.dtype.kind == "f" and (np.abs(found - exact) > EXACT_ENOUGH * np.abs(exact)).any():
            raise fail(node, f"of constants, which {found.dtype} does not hold well,")


def evaluated(
    node: onnx.NodeProto, values: Mapping[str, Any], opsets: tuple[onnx.OperatorSetIdProto, ...], fail: Fail
) -> dict[str, Any]:
    """Outputs by name of one operator at the values of its inputs.

    Raises:
        SalverError, made by `fail`: the reference implementation does not know the operator in this form.
    """
    from onnx.reference import ReferenceEvaluator

    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    ]
    names = [name for name in node.output if name]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph([node], "one", infos, outputs)
    try:
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(opsets)))
        # Underflow too: what a file multiplies to 0 in its own precision is not 0 over the reals.
        with np.errstate(all="raise"):
            found = evaluator.run(None, dict(values))
    except Exception as error:  # numpy's and the package's own, of many types
        raise fail(node, f"of these constants ({type(error).__name__})") from error
    return dict(zip(names, map(np.asarray, found), strict=True))


def positions(
    node: onnx.NodeProto,
    variable: str,
    shape: Shape,
    constants: Mapping[str, Any],
    types: Types,
    fail: Fail,
) -> dict[str, Any]:
    """Of an operator that only picks entries: where each entry of an output comes from, int64, flat.

    The operator itself is asked, by being given the positions 0 ... n - 1 of its variable input of `shape`.

    Raises:
        SalverError, made by `fail`: as `evaluated`, or sizes that are unknown or too large.
    """
    values = {name: np.asarray(constants[name]) for name in node.input if name and name != variable}
    values[variable] = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    for name in filter(None, node.output):
        if math.prod(types.shapes.get(name, (MOST_ENTRIES + 1,))) > MOST_ENTRIES:
            raise fail(node, "with a size that is unknown or too large")
    results = evaluated(node, values, types.opsets, fail)
    if any(value.shape != types.shapes[name] for name, value in results.items()):
        raise fail(node, "with sizes that its inference does not give")
    return {name: value.ravel() for name, value in results.items()}


def _refuse_lossy(node: onnx.NodeProto, values: list[Any], fail: Fail) -> None:
    if node.op_type == "Div" and values[-1].dtype.kind in "iu" and (values[-1] == 0).any():
        raise fail(node, "by zero")
    if node.op_type == "Cast":
        element = next((a.i for a in node.attribute if a.name == "to"), 0)
        target = helper.tensor_dtype_to_np_dtype(element)
        if target.kind in "iu":
            limits = np.iinfo(target)
            if not ((values[0] >= limits.min) & (values[0] < limits.max)).all():
                raise fail(node, f"to {target}, where values are out of range,")
