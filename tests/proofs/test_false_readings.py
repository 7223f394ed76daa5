"""False proofs that a checker accepts whose reader takes a file for another network.

Each is one step, with the hashes of its files. The same step refutes a query of the same network that has no
solution, so what is refused is what the step says about the network, not its form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.proofs.bounded import CheckReply, check_here
from salver.proofs.record import QueryFiles, write_proof

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
SMALL, LARGE = np.float32(1e-30), np.float32(1e30)


def _model(nodes: list[Any], constants: dict[str, Any], kind: int = FLOAT) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, kind, shape) for name, shape in (("X", (1, 1)), ("Y", None))]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], **attributes)


def _double() -> onnx.ModelProto:
    """0.1 X in double precision; in single precision the weight is 0.100000001."""
    return _model([_node("MatMul", ["X", "w"], "Y")], {"w": np.array([[0.1]])}, DOUBLE)


def _scaled(weights: list[np.float32]) -> onnx.ModelProto:
    """X times one number after the other, of which no two are to be multiplied in single precision."""
    names = ["X", *(f"t{number}" for number in range(len(weights) - 1)), "Y"]
    nodes = [_node("Mul", [names[i], f"w{i}"], names[i + 1]) for i in range(len(weights))]
    return _model(nodes, {f"w{i}": np.array([weight]) for i, weight in enumerate(weights)})


def _named_as_spread() -> onnx.ModelProto:
    """Y = X + 0 - 0 in three copies, where one of the zeros has the name of X in three copies."""
    zeros, own = np.zeros((1, 3), np.float32), "X/spread[1, 3]"
    nodes = [
        _node("MatMul", ["X", "w0"], own),
        _node("MatMul", ["X", "w1"], "Z"),
        _node("Add", ["X", "Z"], "S"),
        _node("Sub", ["S", own], "Y"),
    ]
    return _model(nodes, {"w0": zeros, "w1": zeros})


def _named_as_mask() -> onnx.ModelProto:
    """Y = 1[X > 0] + 0, where the zero has the name of the mask."""
    own = "Greater_out/above/mask"
    nodes = [
        _node("Mul", ["X", "zero"], own),
        _node("Greater", ["X", "zero"], "Greater_out"),
        _node("Cast", ["Greater_out"], "G", to=FLOAT),
        _node("Add", ["G", own], "Y"),
    ]
    return _model(nodes, {"zero": np.zeros(1, np.float32)})


def _checked(
    tmp_path: Path, model: onnx.ModelProto, box: tuple[str, str], atom: str
) -> tuple[CheckReply, str]:
    """What the checker says of the step that refutes an atom of Y_0 by the range of Y alone."""
    outputs = 3 if any(node.output[0].startswith("X/") for node in model.graph.node) else 1
    lines = ["(declare-const X_0 Real)", *(f"(declare-const Y_{k} Real)" for k in range(outputs))]
    lines += [f"(assert (>= X_0 {box[0]}))", f"(assert (<= X_0 {box[1]}))", f"(assert ({atom}))"]
    network, query, proof = (tmp_path / name for name in ("n.onnx", "q.vnnlib", "p.proof"))
    network.write_bytes(model.SerializeToString())
    query.write_text("\n".join(lines))
    side = "low" if atom.startswith("<=") else "high"
    step = {"do": "close", "by": [["atom", "", [0], [[0, 0, 0]], [1.0]], [side, "Y", [0], [0], [1.0]]]}
    write_proof(proof, QueryFiles.read(network, query), [step])
    outcome = check_here(network, query, proof)
    return outcome.answer, outcome.detail


@pytest.mark.parametrize(
    ("model", "box", "holds", "fails"),
    [
        (_double(), ("1", "1"), "<= Y_0 0.1000000005", "<= Y_0 0.0999999995"),
        (_scaled([SMALL, SMALL, LARGE]), ("0", "1e30"), ">= Y_0 0.5", ">= Y_0 2"),
        (_scaled([LARGE, LARGE]), ("0", "1e-30"), ">= Y_0 0.5e30", ">= Y_0 2e30"),
        (_named_as_spread(), ("-1", "1"), ">= Y_0 0.5", ">= Y_0 1.5"),
    ],
    ids=["double", "under", "over", "spread"],
)
def test_a_step_holds_of_the_network_that_the_file_says(
    tmp_path: Path, model: onnx.ModelProto, box: tuple[str, str], holds: str, fails: str
) -> None:
    assert _checked(tmp_path, model, box, fails) == (CheckReply.ACCEPTED, "")
    answer, why = _checked(tmp_path, model, box, holds)
    assert answer is CheckReply.REJECTED
    assert "no contradiction" in why


def test_a_network_with_the_name_of_a_mask_and_a_comparison_is_not_covered(tmp_path: Path) -> None:
    answer, why = _checked(tmp_path, _named_as_mask(), ("-1", "1"), ">= Y_0 0.5")
    assert answer is CheckReply.REJECTED
    assert "'Greater' is not covered" in why


def test_a_sign_of_a_sign_is_refused(tmp_path: Path) -> None:
    nodes = [_node("Sign", ["X"], "a"), _node("Sign", ["a"], "b"), _node("Relu", ["b"], "Y")]
    answer, why = _checked(tmp_path, _model(nodes, {}), ("-1", "1"), ">= Y_0 2")
    assert answer is CheckReply.REJECTED
    assert "reads a Sign" in why
