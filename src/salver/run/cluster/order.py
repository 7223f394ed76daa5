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

from salver import __version__
from salver.core.errors import SalverError
from salver.core.plugins import choose
from salver.run.cluster.settings import forget_names
from salver.run.job import Folders, run_job, warm_up
from salver.run.plan import PlannedJob
from salver.run.slots import Lease, Slots
from salver.runners.answers import Claim, RunRecord
from salver.runners.contract import Runner
from salver.runners.registry import runners
from salver.supervise.finished import Termination

_LOOK_EVERY_S = 0.25
_running: dict[tuple[str, str, int], threading.Event] = {}
_stopped: set[str] = set()
_warm: set[tuple[str, str]] = set()
_warming = threading.Lock()
_making = threading.Lock()


class Share:
    """The cores and GPUs of one worker; its jobs, each in a thread of its own, take turns at them."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, cores: int, gpu: bool) -> Iterator[Lease]:
        """Cores, and a GPU if need be, that no other job has meanwhile."""
        with self._changed:
            while (taken := self.slots.take(cores, gpu)) is None:
                self._changed.wait()
        try:
            yield taken
        finally:
            with self._changed:
                self.slots.give_back(taken)
                self._changed.notify_all()


class Order(NamedTuple):
    """One job as it travels to a worker; the runner is made there from what is named here.

    `project` is the checkout whose `runners/` is read; it, the instance set and the run's folder lie on a
    file system that all machines share. `salver` is the coordinator's version, `token` names it,
    `attempt` counts from 0. `warm_up`: a worker's first run of a solver goes unrecorded, before
    this one.
    """

    planned: PlannedJob
    device: str
    proofs: bool
    project: str
    folders: Folders
    salver: str
    token: str
    attempt: int
    warm_up: bool

    @property
    def key(self) -> tuple[str, str, int]:
        """Name of the task. Dask keeps statistics by its first part for ever: there is one a run."""
        return (f"salver-{self.token}", self.planned.job.key, self.attempt)


def execute(order: Order) -> RunRecord | None:
    """Runs the job on this worker; None when it was stopped, by whomever, before it had a result.

    Raises:
        SalverError: this worker is not one of ours or of another version, does not see the run's folder,
            or has no such solver in that version.
    """
    with _watched(order) as stop:
        share, runner = _share(order), _runner(order)
        with share.of(order.planned.job.limits.cores, order.device == "cuda") as taken:
            if stop.is_set():
                return None
            if order.warm_up:
                _warm_up(order, runner, taken, stop)
            record = run_job(order.planned, runner, order.folders, taken, stop)
        return None if _was_disturbed(record, stop) else record


def _warm_up(order: Order, runner: Runner, share: Lease, stop: threading.Event) -> None:
    """Runs this worker's first job of a solver in this campaign once; others that start meanwhile wait."""
    which = order.token, order.planned.job.solver
    with _warming:
        if which not in _warm:
            warm_up(order.planned, runner, order.folders, share, stop)
            _warm.add(which)


def _was_disturbed(record: RunRecord, stop: threading.Event) -> bool:
    """Whether the end of this worker may have ended the run too.

    Slurm sends the SIGTERM of a job that is cancelled or out of time to all of its processes. A solver that
    it reaches before this worker acts on it seems to crash or give up.
    """
    limited = record.termination not in (
        Termination.EXITED,
        Termination.CRASHED,
        Termination.INFRASTRUCTURE,
    )
    if limited or (record.termination is Termination.EXITED and record.claim in (Claim.SAT, Claim.UNSAT)):
        return False
    return stop.wait(2 * _LOOK_EVERY_S)


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
        forget_names()


def _share(order: Order) -> Share:
    where = f"worker on {platform.node()}"
    share: Share | None = getattr(get_worker(), "share", None)
    if share is None:
        hint = "start workers by python -m salver.run.cluster.worker"
        raise SalverError("is a plain Dask worker, which keeps no GPU apart", where, hint)
    if order.salver != __version__:
        what = f"has salver {__version__}, the coordinator {order.salver}"
        raise SalverError(what, where, "set all machines up alike")
    for folder in (order.folders.root, order.folders.run_dir):
        if not folder.is_dir():
            hint = "put the checkout on a file system that all machines share"
            raise SalverError(f"sees no folder {folder}", where, hint)
    return share


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


def _made(project: str, solver: str, device: str, proofs: bool) -> Runner:
    """The runner, made once. Plug-ins are looked up in `SALVER_ROOT`, so a worker serves one project.

    Raises:
        SalverError: no such solver; this worker serves another project.
    """
    with _making:
        served = os.environ.setdefault("SALVER_ROOT", project)
        if Path(served).resolve() != Path(project).resolve():
            raise SalverError(f"it serves the project {served}, not {project}")
        return _made_once(solver, device, proofs)


@functools.lru_cache(maxsize=64)
def _made_once(solver: str, device: str, proofs: bool) -> Runner:
    made: Runner = choose(solver, runners(), "solver")(device, proofs)
    return made
