"""Data as it stands in files, and the data set that it makes: labels as numbers, ranges, normalisation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salver.core.errors import SalverError, suggestion
from salver.core.names import refuse_unsafe_name
from salver.spec import float32_down, float32_up
from salver.zoo.datasets.own.options import DataOptions, Numbers
from salver.zoo.datasets.ranges import Clip, compact
from salver.zoo.datasets.record import Dataset

Array = NDArray[np.float64]
Labels = list[NDArray[np.int64]]
MOST_NUMBERS = 1 << 28
"""Most entries of all rows together; they take four bytes each, and eight while they are made."""
NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*", re.ASCII)
"""A finite number as people write it in tables."""
MOST_NAME, MOST_CLASSES = 100, 100_000
COMMON = {"class_names", "lower", "upper", "mean", "std"}
"""The options that mean something for every kind of file."""


def kind_of(values: NDArray[Any]) -> str:
    """What an array holds that holds no real numbers, in a word."""
    kinds = {"U": "text", "S": "text", "c": "complex numbers", "M": "dates", "m": "times", "V": "records"}
    return kinds.get(values.dtype.kind, "objects")


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a file.

    Attributes:
        x: numbers [N, ...]. y: a label for each row [N], as numbers or as texts.
        row: what people call a row of this number.
    """

    x: NDArray[np.generic]
    y: NDArray[np.generic]
    row: Callable[[int], str] = lambda number: f"row {number}"


