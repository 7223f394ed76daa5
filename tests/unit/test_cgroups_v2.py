"""Version 2 on a real kernel, in the places in which users find themselves: a scope, a container, beside others.

Root makes the places, each below the mounted root group; elsewhere these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.execute import cgroups
from salver.execute.group import UNIFIED, Group, write_text
from tests.conftest import ROOT

NOBODY = 65534
Play = Callable[..., dict[str, Any]]


def top() -> Path:
    """The mounted root group of version 2; skips where it hands on no memory, or not to us."""
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
    """A new group whose children may have limits; everything in it is gone afterwards."""
    folder = top() / f"salver-test-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    assert Group({UNIFIED: str(folder)}).remove()


@pytest.fixture
def play(scope: Path) -> Play:
    """Plays a scene in the group."""

    def played(**scene: Any) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "tests.unit.cgroup_scene",
            json.dumps({"group": str(scope), **scene}),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        assert not list(scope.rglob(f"{cgroups.FOLDER}/*-*")), "a run's group is left"
        return told

    return played


def test_alone_in_a_scope(play: Play, scope: Path) -> None:
    runs = [
        (["memory_burst"], {}),
        (["memory_family", "40", "private"], {}),
        (["burns_cpu"], {"cpu_s": 0.3}),
        (["daemon"], {}),
        (["hydra"], {}),
        (["fork_bomb", "100"], {"wall_s": 0.5, "grace_s": 0}),
    ]
    told = play(runs=runs)
    assert (told["version"], told["parents"]) == (2, {UNIFIED: str(scope)})
    ends = [(run["termination"], run["measured"], run["alive"]) for run in told["runs"]]
    wanted = ("memory", "memory", "cputime", "exited", "exited", "walltime")
    assert ends == [(end, "cgroup-v2", 0) for end in wanted]
    assert all(90 < run["memory_mb"] <= 100 for run in told["runs"][:2])
    assert 0.3 < told["runs"][2]["cpu_s"] < 0.5
