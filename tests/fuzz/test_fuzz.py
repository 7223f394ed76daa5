"""A slice of the campaign: the same on every machine."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from experiments.fuzz.campaign import TARGETS, main, target
from salver.core.errors import SalverError
from salver.families.suite import read_suite
from salver.judge.witness import MalformedWitness, parse_witness
from salver.nets.network import evaluate
from salver.nets.onnx.reader import read_onnx
from salver.spec import parse_vnnlib, read
from salver.spec.plain import read_vnnlib
from salver.spec.read import DEEPEST, MOST_ENTRIES

EXAMPLES = {
    "keras": 2,
    "proof": 12,
    "vnnlib-grammar": 25,
    "suite": 40,
    "onnx-bytes": 60,
    "onnx-structure": 60,
}


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_files_are_refused_in_one_line_or_read_right(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, execute = tmp_path_factory.mktemp("fuzz"), target(name)

    @settings(
        max_examples=EXAMPLES.get(name, 100), deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64))
    def one(seed: int) -> None:
        execute(Random(seed), folder)

    one()


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--target", "witness", "--only", "3"]) == 0
    assert "1 executions" in capsys.readouterr().out


HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))"
NETWORK = "(declare-network N (declare-input X real [1,1])(declare-output Y real [{}]))"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + "(assert " + "(and " * DEEPEST, "parentheses are open"),
        (HEAD + "(assert (>= Y_0 1_0))", "neither a declared"),
        (HEAD + "(assert (>= Y_0 \u0663))", "neither a declared"),
        (HEAD + "(assert (>= Y_0 " + "1" * 5000 + "))", "neither a declared"),
        (HEAD + "(assert (>= Y_00 1))", "neither a declared"),
        (HEAD + "(declare-const X_0 Real)", "declared twice"),
        (HEAD + "(declare-const X_1 Int)", "type 'Int'"),
        (HEAD + "(declare-const X_" + "9" * 5000 + " Real)", "neither X_i"),
        (HEAD + "(vnnlib-version <3.0>)", "version"),
        (HEAD + NETWORK.format("1"), "beside variables"),
        (NETWORK.format("1") + "(declare-const X_0 Real)", "beside a network"),
        (NETWORK.format("99999,99999"), "entries"),
        (NETWORK.format("9" * 5000), "is not"),
        (NETWORK.format(",".join(["1"] * 40)), "axes"),
    ],
)
def test_what_was_once_misread_is_refused(text: str, why: str) -> None:
    with pytest.raises(SalverError, match=why) as caught:
        parse_vnnlib(text)
    assert len(str(caught.value)) < 300


def test_a_bomb_is_not_unpacked_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.vnnlib.gz"
    path.write_bytes(gzip.compress(bytes(4 << 20)))
    monkeypatch.setattr(read, "MOST_BYTES", 1 << 20)
    with pytest.raises(SalverError, match="larger than 1 MiB"):
        read_vnnlib(path)
    monkeypatch.setattr(read, "MOST_STORED_BYTES", 1 << 10)
    with pytest.raises(SalverError, match="larger than 0 MiB"):
        read_vnnlib(path)
    assert MOST_ENTRIES < 2**31


@pytest.mark.parametrize(
    "text", ["(" + "[ " * 300_000, "([" + " a" * 300_000, "((X_0 " + "1" * 300_000 + "x))"]
)
def test_work_is_linear_in_the_text(text: str) -> None:
    """Quadratic work on any of these would take hours."""
    with pytest.raises(SalverError):
        parse_vnnlib(text)
    with pytest.raises(MalformedWitness):
        parse_witness(text, 1)


def _written(path: Path, nodes: list[object], constants: list[TensorProto], shape: list[int]) -> Path:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)], constants,
    )  # fmt: skip
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString()
    )
    return path


def _constant(name: str, value: object, kind: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.array(value, kind), name)


N = helper.make_node
MISREAD = {
    "Cast to whole numbers": ([N("Cast", ["X"], ["a"], to=7), N("Cast", ["a"], ["Y"], to=1)], [], [1, 4]),
    "two weights of one name": (
        [N("Add", ["X", "c"], ["Y"])], [_constant("c", [1.0] * 4), _constant("c", [2.0] * 4)], [1, 4]
    ),
    "constants of another size": (
        [N("Gemm", ["X", "w", "c"], ["Y"])], [_constant("w", [[1.0]] * 4), _constant("c", [1.0] * 4)], [1, 4]
    ),
    "weights beyond float32": (
        [N("Add", ["X", "c"], ["Y"])], [_constant("c", [1e300] * 4, np.float64)], [1, 4]
    ),
    "weights that are NaN": ([N("Add", ["X", "c"], ["Y"])], [_constant("c", [np.nan] * 4)], [1, 4]),
    "a huge input": ([N("Relu", ["X"], ["Y"])], [], [1, 2**40]),
    "a huge window": (
        [N("AveragePool", ["X"], ["Y"], kernel_shape=[2**20, 2**20])], [], [1, 1, 4, 4]
    ),
    "no stride": (
        [N("AveragePool", ["X"], ["Y"], kernel_shape=[1, 1], strides=[0, 1])], [], [1, 1, 4, 4]
    ),
    "a cycle": ([N("Add", ["X", "b"], ["a"]), N("Relu", ["a"], ["b"]), N("Relu", ["b"], ["Y"])], [], [1, 4]),
    "an operator nobody knows": ([N("Exp", ["X"], ["Y"])], [], [1, 4]),
}  # fmt: skip


@pytest.mark.parametrize("what", MISREAD)
def test_networks_that_would_be_misread_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    nodes, constants, shape = MISREAD[what]
    with pytest.raises(SalverError) as caught:
        read_onnx(_written(tmp_path / "m.onnx", nodes, constants, shape))
    assert "\n" not in str(caught.value)


def test_a_matrix_added_to_an_unsqueezed_row_is_broadcast(tmp_path: Path) -> None:
    nodes = [N("Unsqueeze", ["X", "axes"], ["a"]), N("Add", ["a", "c"], ["Y"])]
    constants = [_constant("axes", [2], np.int64), _constant("c", [[1.0, 2, 3, 4]])]
    network = read_onnx(_written(tmp_path / "m.onnx", nodes, constants, [1, 4]))
    x = np.array([1.0, 10, 100, 1000])
    assert (evaluate(network, x)[0] == (x[:, None] + [1.0, 2, 3, 4]).ravel()).all()


@pytest.mark.parametrize(
    "text",
    ['key = "../x"\n', 'version = "../.."\n', "timeout = inf\n", "seed = " + "9" * 5000, "x = " + "[" * 5000],
)
def test_suites_that_name_folders_elsewhere_or_never_end_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.toml"
    rest = "" if text.startswith("timeout") else "timeout = 1.0\n"
    path.write_text(f'title = "t"\n{rest}{text}\n[[family]]\ngenerator = "vg_box"\n')
    with pytest.raises(SalverError):
        read_suite(str(path))
