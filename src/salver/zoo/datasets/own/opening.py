"""One function opens any data: a set of the catalogue by name, or a file or folder of one's own by path."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from salver.core.errors import SalverError, suggestion
from salver.core.files import missing_file
from salver.zoo.datasets.catalogue import NAMES, load
from salver.zoo.datasets.own.arrays import read_npz, read_point, shape_of
from salver.zoo.datasets.own.images import read_folder
from salver.zoo.datasets.own.options import DataOptions
from salver.zoo.datasets.own.raw import to_dataset
from salver.zoo.datasets.own.table import read_csv
from salver.zoo.datasets.record import Dataset

READERS = {".npz": read_npz, ".csv": read_csv}


def open_dataset(
    name_or_path: str | Path, options: DataOptions | None = None, data_dir: Path | None = None
) -> Dataset:
    """A data set in memory; nothing is downloaded.

    A name of the catalogue goes before a path. Data of one's own is named after its file or folder, with its
    ending or a slash, which no name of the catalogue has.

    Args:
        name_or_path: a name of the catalogue, an .npz or .csv file, or a folder with a folder for each class.
        options: what is not in the files; none for a set of the catalogue.
        data_dir: the user's data folder, as for `load`.

    Raises:
        SalverError: neither, not on this machine, or contents that do not fit together.
    """
    given, said = os.fspath(name_or_path), options or DataOptions()
    if given in NAMES:
        said.refuse_others(set(), f"data set {given}", "a set of the catalogue")
        return load(given, data_dir)
    path = Path(given)
    if path.is_dir():
        return to_dataset(read_folder(path.resolve(), given, said), said)
    if path.exists() and (reader := READERS.get(path.suffix.lower())):
        return to_dataset(reader(path, given, said), said)
    if path.suffix.lower() == ".npy":
        hint = "name a single input as `point`, or save inputs with labels: np.savez(path, x=x, y=y)"
        raise SalverError("holds inputs without labels", given, hint)
    if path.suffix or "/" in given:
        raise _no_data(path, given)
    hint = f"{suggestion(given, NAMES)}, or name a file or folder of your own by its path"
    raise SalverError(f"no data set is called {given!r}", "", hint)


def _no_data(path: Path, given: str) -> SalverError:
    hint = "name an .npz or .csv file, or a folder with a folder of images for each class"
    if path.exists():
        return SalverError("is no data that can be read", given, hint)
    return missing_file(given, hint)


def open_point(path: str | Path, entries: int, like: Dataset | None = None) -> Dataset:
    """One input of an .npy file as a data set of one point, whose label is 0.

    Args:
        entries: how many values it must have.
        like: data with the same inputs, whose ranges, shape and names it takes; without it there is no range.

    Raises:
        SalverError: it cannot be read, or lies outside of the ranges.
    """
    point = read_point(Path(path), os.fspath(path), entries)
    x = point.reshape(1, -1)
    nothing = np.empty((0, entries), np.float32), np.empty(0, np.int64)
    if like is None:
        shape = shape_of(point.shape[1:] if point.ndim > 1 and point.shape[0] == 1 else point.shape)
        return Dataset(Path(path).name, *nothing, x, np.zeros(1, np.int64), shape, (), None)
    low, high = like.bounds
    if (bad := (x[0] < low) | (x[0] > high)).any():
        entry = int(np.argmax(bad))
        name = like.features[entry] if like.features else f"entry {entry}"
        what = f"{name} is {x[0, entry]:g}, outside of [{low[entry]:g}, {high[entry]:g}]"
        raise SalverError(what, os.fspath(path), f"choose a point within the ranges of {like.name}")
    label = np.zeros(1, np.int64)
    named = replace(like, name=Path(path).name, train_x=nothing[0], train_y=nothing[1])
    return replace(named, test_x=x, test_y=label)
