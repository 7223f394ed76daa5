"""Version 2 on a real kernel, in the places where users find themselves: a scope, a container, beside others.

Root makes the places below the mounted root group; without that these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.supervise import cgroups
from salver.supervise.delegation import ENGINE
from salver.supervise.group import UNIFIED, Group, write_text
from tests.conftest import ROOT

NOBODY = 65534
SHORT = [(["unknown"], {})]
Play = Callable[..., dict[str, Any]]


def top() -> Path:
    """The mounted root group of version 2; skips where it hands on too little, or not to us."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        folder = Path(before.split()[4])
        if after.startswith("cgroup2 ") and before.split()[3] == "/":
            handed_on = (folder / "cgroup.subtree_control").read_text().split()
            if {"memory", "pids"} <= set(handed_on) and os.geteuid() == 0 and os.access(folder, os.W_OK):
                return folder
    pytest.skip("no root group of version 2 that hands on memory and pids and that this user may write")


@pytest.fixture
def scope() -> Iterator[Path]:
    """A new group with all controllers; everything in it is gone afterwards."""
    outer = top() / f"salver-test-{uuid.uuid4().hex[:8]}"
    outer.mkdir()
    write_text(f"{outer}/cgroup.subtree_control", "+memory +pids")
    (outer / "scope").mkdir()
    yield outer / "scope"
    assert Group({UNIFIED: str(outer)}).remove()


@pytest.fixture
def play(scope: Path) -> Play:
    """Plays a scene in the group, and looks for groups of runs afterwards."""

    def played(**scene: Any) -> dict[str, Any]:
        told = _play({"group": str(scope), "runs": SHORT, **scene})
        assert not list(scope.rglob(f"{cgroups.FOLDER}/*-*")), "a run's group is left"
        return told

    return played


def _play(scene: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.builders.cgroup_scene", json.dumps(scene)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    wanted = f"cgroup-v{told['version']}" if told["version"] else "rss-polling"
    assert {run["measured"] for run in told["runs"]} <= {wanted}
    assert not any(run["alive"] for run in told["runs"])
    return told


def hand_over(group: Path, user: int) -> None:
    """Gives a group away as systemd does for `Delegate=yes`: it may be divided, its own limits stay."""
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        os.chown(group / name, user, user)


def test_alone_in_a_scope(play: Play, scope: Path) -> None:
    told = play(
        runs=[
            (["memory_burst"], {}),
            (["memory_family", "40", "private"], {}),
            (["burns_cpu"], {"cpu_s": 0.3}),
            (["daemon"], {}),
            (["hydra"], {}),
            (["fork_bomb", "100"], {"wall_s": 0.5, "grace_s": 0}),
        ]
    )
    assert (told["version"], told["parents"]) == (2, {UNIFIED: str(scope)})
    ends = [run["termination"] for run in told["runs"]]
    assert ends == ["memory", "memory", "cputime", "exited", "exited", "walltime"]
    assert all(90 < run["memory_mb"] <= 100 for run in told["runs"][:2])
    assert 0.3 < told["runs"][2]["cpu_s"] < 1
    assert 1 < told["runs"][3]["memory_mb"] < 90


def test_the_kernel_takes_every_limit() -> None:
    if cgroups.available().version != 2:
        pytest.skip(f"version 2 is not in use: {cgroups.available().reason}")
    group = cgroups.make_group(64)
    assert group is not None
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    found = [Path(group.folders[UNIFIED], name).read_text().strip() for name in names]
    assert group.remove()
    assert found == [str(64 << 20), "0", "1", str(cgroups.MOST_PROCESSES)]


def test_a_coordinator_that_an_engine_started(play: Play, scope: Path) -> None:
    told = play(within={"group": str(scope / ENGINE), "runs": SHORT})
    for one in (told, told["within"]):
        assert (one["version"], one["parents"]) == (2, {UNIFIED: str(scope)}), one["reason"]


def test_others_in_a_group_that_is_not_ours_stay(play: Play, scope: Path) -> None:
    told = play(beside=True)
    assert told["version"] == 0
    assert told["reason"].startswith(
        f"{scope} cannot be used (other processes are in it); start with `systemd-"
    )
    assert not (scope / ENGINE).exists()


@pytest.mark.parametrize("mark", ["user.delegate", "trusted.delegate"])
def test_others_in_a_group_that_was_handed_over_are_moved(play: Play, scope: Path, mark: str) -> None:
    os.setxattr(scope, mark, b"1")
    told = play(beside=True)
    assert (told["version"], told["parents"]) == (2, {UNIFIED: str(scope)}), told["reason"]


def test_others_in_a_container_are_moved(play: Play) -> None:
    told = play(beside=True, namespace=True, mount="rw")
    assert told["version"] == 2, told["reason"]
    assert told["own"] == f"0::/{ENGINE}\n"


@pytest.mark.parametrize("namespace", [False, True])
def test_groups_that_are_mounted_read_only(play: Play, namespace: bool) -> None:
    told = play(namespace=namespace, mount="ro")
    assert told["version"] == 0
    assert "(Read-only file system); give the container groups that it may write" in told["reason"]


def test_a_namespace_that_still_sees_the_mount_of_before(play: Play) -> None:
    assert play(namespace=True)["reason"] == "no control groups for memory are mounted"


def test_without_a_controller(play: Play, scope: Path) -> None:
    write_text(f"{scope.parent}/cgroup.subtree_control", "-pids")
    assert play()["version"] == 2
    for left in (scope / ENGINE, scope):
        left.rmdir()
    write_text(f"{scope.parent}/cgroup.subtree_control", "-memory +pids")
    scope.mkdir()
    assert play()["reason"].startswith(f"{scope} cannot be used (it has no memory controller); start with")


@pytest.mark.parametrize("owned", [True, False])
def test_a_user_without_rights(play: Play, scope: Path, owned: bool) -> None:
    probe = subprocess.run([sys.executable, "-c", ""], user=NOBODY, group=NOBODY, check=False)
    if probe.returncode:
        pytest.skip("other users may not read this Python")
    if owned:
        hand_over(scope, NOBODY)
    told = play(user=NOBODY, runs=[(["memory_hog"], {}), (["daemon"], {})])
    assert told["version"] == (2 if owned else 0)
    assert [run["termination"] for run in told["runs"]] == ["memory", "exited"]
    if not owned:
        assert "(Permission denied); start with `systemd-run --user --scope" in told["reason"]


def test_memory_that_a_group_above_lacks_is_not_the_run_s_fault(play: Play, scope: Path) -> None:
    write_text(f"{scope}/memory.max", str(80 << 20))
    (run,) = play(runs=[(["memory_burst"], {"memory_mb": 400})])["runs"]
    assert run["termination"] == "infrastructure"
    assert "below its own limit" in run["reason"]
