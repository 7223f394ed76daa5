"""The local engine: a pool of slots on this machine, and the coordinator that records what they finish."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import FrameType

from salver.core.errors import SalverError
from salver.run.events import EventLog, RunSummary, recording
from salver.run.job import Backend, Folders, run_job
from salver.run.job import warm_up as run_unrecorded
from salver.run.plan import PlannedJob
from salver.run.slots import Slots, Taken
from salver.run.stage import sweep_copies
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.cgroups import sweep
from salver.supervise.finished import Termination
from salver.supervise.process import sweep_processes


def run_local(
    planned: Sequence[PlannedJob],
    runners: Mapping[str, Runner],
    root: Path,
    run_dir: Path,
    *,
    workers: int,
    on_finish: Callable[[RunRecord], None],
    ready: Iterable[RunRecord] = (),
    cores: Sequence[int] | None = None,
    gpus: Sequence[str] = (),
    warm_up: bool = False,
    scratch: Path | None = None,
    backend: Backend = "salver",
    log: EventLog | None = None,
) -> RunSummary:
    """Runs the jobs that `run_dir/events.jsonl` does not hold yet, in order, on `workers` slots.

    A job takes as many slots as its limits say cores, at most all. Each record is on the disk before
    `on_finish` is called with it, in this thread. The first Ctrl-C starts no further jobs and waits for
    those that run; the second, or a SIGTERM, kills them, and they are not recorded.

    Args:
        planned: jobs in the order they are started.
        runners: by `Job.solver`.
        root: folder of the instance set.
        run_dir: folder of the run: `events.jsonl`, `logs/`, `cex/`.
        workers: number of slots, at least 1.
        on_finish: called with every record that this call adds.
        ready: records that need no run (unsupported jobs), stored first.
        cores: CPU numbers handed out to the slots, one each; None pins nothing.
        gpus: names of the GPUs for CUDA_VISIBLE_DEVICES; a job on `cuda` has one of them to itself, any
            other job sees none.
        warm_up: before anything else each solver runs its first job once, for a short time and without
            any record, so that no measured run pays for cold file caches.
        scratch: folder for the private copies; None takes the system's temporary folder.
        backend: what limits and measures the runs.
        log: the run's event log, where it is locked already.

    Raises:
        SalverError: another coordinator writes this run; no space left for the events; too few cores;
            a job on `cuda` and no GPU.
    """
    slots = Slots(workers, cores, gpus)
    with recording(planned, run_dir, ready, on_finish, log) as (wanted, record):
        sweep()
        sweep_processes()
        sweep_copies(scratch)
        skipped = len(planned) - len(wanted)
        _require_gpu(wanted, runners, gpus)
        folders = Folders(root, run_dir, scratch, backend)
        drain, stop = threading.Event(), threading.Event()
        with interruptible(drain, stop):
            if warm_up:
                _warm_up(wanted, runners, folders, slots, drain, stop)
            finished = _coordinate(wanted, runners, folders, slots, record, drain, stop)
    return RunSummary(finished, skipped, len(planned) - skipped - finished)


def _coordinate(
    wanted: deque[PlannedJob],
    runners: Mapping[str, Runner],
    folders: Folders,
    slots: Slots,
    record: Callable[[RunRecord], None],
    drain: threading.Event,
    stop: threading.Event,
) -> int:
    """Starts jobs as slots come free and records them as they finish; returns how many did."""
    running: dict[Future[RunRecord], Taken] = {}
    finished = 0
    with ThreadPoolExecutor(slots.workers, "slot") as pool:
        try:
            while running or (wanted and not drain.is_set()):
                while wanted and not drain.is_set():
                    runner = runners[wanted[0].job.solver]
                    if (taken := slots.take(wanted[0].job.limits.cores, _on_gpu(runner))) is None:
                        break
                    cores = taken.slots if slots.pinned else None
                    job = wanted.popleft()
                    future = pool.submit(run_job, job, runner, folders, cores=cores, gpu=taken.gpu, stop=stop)
                    running[future] = taken
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    slots.give_back(running.pop(future))
                    one = future.result()
                    if not (stop.is_set() and one.termination is Termination.INFRASTRUCTURE):
                        record(one)
                        finished += 1
        except BaseException:
            stop.set()
            raise
    return finished


def _on_gpu(runner: Runner) -> bool:
    return runner.device == "cuda"


def _require_gpu(wanted: Iterable[PlannedJob], runners: Mapping[str, Runner], gpus: Sequence[str]) -> None:
    if not gpus and any(_on_gpu(runners[planned.job.solver]) for planned in wanted):
        raise SalverError("there is no GPU for a solver on cuda", "--device cuda", "use --device cpu")


def _warm_up(
    wanted: Iterable[PlannedJob],
    runners: Mapping[str, Runner],
    folders: Folders,
    slots: Slots,
    drain: threading.Event,
    stop: threading.Event,
) -> None:
    """Runs the first job of each solver alone, without any record."""
    first: dict[str, PlannedJob] = {}
    for planned in wanted:
        first.setdefault(planned.job.solver, planned)
    for name, planned in first.items():
        taken = slots.take(planned.job.limits.cores, _on_gpu(runners[name]))
        if taken is None or drain.is_set():
            return
        cores = taken.slots if slots.pinned else None
        run_unrecorded(planned, runners[name], folders, cores=cores, gpu=taken.gpu, stop=stop)
        slots.give_back(taken)


@contextlib.contextmanager
def interruptible(drain: threading.Event, stop: threading.Event) -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into the two events; only the main thread can, elsewhere nothing changes."""

    def on_signal(number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM or drain.is_set():
            stop.set()
        drain.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
