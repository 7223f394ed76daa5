"""What a Dask worker does with one job: make the runner again, run, and watch for reasons to stop."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from distributed import get_worker
from distributed.core import Status

from salver.errors import SalverError
from salver.execute.job import Folders, run_job
from salver.execute.plan import PlannedJob
from salver.model import RunRecord, Termination
from salver.plugins import choose, runners
from salver.runner import Runner

_LOOK_EVERY_S = 0.25
_running: dict[tuple[str, str, int], threading.Event] = {}
_stopped: set[str] = set()


class Order(NamedTuple):
    """One job as it travels to a worker; the runner is made there from what is named here.

    `project` is the checkout whose `runners/` is read; it, the instance set and the run's folder lie on a
    file system that all machines share. `token` names the coordinator, `attempt` counts from 0.
    """

    planned: PlannedJob
    device: str
    proofs: bool
    project: str
    folders: Folders
    token: str
    attempt: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Name of the task. Dask keeps statistics by its first part for ever: there is one a run."""
        return (f"salver-{self.token}", self.planned.job.key, self.attempt)


def execute(order: Order) -> RunRecord | None:
    """Runs the job on this worker; None when it was stopped, by whomever, before it had a result.

    Raises:
        SalverError: this machine does not see the run's folder, or has no such solver in that version.
    """
    runner = _runner(order)
    if not order.folders.run_dir.is_dir() or not order.folders.root.is_dir():
        where = f"worker on {platform.node()}"
        mend = "put the checkout on a file system that all machines share"
        raise SalverError(f"sees no folder {order.folders.run_dir}", where, mend)
    with _watched(order) as stop:
        if stop.is_set():
            return None
        record = run_job(order.planned, runner, order.folders, stop=stop)
        return None if stop.is_set() and record.termination is Termination.INFRASTRUCTURE else record


def running() -> int:
    """How many jobs run on this worker."""
    return len(_running)


def stop_all(token: str) -> int:
    """Stops what runs on this worker for that coordinator, now and later; returns how many jobs ran."""
    _stopped.add(token)
    mine = [stop for key, stop in list(_running.items()) if key[0] == f"salver-{token}"]
    for stop in mine:
        stop.set()
    return len(mine)


@contextlib.contextmanager
def _watched(order: Order) -> Iterator[threading.Event]:
    """An event that is set when the coordinator stops, is gone or gave the task up, or the worker closes."""
    worker, key = get_worker(), order.key
    stop, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            task = worker.state.tasks.get(key)
            given_up = task is None or task.state != "executing"
            if given_up or worker.status in (Status.closing, Status.closed, Status.failed):
                stop.set()

    _running[key] = stop
    if order.token in _stopped:
        stop.set()
    watcher = threading.Thread(target=watch, name="watch", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        over.set()
        watcher.join()
        del _running[key]


def _runner(order: Order) -> Runner:
    job = order.planned.job
    try:
        runner = _made(order.project, job.solver, order.device, order.proofs)
        reason = runner.unavailable()
        if reason is None and (version := runner.version()) != job.solver_version:
            reason = f"it has version {version}, the coordinator {job.solver_version}"
    except SalverError as error:
        reason = str(error)
    if reason is not None:
        where = f"worker on {platform.node()}"
        raise SalverError(f"cannot run {job.solver}: {reason}", where, "set all machines up alike")
    return runner


@functools.lru_cache(maxsize=64)
def _made(project: str, solver: str, device: str, proofs: bool) -> Runner:
    if Path(os.environ.get("SALVER_ROOT", "")) != Path(project):
        os.environ["SALVER_ROOT"] = project
    made: Runner = choose(solver, runners(), "solver")(device, proofs)
    return made
