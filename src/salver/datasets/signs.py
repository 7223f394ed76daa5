"""German traffic signs (GTSRB: Stallkamp et al., 2012) as 48 x 48 crops of the user's own folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.datasets.mnist import read_verified, scaled
from salver.datasets.record import Dataset

SHA256 = {"gtsrb48.npz": "1572b3b8645d44a8dd735c007d82fc2ae57392aad5b5698ef5a34e3425f5e44f"}
CLASSES = tuple(str(number) for number in range(43))
IMAGE_SHAPE = (3, 48, 48)


def gtsrb48(folder: Path) -> Dataset:
    """2,150 training and 516 test images of all 43 classes, from different tracks.

    Raises:
        SalverError: the file is unreadable or not the pinned one.
    """
    ((name, sha256),) = SHA256.items()
    with np.load(io.BytesIO(read_verified(folder / name, sha256)), allow_pickle=False) as arrays:
        parts = {key: arrays[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    return Dataset(
        "gtsrb48",
        _flat(parts["x_train"]),
        parts["y_train"].astype(np.int64),
        _flat(parts["x_test"]),
        parts["y_test"].astype(np.int64),
        IMAGE_SHAPE,
        CLASSES,
    )


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [N, H, W, C] as rows [N, C * H * W] in [0, 1]."""
    return scaled(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1))
