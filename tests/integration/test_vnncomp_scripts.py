"""Our own three scripts, called as VNN-COMP calls them, and the conformance suite of the VNN-LIB standard."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from salver.judge.judgement import WitnessVerdict
from salver.judge.witness import replay
from salver.nets.onnx.reader import SUPPORTED
from salver.runners.contract import CANONICAL_OPERATORS, answer_from_words
from salver.solvers.__main__ import main
from salver.solvers.query import Query
from salver.spec import to_vnnlib1, to_vnnlib2
from tests.builders.onnx_models import constant, made
from tests.builders.small_queries import relu_network, saliency_query, toy_gap

SCRIPTS = Path(__file__).resolve().parents[2] / "vnncomp_scripts"


@pytest.fixture
def solve(tmp_path: Path) -> Path:
    """`salver-solve` of this interpreter, as one program."""
    path = tmp_path / "salver-solve"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m salver.solvers "$@"\n')
    path.chmod(0o755)
    return path


def script(name: str, solve: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The competition starts the scripts from a folder of its own."""
    return subprocess.run(
        [str(SCRIPTS / name), *map(str, arguments)],
        cwd="/", env={**os.environ, "SALVER_SOLVE": str(solve), "SALVER_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def files(folder: Path, query: Query) -> tuple[Path, Path]:
    vnnlib = folder / "q.vnnlib"
    vnnlib.write_text(to_vnnlib1(query.prop))
    return query.onnx, vnnlib


def relu(path: Path, factor: float) -> Path:
    """y = factor * relu(x), one number."""
    nodes = [constant("c", [[factor]]), helper.make_node("Relu", ["X"], ["h"])]
    onnx.save(made([*nodes, helper.make_node("Mul", ["h", "c"], ["Y"])], [1, 1]), path)
    return path


def robust_or_not(folder: Path, robust: bool) -> Query:
    generator = np.random.default_rng(3)
    classifier = relu_network([3, 4, 2], generator)
    centre = generator.uniform(-1.0, 1.0, 3)
    reach, delta = (1e-6, 1e-3) if robust else (30.0, 1e3)
    return saliency_query(folder, classifier, centre, (centre - reach, centre + reach), delta)


@pytest.mark.parametrize(("robust", "word"), [(True, "unsat"), (False, "sat")])
def test_prepare_then_run_writes_the_verdict(tmp_path, solve, robust, word):
    query = robust_or_not(tmp_path, robust)
    onnx, vnnlib = files(tmp_path, query)
    results = tmp_path / "a folder" / "results.txt"
    results.parent.mkdir()
    assert script("prepare_instance.sh", solve, "v1", "quick", onnx, vnnlib).returncode == 0
    assert not results.exists()
    done = script("run_instance.sh", solve, "v1", "quick", onnx, vnnlib, results, 20)
    assert done.returncode == 0, done.stderr
    text = results.read_text()
    assert text.split("\n")[0] == word
    assert [path.name for path in results.parent.iterdir()] == ["results.txt"]
    if word == "sat":
        found = replay(onnx, query.prop, answer_from_words(text).witness)
        assert found.verdict is WitnessVerdict.CORRECT


def test_what_a_solver_says_before_it_fails_is_no_answer(tmp_path):
    failing = tmp_path / "salver-solve"
    failing.write_text("#!/bin/sh\necho unsat\nexit 3\n")
    failing.chmod(0o755)
    onnx, vnnlib = files(tmp_path, toy_gap(tmp_path, 0.375, 0.625))
    results = tmp_path / "results.txt"
    assert script("run_instance.sh", failing, "v1", "quick", onnx, vnnlib, results, 20).returncode == 3
    assert results.read_text() == "error\n"


def test_the_limit_is_a_timeout_in_the_competitions_word(tmp_path, solve):
    onnx, vnnlib = files(tmp_path, toy_gap(tmp_path, 0.375, 0.625))
    results = tmp_path / "results.txt"
    done = script("run_instance.sh", solve, "v1", "quick", onnx, vnnlib, results, 0.01)
    assert (done.returncode, results.read_text()) == (0, "timeout\n")


def test_what_cannot_be_read_is_refused_and_is_an_error(tmp_path, solve):
    _, vnnlib = files(tmp_path, toy_gap(tmp_path, 0.375, 0.625))
    missing = tmp_path / "missing.onnx"
    assert script("prepare_instance.sh", solve, "v1", "quick", missing, vnnlib).returncode != 0
    results = tmp_path / "results.txt"
    done = script("run_instance.sh", solve, "v1", "quick", missing, vnnlib, results, 5)
    assert done.returncode != 0
    assert results.read_text() == "error\n"


@pytest.mark.parametrize("name", ["install_tool.sh", "prepare_instance.sh", "run_instance.sh"])
def test_another_version_of_the_rules_is_refused(tmp_path, solve, name):
    done = script(name, solve, "v2", "quick", "a", "b", tmp_path / "results.txt", 5)
    assert done.returncode != 0
    assert "expected v1" in done.stderr


SMOKE = [
    # As the competition's own: one input, a bound inside the disjunction, and one that nothing reaches.
    ("(assert (or (and (>= X_0 -1) (<= X_0 1) (>= Y_0 100))))", "unsat"),
    ("(assert (or (and (>= X_0 -1) (<= X_0 1))))(assert (or (and (>= Y_0 1))))", "sat"),
    ("(assert (>= X_0 -1))(assert (<= X_0 1))(assert (or (and (<= Y_0 -1)) (and (> Y_0 2.5))))", "unsat"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "word"), SMOKE)
def test_the_smoke_tests_of_the_competition(tmp_path, solve, text, word):
    onnx, vnnlib, results = relu(tmp_path / "test_nano.onnx", 2.0), tmp_path / "q.vnnlib", tmp_path / "out"
    vnnlib.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)" + text)
    assert script("prepare_instance.sh", solve, "v1", "test", onnx, vnnlib).returncode == 0
    assert script("run_instance.sh", solve, "v1", "test", onnx, vnnlib, results, 30).returncode == 0
    assert results.read_text().split()[0] == word


@pytest.mark.slow
def test_a_query_over_two_networks_has_both_in_one_word(tmp_path, solve):
    (tmp_path / "o=1").mkdir()
    a, b = relu(tmp_path / "a.onnx", 2.0), relu(tmp_path / "o=1" / "b.onnx", 3.0)
    vnnlib, results = tmp_path / "q.vnnlib", tmp_path / "out"
    vnnlib.write_text(
        "(vnnlib-version <2.0>)"
        "(declare-network f (declare-input X real [1,1]) (declare-output Y real [1,1]))"
        "(declare-network g (isomorphic-to f) (declare-input Z real [1,1]) (declare-output W real [1,1]))"
        "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (== X[0,0] Z[0,0])))(assert (>= W[0,0] (+ Y[0,0] 0.5)))"
    )
    both = f"[('f', '{a}'), ('g', '{b}')]"
    assert script("prepare_instance.sh", solve, "v1", "test", both, vnnlib).returncode == 0
    assert script("run_instance.sh", solve, "v1", "test", both, vnnlib, results, 30).returncode == 0
    word, *lines = results.read_text().splitlines()
    assert (word, lines[0], lines[4]) == ("sat", "X real [1,1]", "Z real [1,1]")
    gone = f"[('f', '{a}'), ('g', '{tmp_path / 'gone.onnx'}')]"
    refused = script("prepare_instance.sh", solve, "v1", "test", gone, vnnlib)
    assert (refused.returncode, "gone.onnx" in refused.stderr) == (1, True)
    assert script("prepare_instance.sh", solve, "v1", "test", "[('f',", vnnlib).returncode == 1
    alone = script("run_instance.sh", solve, "v1", "test", a, vnnlib, results, 30)
    assert (alone.returncode, results.read_text()) == (2, "error\n")


def test_the_name_of_a_network_is_that_of_the_query(tmp_path, capsys):
    onnx, vnnlib = relu(tmp_path / "a=b.onnx", 2.0), tmp_path / "q.vnnlib"
    vnnlib.write_text(
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,1]) (declare-output Y real [1,1]))"
        "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0)))(assert (>= Y[0,0] 3.0))"
    )
    for name, status in (("f=", 0), ("=", 0), ("N=", 2)):
        assert main(["milp", "verify", str(vnnlib), "--network", f"{name}{onnx}"]) == status
    assert "no file; add --network f=FILE" in capsys.readouterr().err


