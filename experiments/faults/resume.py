"""Runs that are interrupted at random moments and resumed must end as if nothing had happened.

    python -m experiments.faults.resume --rounds 100 --seed 0

A round is one run of 3 solvers on 6 instances, interrupted up to three times in one way, then resumed to its
end and compared with an undisturbed run, by turns under control groups and under polling. Ways to interrupt:
- kill: SIGKILL to the coordinator; torn: the same, and the event log's last line is cut or overwritten;
- kill all: SIGKILL to the coordinator and its supervisors together;
- drain, stop: one Ctrl-C, two; term: SIGTERM;
- full: the run folder is a file system too small for it, which is then made larger.
Every column after the runs must be 0; the exit status is 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from tabulate import tabulate

from experiments.faults.coordinator import RunPlaces, jobs
from experiments.faults.course import left_groups, limited_by
from experiments.faults.tmpfs import grow, tmpfs, why_not
from salver.run.events import EventLog
from salver.run.logs import read_finished
from salver.runners.answers import RunRecord
from salver.supervise.cgroups import available
from salver.supervise.finished import Termination
from salver.supervise.proc import descendants
from tests.fake_solvers.runner import alive

MOST_INTERRUPTIONS = 3
PATIENCE_S = 20.0
ROOMY_KIB = 8192
MARK = "RESUME_ROUND"
Result = dict[str, tuple[str, ...]]


class Damage(NamedTuple):
    """What went wrong in a round; all of it must be 0.

    `lost`: jobs without a result at the end. `again`: jobs started though they had a result. `twice`: results
    of a job beyond its first. `differing`: results that are not those of the undisturbed run. `left`:
    processes after an interruption; processes, groups and folders at the end. `undrained`: jobs that ran at
    the first Ctrl-C and were not recorded.
    """

    starts: int = 0
    lost: int = 0
    again: int = 0
    twice: int = 0
    differing: int = 0
    left: tuple[str, ...] = ()
    undrained: int = 0

    @property
    def sound(self) -> bool:
        return not any(self[1:])


class Run:
    """One run of `instances` times three jobs in a folder, started and resumed as processes of their own."""

    def __init__(self, folder: Path, instances: int) -> None:
        self.places, self.instances = RunPlaces(folder), instances
        self.places.make()
        self.coordinators: list[int] = []
        planned, _ = jobs(self.places, instances)
        self.keys = {(p.job.solver, p.instance.name): p.job.key for p in planned.jobs}

    @property
    def log(self) -> EventLog:
        return EventLog(self.places.run / "events.jsonl")

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "experiments.faults.coordinator", str(self.places.folder)]
        coordinator = subprocess.Popen(
            [*command, str(self.instances)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {MARK: str(self.places.folder)},
        )
        self.coordinators.append(coordinator.pid)
        return coordinator

    def descendants(self) -> list[int]:
        """What this run's coordinators have started and still lives, supervisors and servers too."""
        mark = f"{MARK}={self.places.folder}".encode()
        return [pid for pid in _all_pids() if mark in _environment(pid)]

    def started(self) -> list[str]:
        """Key of every start of a solver so far."""
        names = [path.name.split("-") for path in self.places.pids.iterdir()]
        return [self.keys[solver, case] for _, solver, case, _ in names]

    def result(self) -> Result:
        """What is compared, by key; reads every log and witness that a record points to."""
        found = {}
        for record in self.log.records():
            if record.termination is not Termination.INFRASTRUCTURE:
                witness = (self.places.run / record.witness).read_text() if record.witness else ""
                stdout = read_finished(self.places.run, record).stdout
                found[record.key] = (record.termination, record.claim, witness, stdout)
        return found

    def results_beyond_the_first(self) -> int:
        lines = (self.places.run / "events.jsonl").read_text().splitlines()
        records = [RunRecord.model_validate(json.loads(line)) for line in lines]
        counts = Counter(r.key for r in records if r.termination is not Termination.INFRASTRUCTURE)
        return sum(counts.values()) - len(counts)

    def left(self) -> list[str]:
        """Processes, groups, private copies and half logs that are there when the run is over."""
        files = [*self.places.scratch.iterdir(), *self.places.run.rglob("*.partial")]
        processes = [f"process {pid}" for pid in alive(self.places.pids)]
        return [*processes, *left_groups(self.coordinators), *(f"file {path.name}" for path in files)]


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


Interruption = Callable[[Run, "subprocess.Popen[bytes]", Random], None]


def _signalled(*numbers: int) -> Interruption:
    def interrupt(_: Run, coordinator: subprocess.Popen[bytes], rng: Random) -> None:
        for number in numbers:
            coordinator.send_signal(number)
            time.sleep(rng.uniform(0.0, 0.03))

    return interrupt


def _torn(run: Run, coordinator: subprocess.Popen[bytes], rng: Random) -> None:
    coordinator.kill()
    coordinator.wait()
    path = run.places.run / "events.jsonl"
    data = path.read_bytes() if path.exists() else b""
    if data:
        last = data.rindex(b"\n", 0, -1) + 1 if data.count(b"\n") > 1 else 0
        cut = rng.randrange(last, len(data))
        path.write_bytes(data[:cut] + rng.choice((b"", b"", b"\0" * rng.randrange(1, 4096), b'{"key": "x')))


def _kill_all(_: Run, coordinator: subprocess.Popen[bytes], __: Random) -> None:
    """Stopped first, so that it starts no others; what it has started and is no solver are supervisors."""
    coordinator.send_signal(signal.SIGSTOP)
    for pid in descendants(coordinator.pid):
        with contextlib.suppress(OSError):
            if b"salver.run" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    coordinator.kill()


