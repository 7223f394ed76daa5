"""A project of fake solvers with its instance set and run folder, for runs in this process or in others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salver.families.instance import Instance
from salver.run.cluster.engine import run_dask
from salver.run.cluster.workforce import Workforce
from salver.run.events import EventLog, RunSummary, Work
from salver.run.job import Folders
from salver.run.local import run_local
from salver.run.plan import Plan, plan
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Limits
from tests.conftest import ROOT
from tests.fake_solvers.project import Fake, fake_class, fake_project
from tests.fake_solvers.runner import alive, fake_instance

LIMITS = Limits(wall_s=20.0)
PATIENCE_S = 120.0
"""For what only a fault keeps from coming, however busy the machine is."""
VARYING = {"wall_s", "cpu_s", "memory_mb", "measured", "started"}


class Bench:
    """What several runs on one project share; the project's workers inherit the environment."""

    def __init__(self, folder: Path, fakes: Mapping[str, Fake]) -> None:
        self.folder, self.fakes = folder, dict(fakes)
        self.root, self.run_dir, self.pids, self.scratch = (folder / n for n in ("set", "run", "pids", "tmp"))
        for made in (self.root, self.pids, self.scratch):
            made.mkdir(parents=True, exist_ok=True)
        fake_project(folder / "project", self.pids, self.fakes)

    def save(self) -> None:
        """Stores what `experiments.engines.coordinator` needs to know."""
        (self.folder / "fakes.json").write_text(json.dumps(self.fakes))

    def environment(self) -> dict[str, str]:
        """Variables of every process of a run; `alive(self.pids)` finds what has them."""
        return {
            "SALVER_ROOT": str(self.folder / "project"),
            "PYTHONPATH": str(ROOT),
            "FAKE_PIDS": str(self.pids),
        }

    def runners(self, *names: str, device: str = "cpu") -> dict[str, Runner]:
        chosen = names or tuple(self.fakes)
        return {name: fake_class(name, self.pids, self.fakes[name])(device) for name in chosen}

    def plan(self, runners: Mapping[str, Runner], instances: str = "a", limits: Limits = LIMITS) -> Plan:
        def asked(_: Instance, runner: Runner) -> Limits:
            return limits.model_copy(update={"cores": runner.resources.cpus})

        found = [fake_instance(self.root, name) for name in instances]
        return plan(found, runners, asked, repetitions=1, seed=0)

    def run(
        self,
        runners: Mapping[str, Runner],
        planned: Plan,
        workforce: Workforce | None,
        on_finish: Callable[[RunRecord], object] = lambda _: None,
        warm_up: bool = False,
    ) -> RunSummary:
        """Runs a plan on a workforce, or on two local slots where that is None."""
        folders = Folders(self.root, self.run_dir, self.scratch)
        work = Work(planned, runners, folders, on_finish, warm_up)
        return run_local(work, 2) if workforce is None else run_dask(work, workforce)

    def records(self) -> list[RunRecord]:
        return list(EventLog(self.run_dir / "events.jsonl").records())

    def lines(self) -> list[dict[str, Any]]:
        """Every line of the event log, also those that give way to a later one."""
        return [json.loads(line) for line in (self.run_dir / "events.jsonl").read_text().splitlines()]

    def results(self) -> list[dict[str, Any]]:
        """The records without what differs between any two runs, by key."""
        return sorted((r.model_dump(exclude=VARYING) for r in self.records()), key=lambda r: r["key"])

    def leaves(self) -> list[object]:
        """Processes, which are killed, and private copies that are still there after some seconds."""
        return [*self.stays(), *self.scratch.iterdir()]

    def stays(self, seconds: float = 10.0) -> list[int]:
        """Processes that are still there after some seconds, which are killed.

        Private copies may be: those of a worker that was killed while it tidied up after a run.
        """
        deadline = time.monotonic() + seconds
        while (left := alive(self.pids)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return left

    def starts(self, name: str) -> list[Path]:
        """Files that fakes named `waits` left, one a start, on this instance."""
        return sorted(self.pids.glob(f"started-{name}-*"))


def until(reached: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Waits for a state; AssertionError if it never comes."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def start(bench: Bench, *command: str, marked: bool = True) -> subprocess.Popen[bytes]:
    """A Python of this bench in a session of its own, writing to `output` in its folder.

    `marked` has `alive(bench.pids)` find it.
    """
    environment = {**os.environ, **bench.environment()}
    if not marked:
        del environment["FAKE_PIDS"]
    with (bench.folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=ROOT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGKILLs a process that still runs."""
    if process.poll() is None:
        process.kill()
    process.wait()


@contextmanager
def coordinated(bench: Bench, instances: str, *address: str) -> Iterator[subprocess.Popen[bytes]]:
    """A coordinator of that bench as a process of its own."""
    bench.save()
    process = start(bench, "-m", "experiments.engines.coordinator", str(bench.folder), instances, *address)
    try:
        yield process
    finally:
        end(process)
