"""German traffic signs (GTSRB: Stallkamp et al., 2012) as 48 x 48 crops of the user's own folder."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.zoo.datasets.mnist import read_verified, scaled
from salver.zoo.datasets.record import Dataset, Origin, data_set

SHA256 = {"gtsrb48.npz": "1572b3b8645d44a8dd735c007d82fc2ae57392aad5b5698ef5a34e3425f5e44f"}
CLASSES = tuple(str(number) for number in range(43))
IMAGE_SHAPE = (3, 48, 48)
_ORIGIN = Origin(
    "GTSRB",
    "Stallkamp, Schlipsing, Salmen and Igel, Man vs. computer, Neural Networks 32 (2012)",
    "https://benchmark.ini.rub.de/gtsrb_dataset.html",
)


@data_set("gtsrb48", _ORIGIN, files=SHA256)
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


@data_set("gtsrb48-equalized", _ORIGIN, files=SHA256)
def gtsrb48_equalized(folder: Path) -> Dataset:
    """`gtsrb48` with the brightness of each image equalised, as published sign classifiers want it.

    V, the largest of R, G and B, is replaced by its share of the image's pixels that are no brighter: the
    cumulative histogram of 256 bins, linear between their centres. Hue and saturation stay.

    Raises:
        SalverError: see `gtsrb48`.
    """
    plain = gtsrb48(folder)
    train, test = (equalized(part, IMAGE_SHAPE) for part in (plain.train_x, plain.test_x))
    return replace(plain, name="gtsrb48-equalized", train_x=train, test_x=test)


def equalized(rows: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Colour images [N, 3 * H * W] in [0, 1] with the histogram of V = max(R, G, B) made even, in [0, 1]."""
    images = rows.reshape(-1, *shape).astype(np.float64)
    made = np.empty_like(images)
    for number, image in enumerate(images):
        value = image.max(axis=0)
        counts, edges = np.histogram(value, 256)
        share = np.cumsum(counts) / value.size
        even = np.interp(value, (edges[:-1] + edges[1:]) / 2, share)
        grey = value == 0
        made[number] = np.where(grey, even, image * (even / np.where(grey, 1.0, value)))
    return np.clip(made, 0.0, 1.0).reshape(rows.shape).astype(np.float32)


def _flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [N, H, W, C] as rows [N, C * H * W] in [0, 1]."""
    return scaled(np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1))
