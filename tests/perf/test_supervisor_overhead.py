"""What supervising costs per run: `pytest --benchmark-enable tests/perf/test_supervisor_overhead.py`."""

from __future__ import annotations

from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture

from salver.run.job import Folders, run_job
from salver.run.plan import plan
from salver.runners.answers import Claim
from salver.supervise.finished import Limits, Termination
from salver.supervise.process import run_supervised
from tests.fake_solvers.runner import FakeRunner, fake_instance

LIMITS = Limits(wall_s=20.0)


def test_supervisor_alone(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    finished = benchmark(run_supervised, ["true"], tmp_path, LIMITS)
    assert finished.termination is Termination.EXITED


def test_whole_job(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Copies, supervisor, a Python process that prints one word, parsing and storing the logs."""
    runner = FakeRunner("unsat", tmp_path)
    instance = fake_instance(tmp_path / "set")
    (planned,) = plan([instance], {"fake": runner}, lambda *_: LIMITS, repetitions=1, seed=0).jobs
    record = benchmark(run_job, planned, runner, Folders(tmp_path / "set", tmp_path / "run"))
    assert record.claim is Claim.UNSAT
