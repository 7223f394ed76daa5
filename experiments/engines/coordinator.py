"""One run as a process of its own: `python -m experiments.engines.coordinator FOLDER INSTANCES [WHERE]`.

It runs all fakes of the bench in FOLDER on two local Dask slots, or WHERE: on the workers of the scheduler
with that address, or on one pilot of one core (`slurm`). It prints what became of the jobs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from experiments.engines.bench import LIMITS, Bench
from salver.core.errors import SalverError
from salver.run.cluster import engine, slurm
from salver.run.cluster.pools import Pool, Pools
from salver.run.cluster.workforce import LOOPBACK, JoinedScheduler, LocalWorkers
from salver.run.events import RunSummary, Work
from salver.run.job import Folders
from salver.supervise.finished import Limits
from tests.fake_solvers.project import Fake


def on_slurm(bench: Bench, instances: str) -> RunSummary:
    """Runs it on a pilot."""
    runners = bench.runners()
    planned = bench.plan(runners, instances, Limits(wall_s=LIMITS.wall_s, memory_mb=500))
    pools = Pools(scheduler_host=LOOPBACK, pool=(Pool(count=1, cores=1, time="5"),))
    return slurm.run_slurm(Work(planned, runners, Folders(bench.root, bench.run_dir)), pools)


def main(folder: Path, instances: str, where: str = "") -> None:
    """Runs it."""
    raw = json.loads((folder / "fakes.json").read_text())
    fakes = {name: Fake(b, tuple(arguments), *rest) for name, (b, arguments, *rest) in raw.items()}
    bench = Bench(folder, fakes)
    if where == "slurm":
        print(on_slurm(bench, instances), flush=True)
        return
    runners = bench.runners()
    workforce = JoinedScheduler(where) if where else LocalWorkers(2, folder / "workers.log")
    print(bench.run(runners, bench.plan(runners, instances), workforce), flush=True)


if __name__ == "__main__":
    engine.CONNECT_S = 2.0
    slurm.ASK_EVERY_S = 0.5
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except SalverError as error:
        sys.exit(f"salver: {error}")
