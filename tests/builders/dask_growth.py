"""What the processes of Dask are asked, to see whether they keep something of jobs that are over."""

from __future__ import annotations

import gc

from dask.utils import key_split

from salver.run.cluster.settings import forget_names


def nothing(_: int) -> None:
    """A job that does nothing, and what ours do at their end."""
    forget_names()


def tracked() -> int:
    """Objects that the garbage collector knows in this process."""
    gc.collect()
    return len(gc.get_objects())


def named() -> int:
    """Task names that this process has cached."""
    size: int = key_split.cache_info().currsize
    return size
