"""A run of quick fake solvers as a process of its own, to be killed. Arguments: a folder, instances."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from salver.core.errors import SalverError
from salver.run.events import Work
from salver.run.job import Folders
from salver.run.local import run_local
from salver.run.plan import Plan, plan
from salver.supervise.finished import Limits
from tests.fake_solvers.runner import FakeRunner, fake_instance

SLOW = Limits(wall_s=0.2, grace_s=0.05)
ROOMY = Limits(wall_s=60.0)


class RunPlaces(NamedTuple):
    """Where one run lies. `run` may be a file system of its own."""

    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def pids(self) -> Path:
        return self.folder / "pids"

    def make(self) -> None:
        for folder in (self.scratch, self.pids):
            folder.mkdir(parents=True)


def jobs(places: RunPlaces, instances: int) -> tuple[Plan, dict[str, FakeRunner]]:
    """Two solvers that answer and one that is always too slow, on that many instances."""
    runners = {n: FakeRunner("answers_by_name", places.pids, n) for n in ("quick", "other", "slow")}
    cases = [fake_instance(places.folder / "set", f"case{number}") for number in range(instances)]
    limits = {name: SLOW if name == "slow" else ROOMY for name in runners}
    return plan(cases, runners, lambda _, r: limits[r.arguments[0]], repetitions=1, seed=0), runners


def main(folder: str, instances: str) -> int:
    """Runs or resumes; returns 0 when all is done, 1 when stopped, 2 after an error."""
    places = RunPlaces(Path(folder))
    planned, runners = jobs(places, int(instances))
    try:
        folders = Folders(places.folder / "set", places.run, places.scratch)
        summary = run_local(Work(planned, runners, folders), 2)
    except SalverError as error:
        print(error, file=sys.stderr)
        return 2
    return 1 if summary.left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
