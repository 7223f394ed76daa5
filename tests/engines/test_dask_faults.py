"""Workers, coordinators and schedulers that die, leave or do not fit: nothing is lost or counted twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from distributed import Client

from experiments.engines.bench import PATIENCE_S, Bench, coordinated, end, start, until
from salver.core.errors import SalverError
from salver.run.cluster import engine, workforce
from salver.run.cluster.workforce import (
    LOOPBACK,
    JoinedScheduler,
    LocalWorkers,
    own_scheduler,
    worker_command,
)
from salver.run.events import RunSummary
from salver.runners.answers import Claim
from salver.supervise.finished import Termination
from tests.engines.conftest import Make
from tests.fake_solvers.project import Fake
from tests.fake_solvers.runner import alive


def local(bench: Bench, slots: int = 2) -> LocalWorkers:
    return LocalWorkers(slots, bench.folder / "workers.log")


@contextmanager
def worker(bench: Bench, address: str, *more: str, cores: int = 2) -> Iterator[subprocess.Popen[bytes]]:
    process = start(bench, *worker_command(address, cores, 0, "--host", LOOPBACK, *more)[1:])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        end(process)


def statuses(client: Client) -> set[str]:
    return {worker["status"] for worker in client.scheduler_info()["workers"].values()}


def test_a_job_whose_worker_dies_is_run_again_and_recorded_once(make: Make) -> None:
    bench = make({"killer": Fake("kills_worker", ("1",)), "unsat": Fake("unsat")})
    runners = bench.runners()
    assert bench.run(runners, bench.plan(runners, "ab"), local(bench)) == RunSummary(4, 0, 0)
    assert {(r.termination, r.claim) for r in bench.records()} == {(Termination.EXITED, Claim.UNSAT)}
    assert len({line["key"] for line in bench.lines()}) == len(bench.lines()) == 4
    assert len(list(bench.pids.glob("killed-*"))) == 2


def test_a_job_that_kills_three_workers_is_our_loss_and_takes_no_other_along(make: Make) -> None:
    bench = make({"killer": Fake("kills_worker", ("3",)), "works": Fake("works", ("1.5",))})
    runners = bench.runners()
    assert bench.run(runners, bench.plan(runners, "a"), local(bench)) == RunSummary(2, 0, 0)
    lost, other = sorted(bench.records(), key=lambda record: record.solver)
    assert (lost.solver, lost.termination, lost.claim) == ("killer", Termination.INFRASTRUCTURE, Claim.NONE)
    assert lost.reason == "lost 3 times with its worker"
    assert (other.termination, other.claim) == (Termination.EXITED, Claim.UNSAT)


def test_a_killed_coordinator_takes_all_with_it_and_resume_completes_the_run(make: Make) -> None:
    bench = make({"waits": Fake("waits"), "unsat": Fake("unsat")})
    with coordinated(bench, "abcd"):
        until(lambda: len(list(bench.pids.glob("started-*"))) == 2)
    assert bench.leaves() == []
    earlier = {line["key"] for line in bench.lines()}
    (bench.pids / "go").touch()
    runners = bench.runners()
    planned = bench.plan(runners, "abcd")
    left = len(planned.jobs) - len(earlier)
    assert bench.run(runners, planned, local(bench)) == RunSummary(left, len(earlier), 0)
    assert len(bench.lines()) == 8
    assert sorted(len(bench.starts(name)) for name in "abcd") == [1, 1, 2, 2]
    found = bench.results()
    bench.run_dir = bench.folder / "undisturbed"
    bench.run(runners, planned, None)
    assert bench.results() == found


def test_a_killed_coordinator_of_a_joined_scheduler_leaves_workers_idle(make: Make) -> None:
    bench = make({"waits": Fake("waits")})
    with own_scheduler(LOOPBACK) as address, worker(bench, address):
        with coordinated(bench, "abc", address):
            until(lambda: len(list(bench.pids.glob("started-*"))) == 2)
        until(lambda: len(alive(bench.pids)) == 1)
        (bench.pids / "go").touch()
        runners = bench.runners()
        summary = bench.run(runners, bench.plan(runners, "abc"), JoinedScheduler(address))
    assert summary == RunSummary(3, 0, 0)
    assert len(bench.lines()) == 3


@pytest.mark.parametrize("signals", [1, 2])
def test_a_terminal_s_interrupts_reach_the_coordinator_alone(make: Make, signals: int) -> None:
    bench = make({"waits": Fake("waits")})
    with coordinated(bench, "abcd") as coordinator:
        until(lambda: len(list(bench.pids.glob("started-*"))) == 2)
        for _ in range(signals):
            os.killpg(coordinator.pid, signal.SIGINT)
            time.sleep(0.3)
        if signals == 1:
            (bench.pids / "go").touch()
        assert coordinator.wait(PATIENCE_S) == 0
    done = 2 if signals == 1 else 0
    assert f"RunSummary(finished={done}, skipped=0, left={4 - done})" in (bench.folder / "output").read_text()
    assert len(bench.lines()) == done
    assert len(list(bench.pids.glob("started-*"))) == 2


def test_a_worker_at_its_end_finishes_what_it_runs_and_takes_no_more(make: Make) -> None:
    bench = make({"waits": Fake("waits")})
    with (
        own_scheduler(LOOPBACK) as address,
        coordinated(bench, "abc", address) as coordinator,
        worker(bench, address, "--lifetime", "2", cores=1) as leaving,
        Client(address, set_as_default=False) as client,
    ):
        until(lambda: len(list(bench.pids.glob("started-*"))) == 1)
        until(lambda: statuses(client) == {"paused"})
        with worker(bench, address, cores=1):
            until(lambda: len(list(bench.pids.glob("started-*"))) == 2)
            assert leaving.poll() is None
            (bench.pids / "go").touch()
            assert leaving.wait(PATIENCE_S) == 0
            assert coordinator.wait(PATIENCE_S) == 0
    assert len(bench.lines()) == 3
    assert [len(bench.starts(name)) for name in "abc"] == [1, 1, 1]


def test_a_scheduler_that_goes_is_one_clear_line(make: Make) -> None:
    bench = make({"waits": Fake("waits")})
    options = "--host", LOOPBACK, "--port", "0", "--dashboard-address", f"{LOOPBACK}:0"
    file = bench.folder / "scheduler.json"
    scheduler = start(bench, "-m", "distributed.cli.dask_scheduler", *options, "--scheduler-file", str(file))
    until(file.exists)
    until(lambda: '"address"' in file.read_text())
    address = file.read_text().split('"address": "')[1].partition('"')[0]
    with worker(bench, address), coordinated(bench, "abc", address) as coordinator:
        until(lambda: len(list(bench.pids.glob("started-*"))) == 2)
        end(scheduler)
        assert coordinator.wait(PATIENCE_S) == 1
        last = (bench.folder / "output").read_text().strip().rpartition("\n")[2]
        assert last == "salver: the Dask scheduler is gone; start it again and go on with --resume"


def test_workers_that_differ_are_refused_with_one_clear_line(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make({"unsat": Fake("unsat"), "waits": Fake("waits")})
    with own_scheduler(LOOPBACK) as address, worker(bench, address, cores=1):
        joined = JoinedScheduler(address)
        bench.fakes = {"unsat": Fake("unsat", version="2"), "gone": Fake("unsat")}
        for name, complaint in (
            ("unsat", "cannot run unsat: it has version 1, the coordinator 2; set all machines up alike"),
            ("gone", "cannot run gone: gone: no solver of that name"),
        ):
            runners = bench.runners(name)
            with pytest.raises(SalverError, match=f"^worker on .*: {complaint}"):
                bench.run(runners, bench.plan(runners, "a"), joined)
        runners = bench.runners("gone")
        monkeypatch.setattr(engine, "__version__", "9")
        with pytest.raises(SalverError, match=r"^worker on .*: has salver [\d.]+, the coordinator 9"):
            bench.run(runners, bench.plan(runners, "a"), joined)
        monkeypatch.undo()
        monkeypatch.setenv("SALVER_ROOT", str(Bench(bench.folder / "other", bench.fakes).folder / "project"))
        with pytest.raises(SalverError, match=r"it serves the project .*/project, not .*/other/project"):
            bench.run(runners, bench.plan(runners, "a"), joined)
    assert bench.lines() == []


def test_plain_dask_workers_are_refused(make: Make) -> None:
    bench = make({"unsat": Fake("unsat")})
    runners = bench.runners()
    command = "-m", "distributed.cli.dask_worker", "--host", LOOPBACK, "--no-dashboard", "--no-nanny"
    with own_scheduler(LOOPBACK) as address:
        plain = start(bench, *command, "--resources", "cores=1", address)
        try:
            joined = JoinedScheduler(address)
            joined.patience_s = PATIENCE_S
            with pytest.raises(SalverError, match=r"start workers by python -m salver\.run\.cluster"):
                bench.run(runners, bench.plan(runners), joined)
        finally:
            plain.terminate()
            plain.wait(PATIENCE_S)
            end(plain)


def test_no_scheduler_and_no_workers_are_clear_lines(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make({"unsat": Fake("unsat")})
    runners = bench.runners()
    planned = bench.plan(runners)
    monkeypatch.setattr(engine, "CONNECT_S", 0.3)
    with pytest.raises(SalverError, match="no Dask scheduler answers there; start one, or correct --sched"):
        bench.run(runners, planned, JoinedScheduler(f"tcp://{LOOPBACK}:9"))
    with own_scheduler(LOOPBACK) as address:
        joined = JoinedScheduler(address)
        joined.patience_s = 0.2
        with pytest.raises(SalverError, match=r"no worker with room for a run of 1 core for 0.2 s; start"):
            bench.run(runners, planned, joined)
    monkeypatch.setattr(workforce, "worker_command", lambda *_: [sys.executable, "-c", "exit('broken')"])
    with pytest.raises(SalverError, match=r"workers.log: 6 workers in a row ended without finishing a job"):
        bench.run(runners, planned, local(bench))
    assert (bench.folder / "workers.log").read_text() == "broken\n" * 6


def test_a_worker_without_scheduler_leaves_with_its_coordinator_and_says_what_it_lacks(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make({})
    nobody = f"tcp://{LOOPBACK}:9"
    bound = start(bench, *worker_command(nobody, 1, 0, "--until-eof")[1:])
    assert bound.wait(PATIENCE_S) in (1, -signal.SIGTERM)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    short = start(bench, *worker_command(nobody, 1, 2)[1:])
    assert short.wait(PATIENCE_S) == 2
    assert "error: --gpus 2: CUDA_VISIBLE_DEVICES names 1 GPUs" in (bench.folder / "output").read_text()
