"""`salver new-runner`, TOML descriptions of tools, and solvers that a package of somebody else brings."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from salver.core.errors import SalverError
from salver.runners.answers import StagedInstance
from salver.runners.foreign.declared import declared_runner
from salver.runners.foreign.template import new_runner
from salver.runners.registry import runners
from salver.supervise.finished import Limits
from tests.fake_solvers.runner import fake_instance

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "example_package"
LIMITS = Limits(wall_s=20.5)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("benchmarks", "generators", "runners"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def staged(tmp_path: Path) -> StagedInstance:
    instance = fake_instance(tmp_path / "work")
    paths = {name: tmp_path / "work" / getattr(instance, name) for name in ("onnx", "vnnlib", "vnnlib2")}
    return StagedInstance(instance=instance, **paths)


def described(project: Path, name: str, text: str):
    (project / "runners" / f"{name}.toml").write_text(text)
    return runners()[name]()


def test_a_new_runner_is_found_under_its_name(project):
    path = new_runner("my-tool", "python", "", project / "runners", frozenset())
    assert path == project / "runners" / "my_tool.py"
    assert runners()["my-tool"]().unavailable() is None
    for kind, where in (("vnncomp", '/a "quoted" folder'), ("vnnlib", "tool")):
        new_runner(kind, kind, where, project / "runners", frozenset())
    found = runners()
    assert found["vnncomp"]().folder == Path('/a "quoted" folder')
    assert found["vnnlib"]().tool == ("tool",)


@pytest.mark.parametrize(
    ("name", "kind", "path", "told"),
    [
        ("My Tool", "python", "", "use small letters"),
        ("../tool", "python", "", "is no name"),
        ("milp", "python", "", "there is a solver of this name"),
        ("tool", "perl", "", "choose one of python"),
        ("tool", "vnncomp", "", "give the scripts' folder"),
        ("tool", "vnnlib", "", "give the program"),
        ("tool", "python", "/x", "is not for kind python"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, kind, path, told):
    with pytest.raises(SalverError, match=told):
        new_runner(name, kind, path, tmp_path, frozenset({"milp"}))
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_overwritten(tmp_path):
    new_runner("tool", "python", "", tmp_path, frozenset())
    with pytest.raises(SalverError, match="choose another name"):
        new_runner("tool", "python", "", tmp_path, frozenset())


def test_a_described_tool_with_scripts(project, staged, monkeypatch):
    monkeypatch.delenv("TOOL_HOME", raising=False)
    text = """
    kind = "vnncomp"
    path = "$TOOL_HOME/scripts"
    prepare = false
    version = "2.1"
    operators = ["Gemm"]
    cpus = 2
    by_default = false
    environment = { PATH = "$TOOL_HOME/bin:$PATH" }
    """
    assert described(project, "tool", text).unavailable() == "TOOL_HOME is not set"
    scripts = project / "scripts"
    scripts.mkdir()
    (scripts / "prepare_instance.sh").write_text("killall python3\n")
    monkeypatch.setenv("TOOL_HOME", str(project))
    runner = runners()["tool"]()
    assert "has no run_instance.sh" in str(runner.unavailable())
    (scripts / "run_instance.sh").write_text('echo unsat > "$5"\n')
    assert runner.unavailable() is None
    assert (runner.version(), runner.resources.cpus, runner.by_default) == ("2.1", 2, False)
    assert runner.environment(LIMITS)["PATH"] == f"{project}/bin:{os.environ['PATH']}"
    assert runner.supports(staged.instance) is None
    wider = staged.instance.model_copy(update={"operators": ("Relu",)})
    assert "Relu" in runner.supports(wider)
    workdir = staged.onnx.parents[1]
    subprocess.run(runner.command(staged, workdir, LIMITS), cwd=workdir, check=True)
    assert (workdir / runner.result_files[0]).read_text() == "unsat\n"


def test_scripts_that_kill_are_refused_unless_left_out(project):
    scripts = project / "runners" / "scripts"
    scripts.mkdir()
    (scripts / "prepare_instance.sh").write_text("killall python3\n")
    (scripts / "run_instance.sh").write_text("true\n")
    text = 'kind = "vnncomp"\npath = "scripts"\n'
    assert "prepare_instance.sh:1 kills" in str(described(project, "tool", text).unavailable())
    assert described(project, "tool", text + "prepare = false\n").unavailable() is None


def test_a_described_tool_with_the_standard_command_line(project, staged):
    tool = project / "runners" / "tool.sh"
    tool.write_text('#!/bin/sh\n[ "$2" = --version ] && echo 3.0 || echo "$@"\n')
    tool.chmod(0o755)
    text = 'kind = "vnnlib"\npath = "./tool.sh"\narguments = ["--fast"]\noperators = ["Relu"]\n'
    runner = described(project, "tool", text)
    assert runner.unavailable() is None
    assert runner.version() == "3.0"
    assert "Gemm" in runner.supports(staged.instance)
    command = runner.command(staged, project, LIMITS)
    assert command[:3] == [str(tool), "--fast", "verify"]
    assert str(staged.vnnlib2) in command
    old = described(project, "old", text + 'vnnlib_versions = ["1.0"]\n')
    assert str(staged.vnnlib) in old.command(staged, project, LIMITS)
    missing = described(project, "missing", 'kind = "vnnlib"\npath = "no-such-program"\n')
    assert missing.unavailable() == "no-such-program is not a program"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind = ", "is no TOML file"),
        ('kind = "perl"\npath = "x"', "kind: 'perl' is not a choice; choose vnncomp or vnnlib"),
        ('kind = "vnncomp"', "path: is missing"),
        ('kind = "vnncomp"\npath = "x"\nfast = true', "fast: no entry has this name"),
        ('kind = "vnncomp"\npat = "x"', "pat: no entry has this name; did you mean path?"),
        ('kind = "vnncomp"\npath = 3', "path: 3 is not text; write it in quotes"),
        ('kind = "vnncomp"\npath = "x"\ndevices = "cpu"', "devices: 'cpu' is not a list; write \\['cpu'\\]"),
        ('kind = "vnncomp"\npath = "x"\narguments = ["y"]', "arguments: is not for kind 'vnncomp'"),
        ('kind = "vnnlib"\npath = "x"\nprepare = false', "prepare: is not for kind 'vnnlib'"),
    ],
)
def test_a_malformed_description_is_an_error_with_its_place(tmp_path, text, told):
    (tmp_path / "tool.toml").write_text(text)
    with pytest.raises(SalverError, match=told) as caught:
        declared_runner(tmp_path / "tool.toml")
    assert str(tmp_path / "tool.toml") in str(caught.value)


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed")
def test_an_installed_package_brings_its_solver(tmp_path):
    """Built and installed as its users would, without the network, into a folder on the path."""
    source, target = tmp_path / "source", tmp_path / "site"
    subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(target), "SALVER_ROOT": str(ROOT)}
    ask = (
        "from salver.runners.registry import runners; r = runners()['corners']();"
        " print(r.version(), r.unavailable())"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1.2 None\n", "")
