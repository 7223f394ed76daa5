"""What the local and the Dask engine promise alike, on fake solvers; one scheduler and worker serve all."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from experiments.engines.bench import PATIENCE_S, Bench, end, start
from salver.core.errors import SalverError
from salver.run.cluster.workforce import (
    LOOPBACK,
    JoinedScheduler,
    Workforce,
    own_scheduler,
    worker_command,
)
from salver.run.events import RunSummary
from salver.runners.answers import Claim, RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Limits, Termination
from tests.fake_solvers.project import Fake
from tests.fake_solvers.runner import ChoosyRunner

WITNESS = "((X_0 0.5)\n(X_1 0.25))"
FAKES = {
    "sat": Fake("sat", (WITNESS,)),
    "unsat": Fake("unsat"),
    "wide": Fake("unsat", cpus=2),
    "wider": Fake("unsat", cpus=3),
    "crashes": Fake("crashes"),
    "exits": Fake("exits_nonzero"),
    "daemon": Fake("daemon"),
    "sleeps": Fake("sleeps"),
    "hog": Fake("memory_hog"),
}


class Stand(NamedTuple):
    """The bench of one test, and its engine."""

    bench: Bench
    workforce: Workforce | None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, str]]:
    """A bench and the address of a scheduler with one worker of two cores for it."""
    bench = Bench(tmp_path_factory.mktemp("contract"), FAKES)
    with own_scheduler(LOOPBACK) as address:
        worker = start(bench, *worker_command(address, 2, 0, "--host", LOOPBACK)[1:], marked=False)
        try:
            yield bench, address
        finally:
            worker.terminate()
            assert worker.wait(PATIENCE_S) == 0
            end(worker)


@pytest.fixture(params=["local", "dask"])
def stand(
    request: pytest.FixtureRequest,
    served: tuple[Bench, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stand]:
    bench, address = served
    monkeypatch.setenv("SALVER_ROOT", bench.environment()["SALVER_ROOT"])
    bench.run_dir = tmp_path / "run"
    for path in bench.pids.iterdir():
        path.unlink()
    yield Stand(bench, JoinedScheduler(address) if request.param == "dask" else None)
    assert bench.leaves() == []


def raising(*signals: int) -> Callable[[RunRecord], None]:
    """Signals this process as a user at a terminal would, when a job has finished."""

    def on_finish(_: RunRecord) -> None:
        for number in signals:
            signal.raise_signal(number)

    return on_finish


def test_outcomes_logs_and_witnesses_are_those_of_the_local_engine(stand: Stand) -> None:
    bench, workforce = stand
    runners = bench.runners("sat", "unsat", "crashes", "exits", "daemon")
    planned = bench.plan(runners, "ab")
    assert bench.run(runners, planned, workforce) == RunSummary(10, 0, 0)
    limited = bench.runners("sleeps", "hog")
    strict = Limits(wall_s=0.5, grace_s=0.1, memory_mb=60)
    assert bench.run(limited, bench.plan(limited, "a", strict), workforce) == RunSummary(2, 0, 0)
    ends = {(r["solver"], r["termination"], r["claim"], r["witness"] is None) for r in bench.results()}
    assert ends == {
        ("sat", Termination.EXITED, Claim.SAT, False),
        ("unsat", Termination.EXITED, Claim.UNSAT, True),
        ("crashes", Termination.CRASHED, Claim.NONE, True),
        ("exits", Termination.EXITED, Claim.NONE, True),
        ("daemon", Termination.EXITED, Claim.UNKNOWN, True),
        ("sleeps", Termination.WALLTIME, Claim.NONE, True),
        ("hog", Termination.MEMORY, Claim.NONE, True),
    }
    for record in bench.records():
        assert sorted(path.name for path in (bench.run_dir / str(record.logs)).iterdir()) == [
            "command.json.gz",
            "stderr.gz",
            "stdout.gz",
        ]
    if workforce is not None:
        found = bench.results()
        bench.run_dir = bench.run_dir.with_name("again")
        bench.run(runners, planned, None)
        bench.run(limited, bench.plan(limited, "a", strict), None)
        assert bench.results() == found


def test_jobs_start_in_the_order_of_planning_and_are_told_after_they_are_stored(stand: Stand) -> None:
    bench, workforce = stand
    runners = bench.runners("wide")
    planned = bench.plan(runners, "abcde")
    told: list[str] = []

    def on_finish(record: RunRecord) -> None:
        told.append(record.key)
        assert [r.key for r in bench.records()] == told

    bench.run(runners, planned, workforce, on_finish)
    assert told == [p.job.key for p in planned.jobs]


def test_unsupported_jobs_are_recorded_once_and_a_finished_run_is_left_alone(stand: Stand) -> None:
    bench, workforce = stand
    runners: dict[str, Runner] = {
        **bench.runners("unsat"),
        "choosy": ChoosyRunner("sleeps", bench.pids),
    }
    planned = bench.plan(runners, "ab")
    assert bench.run(runners, planned, workforce) == RunSummary(2, 0, 0)
    assert bench.run(runners, planned, workforce) == RunSummary(0, 2, 0)
    counts = [line["termination"] for line in bench.lines()]
    assert sorted(counts) == ["exited", "exited", "unsupported", "unsupported"]


def test_resume_runs_only_what_a_torn_line_lost(stand: Stand) -> None:
    bench, workforce = stand
    runners = bench.runners("unsat", "sat")
    planned = bench.plan(runners, "abc")
    bench.run(runners, planned, workforce)
    whole, events = bench.results(), bench.run_dir / "events.jsonl"
    events.write_bytes(events.read_bytes()[:-30])
    assert bench.run(runners, planned, workforce) == RunSummary(1, 5, 0)
    assert bench.results() == whole


def test_the_first_interrupt_drains(stand: Stand) -> None:
    bench, workforce = stand
    runners = bench.runners("unsat")
    planned = bench.plan(runners, "abcdef")
    before = signal.getsignal(signal.SIGINT)
    summary = bench.run(runners, planned, workforce, raising(signal.SIGINT))
    assert summary.finished in (1, 2)
    assert summary.left == 6 - summary.finished
    assert len(bench.lines()) == summary.finished
    assert signal.getsignal(signal.SIGINT) is before
    assert bench.run(runners, planned, workforce) == RunSummary(summary.left, summary.finished, 0)


@pytest.mark.parametrize("signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_the_second_interrupt_or_a_term_stops(stand: Stand, signals: tuple[int, ...]) -> None:
    bench, workforce = stand
    runners = bench.runners("unsat", "sleeps")
    planned = bench.plan(runners, "a")
    assert bench.run(runners, planned, workforce, raising(*signals)) == RunSummary(1, 0, 1)
    (record,) = bench.records()
    assert record.solver == "unsat"
    assert [path.name for path in (bench.run_dir / "logs").iterdir()] == [record.key]


def test_an_error_while_recording_stops_the_run(stand: Stand) -> None:
    bench, workforce = stand
    runners = bench.runners("unsat", "sleeps")

    def fail(_: RunRecord) -> None:
        raise SalverError("no space left")

    with pytest.raises(SalverError, match="no space left"):
        bench.run(runners, bench.plan(runners, "a"), workforce, fail)
    assert len(bench.records()) == 1


def test_a_run_of_more_cores_than_any_worker_has_is_refused_at_once(
    served: tuple[Bench, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, address = served
    monkeypatch.setenv("SALVER_ROOT", bench.environment()["SALVER_ROOT"])
    bench.run_dir = bench.folder / "refused"
    runners = bench.runners("unsat", "wider")
    with pytest.raises(SalverError, match=r"solver wider: a run needs 3 cores, .* \(they have 2 cores\)"):
        bench.run(runners, bench.plan(runners, "ab"), JoinedScheduler(address))
    assert bench.records() == []