@dataclass(frozen=True, eq=False)
class RawData:
    """What a file or folder holds; what it does not say is empty or None.

    Attributes:
        where: the path as the person gave it. name: of the data set that is made of it.
        test, train: the points, and the rows that a network was trained on.
        shape: of one input. layout: of an image among its sides.
    """

    where: str
    name: str
    test: Part
    train: Part | None = None
    shape: tuple[int, ...] = ()
    features: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    lower: Numbers | None = None
    upper: Numbers | None = None
    layout: str = "chw"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The test part, and the train part where there is one."""
        return (self.test,) if self.train is None else (self.test, self.train)


def completed(raw: RawData, options: DataOptions) -> RawData:
    """Raw data with what the options say beside it.

    Raises:
        SalverError: something is stated in both.
    """
    pairs = {"class_names": "classes", "feature_names": "features"}
    update: dict[str, object] = {}
    for option in ("class_names", "feature_names", "shape", "lower", "upper"):
        attribute, given = pairs.get(option, option), getattr(options, option)
        if given in ((), None):
            continue
        if getattr(raw, attribute) not in ((), None):
            raise SalverError(f"{option} is in the file already", raw.where, "leave it out of the suite")
        update[attribute] = given
    return replace(raw, **update)  # type: ignore[arg-type]


def to_dataset(raw: RawData, options: DataOptions) -> Dataset:
    """The data set.

    Raises:
        SalverError: rows, labels, names, shape or ranges do not fit together.
    """
    refuse_unsafe_name(raw.name.removesuffix("/"), raw.where)
    raw = completed(raw, options)
    for part in raw.parts:
        _refuse_shapes(raw, part)
    entries = math.prod(raw.test.x.shape[1:])
    shape = raw.shape or raw.test.x.shape[1:]
    if math.prod(shape) != entries:
        what = f"shape {_sides(shape)} has {math.prod(shape)} entries, a row of x has {entries}"
        raise SalverError(what, raw.where, "give the shape of one input")
    raw = replace(raw, shape=shape, layout=options.layout)
    _refuse_names(raw, entries)
    labels, classes = numbered(raw)
    mean, std = (
        _spread(options.mean, 0.0, raw, "mean"),
        _spread(options.std, 1.0, raw, "std"),
    )
    if (std <= 0).any():
        raise SalverError("std is not positive everywhere", raw.where, "give the standard deviations")
    rows = [_normalised(raw, part, mean, std) for part in raw.parts]
    clip = _clip(raw, mean, std)
    found = Dataset(
        raw.name,
        train_x=rows[1] if raw.train else np.empty((0, entries), np.float32),
        train_y=labels[1] if raw.train else np.empty(0, np.int64),
        test_x=rows[0],
        test_y=labels[0],
        input_shape=shape,
        classes=classes,
        clip=clip,
        features=raw.features,
    )
    _refuse_outside(raw, found)
    return found


def numbered(raw: RawData) -> tuple[Labels, tuple[str, ...]]:
    """The labels of the parts as positions among the classes, and the classes' names where they have any.

    Texts are looked up in the names, which are the sorted texts where none are given. Numbers are positions,
    also where they stand as text, unless all of them are names.

    Raises:
        SalverError: a label has no name, or is no whole number of 0 or more.
    """
    if not all(part.y.dtype.kind == "U" for part in raw.parts):
        return _positions(raw, [_whole_numbers(raw, part) for part in raw.parts])
    found = sorted({str(label) for part in raw.parts for label in np.unique(part.y)})
    numbers = all(NUMBER.fullmatch(label) for label in found)
    if numbers and not (raw.classes and set(found) <= set(raw.classes)):
        parts = [replace(part, y=part.y.astype(np.float64)) for part in raw.parts]
        return _positions(raw, [_whole_numbers(raw, part) for part in parts])
    names = raw.classes or tuple(found)
    places = {name: number for number, name in enumerate(names)}
    for part in raw.parts:
        for number, label in enumerate(part.y.tolist()):
            if label not in places:
                what = f"label {label[:MOST_NAME]!r} of {part.row(number)} is not among the class names"
                raise SalverError(what, raw.where, suggestion(label, names))
    return [np.array([places[label] for label in part.y.tolist()], np.int64) for part in raw.parts], names


def _whole_numbers(raw: RawData, part: Part) -> NDArray[np.int64]:
    if part.y.dtype.kind not in "biuf":
        raise SalverError("labels are neither numbers nor text", raw.where, "give a whole number a row")
    values = part.y.astype(np.float64)
    bad = ~((values >= 0) & (values < 2**31) & (values == np.floor(values)))
    if bad.any():
        number = int(np.argmax(bad))
        what = f"label {values[number]:g} of {part.row(number)} is no whole number of 0 or more"
        raise SalverError(what, raw.where, "number the classes from 0 in the order of the network's outputs")
    return values.astype(np.int64)


def _positions(raw: RawData, labels: Labels) -> tuple[Labels, tuple[str, ...]]:
    most = max(int(part.max()) for part in labels)
    if not raw.classes:
        if most >= MOST_CLASSES:
            hint = "number the classes from 0 in the order of the network's outputs"
            raise SalverError(f"label {most} would be one of {most + 1} classes", raw.where, hint)
        return labels, ()
    for part, found in zip(raw.parts, labels, strict=True):
        if (bad := found >= len(raw.classes)).any():
            number = int(np.argmax(bad))
            what = f"label {found[number]} of {part.row(number)} is not among {len(raw.classes)} class names"
            raise SalverError(what, raw.where, "classes are numbered from 0; name every one of them")
    return labels, raw.classes


def _refuse_shapes(raw: RawData, part: Part) -> None:
    x, y = part.x, part.y
    if x.ndim < 2:
        what = f"x has shape {_sides(x.shape)}, which is no rows of inputs"
        raise SalverError(what, raw.where, "give one row for each input, also for a single one")
    if y.ndim != 1:
        what = f"labels have shape {_sides(y.shape)}"
        raise SalverError(what, raw.where, "give one label for each row, such as argmax of one-hot rows")
    if len(x) != len(y):
        raise SalverError(f"has {len(x)} rows and {len(y)} labels", raw.where, "give one label for each row")
    if x.size == 0:
        raise SalverError("holds no rows", raw.where, "give at least one row of at least one entry")
    if x.size > MOST_NUMBERS:
        raise SalverError(f"holds {x.size:,} numbers", raw.where, f"give at most {MOST_NUMBERS:,}")
    if x.dtype.kind not in "biuf":
        raise SalverError(f"x holds {kind_of(x)}, not numbers", raw.where, "give x as numbers")
    if x.shape[1:] != raw.test.x.shape[1:]:
        what = f"train rows have shape {_sides(x.shape[1:])}, test rows {_sides(raw.test.x.shape[1:])}"
        raise SalverError(what, raw.where, "give both parts the same shape")


def _refuse_names(raw: RawData, entries: int) -> None:
    if raw.features and len(raw.features) != entries:
        what = f"{len(raw.features)} feature names for {entries} features"
        raise SalverError(what, raw.where, "name every feature once")
    for names, kind in ((raw.features, "feature"), (raw.classes, "class")):
        for name in names:
            if not name or not name.isprintable() or len(name) > MOST_NAME:
                hint = f"use 1 to {MOST_NAME} printed characters"
                raise SalverError(f"{kind} name {name[:MOST_NAME]!r} is no name", raw.where, hint)
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SalverError(f"{kind} name {twice!r} stands there twice", raw.where, "name each one once")


def _spread(values: Numbers | None, otherwise: float, raw: RawData, name: str) -> Array:
    """One value for each entry [n], from one for all, for each channel or for each entry."""
    shape, entries = raw.shape, math.prod(raw.shape)
    given = np.atleast_1d(np.asarray(otherwise if values is None else values, np.float64))
    channels = shape[0 if raw.layout == "chw" else 2] if len(shape) == 3 else 1
    if given.ndim != 1 or len(given) not in (1, channels, entries):
        every = f", {channels} (one a channel)" if channels > 1 else ""
        what = f"{name} has {given.size} values"
        raise SalverError(what, raw.where, f"give 1{every} or {entries} (one a feature)")
    if not np.isfinite(given).all():
        raise SalverError(f"{name} holds NaN or infinity", raw.where, "give finite numbers")
    if raw.layout == "hwc" and len(given) == channels:
        return np.tile(given, entries // channels)
    return np.repeat(given, entries // len(given))


def _normalised(raw: RawData, part: Part, mean: Array, std: Array) -> NDArray[np.float32]:
    """(x - mean) / std in double precision, as rows [N, n] rounded to single precision."""
    rows = part.x.reshape(len(part.x), -1)
    if mean.any() or (std != 1).any():
        rows = (rows.astype(np.float64) - mean) / std
    with np.errstate(over="ignore"):
        found = rows.astype(np.float32)
    if (bad := ~np.isfinite(found)).any():
        number, entry = (int(place) for place in np.argwhere(bad)[0])
        what = f"{part.row(number)}: {_entry(raw, entry)} is {rows[number, entry]}"
        raise SalverError(what, raw.where, "give finite numbers, or leave the row out")
    return found


def _clip(raw: RawData, mean: Array, std: Array) -> Clip | None:
    """The range of every entry in binary32, rounded outwards; None where there is none.

    Where nothing is stated it is 0 to 1 if all values lie there, 0 to 255 for bytes, and else none.
    """
    if (raw.lower is None) != (raw.upper is None):
        missing = "upper" if raw.upper is None else "lower"
        raise SalverError(f"states one end of the ranges without {missing}", raw.where, "give both or none")
    low, high = raw.lower, raw.upper
    if low is None:
        low, high = _obvious(raw)
        if low is None:
            return None
    ends = [_spread(low, 0.0, raw, "lower"), _spread(high, 1.0, raw, "upper")]
    if (bad := ends[0] > ends[1]).any():
        entry = int(np.argmax(bad))
        what = f"{_entry(raw, entry)} has lower {ends[0][entry]:g} above upper {ends[1][entry]:g}"
        raise SalverError(what, raw.where, "exchange them, or correct the ranges")
    return compact(float32_down((ends[0] - mean) / std), float32_up((ends[1] - mean) / std), raw.shape)


def _obvious(raw: RawData) -> tuple[float, float] | tuple[None, None]:
    arrays = [part.x for part in raw.parts]
    if all(x.min() >= 0 and x.max() <= 1 for x in arrays):
        return 0.0, 1.0
    return (0.0, 255.0) if all(x.dtype == np.uint8 for x in arrays) else (None, None)


def _refuse_outside(raw: RawData, found: Dataset) -> None:
    low, high = found.bounds
    if (bad := (found.test_x < low) | (found.test_x > high)).any():
        number, entry = (int(place) for place in np.argwhere(bad)[0])
        value = raw.test.x.reshape(len(raw.test.x), -1)[number, entry]
        what = f"{raw.test.row(number)}: {_entry(raw, entry)} is {value:g}, outside of its range"
        raise SalverError(what, raw.where, "widen lower and upper, or leave the row out")


def _entry(raw: RawData, entry: int) -> str:
    return raw.features[entry] if raw.features else f"entry {entry}"


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "of a single number"
