"""Control groups: found, limited, read, and gone afterwards, whoever dies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.faults.course import left_groups
from salver.runners.answers import RunRecord
from salver.supervise import cgroups, process
from salver.supervise.cgroups import available, locate, make_group, sweep
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.group import UNIFIED, Group
from salver.supervise.process import run_supervised
from salver.supervise.supervisor import Tree
from tests.fake_solvers.runner import alive, script

V1_MOUNTS = """\
30 24 0:26 / /cg/memory rw,relatime - cgroup cgroup rw,memory
31 24 0:27 / /cg/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /cg/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_OWN = "4:memory:/user/1\n2:cpu,cpuacct:/\n0::/\n"


@pytest.fixture
def groups() -> Iterator[None]:
    """Skips where the machine has no control groups; nothing of ours may be left afterwards."""
    if not available().version:
        pytest.skip(f"no control groups: {available().reason}")
    yield
    assert left_groups() == []


def wait_until_gone(maker: int) -> None:
    end = time.monotonic() + 20
    while left_groups([maker]):
        assert time.monotonic() < end, left_groups([maker])
        time.sleep(0.01)


def test_version_1_is_found_by_controller() -> None:
    found = locate(V1_MOUNTS, V1_OWN)
    assert (found.version, found.label) == (1, "cgroup-v1")
    assert found.parents == {"memory": Path("/cg/memory/user/1"), "cpuacct": Path("/cg/cpu,cpuacct")}


def test_version_2_is_found_where_it_controls_memory(tmp_path: Path) -> None:
    mounts = f"32 24 0:28 /box {tmp_path} rw - cgroup2 cgroup2 rw\n"
    (tmp_path / "own").mkdir()
    assert locate(mounts, "0::/box/own\n").version == 0
    (tmp_path / "own" / "cgroup.controllers").write_text("cpu memory pids\n")
    assert locate(mounts, "0::/box/own\n")[:2] == (2, {UNIFIED: tmp_path / "own"})
    assert locate(mounts, "0::/elsewhere\n").version == 0
    assert locate(mounts, "0::/../own\n").version == 0


def test_no_group_without_mounts_or_when_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate("", "0::/\n").reason == "no control groups for memory are mounted"
    monkeypatch.setenv("SALVER_CGROUPS", "off")
    assert available().label == "rss-polling"
    assert "SALVER_CGROUPS" in available().reason
    assert make_group(10) is None


def test_figures_of_version_2_are_read(tmp_path: Path) -> None:
    texts = {
        "memory.peak": "2097152\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        "memory.events": "low 0\noom 3\noom_kill 2\noom_group_kill 1\n",
        "cgroup.procs": "12\n13\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    group = Group({UNIFIED: str(tmp_path)})
    group.measure()
    assert (group.label, group.peak_kib, group.cpu_s, group.ooms) == ("cgroup-v2", 2048, 1.5, 2)
    assert group.pids() == {12, 13}
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "cgroup.procs").write_text("14\n")
    assert group.pids() == {12, 13, 14}


def test_without_a_peak_of_the_kernel_s_it_is_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("2097152\n")
    (tmp_path / "memory.max").write_text("8388608\n")
    group = Group({UNIFIED: str(tmp_path)})
    group.measure()
    assert group.peak_kib == 2048
    group.held(4096)
    assert group.peak_kib == 4096
    group.held(16384)
    assert group.peak_kib == 8192
    full = Group({UNIFIED: str(tmp_path)})
    (tmp_path / "memory.events").write_text("max 3\noom 1\noom_kill 1\n")
    full.measure()
    assert full.peak_kib == 8192
    (tmp_path / "memory.peak").write_text("1048576\n")
    kept = Group({UNIFIED: str(tmp_path)})
    kept.measure()
    kept.held(4096)
    assert kept.peak_kib == 1024


@pytest.mark.parametrize(
    ("events", "ending"),
    [("max 9\noom 0\noom_kill 1\n", "infrastructure"), ("max 9\noom 1\noom_kill 1\n", "memory")],
)
def test_only_the_run_s_own_limit_counts(tmp_path: Path, events: str, ending: str) -> None:
    (tmp_path / "memory.events").write_text(events)
    tree = Tree(os.getpid(), Group({UNIFIED: str(tmp_path)}))
    assert tree.over({"memory_mb": 10, "cpu_s": None}) == ending


def test_without_cgroup_kill_a_group_is_frozen_while_its_processes_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.procs").write_text("12\n")
    freeze, seen = tmp_path / "cgroup.freeze", []
    freeze.write_text("0")
    monkeypatch.setattr(os, "kill", lambda pid, _: seen.append((pid, freeze.read_text())))
    Group({UNIFIED: str(tmp_path)}).kill()
    assert (seen, freeze.read_text()) == ([(12, "1")], "0")
    (tmp_path / "cgroup.kill").write_text("0")
    Group({UNIFIED: str(tmp_path)}).kill()
    assert ((tmp_path / "cgroup.kill").read_text(), len(seen)) == ("1", 1)


