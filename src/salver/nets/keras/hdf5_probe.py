"""Reads everything of a Keras HDF5 file that `file.py` reads, in a process that may die of it.

The HDF5 library is native code: a damaged file can make it loop or crash where no exception can be caught.
Run as a script with the file's path; what Python can catch is left to the real reader to report.
"""

from __future__ import annotations

import contextlib
import math
import sys
from typing import Any

MOST_WEIGHTS = 20_000_000


def walk(path: str) -> None:
    """Touches the configuration and the weights of every layer, as far as sizes allow."""
    import h5py

    with h5py.File(path, "r") as file:
        str(file.attrs.get("model_config"))
        for group in file["model_weights"].values():
            for raw in group.attrs.get("weight_names", ()):
                _touch(group[raw])


def _touch(data: Any) -> None:
    if not data.is_virtual and not data.external and math.prod(data.shape) <= MOST_WEIGHTS:
        data[()]


if __name__ == "__main__":
    with contextlib.suppress(Exception):
        walk(sys.argv[1])
