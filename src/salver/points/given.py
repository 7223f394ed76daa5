"""The point at which it is asked: an array, a file, or a row of a data set, with the range of its entries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError, file_error

Array = npt.NDArray[np.float64]
NO_RANGE = (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
class GivenPoint:
    """A point with all that is known of its data.

    Attributes:
        x: values [n] of binary32, flattened row-major.
        shape: before flattening, without an axis for the batch; two axes are those of a grey image.
        origin: where it comes from, in words.
        range: lowest and highest value of an entry; infinite where nothing is known.
        features, classes: their names, where known.
        stated: the class that the data set gives it.
    """

    x: npt.NDArray[np.float32]
    shape: tuple[int, ...]
    origin: str
    range: tuple[float, float] = NO_RANGE
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    stated: int | None = None

    def within(self, low: float, high: float) -> GivenPoint:
        """The same with a range of its entries.

        Raises:
            SalverError: it is no range, or excludes the point.
        """
        if not low < high:
            raise SalverError(f"{low:g} to {high:g} is no range", "range", "give the lower end first")
        least, most = float(self.x.min()), float(self.x.max())
        if least < low or most > high:
            outside = least if least < low else most
            what = f"{low:g} to {high:g} excludes the point, which has an entry {outside:g}"
            raise SalverError(what, "range", "give the range of the data, in the units of the point")
        return replace(self, range=(low, high))


def given_point(
    point: Any, dataset: str | None = None, index: int | None = None, data_dir: Path | None = None
) -> GivenPoint:
    """The point that a person names or hands over.

    Args:
        point: an array or tensor of any shape, or the path of a `.npy` or `.csv` file; None for a row of
            `dataset`.
        dataset, index: name of a data set and row of its test part.

    Raises:
        SalverError: nothing or too much is named, there is no such file or row, or it holds anything but
            finite numbers.
    """
    if point is not None and (dataset, index) != (None, None):
        raise SalverError("a point and a row of a data set are given", "point", "give one of them")
    if point is not None:
        named = isinstance(point, str | Path)
        return _of_array(_in_file(Path(point)) if named else point, str(point) if named else "the point")
    if dataset is None:
        raise SalverError("no point is given", "point", "name a file, or a data set and the index of a row")
    if index is None:
        raise SalverError("a data set is named, but no row", "index", "give the index of a row")
    return _of_dataset(dataset, index, data_dir)


def _of_array(values: Any, where: str) -> GivenPoint:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    found = np.asarray(values)
    if found.dtype.kind not in "fiub":
        raise SalverError(f"holds {found.dtype}, not numbers", where, "give an array of real numbers")
    if found.size == 0:
        raise SalverError("is empty", where, "give the values of one input")
    exact = found.astype(np.float64)
    with np.errstate(over="ignore"):
        x = exact.astype(np.float32).ravel()
    if not np.isfinite(x).all():
        place, value = int(np.argmin(np.isfinite(x))), exact.ravel()[np.argmin(np.isfinite(x))]
        raise SalverError(f"entry {place} is {value:g}", where, "give finite numbers")
    return GivenPoint(x, _without_batch(found.shape), where)


def _without_batch(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(1, n) is a row, (1, c, h, w) a batch of one image, (h, w) an image with one channel."""
    if len(shape) > 3 and shape[0] == 1:
        return _without_batch(shape[1:])
    if len(shape) == 2:
        return shape[1:] if shape[0] == 1 else (1, *shape)
    return shape or (1,)


def _in_file(path: Path) -> npt.NDArray[Any]:
    kind = path.suffix.lower()
    if kind not in (".npy", ".csv"):
        raise SalverError("is neither .npy nor .csv", str(path), "save the point with numpy.save")
    try:
        if kind == ".csv":
            return np.asarray(np.loadtxt(path, delimiter=",", ndmin=1))
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except OSError as error:
        raise file_error(error, path, "read") from error
    except (ValueError, EOFError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise SalverError(f"holds no point ({first:.80})", str(path), "save it with numpy.save") from error
    return found


def _of_dataset(name: str, index: int, data_dir: Path | None) -> GivenPoint:
    from salver.zoo.datasets import load

    data = load(name, data_dir)
    rows = len(data.test_x)
    if not 0 <= index < rows:
        raise SalverError(f"row {index} is not there", f"data set {name}", f"choose one of 0 ... {rows - 1}")
    return GivenPoint(
        data.test_x[index],
        data.input_shape,
        f"row {index} of {name}",
        data.clip,
        data.features,
        data.classes,
        int(data.test_y[index]),
    )