def test_no_script_ends_processes_by_name():
    for path in SCRIPTS.iterdir():
        assert "kill" not in path.read_text()


def test_the_assignment_has_the_form_of_the_querys_version(tmp_path, capsys):
    """2.0: tensor by tensor, with the query's own names, types, shapes and order."""
    query = robust_or_not(tmp_path, robust=False)
    text = to_vnnlib2(query.prop)
    first, last = "(declare-input X real [1,3])", "(declare-output Y real [1,5])"
    assert first in text
    assert last in text
    turned = text.replace(first, "@").replace(last, first).replace("@", "(declare-output Y float32 [1, 5])")
    for name, body in (("as written", text), ("turned", turned)):
        path = tmp_path / f"{name}.vnnlib"
        path.write_text(body)
        assert main(["milp", "verify", str(path), "--network", f"N={query.onnx}", "--timeout", "20"]) == 0
        word, *lines = capsys.readouterr().out.splitlines()
        assert word == "sat"
        heads = [line for line in lines if "[" in line]
        order = ["X real [1,3]", "Y real [1,5]"] if body is text else ["Y float32 [1,5]", "X real [1,3]"]
        assert heads == order
        assert len(lines) == 2 + 3 + 5
        found = replay(query.onnx, query.prop, answer_from_words("\n".join((word, *lines))).witness)
        assert found.verdict is WitnessVerdict.CORRECT


