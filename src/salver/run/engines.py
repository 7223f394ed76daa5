"""Which engine runs a suite, and whether what was asked of it makes sense."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.run.events import RunSummary, Work
from salver.run.job import Backend
from salver.run.local import run_local
from salver.run.slots import gpu_names, physical_cores
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
        _pinned(slots_here(workers))
    if engine.backend == "runexec" and (reason := runexec.unavailable()):
        raise SalverError(reason, "--backend runexec", "see `salver doctor`")
    if engine.scheduler is not None and not engine.scheduler.startswith(("tcp://", "tls://")):
        raise SalverError(f"{engine.scheduler!r} is no address", "--scheduler", "write tcp://host:port")
    if engine.name != "local" and importlib.util.find_spec("distributed") is None:
        hint = "install salver[dask]"
        raise SalverError("needs the package distributed", f"--engine {engine.name}", hint)
    if engine.name == "slurm":
        from salver.run.cluster.pools import read_pools
        from salver.run.cluster.slurm import require_slurm

        require_slurm()
        read_pools(engine.pools, device)


def run_jobs(engine: Engine, work: Work, workers: int, device: str) -> RunSummary:
    """Does the work on the chosen engine; see `run_local`, `run_dask`, `run_slurm`."""
    check_engine(engine, device, workers)
    slots = slots_here(workers)
    gpus = _gpus() if device == "cuda" and engine.is_here else ()
    if engine.name == "local":
        return run_local(work, slots, _pinned(slots) if engine.pin else None, gpus)
    if engine.name == "slurm":
        from salver.run.cluster.pools import read_pools
        from salver.run.cluster.slurm import run_slurm

        return run_slurm(work, read_pools(engine.pools, device))
    from salver.run.cluster.engine import run_dask
    from salver.run.cluster.workforce import JoinedScheduler, LocalWorkers

    if engine.scheduler is not None:
        return run_dask(work, JoinedScheduler(engine.scheduler))
    log = work.folders.run_dir / "workers.log"
    return run_dask(work, LocalWorkers(slots, log, len(gpus), engine.pin))


def slots_here(workers: int) -> int:
    """Jobs of one core that run side by side on this machine: as many as it has cores, at most."""
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
