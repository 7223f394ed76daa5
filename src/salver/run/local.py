"""The local engine: a pool of slots on this machine, and the coordinator that records what they finish."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import FrameType

from salver.core.errors import SalverError
from salver.run.events import RunSummary, Work, recording
from salver.run.job import run_job
from salver.run.job import warm_up as run_unrecorded
from salver.run.plan import PlannedJob
from salver.run.slots import Lease, Slots
from salver.run.stage import sweep_copies
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise.cgroups import sweep
from salver.supervise.finished import Termination
from salver.supervise.process import sweep_processes


def run_local(
    work: Work, workers: int, cores: Sequence[int] | None = None, gpus: Sequence[str] = ()
) -> RunSummary:
    """Runs the jobs that `run_dir/events.jsonl` does not hold yet, in order, on `workers` slots.

    A job takes as many slots as its limits say cores, at most all. Each record is on the disk before
    `on_finish` is called with it, in this thread. The first Ctrl-C starts no further jobs and waits for
    those that run; the second, or a SIGTERM, kills them, and they are not recorded.

    Args:
        workers: number of slots, at least 1.
        cores: CPU numbers handed out to the slots, one each; None pins nothing.
        gpus: names of the GPUs for CUDA_VISIBLE_DEVICES; a job on `cuda` has one of them to itself, any
            other job sees none.

    Raises:
        SalverError: another coordinator writes this run; no space left for the events; too few cores;
            a job on `cuda` and no GPU.
    """
    slots, planned = Slots(workers, cores, gpus), len(work.plan.jobs)
    with recording(work) as (wanted, record):
        sweep()
        sweep_processes()
        sweep_copies(work.folders.scratch)
        skipped = planned - len(wanted)
        _require_gpu(wanted, work.runners, gpus)
        drain, stop = threading.Event(), threading.Event()
        with interruptible(drain, stop):
            if work.warm_up:
                _warm_up(work, wanted, slots, drain, stop)
            finished = _coordinate(work, wanted, slots, record, drain, stop)
    return RunSummary(finished, skipped, planned - skipped - finished)


def _coordinate(
    work: Work,
    wanted: deque[PlannedJob],
    slots: Slots,
    record: Callable[[RunRecord], None],
    drain: threading.Event,
    stop: threading.Event,
) -> int:
    """Starts jobs as slots come free and records them as they finish; returns how many did."""
    running: dict[Future[RunRecord], Lease] = {}
    finished = 0
    with ThreadPoolExecutor(slots.workers, "slot") as pool:
        try:
            while running or (wanted and not drain.is_set()):
                while wanted and not drain.is_set():
                    runner = work.runners[wanted[0].job.solver]
                    if (taken := slots.take(wanted[0].job.limits.cores, _on_gpu(runner))) is None:
                        break
                    future = pool.submit(run_job, wanted.popleft(), runner, work.folders, taken, stop)
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
    work: Work, wanted: Iterable[PlannedJob], slots: Slots, drain: threading.Event, stop: threading.Event
) -> None:
    """Runs the first job of each solver alone, without any record."""
    first: dict[str, PlannedJob] = {}
    for planned in wanted:
        first.setdefault(planned.job.solver, planned)
    for name, planned in first.items():
        taken = slots.take(planned.job.limits.cores, _on_gpu(work.runners[name]))
        if taken is None or drain.is_set():
            return
        run_unrecorded(planned, work.runners[name], work.folders, taken, stop)
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
