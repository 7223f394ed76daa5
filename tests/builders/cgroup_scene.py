"""Plays one coordinator in a group of version 2, for `test_cgroups_v2.py`; prints what it found as JSON.

    python -m tests.builders.cgroup_scene '{"group": FOLDER, ...}'

Without a group it stays where it is. `beside` leaves another process in the group, `namespace` makes the
group the root of a namespace of groups, and `mount` mounts its own view of them (`ro` or `rw`) in a namespace
of mounts, `user` is who runs.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from salver.supervise.cgroups import available
from salver.supervise.finished import Limits
from salver.supervise.group import write_text
from salver.supervise.process import run_supervised
from tests.fake_solvers.runner import alive, script

NEW_MOUNTS, NEW_GROUPS, PRIVATE = 0x00020000, 0x02000000, 0x4000 | 1 << 18
CONTROL = "/sys/fs/cgroup"


def system_call(name: str, *arguments: object) -> None:
    """Raises OSError where the call fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} failed")


def enter(scene: dict[str, Any]) -> None:
    """Becomes what the scene says."""
    if group := scene.get("group"):
        write_text(f"{group}/cgroup.procs", "0")
    if scene.get("namespace"):
        system_call("unshare", NEW_GROUPS)
    if mode := scene.get("mount"):
        system_call("unshare", NEW_MOUNTS)
        system_call("mount", b"none", b"/", None, PRIVATE, None)
        subprocess.run(["umount", "--recursive", "--lazy", CONTROL], check=True)
        subprocess.run(["mount", "-t", "cgroup2", "-o", mode, "cgroup2", CONTROL], check=True)
    if user := scene.get("user"):
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def run(behaviour: str, *arguments: str, **limits: float) -> dict[str, Any]:
    """One run of a fake solver; how it ended and how many processes of it are left."""
    with tempfile.TemporaryDirectory() as folder:
        pids = Path(folder, "pids")
        pids.mkdir()
        finished = run_supervised(
            script(behaviour, "query", *arguments),
            Path(folder),
            Limits(**{"wall_s": 60, "memory_mb": 100, **limits}),
            environment={"FAKE_PIDS": str(pids)},
        )
        return {**finished.model_dump(mode="json"), "alive": len(alive(pids))}


def play(scene: dict[str, Any]) -> dict[str, Any]:
    """What the groups are here, and the ends of the scene's runs."""
    enter(scene)
    found = available()
    told = {"version": found.version, "parents": {k: str(p) for k, p in found.parents.items()}}
    told |= {"reason": found.reason, "own": Path("/proc/self/cgroup").read_text()}
    told["runs"] = [run(*words, **limits) for words, limits in scene.get("runs", [])]
    if within := scene.get("within"):
        command = [sys.executable, "-m", "tests.builders.cgroup_scene", json.dumps(within)]
        told["within"] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return told


def main() -> None:
    """Plays, with another process in the group meanwhile where the scene says so."""
    scene = json.loads(sys.argv[1])
    if not scene.get("beside"):
        print(json.dumps(play(scene)))
        return
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            write_text(f"{scene['group']}/cgroup.procs", str(other.pid))
            print(json.dumps(play(scene)))
        finally:
            other.kill()


if __name__ == "__main__":
    main()
