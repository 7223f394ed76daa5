"""The point at which it is asked: an array, a file, or a row of a data set, with the range of its entries."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError, file_error
from salver.core.records import parse_record
from salver.explain.baseline import refuse_no_range
from salver.spec import float32_down, float32_up
from salver.zoo.datasets import Clip, Dataset, DataSource, bounds, open_dataset
from salver.zoo.datasets.own.images import ENDINGS, read_image
from salver.zoo.datasets.own.raw import kind_of

Array = npt.NDArray[np.float64]
MOST_BYTES = 1 << 28
"""Largest file of a point."""


@dataclass(frozen=True, eq=False)
class GivenPoint:
    """A point with all that is known of its data.

    Attributes:
        x: values [n] of binary32, flattened row-major.
        shape: before flattening, without an axis for the batch; two axes are those of a grey image.
        origin: where it comes from, in words.
        clip: ranges of its entries; None where nothing is known.
        features, classes: their names, where known.
        stated: the class that the data set gives it.
        original: the shape that it was given in; empty for a row of a data set.
    """

    x: npt.NDArray[np.float32]
    shape: tuple[int, ...]
    origin: str
    clip: Clip | None = None
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    stated: int | None = None
    original: tuple[int, ...] = ()

    @property
    def examples(self) -> list[npt.NDArray[np.float32]]:
        """The input in the shapes that a module may take it in, the likeliest first."""
        found = [self.x.reshape(1, *self.shape), self.x.reshape(1, -1)]
        return [self.x.reshape(self.original), *found] if self.original else found

    @property
    def limits(self) -> tuple[Array, Array]:
        """Lowest and highest value of every entry [n], [n]; infinite where there is no range."""
        return bounds(self.clip, self.x.size)

    def shaped(self, shape: tuple[int, ...]) -> GivenPoint:
        """The same in the shape that the network declares, where the point itself has none but its length."""
        fits = len(self.shape) == 1 and len(shape) == 3 and int(np.prod(shape)) == self.x.size
        return replace(self, shape=shape) if fits else self

    def within(self, low: float, high: float) -> GivenPoint:
        """The same with one range for all entries.

        Raises:
            SalverError: it is no range, or excludes the point.
        """
        refuse_no_range(low, high)
        least, most = float(self.x.min()), float(self.x.max())
        if least < low or most > high:
            outside = least if least < low else most
            what = f"{low:g} to {high:g} excludes the point, which has an entry {outside:g}"
            raise SalverError(what, "input_range", "give the range of the data, in the units of the point")
        # Rounded outwards: what is proved holds for the whole range.
        return replace(self, clip=(float(float32_down(low)), float(float32_up(high))))

    def like(self, data: Dataset) -> GivenPoint:
        """The same with the ranges, the shape and the names of a data set.

        Raises:
            SalverError: the data have other inputs, or their ranges exclude the point.
        """
        low, high = data.bounds
        if low.size != self.x.size:
            what = f"has {self.x.size} entries, those of {data.name} have {low.size}"
            raise SalverError(what, self.origin, "give an input of that data set")
        if (outside := (self.x < low) | (self.x > high)).any():
            entry = int(np.argmax(outside))
            what = f"entry {entry} is {self.x[entry]:g}, outside of {low[entry]:g} to {high[entry]:g}"
            raise SalverError(what, self.origin, f"give it in the units of {data.name}")
        return replace(
            self, shape=data.input_shape, clip=data.clip, features=data.features, classes=data.classes
        )


def given_point(
    point: Any,
    dataset: str | Path | Mapping[str, Any] | DataSource | None = None,
    index: int | None = None,
    data_dir: Path | None = None,
) -> GivenPoint:
    """The point that a person names or hands over.

    Args:
        point: an array or tensor of any shape, or the path of a `.npy`, `.csv` or image file; None for a row
            of `dataset`. Arrays are as the network sees them, images are brought to that.
        dataset: name of a data set, a file or folder of data, or all of a suite's entry `dataset`; it gives a
            point its ranges and names, and an image its size, colour, mean and std.
        index: row of its test part.

    Raises:
        SalverError: nothing or too much is named, there is no such file or row, or it holds anything but
            finite numbers.
    """
    if point is None and dataset is None:
        raise SalverError("no point is given", "point", "name a file, or a data set and the index of a row")
    if point is None and index is None:
        raise SalverError("a data set is named, but no row", "index", "give the index of a row")
    if point is not None and index is not None:
        raise SalverError("a point and the index of a row are given", "index", "give one of them")
    source = None if dataset is None else _source(dataset)
    data = None if source is None else _opened(source, data_dir)
    if point is None:
        assert data is not None
        assert index is not None
        return _row(data, index)
    named = isinstance(point, str | Path)
    like = source if isinstance(source, DataSource) else None
    found = _of_array(_in_file(Path(point), like) if named else point, str(point) if named else "the point")
    return found if data is None else found.like(data)


def given_rows(
    dataset: str | Path | Mapping[str, Any] | DataSource, count: int, data_dir: Path | None = None
) -> list[GivenPoint]:
    """The first rows of a data set's test part, or all of them where it has fewer; see `given_point`.

    Raises:
        SalverError: the data cannot be read.
    """
    data = _opened(_source(dataset), data_dir)
    return [_row(data, index) for index in range(min(count, len(data.test_x)))]


def _source(dataset: str | Path | Mapping[str, Any] | DataSource) -> str | Path | DataSource:
    """Data as they are named, also as a suite does: `{ path = "a.csv", label = "kind" }`."""
    source = dataset
    if isinstance(source, str) and source.lstrip().startswith("{"):
        try:
            raw = tomllib.loads(f"dataset = {source}")["dataset"]
        except tomllib.TOMLDecodeError as error:
            raise SalverError(f"is no table ({error})", source, 'write { path = "..." }') from error
        source = parse_record(DataSource, raw, "dataset")
    return parse_record(DataSource, dict(source), "dataset") if isinstance(source, Mapping) else source


def _opened(source: str | Path | DataSource, data_dir: Path | None) -> Dataset:
    if isinstance(source, str | Path):
        return open_dataset(source, None, data_dir)
    return open_dataset(source.path, source, data_dir)


def _row(data: Dataset, index: int) -> GivenPoint:
    rows, name = len(data.test_x), data.name
    if not 0 <= index < rows:
        raise SalverError(f"row {index} is not there", f"data set {name}", f"choose one of 0 ... {rows - 1}")
    label = int(data.test_y[index])
    return GivenPoint(data.test_x[index], (), f"row {index} of {name}", stated=label).like(data)


def _of_array(values: Any, where: str) -> GivenPoint:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise SalverError("is no array: its rows differ in length", where, "give one input") from error
    if found.dtype.kind not in "fiub":
        raise SalverError(f"holds {kind_of(found)}, not numbers", where, "give an array of real numbers")
    if found.size == 0:
        raise SalverError("is empty", where, "give the values of one input")
    exact = found.astype(np.float64)
    with np.errstate(over="ignore"):
        x = exact.astype(np.float32).ravel()
    if not np.isfinite(x).all():
        place = int(np.argmin(np.isfinite(x)))
        raise SalverError(f"entry {place} is {exact.ravel()[place]:g}", where, "give finite numbers")
    return GivenPoint(x, _without_batch(found.shape), where, original=found.shape)


def _without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, n) is a row, (1, c, h, w) a batch of one image, (h, w) an image with one channel."""
    if len(shape) > 3 and shape[0] == 1:
        return _without_batch(shape[1:])
    if len(shape) == 2:
        return shape[1:] if shape[0] == 1 else (1, *shape)
    return shape or (1,)


def _in_file(path: Path, like: DataSource | None) -> npt.NDArray[Any]:
    """The values in a file; of an image those that the network sees, as of the images of the data set."""
    kind = path.suffix.lower()
    if kind in ENDINGS:
        return read_image(path, like)
    if kind not in (".npy", ".csv"):
        raise SalverError("is neither .npy nor .csv nor an image", str(path), "save it with numpy.save")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SalverError(f"is larger than {MOST_BYTES >> 20} MiB", str(path), "give one input")
        if path.stat().st_size == 0:
            raise SalverError("is empty", str(path), "give the values of one input")
        if kind == ".csv":
            return np.asarray(np.loadtxt(path, delimiter=",", ndmin=1))
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise file_error(error, path, "read") from error
    except (ValueError, EOFError) as error:
        hint = "write numbers with commas" if kind == ".csv" else "save plain numbers with numpy.save"
        raise SalverError("holds no point: it is no list of numbers", str(path), hint) from error
    return found
