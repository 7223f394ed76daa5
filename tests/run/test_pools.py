"""Pools of Slurm pilots: what the file says, the batch script, and when pilots are started and given up."""

from __future__ import annotations

import getpass
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.run.cluster import slurm
from salver.run.cluster.pools import Demand, Pool, Pools, lifetime, memory_mb, offer, read_pools, time_s
from salver.run.cluster.slurm import Pilots, pilot_script
from salver.run.cluster.workforce import Request

GOLDEN = Path(__file__).parent.parent / "golden" / "slurm"
DEMAND = Demand(seconds=65.0, memory_mb=4000)
FULL = """
scheduler_host = "10.0.0.1"
margin_s = 90

[[pool]]
name = "cpu"
count = 3
cores = 16
time = "1-02:00"
memory_mb = 33000
partition = "batch"

[[pool]]
name = "gpu"
gpus = 2
account = "proj"
extra = ["--constraint=a100", "--exclusive"]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "pools.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("number", [0, 1])
def test_the_script_of_a_pilot(tmp_path: Path, number: int) -> None:
    pools = read_pools(written(tmp_path, FULL), "cpu")
    pool = pools.pool[number]
    living = lifetime(pool, pools.margin_s, DEMAND)
    script = pilot_script(
        pool, DEMAND, living, "tls://10.0.0.1:8786", Path("/run/pilots/x-%j.log"), Path("/a run/keys")
    )
    assert script.replace(sys.executable, "PYTHON") == (GOLDEN / f"{pool.name}.sh").read_text()


def test_a_file_may_leave_everything_out(tmp_path: Path) -> None:
    pools = read_pools(written(tmp_path, ""), "cpu")
    assert pools.pool == (Pool(),)
    assert [pool.name for pool in read_pools(None, "cuda").pool] == ["gpu", "cpu"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[pool", "is no TOML file"),
        ("[[pool]]\nnodes = 3", "nodes"),
        ("[[pool]]\ntime = '0'", "is no time limit"),
        ("[[pool]]\ntime = '1 hour'", "is no time limit"),
        ("[[pool]]\ncores = 0", "pool.0.cores: 0 is too small"),
        ("[[pool]]\nmemory_mb = 1000", "pool.0.memory_mb: 1000 is too small"),
        ("[[pool]]\npartition = 'a b'", "must not hold white space"),
        ("[[pool]]\nextra = ['--x\\n#SBATCH --y']", "cannot be read|must not hold white space"),
        ('[[pool]]\nextra = ["--x\\n#SBATCH"]', "must not hold white space"),
        ("[[pool]]\nname = '../x'", "pool.0.name: '../x' is not written as it must be; use letters"),
        ("[[pool]]\n[[pool]]", "two pools have one name"),
        ("pool = []", "at least 1"),
    ],
)
def test_wrong_files_are_one_line_that_names_them(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SalverError, match=complaint) as caught:
        read_pools(written(tmp_path, text), "cpu")
    assert "pools.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 5400), ("2:30", 150), ("04:00:00", 14400), ("1-0", 86400), ("1-02:00", 93600), ("0-0:1:5", 65)],
)
def test_time_limits_are_read_as_sbatch_does(text: str, seconds: int) -> None:
    assert time_s(text) == seconds


@given(st.integers(1, 3000), st.floats(0, 600), st.floats(1, 50_000))
def test_a_pilot_takes_no_job_that_could_outlast_it(minutes: int, margin_s: float, longest_s: float) -> None:
    pool, demand = Pool(time=str(minutes)), Demand(longest_s, 100)
    if minutes * 60 <= longest_s + margin_s:
        with pytest.raises(SalverError, match="is too short for runs of"):
            lifetime(pool, margin_s, demand)
        return
    living = lifetime(pool, margin_s, demand)
    latest = living.seconds + living.stagger_s
    assert 0 < living.seconds - living.stagger_s <= latest
    assert latest + longest_s + margin_s <= minutes * 60 + 1e-6


@given(st.integers(1, 64), st.integers(1001, 500_000), st.integers(1, 9000))
def test_a_pilot_s_memory_holds_all_jobs_that_it_offers_cores_for(cores: int, memory: int, job: int) -> None:
    fixed, free, demand = Pool(cores=cores, memory_mb=memory), Pool(cores=cores), Demand(10, job)
    assert memory_mb(fixed, demand) == memory
    assert offer(fixed, demand).cores * job <= memory - 1000
    assert offer(free, demand) == Request(cores)
    assert memory_mb(free, demand) == 1000 + cores * job


class FakeSlurm:
    """Answers sbatch, squeue and scancel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: list[str] = []
        self.cancelled: list[str] = []
        self.scripts: list[str] = []
        self.answers = True
        monkeypatch.setattr(slurm, "called", self)
        monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.0)

    def __call__(self, command: Sequence[str], text: str = "") -> tuple[int, str, str]:
        if command[0] == "sbatch":
            self.scripts.append(text)
            self.alive.append(str(len(self.scripts)))
            return 0, f"{self.alive[-1]};cluster\n", ""
        if command[0] == "scancel":
            self.cancelled += command[1:]
            return 0, "", ""
        if not self.answers:
            return 1, "", "squeue: error: Unable to contact slurm controller"
        if not self.alive:
            return 1, "", "slurm_load_jobs error: Invalid job id specified"
        return 0, "\n".join(self.alive), ""


