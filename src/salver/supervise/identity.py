"""Who made a group or a folder: this machine's start, pid namespace, pid and start time of a coordinator.

A later coordinator can tell from it whether the maker lives no more, and its leavings are orphans.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from salver.supervise.proc import read_text, stat_fields

_START_FIELD = 19
_WORDS = 4


def own_identity() -> str:
    """`boot-namespace-pid-start` of this process."""
    return f"{_boot()}-{_pid_namespace()}-{os.getpid()}-{started(os.getpid())}"


def orphaned(name: str) -> bool:
    """Whether a name of the form `<identity>-<anything>` is of a process of this namespace that is dead.

    Names of another machine, or of one whose processes are not seen from here, are never orphans.
    """
    words = name.split("-")
    if len(words) != _WORDS + 1 or not all(word.isdigit() for word in words[1:_WORDS]):
        return False
    boot, namespace, pid, start = words[:_WORDS]
    return (boot, namespace) == (_boot(), _pid_namespace()) and _has_ended(int(pid), start)


def _has_ended(pid: int, start: str) -> bool:
    """Whether there is no such process, or one of another start time; not when /proc merely hides it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return started(pid) not in ("", start)


def started(pid: int) -> str:
    """Start time of a process in clock ticks since boot, empty when there is none of that pid."""
    fields = stat_fields(pid)
    return fields[_START_FIELD] if len(fields) > _START_FIELD else ""


@functools.cache
def _boot() -> str:
    return read_text("/proc/sys/kernel/random/boot_id")[:8] or "none"


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)
