"""The 8x8 digits that come with scikit-learn (UCI Optical Recognition of Handwritten Digits)."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.core.errors import SalverError
from salver.zoo.datasets.record import Dataset, Origin, data_set

PIXELS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
CLASSES = tuple("0123456789")
TEST_SHARE = 0.2
SPLIT_SEED = 0
_REMEDY = ("data set digits", "install the locked scikit-learn")


def stratified_split(
    labels: NDArray[np.int64], test_share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted row numbers for training and for testing; each class gives `test_share` (0 to 1) to testing."""
    generator = np.random.default_rng(seed)
    test: list[int] = []
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        test.extend(rows[: round(test_share * len(rows))].tolist())
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[test] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


@data_set(
    "digits",
    Origin(
        "Optical Recognition of Handwritten Digits",
        "Alpaydin and Kaynak, UCI Machine Learning Repository (1998), as shipped with scikit-learn",
        "https://doi.org/10.24432/C50P49",
        "CC-BY-4.0",
    ),
)
def digits() -> Dataset:
    """1,797 images of 8x8 pixels, grey values 0 to 16 divided by 16; one fifth of each class is for testing.

    Raises:
        SalverError: the installed scikit-learn ships other pixels than those this project's results rest on.
    """
    table = _shipped()
    pixels, labels = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.int64)
    if hashlib.sha256(pixels.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest() != PIXELS_SHA256:
        raise SalverError("scikit-learn ships other pixels than the pinned ones", *_REMEDY)
    x = pixels.astype(np.float32) / np.float32(16)
    train, test = stratified_split(labels, TEST_SHARE, SPLIT_SEED)
    return Dataset("digits", x[train], labels[train], x[test], labels[test], (1, 8, 8), CLASSES)


def _shipped() -> NDArray[np.float64]:
    """The table of scikit-learn [images, 64 pixels and the label].

    The file is read where it lies: importing scikit-learn takes longer than drawing a whole set from it.
    """
    package = find_spec("sklearn")
    try:
        if package is None or package.origin is None:
            raise FileNotFoundError
        return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    except (OSError, ValueError) as error:
        raise SalverError("scikit-learn does not ship its table of digits", *_REMEDY) from error
