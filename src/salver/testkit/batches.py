"""Tries whether a tool takes many subproblems of one network at once, on a query that it has to split.

Verifiers evaluate subproblems in batches, so a graph, or a tool, that fixes the first axis to 1 fails as soon
as there are two of them. The probes of single operators are answered before that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from salver.runners.answers import Claim
from salver.runners.contract import Runner
from salver.spec import Atom, Property
from salver.supervise.finished import Termination
from salver.testkit.check import Check
from salver.testkit.probe import ENTRIES, IR_VERSION, OPSET, written
from salver.testkit.trial import Trial

LAYOUTS = ("vectors", "images")
LEAST = 1.75
"""The network is at most 1.5 on the box; bounds that relax each ReLU by itself give 3."""


def probe_batches(runner: Runner, seconds: float) -> Iterator[Check]:
    """One check for dense layers and one for convolutions: an `unsat` that needs several subproblems."""
    with tempfile.TemporaryDirectory(prefix="salver-batches-") as folder:
        for layout in LAYOUTS:
            yield _probed(Trial(runner, Path(folder), Path(folder), seconds), layout)


def _probed(trial: Trial, layout: str) -> Check:
    subject = f"batches of {layout}"
    prop = Property(np.full(ENTRIES, 0.25), np.ones(ENTRIES), (((Atom(0, ">=", constant=LEAST),),),), 1)
    instance = written(trial.set_path, layout, split_network(layout), prop)
    if (reason := trial.runner.supports(instance)) is not None:
        return Check(subject, "skip", reason)
    record = trial.run(instance, layout)
    told = f"{record.claim.value}: {record.reason}" if record.reason else record.claim.value
    if record.claim is Claim.UNSAT:
        return Check(subject, "ok", "decides a query that has to be split")
    if record.claim is Claim.SAT:
        return Check(subject, "FAIL", "says sat of a query that no input satisfies")
    limited = record.termination in (Termination.WALLTIME, Termination.MEMORY)
    if record.claim is Claim.ERROR or (record.claim is Claim.NONE and not limited):
        return Check(subject, "FAIL", f"fails where it has to split: {told[:160]}")
    return Check(subject, "skip", f"not decided, so nothing is known ({told[:100]})")


def split_network(layout: str) -> onnx.ModelProto:
    """X [1, 4] -> Y = sum over the pairs (a, b) of |a + b - 1.25| + |a - b|, of any number of rows.

    The absolute values are pairs of ReLUs, behind a dense layer or behind a convolution over an image of
    2 by 2. On [0.25, 1] the sum of one pair is 2 max(|a - 0.625|, |b - 0.625|) <= 0.75.
    """
    pair = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]], np.float32)
    weight = np.kron(np.eye(2, dtype=np.float32), pair)
    bias = np.tile(np.array([-1.25, 1.25, 0, 0], np.float32), 2)
    constants = {"W": weight, "B": bias, "S": np.ones((1, 8), np.float32), "zero": np.zeros(1, np.float32)}
    node = helper.make_node
    if layout == "images":
        constants |= {"W": weight.reshape(8, 1, 2, 2), "image": np.array([-1, 1, 2, 2], np.int64)}
        first = [node("Reshape", ["X", "image"], ["I"]),
                 node("Conv", ["I", "W", "B"], ["C"], kernel_shape=[2, 2]),
                 node("Relu", ["C"], ["R"]), node("Flatten", ["R"], ["H"])]  # fmt: skip
    else:
        first = [node("Gemm", ["X", "W", "B"], ["Z"], transB=1), node("Relu", ["Z"], ["H"])]
    last = node("Gemm", ["H", "S", "zero"], ["Y"], transB=1)
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("X", ENTRIES), ("Y", 1))
    )
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph([*first, last], layout, [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
