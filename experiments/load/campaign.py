"""Many short jobs through an engine: how the cost per job and the memory grow with their number.

    python -m experiments.load.campaign --engine local --jobs 1000 10000 100000

Each size runs in a process of its own on a tool that only prints a verdict. `ms/job` is wall time by jobs;
`overhead` is the time of all slots less that of the tools, by jobs; memory is that of the coordinator
with its Dask workers, at a tenth of the jobs and at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from salver.run.engines import Engine, run_jobs
from salver.run.events import EventLog, Work
from salver.run.job import Folders
from salver.run.plan import Plan, plan
from salver.runners.answers import RunRecord
from salver.runners.registry import runners
from salver.supervise.finished import Limits
from salver.supervise.forking import close_server
from tests.fake_solvers.runner import fake_instance

_INSTANCES = 100
_RUNNER = """
import shutil

from salver.runners.contract import Runner, answer_from_words


class Echo(Runner):
    name = "echo"

    def version(self):
        return "1"

    def command(self, staged, workdir, limits):
        return [shutil.which("echo"), "unsat"]

    def parse(self, instance, finished):
        return answer_from_words(finished.stdout)
"""


def write_project(folder: Path) -> None:
    """A checkout whose one solver is `echo`."""
    for name in ("benchmarks", "generators", "runners"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "runners" / "echo.py").write_text(_RUNNER)


def planned_jobs(root: Path, jobs: int) -> Plan:
    """`jobs` jobs on a hundred instances in `root`, by repetition."""
    made = [fake_instance(root, f"i{number}") for number in range(min(_INSTANCES, jobs))]
    chosen = {"echo": runners()["echo"]("cpu")}
    return plan(made, chosen, lambda *_: Limits(wall_s=20.0), -(-jobs // len(made)), seed=0)


def resident_mib() -> float:
    """Memory of this process and of its children that are Python, in MiB."""
    own = os.getpid()
    found = [own]
    for thread in Path(f"/proc/{own}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return sum(map(_resident_mib, found))


def _resident_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line.split() for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(lines[0][1]) / 1024 if lines else 0.0


class Watch:
    """Looks at time and memory as jobs finish."""

    def __init__(self, jobs: int) -> None:
        self.jobs, self.done = jobs, 0
        self.started = time.perf_counter()
        self.samples: list[tuple[int, float, float]] = []

    def __call__(self, _: RunRecord) -> None:
        self.done += 1
        if self.done % max(1, self.jobs // 20) == 0:
            sample = self.done, time.perf_counter() - self.started, resident_mib()
            self.samples.append(sample)
            print("{} jobs, {:.1f} s, {:.1f} MiB".format(*sample), file=sys.stderr, flush=True)


def measure(engine: str, jobs: int, workers: int, folder: Path) -> dict[str, object]:
    """Runs that many jobs and returns one row of figures."""
    project, root, run_dir = folder / "project", folder / "set", folder / "run"
    write_project(project)
    os.environ["SALVER_ROOT"] = str(project)
    planned = planned_jobs(root, jobs)
    watch = Watch(len(planned.jobs))
    chosen = {"echo": runners()["echo"]("cpu")}
    run_jobs(Engine(name=engine), Work(planned, chosen, Folders(root, run_dir), watch), workers, "cpu")
    wall_s = time.perf_counter() - watch.started
    started = time.perf_counter()
    records = list(EventLog(run_dir / "events.jsonl").records())
    read_s = time.perf_counter() - started
    tools_s = sum(record.wall_s for record in records)
    close_server()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    count = len(planned.jobs)
    return {
        "engine": engine,
        "jobs": count,
        "recorded": len(records),
        "answered": sum(record.claim == "unsat" for record in records),
        "wall_s": wall_s,
        "ms/job": 1000 * wall_s / count,
        "overhead_ms": 1000 * (wall_s * workers - tools_s) / count,
        "cpu_ms/job": 1000 * (own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime) / count,
        "first_mib": watch.samples[1][2] if len(watch.samples) > 1 else resident_mib(),
        "last_mib": watch.samples[-1][2],
        "events_mb": (run_dir / "events.jsonl").stat().st_size / 1e6,
        "read_s": read_s,
        "samples": watch.samples,
    }


def _child(engine: str, jobs: int, workers: int, send: Callable[[dict[str, object]], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="salver-load-") as folder:
        send(measure(engine, jobs, workers, Path(folder)))


def main() -> None:
    """Prints a row as each size ends; with `--json FILE` the samples are kept as well."""
    parser = argparse.ArgumentParser(prog="experiments.load.campaign", description=__doc__)
    parser.add_argument("--engine", choices=("local", "dask"), default="local")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    context, rows = multiprocessing.get_context("spawn"), []
    for jobs in given.jobs:
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(given.engine, jobs, given.workers, send.send))
        child.start()
        send.close()
        try:
            rows.append(receive.recv())
        except EOFError:
            sys.exit(f"{jobs} jobs: the campaign's process ended early")
        child.join()
        print(pd.DataFrame(rows).drop(columns="samples").round(2).to_string(index=False), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
