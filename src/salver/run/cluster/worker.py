"""A Dask worker for solver runs: `python -m salver.run.cluster.worker tcp://host:port --cores 4`.

Beside what `dask worker` does it drains at the end of its lifetime: it takes no further job and leaves
when its last one has ended (Dask's own workers drop what they run). It announces the resources `cores`
and `gpus` and gives every job its own, listens on one address only and never restarts itself.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask.config
from distributed import Worker
from distributed.core import Status
from distributed.utils import get_ip

from salver.core.errors import SalverError
from salver.run.cluster.order import Share
from salver.run.cluster.settings import LEAN
from salver.run.cluster.tls import settings
from salver.run.slots import Slots, gpu_names, physical_cores
from salver.supervise.cgroups import sweep

_LOOK_EVERY_S = 0.2
_FETCH_PATIENCE_S = 30.0
_DEATH_TIMEOUT_S = 60
_LEAVE_PATIENCE_S = 10.0


class DrainingWorker(Worker):
    """A worker that finishes its jobs before it retires, and waits until their records were fetched.

    `share` is what they take turns at.
    """

    share: Share

    async def close_gracefully(self, *arguments: Any, **options: Any) -> None:
        """Called by Dask when the lifetime is over. A paused worker is given no jobs."""
        self.status = Status.paused
        while self.state.executing and self.status == Status.paused:
            await asyncio.sleep(_LOOK_EVERY_S)
        patience = time.monotonic() + _FETCH_PATIENCE_S
        while self.data and self.status == Status.paused and time.monotonic() < patience:
            await asyncio.sleep(_LOOK_EVERY_S)
        await super().close_gracefully(*arguments, **options)


async def serve(
    scheduler: str, host: str | None, slots: Slots, gpus: int, lifetime_s: float | None, stagger_s: float
) -> None:
    """Works until the scheduler goes, the lifetime is over or a signal comes.

    Args:
        scheduler: its address, `tcp://host:port`.
        host: address to listen on; None takes the one that reaches the scheduler.
        slots: its cores, as many as jobs of one core run side by side, and its GPUs.
        gpus: number of these GPUs.
        lifetime_s: seconds after which no job is taken; None is for ever.
        stagger_s: the lifetime is changed by up to this many seconds at random.
    """
    worker = DrainingWorker(
        scheduler,
        host=host or get_ip(urlsplit(scheduler).hostname),
        nthreads=slots.workers,
        resources={"cores": slots.workers, "gpus": gpus},
        memory_limit=0,
        lifetime=lifetime_s,
        lifetime_stagger=stagger_s,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
        death_timeout=_DEATH_TIMEOUT_S,
        extensions={},
    )
    worker.share = Share(slots)
    loop = asyncio.get_running_loop()
    closing: list[asyncio.Task[Any]] = []

    def leave() -> None:
        closing.append(loop.create_task(worker.close(reason="signal")))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    await worker
    await worker.finished()  # type: ignore[no-untyped-call]


def _leave_at_end_of_input() -> None:
    """Leaves when standard input ends, also while there is no scheduler yet, or the event loop is stuck."""

    def watch() -> None:
        while os.read(0, 4096):
            continue
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LEAVE_PATIENCE_S)
        os._exit(1)

    threading.Thread(target=watch, name="input", daemon=True).start()


def _slots(cores: int, gpus: int, pin: bool) -> Slots:
    names = gpu_names(gpus)
    if len(names) < gpus:
        raise SalverError(f"CUDA_VISIBLE_DEVICES names {len(names)} GPUs", f"--gpus {gpus}", "lower it")
    return Slots(cores, physical_cores() if pin else None, names)


def main() -> None:
    """Command line of one worker; its exit status is 0 unless it cannot start or reach the scheduler."""
    parser = argparse.ArgumentParser(prog="salver.run.cluster.worker", description=__doc__)
    parser.add_argument("scheduler", help="tcp://host:port")
    parser.add_argument("--host", help="address to listen on (default: the one that reaches the scheduler)")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--gpus", type=int, default=0, help="of CUDA_VISIBLE_DEVICES, or else from 0 on")
    parser.add_argument("--pin", action="store_true", help="a physical core for each of --cores")
    parser.add_argument("--lifetime", type=float, help="seconds after which no job is taken")
    parser.add_argument("--lifetime-stagger", type=float, default=0.0, help="seconds more or less, at random")
    parser.add_argument("--until-eof", action="store_true", help="leave when standard input ends")
    parser.add_argument("--tls", type=Path, help="folder of the run's keys")
    given = parser.parse_args()
    if given.until_eof:
        _leave_at_end_of_input()
    sweep()
    logging.getLogger("distributed").setLevel(logging.WARNING)
    dask.config.set({**LEAN, **settings(given.tls)})
    try:
        slots = _slots(given.cores, given.gpus, given.pin)
        ends = given.lifetime, given.lifetime_stagger
        asyncio.run(serve(given.scheduler, given.host, slots, given.gpus, *ends))
    except SalverError as error:
        parser.error(str(error))
    except (OSError, TimeoutError, RuntimeError) as error:
        parser.error(f"cannot work for the scheduler {given.scheduler}: {error}")
    # A thread that still waits for a killed solver must not keep the machine from the next worker.
    os._exit(0)


if __name__ == "__main__":
    main()
