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

from salver.errors import SalverError
from salver.execute.job import Folders, run_job
from salver.execute.plan import PlannedJob
from salver.execute.recording import RunSummary, recording
from salver.model import RunRecord, Termination
from salver.runner import Runner


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
    scratch: Path | None = None,
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
        scratch: folder for the private copies; None takes the system's temporary folder.

    Raises:
        SalverError: another coordinator writes this run; no space left for the events; too few cores.
    """
    if workers < 1 or (cores is not None and len(cores) < workers):
        what = (
            f"{workers} jobs at a time do not fit on {'this machine' if cores is None else len(cores)} cores"
        )
        raise SalverError(what, mend="choose another number with -j")
    with recording(planned, run_dir, ready, on_finish) as (wanted, record):
        skipped = len(planned) - len(wanted)
        slots = _Slots(workers, cores)
        finished = _coordinate(wanted, runners, Folders(root, run_dir, scratch), slots, record)
    return RunSummary(finished, skipped, len(planned) - skipped - finished)


class _Slots:
    """Free slots, with their core numbers where jobs are pinned."""

    def __init__(self, workers: int, cores: Sequence[int] | None) -> None:
        self.workers = workers
        self.free = list(range(workers)) if cores is None else list(cores[:workers])
        self.pinned = cores is not None

    def take(self, asked: int) -> tuple[int, ...] | None:
        """That many slots (at most all there are), or None while too few are free."""
        count = min(asked, self.workers)
        if count > len(self.free):
            return None
        taken, self.free = tuple(self.free[:count]), self.free[count:]
        return taken


def _coordinate(
    wanted: deque[PlannedJob],
    runners: Mapping[str, Runner],
    folders: Folders,
    slots: _Slots,
    record: Callable[[RunRecord], None],
) -> int:
    """Starts jobs as slots come free and records them as they finish; returns how many did."""
    drain, stop = threading.Event(), threading.Event()
    running: dict[Future[RunRecord], tuple[int, ...]] = {}
    finished = 0
    with interruptible(drain, stop), ThreadPoolExecutor(slots.workers, "slot") as pool:
        try:
            while running or (wanted and not drain.is_set()):
                while wanted and not drain.is_set():
                    runner = runners[wanted[0].job.solver]
                    if (taken := slots.take(wanted[0].job.limits.cores)) is None:
                        break
                    cores = taken if slots.pinned else None
                    job = wanted.popleft()
                    running[pool.submit(run_job, job, runner, folders, cores=cores, stop=stop)] = taken
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    slots.free += running.pop(future)
                    one = future.result()
                    if not (stop.is_set() and one.termination is Termination.INFRASTRUCTURE):
                        record(one)
                        finished += 1
        except BaseException:
            stop.set()
            raise
    return finished


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
