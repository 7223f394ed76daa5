"""One run as a process of its own: `python -m tests.engines.coordinator FOLDER INSTANCES [ADDRESS]`.

It runs all fakes of the bench in FOLDER on two local Dask slots, or on the workers of a scheduler.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from salver.errors import SalverError
from salver.execute import dask_engine
from salver.execute.workforce import JoinedScheduler, LocalWorkers
from tests.engines.bench import Bench
from tests.fake_solvers.project import Fake


def save(bench: Bench) -> None:
    """Stores what this module needs to know of a bench."""
    (bench.folder / "fakes.json").write_text(json.dumps(bench.fakes))


def main(folder: Path, instances: str, address: str = "") -> None:
    """Runs it, and prints what became of the jobs."""
    raw = json.loads((folder / "fakes.json").read_text())
    fakes = {name: Fake(b, tuple(arguments), *rest) for name, (b, arguments, *rest) in raw.items()}
    bench = Bench(folder, fakes)
    runners = bench.runners()
    workforce = JoinedScheduler(address) if address else LocalWorkers(2, folder / "workers.log")
    print(bench.run(runners, bench.plan(runners, instances), workforce), flush=True)


if __name__ == "__main__":
    dask_engine._CONNECT_S = 2.0
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except SalverError as error:
        sys.exit(f"salver: {error}")
