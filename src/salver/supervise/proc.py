"""What /proc tells about processes; for the supervisor, so neither pathlib nor typing."""

# ruff: noqa: PTH110, PTH208
from __future__ import annotations

import os
import resource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CHUNK = 1 << 16
KIB_PER_PAGE = resource.getpagesize() // 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read_text(path: str) -> str:
    """Text of a small /proc file, empty when its process is gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            return os.read(fd, CHUNK).decode(errors="replace")
        finally:
            os.close(fd)
    except OSError:
        return ""


def stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before it may hold spaces and brackets."""
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _listed_children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(word) for t in threads for word in read_text(f"/proc/{pid}/task/{t}/children").split()]


def _scanned_children() -> Callable[[int], list[int]]:
    """Parent-to-children map from one pass over /proc, for kernels without PROC_CHILDREN."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat_fields(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def descendants(root: int) -> list[int]:
    """Pids of all descendants of `root`, parents before their children."""
    listed = os.path.exists(f"/proc/{root}/task/{root}/children")
    children = _listed_children if listed else _scanned_children()
    found: list[int] = []
    layer = children(root)
    while layer:
        found += layer
        layer = [child for pid in layer for child in children(pid)]
    return found


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    return stat_fields(pid)[:1] not in ([], ["Z"], ["X"])


def memory_kib(pids: Sequence[int], limit_kib: float) -> float:
    """Resident memory of the processes together, in KiB.

    Pages shared after a fork are counted once per process by RSS; only when that sum is over the
    limit is the dearer proportional set size read, so that no tree is killed for shared pages.
    """
    total = 0.0
    for pid in pids:
        fields = read_text(f"/proc/{pid}/statm").split()
        total += int(fields[1]) * KIB_PER_PAGE if fields else 0
    if total <= limit_kib or len(pids) < 2:
        return total
    shares = [read_text(f"/proc/{pid}/smaps_rollup").partition("\nPss:")[2].split() for pid in pids]
    return float(sum(int(words[0]) for words in shares if words)) if any(shares) else total


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds of living descendants, of the children they waited for, and of those reaped here."""
    ticks = sum(sum(map(int, fields[11:15])) for pid in pids if (fields := stat_fields(pid)))
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ticks / TICKS_PER_S + reaped.ru_utime + reaped.ru_stime