def test_limits_of_version_2_are_written(tmp_path: Path) -> None:
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    for name in names:
        (tmp_path / name).write_text("")
    cgroups.limit_of(Group({UNIFIED: str(tmp_path)}), 10 << 20)
    assert [(tmp_path / name).read_text() for name in names] == ["10485760", "0", "1", "4096"]
    (tmp_path / "memory.max").unlink()
    with pytest.raises(OSError):
        cgroups.limit_of(Group({UNIFIED: str(tmp_path)}), 1)


def run(tmp_path: Path, behaviour: str, *arguments: str, memory_mb: int = 100) -> Finished:
    pids = tmp_path / "pids"
    pids.mkdir(exist_ok=True)
    limits = Limits(wall_s=20, memory_mb=memory_mb)
    command = script(behaviour, "query", *arguments)
    return run_supervised(command, tmp_path, limits, environment={"FAKE_PIDS": str(pids)})


@pytest.mark.slow
@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    "arguments", [("memory_burst",), ("memory_hog",), ("memory_family", "40", "private")]
)
def test_memory_never_exceeds_the_limit_of_a_group(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    finished = run(tmp_path, *arguments)
    assert (finished.termination, finished.stdout) == (Termination.MEMORY, "")
    assert 90 < finished.memory_mb <= 100
    assert finished.measured == available().label


@pytest.mark.parametrize("arguments", [("memory_hog",), ("memory_family", "40", "private")])
def test_without_groups_memory_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SALVER_CGROUPS", "off")
    finished = run(tmp_path, *arguments)
    assert finished.termination is Termination.MEMORY
    assert finished.memory_mb > 100
    assert finished.measured == "rss-polling"


@pytest.mark.usefixtures("groups")
def test_memory_that_a_group_above_lacks_is_not_the_run_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if available().version != 1:
        pytest.skip("test_cgroups_v2.py tries it on version 2")
    above = available().parents["memory"] / f"salver-test-{os.getpid()}"
    above.mkdir()
    try:
        (above / "memory.limit_in_bytes").write_text(str(80 << 20))
        places = available()._replace(parents={**available().parents, "memory": above})
        monkeypatch.setattr(process, "make_group", lambda memory_mb: make_group(memory_mb, places))
        finished = run(tmp_path, "memory_burst", memory_mb=400)
    finally:
        above.rmdir()
    assert finished.termination is Termination.INFRASTRUCTURE
    assert "below its own limit" in finished.reason


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("behaviour", ["forks", "daemon", "hydra", "unknown", "crashes"])
def test_no_group_is_left_by_a_run(tmp_path: Path, behaviour: str) -> None:
    assert run(tmp_path, behaviour).measured == available().label


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENODEV, errno.EEXIST])
def test_a_folder_that_others_remove_meanwhile_is_made_again(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failures, mkdir = [number] * 3, Path.mkdir

    def make(path: Path, *arguments: object, **options: object) -> None:
        if failures:
            raise OSError(failures.pop(), "gone at that moment")
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", make)
    group = make_group(50)
    assert group is not None
    assert group.remove()


@pytest.mark.usefixtures("groups")
def test_groups_of_a_group_are_removed() -> None:
    group = make_group(50)
    assert group is not None
    for folder in set(group.folders.values()):
        (Path(folder) / "deep" / "er").mkdir(parents=True)
    assert group.remove()


COORDINATOR = (
    "import sys; from pathlib import Path; from salver.supervise.process import run_supervised;"
    "from salver.supervise.finished import Limits; pids, scratch, *command = sys.argv[1:];"
    "run_supervised(command, Path(scratch), Limits(wall_s=60),"
    "environment={'FAKE_PIDS': pids}, scratch=Path(scratch))"
)


@pytest.mark.slow
@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("also_supervisor", [False, True])
def test_groups_of_a_killed_coordinator_go(tmp_path: Path, also_supervisor: bool) -> None:
    pids, scratch = tmp_path / "pids", tmp_path / "scratch"
    pids.mkdir()
    scratch.mkdir()
    tail = [str(pids), str(scratch), *script("daemon", "query", "stay")]
    with subprocess.Popen([sys.executable, "-c", COORDINATOR, *tail]) as coordinator:
        end = time.monotonic() + 20
        while not list(pids.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.01)
        children = Path(f"/proc/{coordinator.pid}/task/{coordinator.pid}/children").read_text().split()
        if also_supervisor:
            coordinator.send_signal(signal.SIGSTOP)
            os.kill(int(children[0]), signal.SIGKILL)
        coordinator.kill()
    if also_supervisor:
        sweep()  # another coordinator of this machine may have done it already
    wait_until_gone(coordinator.pid)
    assert alive(pids) == []


def test_records_of_before_still_parse() -> None:
    fields = dict.fromkeys(("key", "suite", "instance_id", "instance", "family", "solver", "reason"), "x")
    numbers = dict.fromkeys(("limit_s", "wall_s", "cpu_s", "memory_mb"), 1.0)
    ending = {"termination": "exited", "exit_code": 0, "signal": None, "claim": "unsat"}
    old = {**fields, **numbers, **ending, "solver_version": "1", "repetition": 0}
    assert RunRecord.model_validate(old).measured == "rss-polling"
