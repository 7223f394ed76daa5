"""Runs on this machine: a core set, a GPU, a home for each, warm-up, and what misbehaviour counts as."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from salver.cli.__main__ import main
from salver.core.errors import SalverError
from salver.judge.judged import judge_run
from salver.judge.judgement import Outcome
from salver.run import engines
from salver.run.cluster import engine as cluster_engine
from salver.run.engines import Engine, check_engine, run_jobs
from salver.run.events import EventLog, Work
from salver.run.job import Folders
from salver.run.loaded import load_run
from salver.run.manifest import read_run
from salver.run.slots import physical_cores
from salver.runners.answers import RunRecord
from salver.supervise import runexec
from salver.supervise.finished import Termination
from tests.builders.tiny_suite import tiny_suite
from tests.fake_solvers.bench import Bench, guarded
from tests.fake_solvers.runner import FakeRunner, HomeRunner

ROOT = Path(__file__).resolve().parents[2]
CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench that is looked at for leavings."""
    with guarded(tmp_path) as bench:
        yield bench


def test_two_side_by_side_never_share_a_core(bench: Bench) -> None:
    if len(CORES) < 2:
        pytest.skip("one core only")
    runners = {name: FakeRunner("reports_itself", bench.pids, "0.1") for name in "xy"}
    assert bench.run(runners, bench.plan(runners, "abc"), workers=2, cores=CORES[:2]).finished == 6
    notes = bench.notes()
    assert {tuple(note["cores"]) for note in notes} == {(CORES[0],), (CORES[1],)}
    together = [
        (one, two)
        for one, two in itertools.combinations(notes, 2)
        if one["began"] < two["ended"] and two["began"] < one["ended"]
    ]
    assert together
    assert not any(set(one["cores"]) & set(two["cores"]) for one, two in together)


def test_a_solver_of_two_cores_has_both_to_itself(bench: Bench) -> None:
    if len(CORES) < 2:
        pytest.skip("one core only")
    runners = {
        "one": FakeRunner("reports_itself", bench.pids, "0.05"),
        "two": FakeRunner("reports_itself", bench.pids, "0.05", cpus=2),
    }
    bench.run(runners, bench.plan(runners, "ab"), workers=2, cores=CORES[:2])
    notes = bench.notes()
    wide = [note for note in notes if note["cores"] == CORES[:2]]
    assert len(wide) == 2
    for note, other in itertools.product(wide, notes):
        assert note is other or other["ended"] <= note["began"] or note["ended"] <= other["began"]


def test_without_pinning_a_solver_sees_every_core(bench: Bench) -> None:
    bench.one(FakeRunner("reports_itself", bench.pids))
    assert bench.notes()[0]["cores"] == CORES


def test_the_warm_up_comes_first_alone_and_is_not_recorded(bench: Bench) -> None:
    runners = {name: FakeRunner("reports_itself", bench.pids, "0.02") for name in "xy"}
    planned, seen = bench.plan(runners, "abc"), []
    assert bench.run(runners, planned, warm_up=True, on_finish=seen.append).finished == 6
    notes = bench.notes()
    assert len(notes) == 8
    assert len(seen) == len(bench.records()) == 6
    assert len(list((bench.run_dir / "logs").iterdir())) == 6
    first, second, *measured = notes
    assert first["ended"] <= second["began"]
    assert all(second["ended"] <= note["began"] for note in measured)
    assert bench.run(runners, planned, warm_up=True).skipped == 6
    assert len(bench.notes()) == 8


def test_each_job_on_cuda_has_one_gpu_and_others_have_none(bench: Bench) -> None:
    runners = {name: FakeRunner("reports_itself", bench.pids, "0.05") for name in ("cpu", "gpu")}
    runners["gpu"].device = "cuda"
    planned = bench.plan(runners, "abcd")
    bench.run(runners, planned, workers=3, gpus=("GPU-7", "GPU-9"))
    notes = bench.notes()
    assert sorted(note["CUDA_VISIBLE_DEVICES"] for note in notes)[:4] == [""] * 4
    on_gpu = [note for note in notes if note["CUDA_VISIBLE_DEVICES"]]
    assert len(on_gpu) == 4
    for one, two in itertools.combinations(on_gpu, 2):
        apart = one["ended"] <= two["began"] or two["ended"] <= one["began"]
        assert apart or one["CUDA_VISIBLE_DEVICES"] != two["CUDA_VISIBLE_DEVICES"]
    with pytest.raises(SalverError, match="no GPU for a solver on cuda"):
        bench.run(runners, bench.plan(runners, "e"))


def test_home_and_temporary_folder_are_the_runs_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(bench.root / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench.root / "cache"))
    bench.one(FakeRunner("reports_itself", bench.pids))
    (note,) = bench.notes()
    places = [note[name] for name in ("HOME", "TMPDIR", "TMP", "XDG_CACHE_HOME")]
    assert all(Path(place).is_relative_to(bench.scratch) for place in places)


def test_a_tool_that_needs_the_users_home_sees_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(bench.root))
    bench.one(HomeRunner("reports_itself", bench.pids))
    (note,) = bench.notes()
    assert note["HOME"] == str(bench.root)
    assert Path(note["TMPDIR"]).is_relative_to(bench.scratch)


def test_the_engine_pins_to_physical_cores(bench: Bench) -> None:
    runners = {"x": FakeRunner("reports_itself", bench.pids)}
    planned, seen = bench.plan(runners), []
    engine = Engine(pin=True, warm_up=True)
    work = Work(planned, runners, Folders(bench.root, bench.run_dir), seen.append, engine.warm_up)
    run_jobs(engine, work, 1, "cpu")
    assert len(seen) == 1
    assert [note["cores"] for note in bench.notes()] == [physical_cores()[:1]] * 2


