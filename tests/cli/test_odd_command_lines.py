"""Every command of `salver` and `salver-solve` with odd options and values: one line, status 2, no traceback.

What a command would do is left out: only how it answers a command line that it must not act on is tried.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
import shellingham
from onnx import TensorProto, helper, save

from salver.cli.calling import call
from salver.solvers.__main__ import main as solve
from salver.solvers.registry import SOLVERS
from tests.builders.command_line import app
from tests.docs.commands import leaves

ROOT = Path(__file__).resolve().parents[2]
LEAVES = list(leaves())
NAMES = [" ".join(path) for path, _ in LEAVES]
UNKNOWN = (
    "--filter", "--seedling", "--family", "--instance", "--instances", "--name", "--memory", "--latex",
    "--format", "--open", "--verbose", "--gpus", "--0", "--x=1", "-Z", "--", "---",
)  # fmt: skip
EVERY = [(path, command) for path, command in LEAVES]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project in which whatever starts by mistake leaves nothing in the checkout."""
    for folder in ("benchmarks", "generators", "runners"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def _kind(parameter: Any) -> str:
    """The type of a parameter, in words."""
    return str(parameter.type_descriptor.annotation)


def required(command: Any) -> list[str]:
    """Values for what a command cannot do without; none of them exists."""
    words: list[str] = []
    for parameter in command.params:
        if not parameter.required:
            continue
        option = [parameter.opts[0]] if parameter.param_type_name == "option" else []
        number = any(kind in _kind(parameter) for kind in ("int", "float"))
        words += [*option, "0" if number else "no-such"]
    return words


def in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    status = call(app, arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), (arguments, out, err)
    assert err.startswith("salver: "), (arguments, err)
    assert err.count("\n") == 1, (arguments, err)
    assert "Traceback" not in err
    assert "salver: unexpected" not in err, (arguments, err)
    return err


def options_of(command: Any, *kinds: str) -> list[str]:
    """The longest name of every option that takes a value, of some kinds of values."""
    found = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "is_flag", False)]
    return [max(p.opts, key=len) for p in found if not kinds or any(kind in _kind(p) for kind in kinds)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run quick -j two", "--workers: 'two' is not a whole number; write a whole number"),
        ("run quick --timeout 10s", "--timeout: '10s' is not a number; write a number"),
        ("run quick --limit 0", "--limit: 0 is too small; give a number of at least 1"),
        ("quick", "no such command: quick; did you mean `salver all quick`?"),
        ("radius net.onnx", "no such command: radius; did you mean `salver check NETWORK --radius`?"),
        ("install vibecheck", "no such command: install; did you mean `salver solvers install`?"),
        ("list", "no such command: list; did you mean `salver data list` or `salver solvers list`?"),
        ("help run", "did you mean `salver --help`?"),
        ("--solvers hybrid run quick", "no such option: --solvers; write it after the command"),
        ("run", "SUITE is missing; write `salver run SUITE`, or see `salver run --help`"),
        ("unroll net.onnx", "--output is missing; write `salver unroll NETWORK --output ...`, or see"),
        ("run quick bandit", "too many words: bandit; write `salver run SUITE`, or see"),
        ("run quick --data-dir no-such", "--data-dir: no-such does not exist; make it first, or correct"),
        ("run quick --solvers", "--solvers: its value is missing; write one after the option"),
        (
            "run quick --cores 99 -j 199",
            "--cores: a run of 99 cores does not fit this machine; give at most 2",
        ),
        ("run quick --timeout 1e99", "--timeout: 1e+99 is no time that a run can have; give seconds above 0"),
        (
            "run quick --repetitions 99999999",
            "--repetitions: 99999999 is too large; give a number of at most",
        ),
        ("run quick --family nope", "--family: no instance is of 'nope'; the only one is vg_box"),
        (
            "generate benchmarks",
            "benchmarks: is a folder and no suite; name a suite (`salver suites` lists them)",
        ),
        ("run net.onnx", "net.onnx: is a network and no suite; write a suite that names it"),
    ],
)
def test_a_wrong_value_is_told_with_a_right_one(
    words: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert told in in_one_line(words.split(), capsys)


@pytest.mark.parametrize(("shell", "told"), [("dash", "dash has no completion"), (None, "not started from")])
def test_completion_without_a_shell_that_has_it(
    shell: str | None, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def detected() -> tuple[str, str]:
        if shell is None:
            raise shellingham.ShellDetectionFailure
        return shell, f"/bin/{shell}"

    monkeypatch.setattr(shellingham, "detect_shell", detected)
    err = in_one_line(["--install-completion"], capsys)
    assert told in err
    assert "start it from bash, zsh, fish or PowerShell" in err


def test_more_workers_than_cores_are_told_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert call(app, ["run", "quick", "-j", "99", "--solvers", "nope"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "salver: --workers: 99 asked for; 2 jobs at a time, since this machine has 2 cores"
    assert "nope" in second


def test_a_folder_that_was_removed_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gone").mkdir()
    with contextlib.chdir(tmp_path / "gone"):
        (tmp_path / "gone").rmdir()
        err = in_one_line(["unroll", "net.onnx", "-o", "g.onnx", "--label", "0"], capsys)
        os.chdir(tmp_path)
    assert "the working folder was removed; change to another one" in err


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), EVERY, ids=NAMES)
def test_unknown_options(path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    known = {name for parameter in command.params for name in parameter.opts}
    for option in UNKNOWN:
        if option in known or option == "--":
            continue
        err = in_one_line([*path, *required(command), option, "foo"], capsys)
        assert re.search(r"did you mean --[a-z-]+\?|--help` lists them$", err), err


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), EVERY, ids=NAMES)
def test_options_without_values_and_with_empty_ones(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in options_of(command):
        assert option in in_one_line([*path, option], capsys)
        for empty in ([option, ""], [option, "  "], [f"{option}="]):
            assert option in in_one_line([*path, *required(command), *empty], capsys)
    assert "is empty" in in_one_line([*path, ""], capsys)


@pytest.mark.parametrize(("path", "command"), EVERY, ids=NAMES)
def test_surplus_arguments(path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if any(parameter.nargs == -1 for parameter in command.params):
        pytest.skip("takes any number")
    in_one_line([*path, *required(command), *["surplus"] * 5], capsys)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), EVERY, ids=NAMES)
def test_values_of_another_type(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in options_of(command, "int", "float"):
        for value in ("many", "1e", "0x10", "1,5"):
            assert option in in_one_line([*path, *required(command), option, value], capsys)
    for option in options_of(command, "int"):
        for value in ("nan", "inf", "1.5"):
            assert option in in_one_line([*path, *required(command), option, value], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "quick", "--solvers", ","],
        ["run", "quick", "--solvers", " , "],
        ["run", "quick", "--solvers", "milp,"],
        ["run", "quick", "--solvers", "milp,,crown"],
        ["run", "quick", "--solvers", "milp,milp"],
        ["run", "quick", "--solvers", "milp, milp"],
        ["run", "quick", "--solvers", "milp,nobody"],
        ["run", "quick", "--timeout", "nan"],
        ["run", "quick", "--timeout", "inf"],
        ["run", "quick", "--timeout", "-1"],
        ["run", "quick", "--timeout", "0"],
        ["run", "quick", "--repetitions", "0"],
        ["run", "quick", "-j", "0"],
        ["run", "quick", "-j", "-2"],
        ["run", "quick", "--cores", "0"],
        ["run", "quick", "--device", "tpu"],
        ["run", "quick", "--engine", "cloud"],
        ["run", "quick", "--backend", "docker"],
        ["run", "quick", "--data-dir", "nowhere"],
        ["run", "no/such.toml"],
        ["run", "benchmarks"],
        ["all", "quick", "--solvers", ","],
        ["generate", "quick", "-j", "0"],
        ["report", "latest", "--profile", "x"],
        ["report", "a" * 300],
        ["gallery", "--per-network", "0"],
        ["test-runner", "milp", "--timeout", "nan"],
        ["test-runner", "milp", "--timeout", "-1"],
        ["test-runner", "milp", "--count", "0"],
        ["new-runner", "a b"],
        ["new-runner", "milp"],
        ["new-runner", "x", "--kind", "perl"],
        ["families", "nobody"],
        ["data", "fetch", "nothing"],
        ["bench", "solvers", "--tables", ","],
        ["bench", "solvers", "--tables", "paper-1,paper-1"],
        ["bench", "solvers", "--tables", "nothing"],
        ["bench", "training", "--timeout", "nan"],
        ["bench", "training", "--solver", "nobody"],
        ["bench", "smoothgrad", "--sigmas", "a"],
        ["bench", "smoothgrad", "--taus", ","],
        ["bench", "smoothgrad", "--q", "0"],
        ["bench", "ranking", "--datasets", ","],
        ["bench", "cam", "--classes", "1,x"],
        ["bench", "overhead", "--runs", "-1"],
        ["unroll", "nowhere.onnx", "-o", "g.onnx", "--label", "0"],
        ["unroll", ".", "-o", "g.onnx", "--label", "0"],
        ["validate", "nowhere"],
        ["verify-set", "nowhere"],
        ["compare", "a", "b"],
        ["frobnicate"],
        ["data", "frobnicate"],
    ],
    ids=" ".join,
)
def test_values_that_mean_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    in_one_line(arguments, capsys)


