"""The one shape in which every data set is handed on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set held in memory.

    Attributes:
        name: key under which `load` finds it.
        train_x: float32, shape (N, n), in `clip`; images flattened row-major in the order C, H, W.
        train_y: int64 class labels, shape (N,).
        test_x: as `train_x`, disjoint from it.
        test_y: as `train_y`.
        input_shape: shape of one input before flattening, such as (1, 28, 28) or (5,).
        classes: names of the classes; the label is the position.
        clip: lowest and highest valid value of an input entry.
        features: names of the input entries where they have any.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    clip: tuple[float, float] = (0.0, 1.0)
    features: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of all four arrays: their shapes, little-endian values and order."""
        digest = hashlib.sha256(self.name.encode())
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()
