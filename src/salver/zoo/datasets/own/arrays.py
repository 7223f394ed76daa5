"""Arrays of NumPy's files, of which nothing is ever unpickled."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.core.confined import read_regular
from salver.core.errors import SalverError, file_error, plain_reason, suggestion
from salver.zoo.datasets.own.options import DataOptions
from salver.zoo.datasets.own.raw import COMMON, Part, RawData, kind_of

MOST_BYTES = 2 << 30
"""Largest file, and largest sum of its unpacked arrays."""
MOST_ARRAYS = 64
KNOWN = (
    "x", "y", "x_test", "y_test", "x_train", "y_train",
    "feature_names", "class_names", "shape", "lower", "upper",
)  # fmt: skip
"""The arrays that a file may hold."""
_DAMAGED = (
    ValueError, TypeError, SyntaxError, KeyError, IndexError, OverflowError, EOFError, MemoryError, OSError,
    RuntimeError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What the readers of archives and arrays raise where a file is damaged."""
_PLAIN = "save plain arrays, such as np.savez(path, x=x, y=y)"


def read_npz(path: Path, where: str, options: DataOptions) -> RawData:
    """Arrays `x` and `y`, or `x_test` and `y_test`; and what else `KNOWN` lists.

    Raises:
        SalverError: no such file, pickled objects, an array missing, unknown or of another kind.
    """
    options.refuse_others(COMMON | {"feature_names", "shape", "layout", "file_layout"}, where, "an .npz file")
    arrays = _arrays(_content(path, where), where)
    x, y = ("x_test", "y_test") if "x_test" in arrays or "y_test" in arrays else ("x", "y")
    pairs = [(x, y), *([("x_train", "y_train")] if {"x_train", "y_train"} & set(arrays) else [])]
    for name in (name for pair in pairs for name in pair):
        if name not in arrays:
            what = f"holds no array {name} (it holds {', '.join(arrays) or 'none'})"
            raise SalverError(
                what, where, f"save the inputs as {pairs[0][0]} and the labels as {pairs[0][1]}"
            )
    for name in arrays:
        if name not in KNOWN:
            raise SalverError(f"holds an array {name}, which has no meaning", where, suggestion(name, KNOWN))
        if name in ("x", "y") and x != "x":
            raise SalverError(f"holds {name} and {name}_test", where, "keep one of them")
    parts = [_part(arrays, names, where, options) for names in pairs]
    stated = tuple(int(side) for side in _plain(arrays, "shape", "iu", where))
    return RawData(
        where,
        path.name,
        parts[0],
        parts[1] if len(parts) > 1 else None,
        stated or (() if options.shape else shape_of(parts[0].x.shape[1:], options.layout)),
        tuple(map(str, _plain(arrays, "feature_names", "U", where))),
        tuple(map(str, _plain(arrays, "class_names", "U", where))),
        _limits(arrays, "lower", where),
        _limits(arrays, "upper", where),
    )


def read_point(path: Path, where: str, entries: int) -> NDArray[np.float32]:
    """One input of an .npy file in single precision, in the shape that it has there.

    Raises:
        SalverError: no such file, pickled objects, another number of entries, or values that are not finite.
    """
    found = _array(_content(path, where), where)
    if found.dtype.kind not in "biuf":
        raise SalverError(f"holds {kind_of(found)}, not numbers", where, "save the values of one input")
    if found.size != entries:
        what = f"holds {found.size} values (shape {' x '.join(map(str, found.shape))})"
        raise SalverError(what, where, f"give one input of {entries}")
    with np.errstate(over="ignore"):
        point = found.astype(np.float32)
    if (bad := ~np.isfinite(point).reshape(-1)).any():
        entry = int(np.argmax(bad))
        raise SalverError(f"entry {entry} is {found.reshape(-1)[entry]}", where, "give finite numbers")
    return point


def _content(path: Path, where: str) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        raise file_error(error, where, "read") from error


def _lower_x(name: str) -> str:
    return name.lower() if name.lower() in ("x", "x_train", "x_test") else name


def _arrays(content: bytes, where: str) -> dict[str, NDArray[np.generic]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > MOST_BYTES:
                hint = f"give at most {MOST_ARRAYS} arrays and {MOST_BYTES >> 30} GiB"
                raise SalverError("holds too much", where, hint)
            # scikit-learn's name of the inputs is a capital X.
            names = [_lower_x(member.filename.removesuffix(".npy")) for member in members]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise SalverError(f"holds two arrays {twice}", where, _PLAIN)
            return {
                name: _array(archive.read(member), f"{where}: {name}")
                for name, member in zip(names, members, strict=True)
            }
    except _DAMAGED as error:
        raise SalverError(f"is no .npz file ({plain_reason(error)})", where, _PLAIN) from error


def _array(content: bytes, where: str) -> NDArray[np.generic]:
    try:
        found: NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    except _DAMAGED as error:
        if "pickle" in str(error):
            hint = f"{_PLAIN}, names with dtype=str"
            raise SalverError("holds pickled objects, which are never opened", where, hint) from error
        raise SalverError(f"is no array ({plain_reason(error)})", where, _PLAIN) from error
    if not isinstance(found, np.ndarray):
        raise SalverError("is no array", where, _PLAIN)
    try:
        return np.char.decode(found.astype(np.bytes_), "utf-8") if found.dtype.kind == "S" else found
    except UnicodeDecodeError as error:
        raise SalverError("holds texts that are not in UTF-8", where, "save them with dtype=str") from error


def _part(
    arrays: dict[str, NDArray[np.generic]], names: tuple[str, str], where: str, options: DataOptions
) -> Part:
    x, y = (arrays[name] for name in names)
    if options.file_layout not in (None, options.layout):
        if x.ndim != 4:
            what = f"{names[0]} has {x.ndim} axes, and file_layout is about rows of images, which have 4"
            raise SalverError(what, where, "leave file_layout out")
        ends = (1, 3) if options.layout == "hwc" else (3, 1)
        x = np.ascontiguousarray(np.moveaxis(x, *ends))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return Part(x, y, lambda number: f"row {number} of {names[0]}")


def shape_of(shape: tuple[int, ...], layout: str = "chw") -> tuple[int, ...]:
    """The shape of an input: an image without an axis of channels has one channel."""
    if len(shape) != 2:
        return shape
    return (1, *shape) if layout == "chw" else (*shape, 1)


def _plain(arrays: dict[str, NDArray[np.generic]], name: str, kinds: str, where: str) -> NDArray[np.generic]:
    found = arrays.get(name, np.empty(0, "U1" if kinds == "U" else np.int64))
    if found.ndim != 1 or found.dtype.kind not in kinds:
        said = "texts" if kinds == "U" else "whole numbers"
        raise SalverError(f"{name} is no list of {said}", where, "save a list of them")
    return found


def _limits(arrays: dict[str, NDArray[np.generic]], name: str, where: str) -> tuple[float, ...] | None:
    if name not in arrays:
        return None
    found = arrays[name]
    if found.dtype.kind not in "biuf":
        raise SalverError(f"{name} holds {kind_of(found)}, not numbers", where, "give numbers")
    return tuple(np.atleast_1d(found.astype(np.float64)).reshape(-1).tolist())
