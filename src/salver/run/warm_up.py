"""Unrecorded runs, so that no measured run pays for cold file caches."""

from __future__ import annotations

import threading

from salver.run.job import Folders, run_job
from salver.run.plan import PlannedJob
from salver.run.stage import private_folder
from salver.runners.contract import Runner

_LONGEST_S = 10.0


def warm_up(
    planned: PlannedJob,
    runner: Runner,
    folders: Folders,
    *,
    cores: tuple[int, ...] | None,
    gpu: str | None,
    stop: threading.Event,
) -> None:
    """Runs a job once, for a short time and in a folder that is thrown away; arguments as for `run_job`."""
    limits = planned.job.limits
    short = limits.model_copy(update={"wall_s": min(limits.wall_s, _LONGEST_S)})
    job = planned.job.model_copy(update={"limits": short})
    with private_folder(folders.scratch) as aside:
        run_job(
            planned.model_copy(update={"job": job}),
            runner,
            folders._replace(run_dir=aside),
            cores=cores,
            gpu=gpu,
            stop=stop,
        )
