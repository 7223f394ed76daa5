"""Random queries over tiny networks against every point of a grid: `unsat` has none, `sat` gives one."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from salver.nets.runtime import Runtime
from salver.solvers.__main__ import solved
from salver.solvers.lifted import NoSolutionError, read_lifted, read_queries
from salver.solvers.query import Budget, Options, Result, Verdict
from salver.solvers.registry import SOLVERS
from tests.builders.onnx_models import constant, made
from tests.builders.random_texts import condition

NAMES = ["X_0", "X_1", "Y_0", "Y_1"]
HEAD = "".join(f"(declare-const {name} Real)" for name in NAMES)
BOX = "".join(f"(assert (>= X_{i} -1))(assert (<= X_{i} 1))" for i in range(2))
GRID = [np.array(point, float) for point in itertools.product(np.linspace(-1, 1, 17), repeat=2)]


def network(folder: Path, draw: random.Random) -> Path:
    """y = relu(x A + a) B with quarters as weights, whose values on the grid single precision holds."""

    def weights(*shape: int) -> np.ndarray:
        return np.array([draw.randint(-4, 4) / 4 for _ in range(int(np.prod(shape)))]).reshape(shape)

    nodes = [
        constant("A", weights(2, 3)), constant("a", weights(3)), constant("B", weights(3, 2)),
        helper.make_node("MatMul", ["X", "A"], ["p"]), helper.make_node("Add", ["p", "a"], ["z"]),
        helper.make_node("Relu", ["z"], ["h"]), helper.make_node("MatMul", ["h", "B"], ["Y"]),
    ]  # fmt: skip
    onnx.save(made(nodes, [1, 2]), folder / "n.onnx")
    return folder / "n.onnx"


def answer(onnx_file: Path, text: Path) -> tuple[Result, np.ndarray | None]:
    """As `salver-solve milp` answers: closed first, then off the edge of strict comparisons."""
    for read in (read_queries, lambda files, query: read_lifted(files, query, margin=True)):
        try:
            query = read({"": onnx_file}, text)
        except NoSolutionError:
            return Result(Verdict.UNSAT if read is read_queries else Verdict.UNKNOWN), None
        result = solved(SOLVERS["milp"], query, Budget(20.0), Options())
        if read is read_queries and (result.verdict is not Verdict.UNKNOWN or query.lifted is None):
            return result, result.witness
    return (Result(Verdict.UNKNOWN), None) if result.verdict is Verdict.UNSAT else (result, result.witness)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_answers_hold_against_every_point_of_a_grid(tmp_path, seed):
    draw = random.Random(seed)
    onnx_file, query = network(tmp_path, draw), tmp_path / "q.vnnlib"
    text, meaning = condition(draw, NAMES, 2)
    query.write_text(f"{HEAD}{BOX}(assert {text})")
    runtime = Runtime(onnx_file.read_bytes())

    def means(x: np.ndarray) -> bool:
        values = (*x.tolist(), *runtime.outputs(x).tolist())
        return meaning(dict(zip(NAMES, map(Fraction, values), strict=True)))

    result, witness = answer(onnx_file, query)
    if result.verdict is Verdict.SAT:
        assert witness is not None
        assert means(witness), text
        assert np.abs(witness).max() <= 1
    elif result.verdict is Verdict.UNSAT:
        assert not any(map(means, GRID)), text