WAYS: dict[str, Interruption] = {
    "kill": _signalled(signal.SIGKILL),
    "torn": _torn,
    "kill all": _kill_all,
    "drain": _signalled(signal.SIGINT),
    "stop": _signalled(signal.SIGINT, signal.SIGINT),
    "term": _signalled(signal.SIGTERM),
    "full": lambda *_: None,
}


def one_round(
    folder: Path,
    way: str,
    expected: Result,
    span_s: float,
    rng: Random,
    instances: int,
    interruptions: int = MOST_INTERRUPTIONS,
) -> Damage:
    """Interrupts a run in one way at random moments, resumes it to its end and compares.

    Args:
        expected: what it must give.
        span_s: how long a run takes with its start; 0 lets every moment be one at which jobs run.
    """
    run = Run(folder, instances)
    starts = again = undrained = 0
    left: list[str] = []
    with _run_folder(run, way, rng):
        for last in (*[False] * rng.randint(1, interruptions), True):
            done, before = run.log.completed(), Counter(run.started())
            coordinator = run.start()
            starts += 1
            try:
                if not last and way != "full":
                    _wait_for_moment(run, coordinator, span_s, rng)
                    if coordinator.poll() is None:
                        WAYS[way](run, coordinator, rng)
                coordinator.wait(timeout=120)
            finally:
                coordinator.kill()
                coordinator.wait()
            if way in ("kill", "torn"):
                # A supervisor may have been told to start a solver just before, and does so before it stops.
                _wait_for(lambda: not run.descendants() and not alive(run.places.pids))
            if way != "kill all":
                left += [f"process {pid} after start {starts}" for pid in alive(run.places.pids)]
            fresh = Counter(run.started()) - before
            again += sum(count for key, count in fresh.items() if key in done)
            if way != "full":
                again += sum(count - 1 for key, count in fresh.items() if key not in done)
            if way == "drain":
                undrained += len(set(fresh) - run.log.completed())
            if way == "full":
                grow(run.places.run, ROOMY_KIB)
        result = run.result()
        return Damage(
            starts,
            len(set(run.keys.values()) - set(result)),
            again,
            run.results_beyond_the_first(),
            sum(result.get(key) != value for key, value in expected.items()),
            (*left, *run.left()),
            undrained,
        )


def undisturbed(folder: Path, instances: int) -> tuple[Result, float]:
    """The result of a run that nothing disturbs, and how many seconds it took."""
    run, began = Run(folder, instances), time.monotonic()
    assert run.start().wait(timeout=300) == 0
    result = run.result()
    assert set(result) == set(run.keys.values())
    return result, time.monotonic() - began


@contextlib.contextmanager
def _run_folder(run: Run, way: str, rng: Random) -> Iterator[None]:
    """The run's folder: for `full` a file system on which some of the run's logs fit, some not."""
    if way != "full":
        yield
        return
    with tmpfs(run.places.run, 4 * rng.randint(1, 4 * run.instances)):
        yield


def _wait_for_moment(run: Run, coordinator: subprocess.Popen[bytes], span_s: float, rng: Random) -> None:
    """Any moment of `span_s`, or, every other time, one at which jobs run and some have a record."""
    if span_s and rng.random() < 0.5:
        time.sleep(rng.uniform(0, span_s))
        return
    path = run.places.run / "events.jsonl"
    missing = len(run.keys) - len(run.log.completed())
    wanted = _count_lines(path) + rng.randint(1, max(1, missing - 2))
    _wait_for(lambda: coordinator.poll() is not None or _count_lines(path) >= wanted)
    time.sleep(rng.uniform(0, 0.03))


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)


def _count(field: int | tuple[str, ...]) -> int:
    return field if isinstance(field, int) else len(field)


def table(found: dict[tuple[str, str], list[Damage]]) -> str:
    """Sums by way and kind of limits, and over all."""
    everything = [damage for damages in found.values() for damage in damages]
    rows = [
        [*names, len(damages), *(sum(map(_count, column)) for column in zip(*damages, strict=True))]
        for names, damages in [*sorted(found.items()), (("all", ""), everything)]
    ]
    headers = ["interrupted by", "limits", "runs", "starts", "jobs lost", "run twice without need"]
    headers += ["counted twice", "differing", "left behind", "not drained"]
    return tabulate(rows, headers, "pipe")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--instances", type=int, default=6)
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    rng = Random(chosen.seed)
    backends = ["cgroup", "polling"] if available().version else ["polling"]
    ways = [way for way in WAYS if way != "full" or not why_not()]
    found: dict[tuple[str, str], list[Damage]] = {}
    place = Path(tempfile.mkdtemp(prefix="resume-"))
    try:
        expected, span_s = undisturbed(place / "undisturbed", chosen.instances)
        for number in range(chosen.rounds):
            way, backend = ways[number % len(ways)], backends[number // len(ways) % len(backends)]
            with limited_by(backend):
                damage = one_round(place / f"{number}", way, expected, span_s, rng, chosen.instances)
            found.setdefault((way, backend), []).append(damage)
            if damage.sound:
                shutil.rmtree(place / f"{number}", ignore_errors=True)
            else:
                print(f"round {number}, {way}, {backend}: {damage}", flush=True)
            print(f"{number + 1} of {chosen.rounds}", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(table(found))
    return 0 if all(damage.sound for damages in found.values() for damage in damages) else 1


if __name__ == "__main__":
    sys.exit(main())
