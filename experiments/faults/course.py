"""Faults through the real local engine: their records, and everything that is left behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from experiments.faults.kinds import Fault
from salver.run.events import EventLog, Work
from salver.run.job import Backend, Folders
from salver.run.local import run_local
from salver.run.plan import plan
from salver.runners.answers import RunRecord
from salver.supervise import cgroups
from tests.fake_solvers.runner import FakeRunner, alive, fake_instance, still_running

FOLDERS = ("set", "scratch", "run", "home", "cwd", "pids")


class FaultOutcome(NamedTuple):
    """One fault's record, what is wrong with it, and what it left behind."""

    kind: str
    fault: Fault
    record: RunRecord
    complaint: str
    left: tuple[str, ...]


@contextlib.contextmanager
def limited_by(backend: str) -> Iterator[None]:
    """Control groups (`cgroup`, and around `runexec`) or `polling`, for what runs meanwhile."""
    with mock.patch.dict(os.environ, {cgroups.VARIABLE: "off" if backend == "polling" else "on"}):
        yield


def run_faults(
    folder: Path,
    faults: Sequence[tuple[str, Fault]],
    workers: int,
    scratch: Path | None = None,
    backend: Backend = "salver",
) -> list[FaultOutcome]:
    """Runs faults by kind, side by side, in a fresh folder, and looks for leavings when all have ended.

    The engine's HOME and working folder are empty ones meanwhile, so that anything new in them is found.
    """
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    made = {f"{n}": _runner(folder / "pids" / f"{n}", fault) for n, (_, fault) in enumerate(faults)}
    limits = {name: fault.limits for name, (_, fault) in zip(made, faults, strict=True)}
    planned = plan([fake_instance(folder / "set")], made, lambda _, r: limits[r.pids.name], 1, seed=0)
    with _at_home(folder), contextlib.chdir(folder / "cwd"):
        folders = Folders(folder / "set", folder / "run", scratch or folder / "scratch", backend)
        run_local(Work(planned, made, folders), workers)
    records = {record.solver: record for record in EventLog(folder / "run" / "events.jsonl").records()}
    shared = left_on_disk(folder, scratch or folder / "scratch", set(records)) + left_groups()
    return [
        FaultOutcome(
            kind,
            fault,
            records[name],
            fault.complaint(records[name]),
            (*shared, *left_processes(folder / "pids" / name)),
        )
        for name, (kind, fault) in zip(made, faults, strict=True)
    ]


def left_processes(pids: Path) -> list[str]:
    """Processes of the fake solvers that used this folder."""
    return [f"process {pid}" for pid in sorted({*alive(pids), *still_running(pids)})]


def left_groups(makers: Iterable[int] = ()) -> list[str]:
    """Control groups that this process, or one of the given pids, has made."""
    names: set[str] = set()
    for parent in cgroups.available().parents.values():
        with contextlib.suppress(FileNotFoundError):  # another coordinator may remove the folder meanwhile
            names |= {path.name for path in (parent / cgroups.FOLDER).iterdir()}
    marks = [f"-{pid}-" for pid in (os.getpid(), *makers)]
    return [f"group {name}" for name in sorted(names) if any(mark in name for mark in marks)]


def left_on_disk(folder: Path, scratch: Path, finished: set[str]) -> list[str]:
    """Files where none belong: scratch, home, the engine's own folder, the instance set, half a log."""
    unwanted = [path for name in ("home", "cwd") for path in (folder / name).iterdir()]
    unwanted += [path for path in scratch.iterdir() if path.name.startswith("salver-")]
    unwanted += [path for path in (folder / "set").rglob("*") if path.suffix not in ("", ".onnx", ".vnnlib")]
    unwanted += list((folder / "run").rglob("*.partial"))
    return [f"file {path.name}" for path in unwanted]


def count_left(outcomes: Sequence[FaultOutcome]) -> int:
    """How many outcomes left something."""
    return sum(bool(outcome.left) for outcome in outcomes)


def _runner(pids: Path, fault: Fault) -> FakeRunner:
    pids.mkdir()
    return FakeRunner(fault.behaviour, pids, *fault.arguments)


@contextlib.contextmanager
def _at_home(folder: Path) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"HOME": str(folder / "home")}):
        os.environ.pop("XDG_CACHE_HOME", None)
        yield
