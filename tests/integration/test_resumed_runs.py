"""Runs that are resumed, changed on disk, unfinished or sent by somebody else: what their tables say."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from salver.run import run_suite
from salver.run.events import EventLog
from salver.run.plan import Planned
from tests.builders import command_line
from tests.builders.tiny_suite import tiny_suite

ROOT = Path(__file__).resolve().parents[2]
SUITE = tiny_suite(1, [0.3, 0.5], [0.5, 1.1])
RUNNER = """
from pathlib import Path
from tests.fake_solvers.runner import FakeRunner


def fake(name, behaviour):
    def make(self, device="cpu", proofs=False):
        FakeRunner.__init__(self, behaviour, Path({pids!r}))
        self.device, self.proofs = device, proofs

    version = lambda _: Path({version!r}).read_text().strip()
    methods = {{"name": name, "devices": ("cpu",), "__init__": make, "version": version}}
    return type(name, (FakeRunner,), methods)


def discover():
    return [fake("shy", "unknown"), fake("sure", "unsat")]
"""


class Called(NamedTuple):
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


Salver = Callable[..., Called]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two fake solvers, whose version is a file, which ran on a suite of bandit queries."""
    root = tmp_path_factory.mktemp("ran") / "project"
    for name in ("benchmarks", "runners", "pids"):
        (root / name).mkdir(parents=True)
    version = root / "version"
    version.write_text("1")
    text = RUNNER.format(pids=str(root / "pids"), version=str(version))
    (root / "runners" / "fake.py").write_text(text)
    (root / "generators").symlink_to(ROOT / "generators")
    (root / "benchmarks" / "tiny.toml").write_text(SUITE)
    command_line.salver(root, "run", "tiny", "--solvers", "shy,sure", "--timeout", "4", "-j", "2")
    shutil.copytree(root, root.with_name("kept"), symlinks=True)
    return root


@pytest.fixture
def project(ran: Path) -> Path:
    """The project as the run left it, at the place where it ran."""
    shutil.rmtree(ran)
    shutil.copytree(ran.with_name("kept"), ran, symlinks=True)
    return ran


@pytest.fixture
def salver(project: Path) -> Salver:
    """The command, in this process."""
    return lambda *arguments: Called(*command_line.salver(project, *arguments, check=False))


def run_of(project: Path) -> Path:
    (folder,) = (project / "reports").glob("tiny-*")
    return folder


