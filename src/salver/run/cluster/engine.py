"""The Dask engine: jobs on the workers of a scheduler, recorded by this one coordinator.

A job is given to one worker that has room for it at the moment, and to no other. So the scheduler's memory
does not grow with the campaign, no job waits behind another on a worker that is about to leave, and a dying
worker takes nothing with it that it was not running.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dask.config
from distributed import Client, Future, KilledWorker
from distributed.client import FutureCancelledError
from distributed.scheduler import NoValidWorkerError

from salver import __version__
from salver.core.errors import SalverError
from salver.core.project import project_root
from salver.run.cluster.order import Order, execute, stop_all
from salver.run.cluster.settings import forget_names
from salver.run.cluster.workforce import Request, Workforce, place
from salver.run.events import RunSummary, Work, recording
from salver.run.job import Folders
from salver.run.local import interruptible
from salver.run.plan import PlannedJob, unsupported_record
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.finished import Termination

CONNECT_S = 10.0
_LOOK_EVERY_S = 1.0
_STOP_PATIENCE_S = 20.0
_FETCH_S = 2.0
_ATTEMPTS = 3


def run_dask(work: Work, workforce: Workforce) -> RunSummary:
    """Runs the jobs that `run_dir/events.jsonl` does not hold yet on Dask workers.

    The contract is that of `run_local`: order of planning (jobs for GPUs and the others are two lines),
    each record on the disk before `on_finish`, drain on the first Ctrl-C, stop on the second. A job that
    is lost with its worker is run again; one that is lost three times is recorded as INFRASTRUCTURE.

    Args:
        work: its runners are made anew on the workers, by name; all folders are seen by all machines. To
            warm up, each worker runs the first job it gets of a solver once without any record.
        workforce: where the workers come from.

    Raises:
        SalverError: a job that no worker can ever take; no scheduler, no workers, or workers that cannot
            run a solver; another coordinator writes this run; no space left for the events.
    """
    with recording(work) as (wanted, record):
        skipped, count = len(work.plan.jobs) - len(wanted), len(wanted)
        if not wanted:
            return RunSummary(0, skipped, 0)
        asked = _Asking(work.runners, workforce.at_most)
        if workforce.offers is not None:
            asked.check(wanted, workforce.offers)
        root, run_dir = work.folders.root.resolve(), work.folders.run_dir.resolve()
        folders = work.folders._replace(root=root, run_dir=run_dir)
        with workforce.gather() as address, _connected(address) as client:
            coordination = _Coordination(client, workforce, asked, folders, record, work.warm_up)
            finished = coordination.run(wanted)
        return RunSummary(finished, skipped, count - finished)


class _Asking(NamedTuple):
    """What jobs ask for."""

    runners: Mapping[str, Runner]
    at_most: int | None

    def of(self, planned: PlannedJob) -> Request:
        runner = self.runners[planned.job.solver]
        cores = min(planned.job.limits.cores, self.at_most or planned.job.limits.cores)
        return Request(cores, int(runner.device == "cuda"))

    def check(self, wanted: Iterable[PlannedJob], offers: Sequence[Request]) -> None:
        """Raises SalverError for the first job that fits no worker."""
        solvers = {self.of(p): p.job.solver for p in wanted}
        for request, solver in solvers.items():
            if not any(request.fits(offer) for offer in offers):
                best = ", ".join(str(offer) for offer in sorted(set(offers), reverse=True)[:3]) or "nothing"
                what = f"a run needs {request}, and no worker could ever take it (they have {best})"
                raise SalverError(what, f"solver {solver}", "add such a worker or lower --cores")


class InFlight(NamedTuple):
    """A job that was given to a worker: what it needs and takes of it, and which attempt it is, from 0."""

    planned: PlannedJob
    request: Request
    takes: Request
    worker: str
    attempt: int
    future: Future[Any]


class _Coordination:
    """One run's traffic with the scheduler."""

    def __init__(
        self,
        client: Client,
        workforce: Workforce,
        asked: _Asking,
        folders: Folders,
        record: Callable[[RunRecord], None],
        warm_up: bool,
    ) -> None:
        self.warm_up = warm_up
        self.client, self.workforce, self.asked = client, workforce, asked
        self.folders, self.record = folders, record
        self.project = str(project_root())
        self.token = uuid.uuid4().hex
        self.done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.flights: dict[Any, InFlight] = {}
        self.drain, self.stop = threading.Event(), threading.Event()
        self.workers: dict[str, Request] = {}
        self.lost: deque[tuple[PlannedJob, int]] = deque()
        self.suspects: deque[PlannedJob] = deque()
        self.left: Counter[Request] = Counter()
        self.finished = 0
        self.looked = self.staffed = time.monotonic()

    def run(self, wanted: deque[PlannedJob]) -> int:
        """Runs what is wanted; returns how many jobs were recorded."""
        lines = self._lines(wanted)
        self.left = Counter(map(self.asked.of, wanted))
        with interruptible(self.drain, self.stop):
            try:
                self._await_workers(list(wanted))
                while self.flights or (not self.drain.is_set() and any((self.lost, self.suspects, *lines))):
                    if self.stop.is_set():
                        break
                    self._look()
                    self._hand_out(lines)
                    self._collect()
            finally:
                self._end()
        return self.finished

    def _lines(self, wanted: deque[PlannedJob]) -> list[deque[PlannedJob]]:
        """Two lines, those for GPUs first, so that neither kind of jobs holds up the other."""
        lines: list[deque[PlannedJob]] = [deque(), deque()]
        for planned in wanted:
            lines[not self.asked.of(planned).gpus].append(planned)
        return lines

    def _await_workers(self, wanted: Sequence[PlannedJob]) -> None:
        self._look()
        while not self.workers and not self.drain.is_set():
            time.sleep(0.05)
            self._look()
        if self.workforce.offers is None and self.workers:
            self.asked.check(wanted, list(self.workers.values()))

    def _look(self) -> None:
        """Asks the scheduler for its workers, now and then; replaces lost ones and retries their jobs."""
        now = time.monotonic()
        if self.workers and now - self.looked < _LOOK_EVERY_S:
            return
        self.looked = now
        forget_names()
        self.workforce.tend(self.finished, +self.left)
        found = self._identity()
        self.workers = {
            address: Request(*(int(worker["resources"].get(name, 0)) for name in Request._fields))
            for address, worker in found.items()
            if worker.get("status", "running") == "running" and worker.get("resources")
        }
        for flight in [f for f in self.flights.values() if f.worker not in found and not f.future.done()]:
            del self.flights[flight.future.key]
            self._retry(flight)
        if self.flights:
            self.staffed = now
        elif self.workforce.patience_s is not None and now - self.staffed > self.workforce.patience_s:
            needed = min(+self.left, default=Request(1))
            what = f"no worker with room for a run of {needed} for {self.workforce.patience_s:g} s"
            hint = "start some: python -m salver.run.cluster.worker tcp://host:port"
            raise SalverError(what, "the Dask scheduler", hint)

    def _identity(self) -> dict[str, Any]:
        try:
            workers: dict[str, Any] = self.client.scheduler_info()["workers"]
        except (OSError, TimeoutError, KeyError) as error:
            raise self._gone() from error
        return workers

    def _gone(self) -> SalverError:
        return SalverError("the Dask scheduler is gone", hint="start it again and go on with --resume")

    def _hand_out(self, lines: Iterable[deque[PlannedJob]]) -> None:
        """Submits jobs, the lost ones first and each line in its order, as long as they fit.

        Suspects need a worker on which nothing else runs, which comes when the lines are empty.
        """
        while self.lost and not self.drain.is_set() and self._submit(*self.lost[0]):
            self.lost.popleft()
        for line in lines:
            while line and not self.drain.is_set() and self._submit(line[0], 0):
                line.popleft()
        while self.suspects and not self.drain.is_set() and self._submit(self.suspects[0], _ATTEMPTS - 1):
            self.suspects.popleft()

    def _submit(self, planned: PlannedJob, attempt: int) -> bool:
        """Gives a job to a worker, the last time to one of its own; False when none has room for it now."""
        request, alone = self.asked.of(planned), attempt + 1 == _ATTEMPTS
        taken = [(f.worker, f.takes) for f in self.flights.values()]
        if alone:
            taken = [(worker, self.workers.get(worker, takes)) for worker, takes in taken]
        worker = place(request, self.workers, taken)
        if worker is None:
            return False
        runner = self.asked.runners[planned.job.solver]
        made = planned, runner.device, runner.proofs, self.project, self.folders
        order = Order(*made, __version__, self.token, attempt, self.warm_up)
        future = self.client.submit(
            execute,
            order,
            key=order.key,
            workers=[worker],
            resources={name: count for name, count in request._asdict().items() if count},
            pure=False,
        )
        self.flights[order.key] = InFlight(
            planned, request, self.workers[worker] if alone else request, worker, attempt, future
        )
        future.add_done_callback(self.done.put)
        return True

    def _collect(self) -> None:
        """Waits a moment for results and takes all that are there."""
        with contextlib.suppress(queue.Empty):
            self._take(self.done.get(timeout=_LOOK_EVERY_S))
            while True:
                self._take(self.done.get_nowait())
        if self.client.status not in ("running", "connecting"):
            raise self._gone()

    def _take(self, future: Future[Any]) -> None:
        flight = self.flights.pop(future.key, None)
        if flight is None:
            return
        record = fetched(flight, lambda: flight.worker in self._identity())
        if record is None:
            self._retry(flight)
            return
        self._finish(flight, record)

    def _retry(self, flight: InFlight) -> None:
        """Has a lost job run again, but not for ever: it may be what kills its workers.

        The last time it runs alone, so that it takes no other job with it, nor is taken by one.
        """
        if self.stop.is_set():
            return
        attempt = flight.attempt + 1
        if attempt < _ATTEMPTS - 1:
            self.lost.append((flight.planned, attempt))
            return
        if attempt < _ATTEMPTS:
            self.suspects.append(flight.planned)
            return
        self._finish(flight, lost_record(flight.planned, f"lost {_ATTEMPTS} times with its worker"))

    def _finish(self, flight: InFlight, record: RunRecord) -> None:
        self.record(record)
        self.finished += 1
        self.left[flight.request] -= 1

    def _end(self) -> None:
        """Stops what still runs, so that no worker writes into the run any more once it is unlocked."""
        if not self.flights or self.client.status != "running":
            return
        self.stop.set()
        with contextlib.suppress(OSError, TimeoutError):
            self.client.run(stop_all, self.token, on_error="ignore")
        deadline = time.monotonic() + _STOP_PATIENCE_S
        while self.flights and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                self.flights.pop(self.done.get(timeout=left).key, None)
        with contextlib.suppress(OSError, TimeoutError):
            self.client.cancel([flight.future for flight in self.flights.values()], force=True)


