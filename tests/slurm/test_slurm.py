"""Pilots on a real Slurm: they start, are replaced when they end, and leave with their coordinator."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from experiments.engines.bench import Bench, coordinated, until
from salver.core.errors import SalverError
from salver.run.cluster import slurm
from salver.run.cluster.pools import Pool, Pools
from salver.run.cluster.slurm import run_slurm
from salver.run.events import RunSummary, Work
from salver.run.job import Folders
from salver.runners.answers import Claim
from salver.supervise.finished import Limits, Termination
from tests.engines.conftest import Make
from tests.fake_solvers.project import Fake

pytestmark = [pytest.mark.usefixtures("slurm"), pytest.mark.slow]
SMALL = Limits(wall_s=10.0, memory_mb=500)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.5)


def pools(*pool: Pool, margin_s: float = 60.0) -> Pools:
    return Pools(scheduler_host="127.0.0.2", margin_s=margin_s, pool=pool)


def run(bench: Bench, instances: str, chosen: Pools, limits: Limits = SMALL, **runners) -> RunSummary:
    runners = runners or bench.runners()
    planned = bench.plan(runners, instances, limits)
    return run_slurm(Work(planned, runners, Folders(bench.root, bench.run_dir)), chosen)


def queued() -> list[str]:
    """Ids of the Slurm jobs that wait, run or end."""
    command = ["squeue", "--noheader", "--format=%i"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def started(bench: Bench) -> list[Path]:
    return list(bench.pids.glob("started-*"))


def test_cpu_and_gpu_pools_share_the_jobs(make: Make) -> None:
    bench = make({"unsat": Fake("unsat"), "sees": Fake("sees", ("0.5",))})
    bench.run_dir = bench.folder / "a run"
    runners = {**bench.runners("unsat"), **bench.runners("sees", device="cuda")}
    chosen = pools(
        Pool(name="cpu", count=1, cores=1, time="5"), Pool(name="gpu", count=1, cores=2, gpus=2, time="5")
    )
    assert run(bench, "abcd", chosen, **runners) == RunSummary(8, 0, 0)
    assert {(r.termination, r.claim) for r in bench.records()} == {(Termination.EXITED, Claim.UNSAT)}
    seen = [json.loads(path.read_text())["gpus"] for path in bench.pids.glob("seen-*")]
    assert sorted(seen) == ["0", "0", "1", "1"]
    names = {path.name.partition("-")[0] for path in (bench.run_dir / "pilots").iterdir()}
    assert names == {"cpu", "gpu"}
    until(lambda: queued() == [])


@pytest.mark.parametrize("how", [(), ("--signal=KILL", "--full")], ids=["cancelled", "killed"])
def test_a_job_whose_pilot_is_cancelled_or_killed_is_run_again(make: Make, how: tuple[str, ...]) -> None:
    bench = make({"waits": Fake("waits")})
    with coordinated(bench, "abc", "slurm") as coordinator:
        until(lambda: len(started(bench)) == 1)
        subprocess.run(["scancel", *how, *queued()], check=True)
        until(lambda: len(started(bench)) == 2)
        (bench.pids / "go").touch()
        assert coordinator.wait(60) == 0
    assert [(line["termination"], line["claim"]) for line in bench.lines()] == [("exited", "unsat")] * 3
    assert sorted(len(bench.starts(name)) for name in "abc") == [1, 1, 2]


def test_a_pilot_takes_no_job_that_its_time_limit_might_cut(make: Make) -> None:
    bench = make({"sees": Fake("sees", ("1.2",))})
    limits = SMALL.model_copy(update={"wall_s": 4.0})
    chosen = pools(Pool(count=1, cores=1, time="1"), margin_s=53.0 - limits.grace_s)
    assert run(bench, "abcd", chosen, limits) == RunSummary(4, 0, 0)
    assert {line["termination"] for line in bench.lines()} == {"exited"}
    assert len(list(bench.pids.glob("seen-*"))) == 4
    assert len(list((bench.run_dir / "pilots").iterdir())) >= 2


def test_pilots_leave_a_killed_coordinator_and_resume_completes(make: Make) -> None:
    bench = make({"waits": Fake("waits")})
    with coordinated(bench, "abc", "slurm"):
        until(lambda: len(started(bench)) == 1)
    until(lambda: queued() == [])
    (bench.pids / "go").touch()
    waiting = [
        "sbatch",
        "--parsable",
        "--hold",
        "--output=/dev/null",
        "--job-name=salver-cpu",
        "--mem=10",
        "--wrap=true",
    ]
    stale, foreign = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        for command in (waiting, [*waiting, "--job-name=other"])
    )
    with (bench.run_dir / "pilots" / "submitted").open("a") as file:
        file.write(f"salver-cpu {stale}\nsalver-cpu {foreign}\n")
    assert run(bench, "abc", pools(Pool(count=1, cores=1, time="5"))) == RunSummary(3, 0, 0)
    until(lambda: queued() == [foreign])
    subprocess.run(["scancel", foreign], check=True)
    assert len(bench.lines()) == 3
    assert sorted(len(bench.starts(name)) for name in "abc") == [1, 1, 2]


def test_what_slurm_refuses_and_pilots_that_die_are_clear_lines(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = make({"unsat": Fake("unsat")})
    with pytest.raises(SalverError, match=r"pool cpu: sbatch refuses a pilot \(.*[Ii]nvalid partition.*\)"):
        run(bench, "a", pools(Pool(partition="nowhere")))
    monkeypatch.setattr(slurm, "pilot_script", lambda *_: "#!/bin/sh\n#SBATCH --output=/dev/null\nexit 1\n")
    with pytest.raises(SalverError, match=r"/pilots: \d+ pilots ended without any job finishing; read the"):
        run(bench, "a", pools(Pool(count=1)))
    until(lambda: queued() == [])