def shot(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def cut(run_dir: Path, kept: int) -> None:
    """Leaves the first records of a run, as an interrupt does."""
    events = run_dir / "events.jsonl"
    events.write_text("".join(line + "\n" for line in events.read_text().splitlines()[:kept]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--timeout", "5"), "timeout 4 s, now 5 s"),
        (("--cores", "2", "-j", "2"), "cores of shy 1, now 2"),
        (("--repetitions", "2"), "repetitions 1, now 2"),
        (("--solvers", "sure"), "solvers shy, sure, now sure"),
        (("--pin",), "pinned cores no, now yes"),
    ],
)
def test_a_resume_that_would_do_otherwise_is_refused_and_changes_nothing(
    project: Path, salver: Salver, options: tuple[str, ...], told: str
) -> None:
    cut(run_of(project), 3)
    before = shot(project)
    done = salver("run", "tiny", "--resume", *options)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert told in done.err
    assert shot(project) == before


def test_another_version_of_a_solver_is_refused(project: Path, salver: Salver) -> None:
    cut(run_of(project), 3)
    (project / "version").write_text("2")
    before = shot(project)
    done = salver("run", "tiny", "--resume")
    assert (done.status, "version of shy 1, now 2" in done.err) == (2, True)
    assert shot(project) == before


def test_a_changed_suite_is_refused_and_its_old_run_still_judged(project: Path, salver: Salver) -> None:
    first = json.loads(salver("report", "latest", "--json").out)["leaderboard"]
    (project / "benchmarks" / "tiny.toml").write_text(tiny_suite(1, [0.4], [0.5]))
    before = shot(project)
    done = salver("run", "tiny", "--resume")
    assert (done.status, "has changed since this run" in done.err) == (2, True)
    assert shot(project) == before
    assert salver("generate", "tiny").status == 0
    assert json.loads(salver("report", "latest", "--json").out)["leaderboard"] == first
    shutil.rmtree(project / "instances")
    assert json.loads(salver("report", "latest", "--json").out)["leaderboard"] == first


def test_while_another_process_writes_the_run_a_resume_changes_nothing(project: Path, salver: Salver) -> None:
    with EventLog(run_of(project) / "events.jsonl"):
        before = shot(project)
        done = salver("run", "tiny", "--resume")
        assert (done.status, "another salver process" in done.err) == (2, True)
        assert shot(project) == before


def test_a_resume_goes_on_as_planned_and_every_session_is_told(project: Path, salver: Salver) -> None:
    run_dir = run_of(project)
    jobs = len((run_dir / "events.jsonl").read_text().splitlines())
    cut(run_dir, 3)
    before = json.loads((run_dir / "manifest.json").read_text())
    assert salver("run", "tiny", "--resume", "-j", "1").status == 0
    after = json.loads((run_dir / "manifest.json").read_text())
    assert {key: after[key] for key in after if key != "resumed"} == {
        key: before[key] for key in before if key != "resumed"
    }
    (session,) = after["resumed"]
    assert (session["done"], session["options"]["workers"], session["options"]["timeout"]) == (3, 1, 4)
    records = list(EventLog(run_dir / "events.jsonl").records())
    assert (len(records), {record.limit_s for record in records}) == (jobs, {4.0})
    assert salver("report", "latest").status == 0
    assert "resume 1: options: workers" in (run_dir / "index.html").read_text()


def test_a_resume_that_comes_and_goes_while_another_one_plans_is_told_too(
    project: Path, salver: Salver, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = run_of(project)
    jobs = len((run_dir / "events.jsonl").read_text().splitlines())
    cut(run_dir, 3)
    differences, calls = run_suite.differences, []

    def planned_slowly(*plans: Planned) -> list[str]:
        calls.append(plans)
        if len(calls) == 1:
            assert salver("run", "tiny", "--resume", "-j", "1").status == 0
        return differences(*plans)

    monkeypatch.setattr(run_suite, "differences", planned_slowly)
    assert salver("run", "tiny", "--resume", "-j", "2").status == 0
    sessions = json.loads((run_dir / "manifest.json").read_text())["resumed"]
    assert [(one["done"], one["options"]["workers"]) for one in sessions] == [(3, 1), (jobs, 2)]


def test_an_unfinished_run_says_so_first(project: Path, salver: Salver) -> None:
    run_dir = run_of(project)
    jobs = len((run_dir / "events.jsonl").read_text().splitlines())
    cut(run_dir, 3)
    shown = salver("report", "latest").out
    assert shown.startswith(f"Unfinished run: 3 of {jobs} jobs")
    assert "100.0" not in shown
    told = json.loads(salver("report", "latest", "--json").out)
    assert told["unfinished"] == f"3 of {jobs} jobs"
    assert {row["score"] for row in told["leaderboard"]} == {None}
    assert f"first: Unfinished run: 3 of {jobs} jobs" in salver("compare", "latest", "latest").out


def test_runs_mixed_into_one_folder_are_told_apart(project: Path, salver: Salver) -> None:
    run_dir = run_of(project)
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    others = [json.loads(line) for line in lines if '"solver":"sure"' in line]
    for record in others:
        record |= {"key": record["key"][::-1], "limit_s": 9.0}
    text = "\n".join([*lines, *map(json.dumps, others)]) + "\n"
    (run_dir / "events.jsonl").write_text(text)
    told = json.loads(salver("report", "latest", "--json").out)
    names = {"shy", "sure (limit 4 s)", "sure (limit 9 s)", "virtual best"}
    assert {row["solver"] for row in told["leaderboard"]} == names
    assert "told apart" in told["notices"][0]
    for record in others:
        record["limit_s"] = 4.0
    (run_dir / "events.jsonl").write_text("\n".join([*lines, *map(json.dumps, others)]) + "\n")
    done = salver("report", "latest")
    assert (done.status, "sure has two results" in done.err) == (2, True)


def test_an_instance_set_that_was_edited_is_noticed(project: Path, salver: Salver) -> None:
    first = json.loads(salver("report", "latest", "--json").out)
    assert first["notices"] == []
    network = next((project / "instances/tiny/1-s0/onnx").iterdir())
    network.write_bytes(network.read_bytes() + b"\x12\x01x")
    told = json.loads(salver("report", "latest", "--json").out)
    assert told["leaderboard"] == first["leaderboard"]
    assert f"instances/tiny/1-s0/onnx/{network.name}" in told["notices"][0]
    done = salver("run", "tiny", "--solvers", "shy")
    assert (done.status, "was changed after it was generated" in done.err) == (2, True)
    assert len(list((project / "reports").iterdir())) == 1
    kept = run_of(project) / "set/onnx" / network.name
    kept.write_bytes(network.read_bytes())
    done = salver("report", "latest")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert f"{kept}: was changed since the run began" in done.err