def pilots(folder: Path, *pool: Pool) -> Pilots:
    return Pilots(Pools(scheduler_host="127.0.0.1", pool=pool), DEMAND, folder)


def test_pilots_are_as_many_as_jobs_need_and_lost_ones_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(monkeypatch)
    crew = pilots(tmp_path, Pool(name="cpu", count=3, cores=2), Pool(name="gpu", count=2, cores=2, gpus=1))
    plain, on_gpu = Request(1), Request(1, 1)
    crew.tend(0, Counter({plain: 2}))
    assert {name: len(ids) for name, ids in crew.ids.items()} == {"cpu": 2, "gpu": 0}
    crew.tend(0, Counter({plain: 9, on_gpu: 1}))
    assert {name: len(ids) for name, ids in crew.ids.items()} == {"cpu": 3, "gpu": 1}
    slurm.alive.remove("1")
    slurm.answers = False
    crew.tend(0, Counter({plain: 9, on_gpu: 1}))
    assert len(slurm.scripts) == 4
    slurm.answers = True
    crew.tend(1, Counter({plain: 9, on_gpu: 1}))
    assert len(slurm.scripts) == 5
    assert "1" not in crew.ids["cpu"]
    slurm.alive.clear()
    crew.tend(2, Counter())
    assert crew.ids == {"cpu": [], "gpu": []}


def test_a_pool_of_gpus_serves_the_others_where_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeSlurm(monkeypatch)
    crew = pilots(tmp_path, Pool(name="cpu", cores=1), Pool(name="gpu", cores=4, gpus=1))
    crew.tend(0, Counter({Request(2): 5}))
    assert {name: len(ids) for name, ids in crew.ids.items()} == {"cpu": 0, "gpu": 2}


def test_pilots_that_die_without_any_result_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(monkeypatch)
    crew = pilots(tmp_path, Pool(count=2))

    def tend() -> None:
        for _ in range(20):
            crew.tend(0, Counter({Request(1): 5}))
            slurm.alive.clear()

    with pytest.raises(SalverError, match="pilots ended without any job finishing"):
        tend()
    assert 6 < len(slurm.scripts) <= 8


def test_all_pilots_and_no_other_jobs_are_cancelled_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(monkeypatch)
    crew = pilots(tmp_path, Pool(count=2))
    with crew.gather() as address:
        crew.tend(0, Counter({Request(1): 5}))
    assert slurm.cancelled == ["1", "2"]
    assert all(address in script for script in slurm.scripts)
    assert not (tmp_path / "submitted").exists()


def test_the_next_run_cancels_what_a_killed_coordinator_left_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = FakeSlurm(monkeypatch)
    pilots(tmp_path, Pool(count=2), Pool(name="gpu", gpus=1)).tend(
        0, Counter({Request(1): 5, Request(1, 1): 5})
    )
    with (tmp_path / "submitted").open("a") as file:
        file.write("salver-cpu x\nsalver-cpu")
    with pilots(tmp_path, Pool()).gather():
        user = f"--user={getpass.getuser()}"
        assert slurm.cancelled == [user, "--name=salver-cpu", "1", "2", user, "--name=salver-gpu", "3", "4"]
    assert not (tmp_path / "submitted").exists()


@pytest.mark.parametrize(
    ("host", "complaint"),
    [("login", "means 127.0.1.1, which no other machine reaches"), ("nowhere", "cannot be resolved")],
)
def test_a_host_that_pilots_cannot_reach_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, complaint: str
) -> None:
    def resolved(name: str) -> str:
        if name == "nowhere":
            raise socket.gaierror("unknown")
        return "127.0.1.1"

    monkeypatch.setattr(slurm.socket, "gethostbyname", resolved)
    crew = Pilots(Pools(scheduler_host=host), DEMAND, tmp_path)
    with pytest.raises(SalverError, match=f"scheduler_host {host}: {complaint}"), crew.gather():
        pass
