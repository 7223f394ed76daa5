"""Reads everything of an HDF5 file that `file.py` may read, in a process that may die of it.

The HDF5 library is native code: a damaged file can make it loop or crash where no exception can be caught.
Run as a script with the file's path; what Python can catch is left to the real reader to report.
"""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

MOST_WEIGHTS = 40_000_000


def walk(path: str) -> None:
    """Touches all attributes and, as far as sizes allow, all arrays; links are not followed."""
    import h5py

    with h5py.File(path, "r") as file:
        dict(file.attrs)
        file.visititems(_touch)


def _touch(name: str, data: Any) -> None:
    with contextlib.suppress(Exception):
        dict(data.attrs)
        inside = hasattr(data, "dtype") and not data.is_virtual and not data.external
        if inside and math.prod(data.shape) <= MOST_WEIGHTS:
            data[()]


if __name__ == "__main__":
    with contextlib.suppress(Exception):
        walk(sys.argv[1])