def solving(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        status = solve(arguments)
    except SystemExit as ended:
        status = int(str(ended.code))
    out, err = capsys.readouterr()
    assert (status, out) == (2, ""), (arguments, out, err)
    assert err.startswith("salver-solve: "), (arguments, err)
    assert err.count("\n") == 1, (arguments, err)
    return err


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_with_odd_options(solver: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    query = ["verify", "q", "--network", "N=m"]
    for odd in (
        ["--threads", "0"], ["--threads", "-1"], ["--threads", "two"], ["--threads"], ["--threads", ""],
        ["--timeout", "nan"], ["--timeout", "-1"], ["--timeout", "0"], ["--timeout", "x"], ["--timeout="],
        ["--seed", "-1"], ["--seed", "x"], ["--device", "tpu"], ["--device", ""], ["--backend", "nothing"],
        ["--backend", ""], ["--network", ""], ["--network", "="], ["--network", "M="], ["--network", "=m"],
        ["--network", "N=other"], ["--proof", "."], ["--proof", ""], ["--proof", "file/p"],
        ["--serialise-assignments", "file"], ["--serialise-assignments", ""], ["surplus"], ["--filter", "x"],
        ["--memory", "3"], ["-j", "2"], [""], ["--jobs=3"],
    ):  # fmt: skip
        solving([solver, *query, *odd], capsys)
    for odd in (["supports"], ["supports", "--x"], ["supports", "x"], ["x"], [""], ["--x"], ["verify", ""]):
        solving([solver, *odd], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        [], [""], ["nobody"], ["--x"], ["check-proof"], ["check-proof", "a"], ["check-proof", "", "", ""],
        ["check-proof", "a", "b", "c", "d"], ["check-proof", "--x", "a", "b", "c"],
        ["check-proof", "a", "b", "c"], ["check-proof", ".", ".", "."],
    ],
    ids=" ".join,
)  # fmt: skip
def test_other_odd_command_lines_of_a_solver(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    solving(arguments, capsys)


def test_files_that_are_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    network = tmp_path / "n.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), network)
    query = tmp_path / "q.vnnlib"
    query.write_text("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 0))(assert (<= Y_0 -1))")
    swapped = ["hybrid", "verify", str(network), "--network", f"N={query}"]
    assert "is no text; name the query's VNN-LIB file here" in solving(swapped, capsys)
    swapped[2] = str(query)
    assert "perhaps a VNN-LIB query" in solving(swapped, capsys)
    for bad in (tmp_path, tmp_path / "nowhere", tmp_path / ("a" * 300), query / "below"):
        told = solving(["hybrid", "verify", str(bad), "--network", f"N={network}"], capsys)
        assert "[Errno" not in told
        solving(["hybrid", "verify", str(query), "--network", f"N={bad}"], capsys)
