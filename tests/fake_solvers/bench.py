"""An instance set, a run and the local engine on them, watched for what is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from salver.families.instance import Instance
from salver.run.events import EventLog, Work
from salver.run.job import Backend, Folders
from salver.run.local import RunSummary, run_local
from salver.run.plan import Plan, plan
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Limits
from tests.fake_solvers.runner import alive, fake_instance, still_running

ROOMY = Limits(wall_s=20.0)
SHORT = Limits(wall_s=0.3, grace_s=0.1)


class Bench:
    """An instance set, a run folder and a scratch folder, in one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.root, self.run_dir, self.scratch, self.pids = (folder / n for n in ("set", "run", "tmp", "pids"))
        for made in (self.root, self.scratch, self.pids):
            made.mkdir()

    def plan(
        self, runners: Mapping[str, Runner], names: str = "a", limits: Limits = ROOMY, repetitions: int = 1
    ) -> Plan:
        instances = [fake_instance(self.root, name) for name in names]

        def asked(_: Instance, runner: Runner) -> Limits:
            return limits.model_copy(update={"cores": runner.resources.cpus})

        return plan(instances, runners, asked, repetitions=repetitions, seed=0)

    def run(
        self,
        runners: Mapping[str, Runner],
        planned: Plan,
        workers: int = 2,
        on_finish: Callable[[RunRecord], object] = lambda _: None,
        warm_up: bool = False,
        log: EventLog | None = None,
        backend: Backend = "salver",
        **slots: Any,
    ) -> RunSummary:
        folders = Folders(self.root, self.run_dir, self.scratch, backend)
        return run_local(Work(planned, runners, folders, on_finish, warm_up, log), workers, **slots)

    def one(self, runner: Runner, limits: Limits = ROOMY, **options: Any) -> RunRecord:
        """The record of one runner on one instance."""
        runners = {"fake": runner}
        self.run(runners, self.plan(runners, limits=limits), **options)
        (record,) = self.records()
        return record

    def records(self) -> list[RunRecord]:
        return list(EventLog(self.run_dir / "events.jsonl").records())

    def notes(self) -> list[dict[str, Any]]:
        """What the solvers `reports_itself` have written down, by the time they began."""
        found = [json.loads(path.read_text()) for path in self.pids.glob("note-*.json")]
        return sorted(found, key=lambda note: note["began"])


@contextlib.contextmanager
def guarded(folder: Path) -> Iterator[Bench]:
    """A bench whose runs may leave no process and no private copy behind."""
    bench = Bench(folder)
    yield bench
    left = sorted({*alive(bench.pids), *still_running(bench.pids)})
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []
    assert list(bench.scratch.iterdir()) == []
