"""One run's control groups, as its supervisor uses them: enter, read, kill, remove.

Sources: the kernel's `cgroup-v2.rst` and `cgroup-v1/{memory,cpuacct,freezer-subsystem,pids}.rst`. Neither
pathlib nor typing, for the supervisor's start.
"""

# ruff: noqa: PTH106, PTH112, PTH120, PTH123
from __future__ import annotations

import os
import signal
import time

from salver.supervise.proc import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from salver.supervise.finished import Measured

UNIFIED = "unified"
_PATIENCE_S = 5.0
_PAUSE_S = 0.001
# Version 1 counts no failures (Linux 6.18); a charge of several pages fails a little below the limit.
_NEAR_LIMIT = 1 << 20
_FREEZERS = (("freezer", "freezer.state", ("FROZEN", "THAWED")), (UNIFIED, "cgroup.freeze", ("1", "0")))


def write_text(path: str, text: str) -> None:
    """Writes a control file in one call, as the kernel wants it. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class Group:
    """Folders by controller; version 2 has the one folder `unified`.

    `ooms` counts the processes that the kernel has killed in the group for want of memory, `reached` tells
    whether its own limit was in the way (else a group above, or the machine, had no more), `peak_kib` is the
    most that the group has held (page cache and kernel memory of the run included), `cpu_s` what it used.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        self.folders = dict(folders)
        self.label: Measured = "cgroup-v2" if UNIFIED in self.folders else "cgroup-v1"
        self.ooms, self.reached, self.peak_kib, self.cpu_s = 0, False, 0.0, 0.0
        self.keeps_peak = True

    def enter(self) -> None:
        """Moves the calling process, and with it all that it will start, into the group. Raises OSError."""
        for folder in set(self.folders.values()):
            write_text(f"{folder}/cgroup.procs", "0")

    def measure(self) -> None:
        """Reads the figures; one that cannot be read keeps its last value."""
        if UNIFIED in self.folders:
            folder = self.folders[UNIFIED]
            cpu_s = _field(f"{folder}/cpu.stat", "usage_usec") / 1e6
            ooms = _field(f"{folder}/memory.events", "oom_kill")
            reached = _field(f"{folder}/memory.events", "oom") > 0
            peak = _number(f"{folder}/memory.peak")
            if not peak:
                self.keeps_peak = False
                full = _field(f"{folder}/memory.events", "max")
                peak = _number(f"{folder}/memory.{'max' if full else 'current'}")
        else:
            folder = self.folders["memory"]
            peak = _number(f"{folder}/memory.max_usage_in_bytes")
            cpu_s = _number(f"{self.folders.get('cpuacct', '')}/cpuacct.usage") / 1e9
            ooms = _field(f"{folder}/memory.oom_control", "oom_kill")
            most = max(peak, _number(f"{folder}/memory.memsw.max_usage_in_bytes"))
            reached = most > _number(f"{folder}/memory.limit_in_bytes") - _NEAR_LIMIT
        self.peak_kib = max(self.peak_kib, peak / 1024)
        self.cpu_s = max(self.cpu_s, cpu_s)
        self.ooms = max(self.ooms, ooms)
        self.reached |= reached

    def held(self, kib: float) -> None:
        """Takes note of memory that one process of the group has held, where the kernel keeps no peak (before
        5.19); pages that were counted elsewhere can make it seem more than the limit."""
        if not self.keeps_peak:
            limit_kib = _number(f"{self.folders[UNIFIED]}/memory.max") / 1024
            self.peak_kib = max(self.peak_kib, min(kib, limit_kib))

    def pids(self) -> set[int]:
        """Every process in the group and in those that the run made below it, as far as seen from here."""
        below = [path for folder in set(self.folders.values()) for path, _, _ in os.walk(folder)]
        return {int(word) for path in below for word in _all(f"{path}/cgroup.procs").split()} - {0}

    def kill(self) -> None:
        """SIGKILLs everything in the group: by the kernel at once (v2 from 5.14), else frozen first, so that
        nothing can fork in between."""
        if UNIFIED in self.folders and _try_write(f"{self.folders[UNIFIED]}/cgroup.kill", "1"):
            return
        freezers = [
            (f"{self.folders[key]}/{name}", states) for key, name, states in _FREEZERS if key in self.folders
        ]
        for path, (frozen, _) in freezers:
            _try_write(path, frozen)
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        for path, (_, thawed) in freezers:
            _try_write(path, thawed)

    def remove(self, patience_s: float = _PATIENCE_S) -> bool:
        """Kills what is left and removes the folders, and the one they lie in after the last group of all.

        False when a folder of this group would not go.
        """
        deadline = time.monotonic() + patience_s
        left = set(self.folders.values())
        while True:
            left = {folder for folder in left if not _gone(folder)}
            if not left or time.monotonic() > deadline:
                break
            self.kill()
            time.sleep(_PAUSE_S)
        for folder in set(self.folders.values()) - left:
            _try_rmdir(os.path.dirname(folder))
        return not left


def _gone(folder: str) -> bool:
    """Removes a group with what the run made below it; the solver may have had the right to."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        for path, _, _ in os.walk(folder, topdown=False):
            _try_rmdir(path)
        return not os.path.isdir(folder)
    return True


def _try_rmdir(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        return


def _all(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = read_text(path).strip()
    return int(text) if text.isdigit() else 0


def _field(path: str, name: str) -> int:
    """The number after a name in a file of `name number` lines; 0 where there is none."""
    for line in read_text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _try_write(path: str, text: str) -> bool:
    try:
        write_text(path, text)
    except OSError:
        return False
    return True
