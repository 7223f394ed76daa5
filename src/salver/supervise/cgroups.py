"""Where runs get their control groups: one group a run, below a folder of our own in this process's group.

Below, because what limits this process must go on limiting its solvers. A group's name begins with the
identity of its coordinator, so that a later one finds those that were orphaned.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import subprocess
import uuid
from pathlib import Path
from typing import NamedTuple

from salver.supervise.delegation import advice, cgroup_path, delegate, has_memory
from salver.supervise.group import UNIFIED, Group, write_text
from salver.supervise.identity import orphaned, own_identity

VARIABLE = "SALVER_CGROUPS"
FOLDER = "salver"
MOST_PROCESSES = 4096
V1_CONTROLLERS = ("memory", "cpuacct", "freezer", "pids")
_MAKE_TRIES = 100
# What the kernel and `mkdir(exist_ok=True)` say of a parent that goes at that moment.
_REMOVED_MEANWHILE = (errno.ENOENT, errno.ENODEV, errno.EEXIST)


class Available(NamedTuple):
    """Version 2, 1 or 0 (none), the folder in which groups are made by controller, and the reason."""

    version: int
    parents: dict[str, Path]
    reason: str

    @property
    def label(self) -> str:
        """How memory is measured, as the records say it."""
        return f"cgroup-v{self.version}" if self.version else "rss-polling"


def available() -> Available:
    """What this process can use; looked for and tried once a process, unless `SALVER_CGROUPS=off`."""
    if os.environ.get(VARIABLE, "").lower() in ("off", "0", "no"):
        return Available(0, {}, f"switched off by {VARIABLE}")
    return _found()


def make_group(memory_mb: int, places: Available | None = None) -> Group | None:
    """A new group with its limits set, or None where there are no control groups.

    Raises:
        OSError: the group cannot be made though an earlier one could.
    """
    places = places or available()
    if not places.version:
        return None
    name = f"{own_identity()}-{uuid.uuid4().hex[:12]}"
    group = Group({key: str(parent / FOLDER / name) for key, parent in places.parents.items()})
    try:
        for folder in sorted(set(group.folders.values())):
            _make(Path(folder), places.version)
        limit_of(group, memory_mb << 20)
    except OSError:
        group.remove()
        raise
    return group


def sweep() -> int:
    """Kills and removes the groups of coordinators that are no more; returns how many groups."""
    found: dict[str, dict[str, str]] = {}
    for key, parent in available().parents.items():
        with contextlib.suppress(OSError):
            for folder in (parent / FOLDER).iterdir():
                if folder.is_dir() and orphaned(folder.name):
                    found.setdefault(folder.name, {})[key] = str(folder)
    return sum(Group(folders).remove() for folders in found.values())


def _make(folder: Path, version: int) -> None:
    """Makes a group; another coordinator may remove our empty folder at any moment, so try again."""
    for left in reversed(range(_MAKE_TRIES)):
        try:
            folder.parent.mkdir(exist_ok=True)
            if version == 2:
                delegate(folder.parent)
            folder.mkdir()
        except OSError as error:
            if error.errno not in _REMOVED_MEANWHILE or not left:
                raise
        else:
            return


def limit_of(group: Group, memory: int) -> None:
    """Memory without swap, and a bound on processes against fork bombs."""
    limits: dict[str, list[tuple[str, object, bool]]] = {
        "memory": [
            ("memory.limit_in_bytes", memory, True),
            ("memory.memsw.limit_in_bytes", memory, False),
        ],
        "pids": [("pids.max", MOST_PROCESSES, False)],
        UNIFIED: [
            ("memory.max", memory, True),
            ("memory.swap.max", 0, False),
            ("memory.oom.group", 1, False),
            ("pids.max", MOST_PROCESSES, False),
        ],
    }
    for key, folder in group.folders.items():
        for name, value, needed in limits.get(key, []):
            try:
                write_text(f"{folder}/{name}", str(value))
            except OSError:
                if needed:
                    raise


@functools.cache
def _found() -> Available:
    try:
        places = locate(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    except OSError as error:
        return Available(0, {}, f"/proc tells nothing about groups ({error.strerror})")
    if not places.version:
        return places
    try:
        if places.version == 2:
            delegate(places.parents[UNIFIED])
        _try_out(places)
    except OSError as error:
        where = places.parents[UNIFIED if places.version == 2 else "memory"]
        hint = f"; {advice(error)}" if places.version == 2 else ""
        return Available(0, {}, f"{where} cannot be used ({error.strerror}){hint}")
    return places


def locate(mounts: str, own: str) -> Available:
    """This process's own groups from the texts of /proc/self/mountinfo and /proc/self/cgroup.

    Version 2 where it controls memory, else version 1 where it does.
    """
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        paths |= dict.fromkeys(names.split(",") if names else [UNIFIED], path)
    places: dict[str, Path] = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        keys = {"cgroup2": [UNIFIED], "cgroup": options.split(",")}.get(kind, [])
        for key in set(keys) & set(paths):
            if (place := _below(paths[key], root, point)) is not None:
                places.setdefault(key, place)
    if UNIFIED in places and has_memory(cgroup_path(places[UNIFIED])):
        unified = cgroup_path(places[UNIFIED])
        return Available(2, {UNIFIED: unified}, f"writable: {unified}")
    if UNIFIED in places and "memory" not in places:
        missing = OSError(errno.ENOENT, "it has no memory controller")
        return Available(0, {}, f"{places[UNIFIED]} cannot be used ({missing.strerror}); {advice(missing)}")
    if "memory" not in places:
        return Available(0, {}, "no control groups for memory are mounted")
    kept = {key: places[key] for key in V1_CONTROLLERS if key in places}
    return Available(1, kept, f"writable: {places['memory']}")


def _below(path: str, root: str, point: str) -> Path | None:
    """Folder of a group whose hierarchy is mounted at `point` from `root` on; None if it is not in there.

    Paths with `..` lead out of this process's namespace of groups, and nothing tells where to.
    """
    relative = os.path.relpath(path, root)
    outside = any(text.startswith(("/..", "..")) for text in (path, root, relative))
    return None if outside else Path(point, relative)


def _try_out(places: Available) -> None:
    """Makes a group, puts a process into it and removes both. Raises OSError."""
    group = make_group(64, places)
    assert group is not None
    try:
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
            for folder in set(group.folders.values()):
                write_text(f"{folder}/cgroup.procs", str(child.pid))
    finally:
        group.remove()
