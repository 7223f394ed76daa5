"""Tries each ONNX operator on a tool, one small network each, against what its runner declares."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from salver.families.instance import Instance
from salver.judge.judgement import WitnessVerdict
from salver.judge.witness import replay
from salver.runners.answers import Claim
from salver.runners.contract import CANONICAL_OPERATORS, Runner
from salver.spec import Atom, Property, to_vnnlib1, to_vnnlib2
from salver.testkit.check import Check
from salver.testkit.declarations import sample_instance
from salver.testkit.trial import Trial

ENTRIES = 4
"""Inputs of every network: an image of 2 by 2 where the operator needs one."""
FAR = 1000.0
OPSET, IR_VERSION = 13, 8


def probe_operators(
    runner: Runner, seconds: float, operators: Iterable[str] = CANONICAL_OPERATORS
) -> Iterator[Check]:
    """One check an operator that salver writes: the tool is asked a query `X in [0.25, 1] and Y_0 >= -1000`,
    which every input satisfies.

    An operator that is declared and fails is a failed check; one that is not declared is tried too, since a
    newer version of the tool may have learnt it.
    """
    with tempfile.TemporaryDirectory(prefix="salver-probe-") as folder:
        for operator in sorted(operators):
            yield _probed(Trial(runner, Path(folder), Path(folder), seconds), operator)


def _probed(trial: Trial, operator: str) -> Check:
    subject = f"operator {operator}"
    model = _model(operator)
    outputs = int(model.graph.output[0].type.tensor_type.shape.dim[1].dim_value)
    prop = Property(np.full(ENTRIES, 0.25), np.ones(ENTRIES), (((Atom(0, ">=", constant=-FAR),),),), outputs)
    instance = written(trial.set_path, operator, model, prop)
    declared = trial.runner.supports(instance) is None
    record = trial.run(instance, operator)
    if record.claim is Claim.SAT and record.ended_well:
        stored = (trial.scratch / operator / record.witness).read_text() if record.witness else None
        found = replay(trial.set_path / instance.onnx, prop, stored)
        right = found.verdict is WitnessVerdict.CORRECT
    else:
        right = False
    if right:
        return Check(subject, "ok", "read" if declared else "read, though the runner does not declare it")
    told = f"{record.claim.value}: {record.reason}" if record.reason else record.claim.value
    if record.claim in (Claim.SAT, Claim.UNSAT) and not record.ended_well:
        return Check(subject, "FAIL", told[:160])
    if record.claim is Claim.UNSAT:
        return Check(subject, "FAIL", "says unsat of a query that every input satisfies")
    if record.claim is Claim.SAT:
        return Check(subject, "FAIL", f"says sat with a point that does not stand: {found.detail}")
    if not declared:
        return Check(subject, "ok", f"neither declared nor read ({told[:100]})")
    return Check(subject, "FAIL", f"declared in `operators`, but {told[:160]}")


def written(folder: Path, name: str, model: onnx.ModelProto, prop: Property) -> Instance:
    """The query as files of an instance set in `folder`."""
    used = tuple(sorted({node.op_type for node in model.graph.node}))
    instance = sample_instance(used).model_copy(
        update={"id": name, "name": name, "onnx": f"{name}.onnx",
                "vnnlib": f"{name}.1.vnnlib", "vnnlib2": f"{name}.2.vnnlib"}
    )  # fmt: skip
    (folder / instance.onnx).write_bytes(model.SerializeToString())
    (folder / instance.vnnlib).write_text(to_vnnlib1(prop))
    (folder / instance.vnnlib2).write_text(to_vnnlib2(prop))
    return instance


def _model(operator: str) -> onnx.ModelProto:
    """X [1, 4] through a matrix and a ReLU, which every tool knows, then the operator, to Y [1, outputs]."""
    square = np.eye(ENTRIES, dtype=np.float32) + np.float32(0.5)
    constants = {
        "W": square, "V": square, "B": np.zeros(ENTRIES, np.float32),
        "kernel": np.ones((1, 1, 1, 1), np.float32), "image": np.array([-1, 1, 2, 2], np.int64),
        "row": np.array([-1, ENTRIES], np.int64),
    }  # fmt: skip
    node, outputs = helper.make_node, ENTRIES
    first = (node("Gemm", ["X", "W", "B"], ["Z"]), node("Relu", ["Z"], ["H"]))
    shaped = node("Reshape", ["H", "image"], ["I"])
    match operator:
        case "Gemm" | "MatMul":
            middle = [*first, node(operator, ["H", "V"], ["Y"])]
        case "Sign":  # alone it has three values; in every query it is part of a mask
            middle = [*first, node("Sign", ["H"], ["S"]), node("Relu", ["S"], ["Y"])]
        case "Relu" | "Abs" | "Flatten":
            middle = [*first, node(operator, ["H"], ["Y"])]
        case "Reshape":
            middle = [*first, shaped, node("Reshape", ["I", "row"], ["Y"])]
        case "Concat":
            outputs = 2 * ENTRIES
            middle = [*first, node("Relu", ["H"], ["R"]), node("Concat", ["H", "R"], ["Y"], axis=1)]
        case "Mul":
            mask = [node("Sign", ["H"], ["S"]), node("Relu", ["S"], ["M"]), node("Gemm", ["X", "V"], ["G"])]
            middle = [*first, *mask, node("Mul", ["M", "G"], ["Y"])]
        case "Add" | "Sub":
            middle = [*first, node("Relu", ["H"], ["R"]), node(operator, ["H", "R"], ["Y"])]
        case "Conv" | "ConvTranspose":
            convolved = node(operator, ["I", "kernel"], ["C"], kernel_shape=[1, 1])
            middle = [*first, shaped, convolved, node("Flatten", ["C"], ["Y"])]
        case _:
            outputs = 1
            options: dict[str, Any] = (
                {"kernel_shape": [2, 2]} if operator == "AveragePool" else {"axes": [2, 3]}
            )
            middle = [*first, shaped, node(operator, ["I"], ["P"], **options), node("Flatten", ["P"], ["Y"])]
    used = {name for one in middle for name in one.input}
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used]
    sizes = {"X": ENTRIES, "Y": outputs}
    x, y = (helper.make_tensor_value_info(k, TensorProto.FLOAT, [1, size]) for k, size in sizes.items())
    graph = helper.make_graph(middle, operator, [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
