"""Kills workers and coordinators at random and counts what went wrong.

    python -m experiments.engines.campaign

Each round is a run of fake jobs on two local Dask slots. Its worker or its coordinator is SIGKILLed several
times; a dead coordinator is started again, as a user does with --resume, until all jobs have a result.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.engines.bench import Bench, end, start
from tests.fake_solvers.project import Fake
from tests.fake_solvers.runner import alive

WORKER = "salver.run.cluster.worker"
MOST_STARTS = 12
MOST_S = 60.0


class Kill(NamedTuple):
    """Who was killed, and the nanosecond (CLOCK_MONOTONIC) before it."""

    whom: str
    at: int


class RoundOutcome(NamedTuple):
    """What one round did and what went wrong in it, which must be 0 each from `lost` on."""

    jobs: int
    again: int
    worker_kills: int
    coordinator_kills: int
    lost: int
    needless: int
    twice: int
    wrong: int
    left_over: int

    @property
    def faults(self) -> int:
        return sum(self[4:])


class Round:
    """One run and its disturbances."""

    def __init__(self, folder: Path, seed: int, jobs: int, kills: int) -> None:
        self.draw = random.Random(seed)
        self.instances = "abcdefghijklmnopqrstuvwxyz"[:jobs]
        self.bench = Bench(folder, {"works": Fake("works", ("0.4",))})
        self.left = kills
        self.kills: list[Kill] = []

    def play(self) -> RoundOutcome:
        """Runs until every job has a result."""
        for _ in range(MOST_STARTS):
            self._coordinate()
            if self.bench.stays():
                break
            if len(self._results()) == len(self.instances):
                break
        return self.judged()

    def _coordinate(self) -> None:
        """One coordinator from its start to its end, by itself or not."""
        self.bench.save()
        command = "-m", "experiments.engines.coordinator", str(self.bench.folder), self.instances
        coordinator = start(self.bench, *command)
        deadline = time.monotonic() + MOST_S
        try:
            while coordinator.poll() is None and self.left and time.monotonic() < deadline:
                early = self.draw.random() < 0.2
                while coordinator.poll() is None and not (early or self._is_working()):
                    time.sleep(0.02)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    coordinator.wait(self.draw.uniform(0.1, 2.5) if early else self.draw.uniform(0.0, 0.5))
                self._kill(coordinator)
            coordinator.wait(MOST_S)
        finally:
            end(coordinator)

    def _is_working(self) -> bool:
        """Whether a job has started since the last kill."""
        starts = [int(path.name.rpartition("-")[2]) for path in self.bench.pids.glob("started-*")]
        return max(starts, default=0) > (self.kills[-1].at if self.kills else 0)

    def _kill(self, coordinator: subprocess.Popen[bytes]) -> None:
        """SIGKILLs the coordinator or, more often, its worker, if they are there."""
        if coordinator.poll() is not None:
            return
        if self.draw.random() < 0.3:
            self.kills.append(Kill("coordinator", time.monotonic_ns()))
            end(coordinator)
            self.left -= 1
            return
        for pid in alive(self.bench.pids):
            try:
                is_worker = WORKER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if is_worker:
                self.kills.append(Kill("worker", time.monotonic_ns()))
                subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)
                self.left -= 1
                return

    def _results(self) -> list[str]:
        if not (self.bench.run_dir / "events.jsonl").exists():
            return []
        return [line["key"] for line in self.bench.lines() if line["termination"] != "infrastructure"]

    def judged(self) -> RoundOutcome:
        results = self._results()
        known = {one.key: one for one in self.bench.records()}
        return RoundOutcome(
            jobs=len(self.instances),
            again=len(list(self.bench.pids.glob("started-*"))) - len(self.instances),
            worker_kills=sum(kill.whom == "worker" for kill in self.kills),
            coordinator_kills=sum(kill.whom == "coordinator" for kill in self.kills),
            lost=len(self.instances) - len(set(results)),
            needless=sum(map(self._needless, self.instances)),
            twice=len(results) - len(set(results)),
            wrong=sum(known[key].claim != "unsat" or known[key].exit_code != 0 for key in set(results)),
            left_over=len(alive(self.bench.pids)),
        )

    def _needless(self, instance: str) -> int:
        """Starts of a job after one that no kill came after."""
        starts = sorted(int(path.name.rpartition("-")[2]) for path in self.bench.starts(instance))
        return sum(
            not any(first < kill.at + 100_000_000 and kill.at < second for kill in self.kills)
            for first, second in itertools.pairwise(starts)
        )


def table(outcomes: Sequence[RoundOutcome]) -> str:
    """The sums, one a line."""
    names = {
        "jobs": "jobs",
        "again": "starts of interrupted jobs",
        "worker_kills": "workers killed",
        "coordinator_kills": "coordinators killed",
        "lost": "jobs lost",
        "needless": "jobs run twice without need",
        "twice": "jobs counted twice",
        "wrong": "results that differ",
        "left_over": "processes left over",
    }
    sums = {title: sum(getattr(one, name) for one in outcomes) for name, title in names.items()}
    return "\n".join(f"{title:28}{count:6}" for title, count in {"rounds": len(outcomes), **sums}.items())


def main() -> None:
    """Exit status 1 when anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcomes = []
    for seed in range(given.seed, given.seed + given.rounds):
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            outcomes.append(Round(Path(folder), seed, given.jobs, given.kills).play())
        print(f"round {seed}: {outcomes[-1]}", flush=True)
    print(table(outcomes))
    sys.exit(any(one.faults for one in outcomes))


if __name__ == "__main__":
    main()