def test_more_networks_than_the_query_has_are_an_error(tmp_path, capsys):
    query = robust_or_not(tmp_path, robust=False)
    path = tmp_path / "q.vnnlib"
    path.write_text(to_vnnlib2(query.prop))
    networks = ["--network", f"N={query.onnx}", "--network", f"M={query.onnx}"]
    assert main(["milp", "verify", str(path), *networks]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "no network 'M'" in told.err
    assert main(["milp", "verify", str(path), "--network", "N=a.onnx", "--network", "N=b.onnx"]) == 2
    assert "two files" in capsys.readouterr().err


def test_every_capability_of_the_standard_is_answered_in_its_form(capsys):
    def answer(capability: str) -> list[str]:
        assert main(["hybrid", "supports", f"--{capability}"]) == 0
        return capsys.readouterr().out.splitlines()

    for pair in ("onnx-opset-versions", "vnnlib-versions"):
        oldest, newest = (float(version) for version in answer(pair))
        assert oldest <= newest
    for flag in ("optimised-disjunctive-reasoning", "serialise-assignments"):
        assert answer(flag) in (["true"], ["false"])
    assert CANONICAL_OPERATORS <= set(answer("onnx-operators")) <= SUPPORTED
    assert answer("onnx-element-types") == ["float32", "float64"]
    for theories, plain in (
        ("hidden-node", "NH"),
        ("multiple-input-output", "SIO"),
        ("multiple-network", "SNET"),
        ("multiple-node-comparison", "SNC"),
    ):
        assert answer(f"{theories}-theories")[0] == plain
    assert answer("arithmetic-complexity-theories") == ["BND", "OUTC", "LIN", "POLY"]


@pytest.mark.skipif(
    importlib.util.find_spec("vnntest") is None,
    reason="the package vnnlib-satisfactory is not installed; see docs/solvers.md",
)
def test_the_conformance_suite_finds_no_wrong_answer(tmp_path):
    """On one category: a full run takes minutes."""
    solver = tmp_path / "hybrid"
    solver.write_text(f'#!/bin/sh\nexec {sys.executable} -m salver.solvers hybrid "$@"\n')
    solver.chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "vnntest", "run", "--solver", str(solver), "--test", "concat"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    report = json.loads((tmp_path / ".vnnlib-satisfactory" / "report.json").read_text())
    assert report["summary"]["passed"] == report["summary"]["total"] > 0