def test_more_workers_than_cores_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "physical_cores", lambda: [0])
    monkeypatch.setattr(engines.os, "cpu_count", lambda: 8)
    check_engine(Engine(), workers=4)
    with pytest.raises(SalverError, match=r"4 workers cannot be pinned to 1 physical cores.*lower --workers"):
        check_engine(Engine(pin=True), workers=4)


SUITE = tiny_suite(1, [0.3], [0.5], enumerated=False)


RUNNER = """
from pathlib import Path
from tests.fake_solvers.runner import FakeRunner


def fake(name, behaviour):
    def make(self, device="cpu", proofs=False):
        FakeRunner.__init__(self, behaviour, Path({pids!r}))

    return type(name, (FakeRunner,), {{"name": name, "__init__": make}})


def discover():
    return [fake(name, behaviour) for name, behaviour in {fakes!r}.items()]
"""
FAKES = {
    "fake": "reports_itself",
    "wrong": "sat_wrong_witness",
    "torn": "sat_malformed_witness",
    "empty": "sat_no_witness",
    "garbage": "garbage",
    "crashing": "crashes",
    "aborting": "aborts",
    "failing": "exits_nonzero",
    "late-failing": "answers_then_fails",
    "hanging": "answers_then_hangs",
    "shy": "unknown",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with fake solvers and a suite of bandit queries."""
    root = tmp_path_factory.mktemp("project")
    pids = root / "pids"
    pids.mkdir()
    for name in ("benchmarks", "runners"):
        (root / name).mkdir()
    (root / "runners" / "fake.py").write_text(RUNNER.format(pids=str(pids), fakes=FAKES))
    (root / "generators").symlink_to(ROOT / "generators")
    (root / "benchmarks" / "tiny.toml").write_text(SUITE)
    return root


class Called(NamedTuple):
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def salver(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """`salver run` on the project's suite, in this process."""
    monkeypatch.setenv("SALVER_ROOT", str(project))
    monkeypatch.chdir(project)

    def call(*arguments: str, solvers: str = "fake") -> Called:
        command = ["salver", "run", "tiny", "--solvers", solvers, "-j", "1", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        return Called(int(ended.value.code or 0), *capsys.readouterr())

    return call


def taken(project: Path) -> list[dict[str, Any]]:
    """Notes of the project's solver, which are removed."""
    found = sorted((project / "pids").glob("note-*.json"))
    notes = [json.loads(path.read_text()) for path in found]
    for path in found:
        path.unlink()
    return notes


def run_folder(project: Path, done: Called) -> Path:
    assert done.status == 0, done.err
    return project / "reports" / done.out.rpartition("reports/")[2].strip()


def records(folder: Path) -> list[RunRecord]:
    return list(EventLog(folder / "events.jsonl").records())


def test_pin_and_warm_up_from_the_command_line(project: Path, salver: Callable[..., Called]) -> None:
    stored = records(run_folder(project, salver("--pin", "--warm-up")))
    notes = taken(project)
    assert len(notes) == len(stored) + 1 > 1
    assert [note["cores"] for note in notes] == [physical_cores()[:1]] * len(notes)
    assert {record.termination for record in stored} == {Termination.EXITED}


@pytest.mark.skipif(runexec.unavailable() is not None, reason="runexec does not work here")
def test_runexec_from_the_command_line(project: Path, salver: Callable[..., Called]) -> None:
    folder = run_folder(project, salver("--backend", "runexec", "--pin"))
    stored, notes = records(folder), taken(project)
    assert read_run(folder).machine.limits == runexec.version()
    assert {record.measured for record in stored} == {"runexec"}
    assert [note["cores"] for note in notes] == [physical_cores()[:1]] * len(stored)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backend", "runexec"), "--backend runexec: runexec is not in PATH; pip install benchexec"),
        (("--backend", "docker"), "--backend: 'docker' is not a choice; choose salver or runexec"),
        (("--pin", "--engine", "slurm"), "--pin: is for "),
        (("--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"), "tcp://127.0.0.1:9: no Dask scheduler"),
    ],
)
def test_what_cannot_be_had_is_one_clear_line(
    project: Path,
    salver: Callable[..., Called],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv(runexec.PROGRAM_VARIABLE, "/nowhere/runexec")
    monkeypatch.setattr(cluster_engine, "CONNECT_S", 0.3)
    before = sorted((project / "reports").glob("*"))
    done = salver(*arguments)
    assert done.status == 2
    assert done.err.startswith(f"salver: {message}")
    assert done.err.count("\n") == 1
    assert sorted((project / "reports").glob("*")) == before


def test_what_misbehaving_solvers_count_as(project: Path, salver: Callable[..., Called]) -> None:
    done = salver("--timeout", "2", "-j", "2", solvers=",".join(set(FAKES) - {"fake"}))
    judged = judge_run(load_run(run_folder(project, done), project))
    outcomes = {one.run.solver: one.judgement.outcome for one in judged.rows}
    assert outcomes == {
        **dict.fromkeys(("wrong", "torn", "empty"), Outcome.WRONG),
        **dict.fromkeys(("garbage", "crashing", "aborting", "failing", "late-failing"), Outcome.ERROR),
        "hanging": Outcome.TIMEOUT,
        "shy": Outcome.UNKNOWN,
    }