def fetched(flight: InFlight, lives: Callable[[], bool]) -> RunRecord | None:
    """The job's record; None where it was stopped or lost and may be tried again.

    Args:
        flight: one whose future is done.
        lives: whether its worker is still there. A record dies with it, and Dask waits for another for ever.

    Raises:
        SalverError: the worker cannot run it, which is a fault of the set-up and not of this job.
    """
    try:
        while True:
            try:
                record: RunRecord | None = flight.future.result(timeout=_FETCH_S)
                return record
            except TimeoutError:
                if flight.future.status == "error" or not lives():
                    return None
    except (KilledWorker, NoValidWorkerError, FutureCancelledError, OSError):
        return None
    except SalverError:
        raise
    except Exception as error:
        what = f"a worker could not take a job ({type(error).__name__}: {error})"
        raise SalverError(what, hint="set all machines up with the same salver") from error


def lost_record(planned: PlannedJob, reason: str) -> RunRecord:
    """The record of a job that was lost with its workers: no result, so a later run tries it again."""
    return unsupported_record(planned, reason).model_copy(update={"termination": Termination.INFRASTRUCTURE})


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of the scheduler.

    Raises:
        SalverError: nobody answers there.
    """
    with dask.config.set({"distributed.comm.timeouts.connect": CONNECT_S}):
        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            what, hint = "no Dask scheduler answers there", "start one, or correct --scheduler"
            raise SalverError(what, address, hint) from error
        with client:
            yield client
