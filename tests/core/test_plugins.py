"""A plug-in that does not load stops what needs it by name, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from salver.cli.calling import call
from salver.core import plugins
from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.families.registry import generators
from salver.runners.registry import runners
from tests.builders.command_line import app

ROOT = Path(__file__).resolve().parents[2]
RUNNER = """
from salver.runners.answers import Answer, Claim
from salver.runners.contract import Runner

class Good(Runner):
    name = "{name}"
    def version(self): return "1"
    def command(self, staged, folder, limits): return ["true"]
    def parse(self, finished): return Answer(claim=Claim.UNKNOWN)
"""
BROKEN = {
    "syntax.py": "class (",
    "failed-import.py": "import no_such_module_of_anyone",
    "raises.py": "raise ValueError('two\nlines')",
    "exits.py": "import sys; sys.exit(3)",
    "leaves.py": "raise SystemExit",
    "nothing.py": "x = 1",
    "lacking.py": "from salver.runners.contract import Runner\nclass Lacking(Runner):\n    name = 'lacking'",
    "nameless.py": RUNNER.format(name=""),
    "discovers.py": "def discover(): return [int]",
    "fails.py": "def discover(): raise OSError('no')",
    "latin.py": "# \xff",
    "key.toml": 'kind = "vnnlib"\npath = "x"\ndevises = ["cpu"]',
    "syntax.toml": "kind = ",
    "empty.toml": "",
    "type.toml": 'kind = "vnnlib"\npath = ["x"]',
    "bad name.toml": 'kind = "vnnlib"\npath = "x"',
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the real suites, and plug-in folders of its own with one good plug-in each."""
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for folder in ("runners", "generators"):
        (tmp_path / folder).mkdir()
    (tmp_path / "runners" / "good.py").write_text(RUNNER.format(name="good"))
    (tmp_path / "generators" / "vg_box.py").write_text((ROOT / "generators" / "vg_box.py").read_text())
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    monkeypatch.setattr(plugins, "WARNED", set())
    return tmp_path


def place(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("latin-1"))
    return path


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_runner_is_left_out_and_told_of_once(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(project / "runners", name, BROKEN[name])
    assert list(runners()) == list(runners()) == ["good"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"salver: warning: {path}: ")
    with pytest.raises(SalverError) as caught:
        choose(path.stem, runners(), "solver")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in BROKEN if name.endswith(".py")])
def test_a_broken_generator_is_left_out_and_told_of_once(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(project / "generators", name, BROKEN[name])
    assert list(generators()) == list(generators()) == ["vg_box"]
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(path) in err


def test_what_is_no_file_is_not_waited_for(project: Path) -> None:
    os.mkfifo(project / "runners" / "pipe.toml")
    os.mkfifo(project / "runners" / "pipe.py")
    (project / "runners" / "folder.py").mkdir()
    (project / "runners" / "link.py").symlink_to("nowhere")
    found = runners()
    assert list(found) == ["good"]
    assert [str(one.error).partition(": ")[2].partition(";")[0] for one in found.broken] == [
        "is no regular file"
    ] * 4


def test_of_two_with_one_name_neither_is_used(project: Path) -> None:
    second = place(project / "runners", "other.py", RUNNER.format(name="good"))
    place(project / "runners", "third.py", RUNNER.format(name="third"))
    found = runners()
    assert list(found) == ["third"]
    with pytest.raises(SalverError, match=f"{second}: a second plug-in is named 'good'"):
        choose("good", found, "solver")


def test_a_file_is_found_by_the_name_that_its_text_gives(project: Path) -> None:
    place(project / "runners", "file.py", 'class A:\n    name = "my-tool"\n    def (')
    with pytest.raises(SalverError, match=r"file\.py: does not load \(SyntaxError"):
        choose("my-tool", runners(), "solver")
    with pytest.raises(SalverError, match="did you mean good"):
        choose("goood", runners(), "solver")


def test_a_broken_entry_point_is_left_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = plugins.EntryPoint("theirs", "no_such_package:Solver", "salver.runners")
    monkeypatch.setattr(plugins, "installed_in", lambda group: [point] if "runners" in group else [])
    found = runners()
    assert list(found) == ["good"]
    with pytest.raises(SalverError, match="entry point no_such_package:Solver: does not load"):
        choose("theirs", found, "solver")


def test_commands_go_on_and_lists_show_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = place(project / "runners", "typo.toml", BROKEN["key.toml"])
    assert call(app, ["solvers", "list", "--json"]) == 0
    listed = {one["solver"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["good"]["usable"]
    assert not listed["typo.toml"]["usable"]
    assert "devises" in listed["typo.toml"]["reason"]
    assert "did you mean devices?" in listed["typo.toml"]["reason"]
    assert call(app, ["doctor"]) == 0
    assert f"{path}: devises: " in capsys.readouterr().out
    assert call(app, ["run", "quick", "--solvers", "typo"]) == 2
    err = capsys.readouterr().err
    assert [line.count(str(path)) for line in err.splitlines()] == [1, 1]


def test_a_runner_whose_code_raises_is_unavailable(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RUNNER.format(name="moody") + "    def unavailable(self): return 1 / 0\n"
    place(project / "runners", "moody.py", text)
    assert call(app, ["solvers", "list"]) == 0
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert call(app, ["run", "quick", "--solvers", "moody"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_doctor_needs_no_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SALVER_ROOT", str(tmp_path))
    assert call(app, ["doctor"]) == 0
    assert "no salver project here" in capsys.readouterr().out


def test_a_broken_suite_does_not_hide_the_others(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "benchmarks").unlink()
    (project / "benchmarks").mkdir()
    (project / "benchmarks" / "quick.toml").write_text((ROOT / "benchmarks" / "quick.toml").read_text())
    (project / "benchmarks" / "broken.toml").write_text("title = ")
    assert call(app, ["suites", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [one["key"] for one in json.loads(out)] == ["quick"]
    assert err.count("\n") == 1
    assert "broken.toml" in err
