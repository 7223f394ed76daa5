"""What our Dask processes leave out, so that their memory does not grow with the number of jobs.

Dask keeps the last thousand or ten thousand entries of many logs for its dashboard, each with the task it is
about, an hour of samples of the machine, and one span for every time a scheduler has had nothing to do.
"""

from __future__ import annotations

from typing import Any

from dask.utils import key_split
from distributed.scheduler import DEFAULT_EXTENSIONS

_ENTRIES = 50
LEAN: dict[str, Any] = {
    "distributed.admin.log-length": _ENTRIES,
    "distributed.admin.low-level-log-length": _ENTRIES,
    "distributed.admin.system-monitor.log-length": _ENTRIES,
    "distributed.diagnostics.computations.max-history": 1,
    "distributed.diagnostics.erred-tasks.max-history": _ENTRIES,
    "distributed.worker.profile.enabled": False,
}


def scheduler_extensions() -> dict[str, Any]:
    """Dask's own, without spans, and without work stealing: each job is given to one worker."""
    left_out = "spans", "stealing"
    return {name: made for name, made in DEFAULT_EXTENSIONS.items() if name not in left_out}


def forget_names() -> None:
    """Empties Dask's cache of what the names of its last 100,000 tasks begin with, in this process."""
    key_split.cache_clear()
