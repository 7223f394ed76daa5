"""Version 2: makes the group of this process one whose children may have limits.

Such a group may hold no processes itself (the root of all groups excepted), so they move into a child of it.
Sources: "No Internal Process Constraint" and "Delegation" in the kernel's `cgroup-v2.rst`; systemd's
`CGROUP_DELEGATION` for the mark on groups that are handed over.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from salver.supervise.group import write_text
from salver.supervise.proc import read_text

ENGINE = "salver-engine"
_NEEDED, _WISHED = "memory", "pids"
_MARKS = ("user.delegate", "trusted.delegate")
_MOVE_TRIES = 100


def cgroup_path(own: Path) -> Path:
    """Where the runs' groups go: the process's own group, or the one whose processes an engine moved down."""
    moved = own.name == ENGINE and _NEEDED in _words(own.parent, "cgroup.subtree_control")
    return own.parent if moved else own


def has_memory(group: Path) -> bool:
    """Whether the memory of its children can be controlled."""
    return _NEEDED in _words(group, "cgroup.controllers")


def delegate(group: Path) -> None:
    """Lets the group's children have limits of memory, and of processes where it has that controller.

    Raises:
        OSError: not this user's group, read-only, or other processes are in it that are not ours to move.
    """
    wanted = [_NEEDED, *({_WISHED} & _words(group, "cgroup.controllers"))]
    if set(wanted) <= _words(group, "cgroup.subtree_control"):
        return
    if (group / "cgroup.type").exists():  # the root of all groups has none
        _move_down(group)
    write_text(f"{group}/cgroup.subtree_control", " ".join(f"+{name}" for name in wanted))


def advice(error: OSError) -> str:
    """What the user can do about groups that cannot be used."""
    if error.errno == errno.EROFS:
        return "give the container groups that it may write, as `docker run --privileged` does"
    return f"start with `systemd-run {'' if os.geteuid() == 0 else '--user '}--scope -p Delegate=yes`"


def _move_down(group: Path) -> None:
    """Moves the group's processes into a child of it: this one, and others where the group is ours."""
    engine = group / ENGINE
    for _ in range(_MOVE_TRIES):
        if not (members := _words(group, "cgroup.procs")):
            return
        if members != {str(os.getpid())} and ("0" in members or not _is_ours(group)):
            raise OSError(errno.EBUSY, "other processes are in it")
        engine.mkdir(exist_ok=True)
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                write_text(f"{engine}/cgroup.procs", member)
    raise OSError(errno.EBUSY, "ever more processes are in it")


def _is_ours(group: Path) -> bool:
    """Whether systemd has handed the group over, or it is the top of what a container sees."""
    for mark in _MARKS:
        with contextlib.suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return group.is_mount()


def _words(group: Path, name: str) -> set[str]:
    return set(read_text(f"{group}/{name}").split())
