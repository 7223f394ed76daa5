"""A folder of images: one folder for each class, whose name is the class's."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from salver.core.confined import read_inside
from salver.core.errors import SalverError, file_error
from salver.zoo.datasets.own.options import DataOptions
from salver.zoo.datasets.own.raw import COMMON, MOST_NUMBERS, Part, RawData, to_dataset

MOST_BYTES, MOST_PIXELS = 64 << 20, 1 << 24
"""Largest file, and most pixels of one image before it is brought to its size."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (".bmp", ".gif", ".jpg", ".jpeg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_GREY = ("1", "L", "LA", "I", "I;16", "F")
_MODES = {"grey": "L", "rgb": "RGB"}


def read_folder(path: Path, where: str, options: DataOptions) -> RawData:
    """Images as values from 0 to 1, channels first; classes and images in the order of their names.

    Raises:
        SalverError: no class, a class without images, a file that is no image, or images that differ.
    """
    options.refuse_others(COMMON | {"size", "colour", "layout"}, where, "a folder of images")
    try:
        classes = sorted(e.name for e in os.scandir(path) if e.is_dir() and _shown(e.name))
        loose = sorted(e.name for e in os.scandir(path) if e.name.lower().endswith(ENDINGS) and e.is_file())
    except OSError as error:
        raise file_error(error, where, "read") from error
    if loose:
        raise SalverError(f"{loose[0]} lies in no class", where, "put it into the folder of its class")
    if not classes:
        raise SalverError("has no folders of classes", where, "make one folder of images for each class")
    _refuse_ambiguous(classes, where, options)
    names = {name: _images(path, name, where) for name in classes}
    files = [f"{name}/{file}" for name in classes for file in names[name]]
    first = _image(path, files[0], where, options)
    if len(files) * first.size > MOST_NUMBERS:
        what = f"holds {len(files)} images of {first.size} values"
        raise SalverError(what, where, "choose a smaller size, or fewer images")
    x = np.empty((len(files), *first.shape))
    for number, file in enumerate(files):
        x[number] = _image(path, file, where, options, first.shape, files[0])
    labels = np.array([name for name in classes for _ in names[name]])
    if options.layout == "hwc":
        x = np.ascontiguousarray(np.moveaxis(x, 1, 3))
    part = Part(x / 255, labels, lambda number: files[number])
    known = () if options.class_names else tuple(classes)
    return RawData(where, f"{path.name}/", part, shape=x.shape[1:], classes=known)


def read_image(path: Path, like: DataOptions | None = None) -> NDArray[np.floating[Any]]:
    """One image as values from 0 to 1, [channels, height, width]: grey where it has no colours, else RGB.

    Args:
        like: options of the data that it is one of; it is then what the network sees of it, [n] in order.

    Raises:
        SalverError: there is no such file, it is no image, or the options do not fit it.
    """
    folder, where, options = path.absolute().parent, str(path.parent), like or DataOptions()
    if options.colour is None:
        options = options.model_copy(update={"colour": _colour(path)})
    values: NDArray[np.float64] = _image(folder, path.name, where, options) / 255
    if like is None:
        return values
    values = np.moveaxis(values, 0, 2) if options.layout == "hwc" else values
    alone = Part(values[None], np.zeros(1, np.int64), lambda _: path.name)
    row: NDArray[np.float32] = to_dataset(RawData(where, "image", alone), options).test_x[0]
    return row


def _colour(path: Path) -> Literal["grey", "rgb"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as opened:
            return "grey" if opened.mode in _GREY else "rgb"
    except UnidentifiedImageError as error:
        raise SalverError("is no image that can be read", str(path), "replace it") from error
    except OSError as error:
        raise file_error(error, path, "read") from error


def _shown(name: str) -> bool:
    return not name.startswith(".")


def _refuse_ambiguous(classes: list[str], where: str, options: DataOptions) -> None:
    """Refuses numbers as names where their order as text, which counts, is not that of the numbers."""
    numbers = all(name.isascii() and name.isdigit() for name in classes)
    if numbers and not options.class_names and sorted(classes, key=int) != classes:
        what = f"its classes are numbers whose order as text is another one ({', '.join(classes[:4])} ...)"
        raise SalverError(what, where, "give class_names in the order of the network's outputs")


def _images(path: Path, name: str, where: str) -> list[str]:
    try:
        entries = sorted((e.name, e.is_dir()) for e in os.scandir(path / name) if _shown(e.name))
    except OSError as error:
        raise file_error(error, f"{where}: {name}", "read") from error
    if inner := next((file for file, is_folder in entries if is_folder), None):
        hint = f"name the folder whose folders are the classes, such as {Path(where) / name}/"
        raise SalverError(f"{name}/{inner} is a folder in the folder of a class", where, hint)
    if not entries:
        raise SalverError(f"class {name} has no images", where, "add images, or remove its folder")
    return [file for file, _ in entries]


def _image(
    folder: Path,
    file: str,
    where: str,
    options: DataOptions,
    wanted: tuple[int, ...] | None = None,
    first: str = "",
) -> NDArray[np.float64]:
    """The values 0 to 255 of an image, [channels, height, width].

    Args:
        wanted: shape that it must have; first: the image that has it.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opened = Image.open(io.BytesIO(read_inside(folder, file, MOST_BYTES)), formats=FORMATS)
            if opened.width * opened.height > MOST_PIXELS:
                raise SalverError(f"{file} has more than {MOST_PIXELS:,} pixels", where, "make it smaller")
            if opened.mode.startswith(("I", "F")):
                hint = "store it with 8 bits, or save the values as an .npz file"
                raise SalverError(f"{file} has more than 8 bits for a value ({opened.mode})", where, hint)
            if opened.mode not in _MODES.values() and options.colour is None:
                what = f"{file} is of kind {opened.mode}, neither grey nor RGB"
                raise SalverError(what, where, 'say what to read images as: colour = "rgb" or "grey"')
            image = opened.convert(_MODES[options.colour]) if options.colour else opened
            if options.size is not None:
                height, width = (options.size,) * 2 if isinstance(options.size, int) else options.size
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            values = np.asarray(image, np.float64)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, Warning) as error:
        raise SalverError(f"{file} is no image that can be read", where, "replace or remove it") from error
    except OSError as error:
        what = f"{file} is no image that can be read ({error.strerror or error})"
        raise SalverError(what, where, "replace or remove it") from error
    found = values[None] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    if wanted is not None and found.shape != wanted:
        what = f"{file} is {_said(found.shape)}, {first} is {_said(wanted)}"
        raise SalverError(what, where, "bring them to one with the entries size and colour")
    return found


def _said(shape: tuple[int, ...]) -> str:
    colour = "grey" if shape[0] == 1 else "RGB"
    return f"{colour} with {shape[1]} x {shape[2]} pixels"
