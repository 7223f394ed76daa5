"""Where Dask workers come from: a scheduler that is there, or workers started on this machine."""

from __future__ import annotations

import contextlib
import logging
import operator
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import dask.config

from salver.core.confined import clear, folder_inside, unfit
from salver.core.errors import SalverError
from salver.run.cluster.settings import LEAN, scheduler_extensions
from salver.run.cluster.tls import settings
from salver.supervise.forking import go_on

LOOPBACK = "127.0.0.1"
_LEAVE_PATIENCE_S = 15.0
_DEATHS_IN_A_ROW = 6


class Request(NamedTuple):
    """What a job needs of one worker, or what a worker has."""

    cores: int
    gpus: int = 0

    def fits(self, other: Request) -> bool:
        """Whether `other` offers enough."""
        return self.cores <= other.cores and self.gpus <= other.gpus

    def __str__(self) -> str:
        cores = _counted(self.cores, "core")
        return f"{cores} and {_counted(self.gpus, 'GPU')}" if self.gpus else cores


def place(
    request: Request, workers: Mapping[str, Request], taken: Iterable[tuple[str, Request]]
) -> str | None:
    """The worker with room for a job that spares most GPUs, then the one with most free cores; None: no room.

    Args:
        request: what the job needs.
        workers: what each worker has, by address.
        taken: what the jobs need that run on them; those of other workers do not matter.
    """
    used = dict.fromkeys(workers, (0, 0))
    for address, (cores, gpus) in taken:
        if address in used:
            used[address] = used[address][0] + cores, used[address][1] + gpus
    free = {address: Request(*map(operator.sub, has, used[address])) for address, has in workers.items()}
    fitting = [(has.gpus, -has.cores, address) for address, has in free.items() if request.fits(has)]
    return min(fitting)[2] if fitting else None


class Workforce(Protocol):
    """A source of workers.

    `offers` is what its workers have at most, or None where only the scheduler knows who has joined.
    `patience_s` is how long a run waits while there is no worker at all; None is for ever. `at_most`
    caps the cores of one job, as the slots of the local engine do; None caps nothing.
    """

    patience_s: float | None
    at_most: int | None

    @property
    def offers(self) -> Sequence[Request] | None: ...

    def gather(self) -> AbstractContextManager[str]:
        """Starts the workers; yields the scheduler's address and ends what it started."""

    def tend(self, finished: int, left: Counter[Request]) -> None:
        """Called about once a second while jobs are left; replaces lost workers.

        Args:
            finished: jobs recorded by this run so far.
            left: jobs that run or wait, by what they need.

        Raises:
            SalverError: workers cannot be kept alive.
        """


class JoinedScheduler:
    """A scheduler that somebody else started, with its workers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.patience_s: float | None = 60.0
        self.at_most: int | None = None
        self.offers: Sequence[Request] | None = None

    def gather(self) -> AbstractContextManager[str]:
        return contextlib.nullcontext(self.address)

    def tend(self, finished: int, left: Counter[Request]) -> None:
        return None


class LocalWorkers:
    """A scheduler in this process and one worker process with `slots` slots, bound to the loopback.

    A worker that dies is replaced. The worker sits in a session of its own, so that Ctrl-C in a terminal
    reaches the coordinator alone; it leaves by itself when the coordinator is gone, which closes its
    standard input.
    """

    def __init__(self, slots: int, log: Path, gpus: int = 0, pin: bool = False) -> None:
        self.slots, self.log, self.gpus, self.pin = slots, log, gpus, pin
        self.patience_s: float | None = 60.0
        self.at_most: int | None = slots
        self.offers: Sequence[Request] | None = [Request(slots, gpus)]
        self._address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths = self._finished = 0

    @contextlib.contextmanager
    def gather(self) -> Iterator[str]:
        with own_scheduler(LOOPBACK) as self._address:
            self._start()
            try:
                yield self._address
            finally:
                self._end()

    def tend(self, finished: int, left: Counter[Request]) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            go_on(self._process.pid)
            return
        self._deaths = 1 if finished > self._finished else self._deaths + 1
        self._finished = finished
        if self._deaths >= _DEATHS_IN_A_ROW:
            what = f"{self._deaths} workers in a row ended without finishing a job"
            raise SalverError(what, str(self.log), "read that file and resume the run")
        self._start()

    def _start(self) -> None:
        more = ["--until-eof", *(["--pin"] if self.pin else [])]
        command = worker_command(self._address, self.slots, self.gpus, "--host", LOOPBACK, *more)
        self._forget()
        with _opened(self.log) as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        go_on(self._process.pid)
        try:
            self._process.wait(_LEAVE_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()


def worker_command(address: str, cores: int, gpus: int, *more: str) -> list[str]:
    """Argument vector that starts one of our workers with this Python."""
    counts = ["--cores", str(cores), "--gpus", str(gpus)]
    return [sys.executable, "-m", "salver.run.cluster.worker", address, *counts, *more]


@contextlib.contextmanager
def own_scheduler(host: str, keys: Path | None = None) -> Iterator[str]:
    """A scheduler in a thread of this process, listening on `host` alone; yields its address.

    With a folder of keys (`tls.py`) it talks only to those who hold them, and this process's clients do.

    """
    from distributed import LocalCluster

    with dask.config.set({**LEAN, **settings(keys)}):
        try:
            cluster = LocalCluster(
                n_workers=0,
                host=host,
                scheduler_port=0,
                protocol="tcp://" if keys is None else "tls://",
                processes=True,
                dashboard_address=f"{LOOPBACK}:0",
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"extensions": scheduler_extensions()},
            )
        except (OSError, RuntimeError) as error:
            hint = "name an address of this machine"
            raise SalverError(f"no scheduler can be started ({error})", host, hint) from error
        with cluster:
            yield str(cluster.scheduler_address)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _opened(path: Path) -> IO[bytes]:
    """A log to add to; what is no regular file gives way to one."""
    folder = folder_inside(path.parent.parent, path.parent.name)
    if unfit(folder, path.name) is not None:
        clear(path)
    return path.open("ab")
