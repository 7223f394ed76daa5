"""Which engine runs a suite, and whether what was asked of it makes sense."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.run.events import EventLog, RunSummary
from salver.run.job import Backend
from salver.run.local import run_local
from salver.run.plan import Plan
from salver.run.slots import gpu_names, physical_cores
from salver.runners.answers import RunRecord
from salver.runners.contract import Runner
from salver.supervise import runexec

ENGINES = ("local", "dask", "slurm")


class Engine(Record):
    """How jobs are run.

    Attributes:
        name: one of `ENGINES`.
        scheduler: address of a Dask scheduler to join.
        pools: file about pools of Slurm pilots.
        pin: each worker has a physical core of its own.
        warm_up: first an unrecorded run of every solver, on other machines one on each worker.
        backend: what limits and measures the runs.
    """

    name: str = "local"
    scheduler: str | None = None
    pools: Path | None = None
    pin: bool = False
    warm_up: bool = False
    backend: Backend = "salver"

    @property
    def is_here(self) -> bool:
        """Whether the jobs run on this machine."""
        return self.name == "local" or (self.name == "dask" and self.scheduler is None)


def check_engine(engine: Engine, device: str = "cpu", workers: int = 1) -> None:
    """Raises SalverError for an unknown engine, options of another one, or what is not there."""
    if engine.name not in ENGINES:
        raise SalverError(f"no engine {engine.name!r}", "--engine", f"choose one of {', '.join(ENGINES)}")
    if engine.scheduler is not None and engine.name != "dask":
        raise SalverError("is for --engine dask", "--scheduler", f"leave it out with --engine {engine.name}")
    if engine.pools is not None and engine.name != "slurm":
        raise SalverError("is for --engine slurm", "--pools", f"leave it out with --engine {engine.name}")
    if engine.pin and not engine.is_here:
        raise SalverError("is for this machine's cores", "--pin", "leave it out; give --pin to Dask workers")
    if engine.pin:
        _pinned(_slots(workers))
    if engine.backend == "runexec" and (reason := runexec.unavailable()):
        raise SalverError(reason, "--backend runexec", "see `salver doctor`")
    if engine.scheduler is not None and not engine.scheduler.startswith(("tcp://", "tls://")):
        raise SalverError(f"{engine.scheduler!r} is no address", "--scheduler", "write tcp://host:port")
    if engine.name != "local" and importlib.util.find_spec("distributed") is None:
        mend = "install salver[dask]"
        raise SalverError("needs the package distributed", f"--engine {engine.name}", mend)
    if engine.name == "slurm":
        from salver.run.cluster.pools import read_pools
        from salver.run.cluster.slurm import require_slurm

        require_slurm()
        read_pools(engine.pools, device)


def run_jobs(
    engine: Engine,
    planned: Plan,
    runners: Mapping[str, Runner],
    root: Path,
    run_dir: Path,
    workers: int,
    device: str,
    on_finish: Callable[[RunRecord], None],
    log: EventLog | None = None,
) -> RunSummary:
    """Runs a plan on the chosen engine; see `run_local`, `run_dask`, `run_slurm`."""
    check_engine(engine, device, workers)
    jobs, ready = planned.jobs, planned.unsupported
    slots = _slots(workers)
    if engine.name == "local":
        return run_local(
            jobs,
            runners,
            root,
            run_dir,
            workers=slots,
            on_finish=on_finish,
            ready=ready,
            cores=_pinned(slots) if engine.pin else None,
            gpus=_gpus() if device == "cuda" else (),
            warm_up=engine.warm_up,
            backend=engine.backend,
            log=log,
        )
    if engine.name == "slurm":
        from salver.run.cluster.pools import read_pools
        from salver.run.cluster.slurm import run_slurm

        pools = read_pools(engine.pools, device)
        return run_slurm(
            jobs,
            runners,
            root,
            run_dir,
            pools=pools,
            on_finish=on_finish,
            ready=ready,
            warm_up=engine.warm_up,
            backend=engine.backend,
            log=log,
        )
    from salver.run.cluster.engine import run_dask
    from salver.run.cluster.workforce import JoinedScheduler, LocalWorkers, Workforce

    if engine.scheduler is not None:
        workforce: Workforce = JoinedScheduler(engine.scheduler)
    else:
        gpus = len(_gpus()) if device == "cuda" else 0
        workforce = LocalWorkers(slots, run_dir / "workers.log", gpus, engine.pin)
    return run_dask(
        jobs,
        runners,
        root,
        run_dir,
        workforce=workforce,
        on_finish=on_finish,
        ready=ready,
        warm_up=engine.warm_up,
        backend=engine.backend,
        log=log,
    )


def _slots(workers: int) -> int:
    return min(workers, os.cpu_count() or 1)


def _pinned(workers: int) -> list[int]:
    cores = physical_cores()
    if workers > len(cores):
        what = f"{workers} workers cannot be pinned to {len(cores)} physical cores"
        raise SalverError(what, "--pin", "lower --workers")
    return cores


def _gpus() -> tuple[str, ...]:
    import torch

    return gpu_names(torch.cuda.device_count())
