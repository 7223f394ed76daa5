"""Cores and GPUs on Dask workers: each job has its own, and no job sees another's."""

from __future__ import annotations

import itertools
import json

import pytest

from experiments.engines.bench import Bench
from salver.core.errors import SalverError
from salver.run.cluster.workforce import LocalWorkers
from salver.run.engines import Engine, check_engine
from salver.run.slots import physical_cores
from tests.engines.conftest import Make
from tests.fake_solvers.project import Fake

SEES = {"sees": Fake("sees", ("0.3",)), "sees-gpu": Fake("sees", ("0.3",)), "wide": Fake("sees", ("0.1",), 2)}


def seen(bench: Bench) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(bench.pids.glob("seen-*"))]


def test_each_job_on_cuda_has_a_gpu_to_itself_and_the_others_see_none(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    bench = make(SEES)
    runners = {**bench.runners("sees"), **bench.runners("sees-gpu", device="cuda")}
    workforce = LocalWorkers(4, bench.folder / "workers.log", gpus=2)
    assert bench.run(runners, bench.plan(runners, "abcd"), workforce).finished == 8
    found = seen(bench)
    assert sum(one["gpus"] == "" for one in found) == 4
    for name in ("GPU-a", "GPU-b"):
        times = sorted((one["from"], one["to"]) for one in found if one["gpus"] == name)
        assert times
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    assert {one["gpus"] for one in found} == {"", "GPU-a", "GPU-b"}


def test_a_job_on_cuda_without_any_gpu_is_refused_at_once(make: Make) -> None:
    bench = make(SEES)
    runners = bench.runners("sees-gpu", device="cuda")
    workforce = LocalWorkers(2, bench.folder / "workers.log")
    with pytest.raises(SalverError, match=r"solver sees-gpu: a run needs 1 core and 1 GPU, .*no worker"):
        bench.run(runners, bench.plan(runners, "ab"), workforce)
    assert bench.lines() == []
    assert seen(bench) == []


def test_pinned_jobs_have_cores_of_their_own(make: Make) -> None:
    bench = make(SEES)
    cores = physical_cores()[:2]
    if len(cores) < 2:
        pytest.skip("needs two physical cores")
    runners = bench.runners("sees", "wide")
    workforce = LocalWorkers(2, bench.folder / "workers.log", pin=True)
    assert bench.run(runners, bench.plan(runners, "abc"), workforce).finished == 6
    found = [one["cores"] for one in seen(bench)]
    assert sorted(found) == sorted([*[cores] * 3, *(one for one in found if len(one) == 1)])
    assert {core for one in found for core in one} == set(cores)


def test_a_worker_runs_each_solver_once_unrecorded_before_the_first_that_counts(make: Make) -> None:
    bench = make(SEES)
    runners = bench.runners("sees", "wide")
    workforce = LocalWorkers(2, bench.folder / "workers.log")
    assert bench.run(runners, bench.plan(runners, "abc"), workforce, warm_up=True).finished == 6
    assert len(bench.records()) == 6
    assert len(list((bench.run_dir / "logs").iterdir())) == 6
    assert len(seen(bench)) == 8


def test_pin_is_for_engines_that_can_keep_it() -> None:
    for engine in (Engine(name="slurm", pin=True), Engine(name="dask", scheduler="tcp://h:1", pin=True)):
        with pytest.raises(SalverError, match="--pin: is for this machine's cores"):
            check_engine(engine)
    check_engine(Engine(name="dask", pin=True))
