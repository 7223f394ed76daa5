"""What a data set is: its contents, where it comes from, and how it is read and fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from salver.zoo.datasets.ranges import Clip, bounds

Source = Callable[[Iterable[str]], dict[str, bytes]]
"""Raw files by name, from a registry or an address."""
Reader = TypeVar("Reader", bound=Callable[..., "Dataset"])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification data set held in memory.

    Attributes:
        name: key under which `load` finds it; of data of one's own the file's or folder's name.
        train_x: float32, shape (N, n), in `clip`; images flattened row-major in the order C, H, W. Without
            rows where there is no train part.
        train_y: int64 class labels, shape (N,).
        test_x: as `train_x`, disjoint from it.
        test_y: as `train_y`.
        input_shape: shape of one input before flattening, such as (1, 28, 28) or (5,).
        classes: names of the classes; the label is the position. Empty where they have none but numbers.
        clip: lowest and highest valid value of an input entry, for all or for equal parts of them; None where
            there is no range.
        features: names of the input entries where they have any.
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    clip: Clip | None = (0.0, 1.0)
    features: tuple[str, ...] = ()

    @cached_property
    def bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest valid value of every entry [n], [n]; infinite without a range."""
        return bounds(self.clip, self.test_x.shape[1])

    @property
    def counts(self) -> dict[str, int]:
        """How many points each class has, by its name or number."""
        found = np.bincount(self.test_y, minlength=len(self.classes)).tolist()
        return dict(zip(self.classes or map(str, range(len(found))), found, strict=True))

    @cached_property
    def sha256(self) -> str:
        """Hash of all four arrays: their shapes, little-endian values and order."""
        digest = hashlib.sha256(self.name.encode())
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


NOT_STATED = "not stated"


@dataclass(frozen=True)
class Origin:
    """The source of a data set.

    Attributes:
        title: name in words.
        source: who made it, and where it is described.
        url: page of the data; empty where it is made here.
        licence: SPDX identifier as the owners state it; empty where they state none.
    """

    title: str
    source: str
    url: str = ""
    licence: str = ""

    @property
    def licence_text(self) -> str:
        """The licence, or that none is stated."""
        return self.licence or (NOT_STATED if self.source == NOT_STATED else "none stated by its owners")


@dataclass(frozen=True)
class DeclaredDataset:
    """One data set: how to read it, and where its raw files come from where it is made of any.

    Attributes:
        name: key under which `load` finds it.
        read: makes the data set; takes the folder of the raw files, or nothing where there are none.
        origin: whose it is.
        files: SHA-256 of the raw files by name; empty for a set that needs none.
        sources: how to get the files, by what is told of it; tried in this order.
        named_only: the files' names are another set's too, so a folder must bear the set's name.
        folder: name of the files' folder where it is not the set's own.
        rendering: number of the code that makes the set out of the files, where it does more than read them.
    """

    name: str
    read: Callable[..., Dataset]
    origin: Origin
    files: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    named_only: bool = False
    folder: str = ""
    rendering: str = ""


DECLARED: dict[str, DeclaredDataset] = {}
"""Every data set whose module was imported; `catalogue` imports them all."""


def data_set(name: str, origin: Origin, **how: Any) -> Callable[[Reader], Reader]:
    """Declares the function that reads a data set.

    Args:
        how: the other fields of `DeclaredDataset`.
    """

    def declared(read: Reader) -> Reader:
        DECLARED[name] = DeclaredDataset(name, read, origin, **how)
        return read

    return declared
