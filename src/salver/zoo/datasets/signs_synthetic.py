"""Traffic signs drawn from published icons: not photographs, and not GTSRB.

The icons are the sprites of the npm package `mapillary_sprite_source` 1.8.0 (MIT licence). The 43 classes
are the counterparts of GTSRB's (Stallkamp et al., 2012), in its order; a few have another country's colours.
Every image is one icon, scaled, shifted and dimmed over a random background with noise. All arithmetic is in
integers, so a set is the same everywhere.
"""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salver.core.errors import SalverError
from salver.zoo.datasets import sources
from salver.zoo.datasets.mnist import read_verified, scaled
from salver.zoo.datasets.record import Dataset, Origin, data_set

SHA256 = {
    "sprites@2x.png": "0b36a7f751565f0b04d47a568ce12f196d65d3352f811eda82878287b608d222",
    "sprites@2x.json": "24a46fdc40d7a04b3eb5d87812a6f43bba6b826f22811ffc385a799cfeee5b4c",
}
_SPEEDS = (20, 30, 50, 60, 70, 80)
SPRITES = (
    *(f"regulatory--maximum-speed-limit-{speed}--g1" for speed in _SPEEDS),
    "regulatory--end-of-maximum-speed-limit-80--g1",
    "regulatory--maximum-speed-limit-100--g1",
    "regulatory--maximum-speed-limit-120--g1",
    "regulatory--no-overtaking--g1",
    "regulatory--no-overtaking-by-heavy-goods-vehicles--g1",
    "warning--crossroads--g1",
    "regulatory--priority-road--g1",
    "regulatory--yield--g1",
    "regulatory--stop--g1",
    "regulatory--road-closed-to-vehicles--g3",
    "regulatory--no-heavy-goods-vehicles--g1",
    "regulatory--no-entry--g1",
    "warning--other-danger--g1",
    "warning--curve-left--g1",
    "warning--curve-right--g1",
    "warning--double-curve-first-left--g1",
    "warning--uneven-road--g1",
    "warning--slippery-road-surface--g1",
    "warning--road-narrows-right--g1",
    "warning--roadworks--g3",
    "warning--traffic-signals--g1",
    "warning--pedestrians-crossing--g1",
    "warning--children--g1",
    "warning--bicycles-crossing--g1",
    "warning--icy-road--g1",
    "warning--wild-animals--g2",
    "regulatory--end-of-prohibition--g1",
    "regulatory--turn-right-ahead--g1",
    "regulatory--turn-left-ahead--g1",
    "regulatory--go-straight--g1",
    "regulatory--go-straight-or-turn-right--g1",
    "regulatory--go-straight-or-turn-left--g1",
    "regulatory--keep-right--g1",
    "regulatory--keep-left--g1",
    "regulatory--roundabout--g1",
    "regulatory--end-of-no-overtaking--g1",
    "regulatory--end-of-no-overtaking-by-heavy-goods-vehicles--g1",
)
CLASSES = tuple(name.split("--")[1] for name in SPRITES)
SIDE = 48
TRAIN_PER_CLASS, TEST_PER_CLASS = 50, 12
SEED = 2012
RENDERING = 1
"""Goes up with every change of the images, so that networks trained on older ones are not taken for new."""

_TAPS = 3
"""Samples per output pixel and axis when an icon is scaled; their mean is the pixel."""
Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
_drawn_signs = partial(
    data_set,
    origin=Origin(
        "Drawn traffic signs",
        "drawn by salver from the icons of the npm package mapillary_sprite_source 1.8.0",
        "https://www.npmjs.com/package/mapillary_sprite_source",
        "MIT",
    ),
    files=SHA256,
    sources={"npm registry": sources.from_npm_package(sources.SIGNS_PACKAGE, "sprites")},
    named_only=True,
    folder="signs-synthetic",
    rendering=str(RENDERING),
)


@_drawn_signs("signs-synthetic")
def signs_synthetic(folder: Path, side: int = SIDE) -> Dataset:
    """2,150 training and 516 test images [3, side, side] of 43 classes.

    Args:
        side: 48, or a divisor of it: the images are then block means of the same 48 x 48 ones.

    Raises:
        SalverError: a file is missing, unreadable or not the published one.
    """
    icons = _icons(folder)
    parts = {}
    for number, (part, count) in enumerate((("train", TRAIN_PER_CLASS), ("test", TEST_PER_CLASS))):
        rng = np.random.default_rng([SEED, number])
        images = np.stack([_drawn(icons[i % len(icons)], rng) for i in range(count * len(icons))])
        parts[part] = _rows(images, side), np.tile(np.arange(len(icons), dtype=np.int64), count)
    name = "signs-synthetic" if side == SIDE else f"signs-synthetic-{side}"
    return Dataset(name, *parts["train"], *parts["test"], (3, side, side), CLASSES)


signs_synthetic_24 = _drawn_signs("signs-synthetic-24")(partial(signs_synthetic, side=24))


def _icons(folder: Path) -> list[Integers]:
    """The icons of all classes, RGBA [height, width, 4]."""
    from PIL import Image

    raw = {}
    for name, sha256 in SHA256.items():
        if not (folder / name).is_file():
            raise SalverError(f"{name} is missing", str(folder), "run `salver data fetch signs-synthetic`")
        raw[name] = read_verified(folder / name, sha256)
    places: dict[str, dict[str, int]] = json.loads(raw["sprites@2x.json"])
    with Image.open(io.BytesIO(raw["sprites@2x.png"])) as sheet:
        pixels: Integers = np.asarray(sheet.convert("RGBA"), np.int64)
    return [_cut(pixels, places[sprite]) for sprite in SPRITES]


def _cut(pixels: Integers, place: dict[str, int]) -> Integers:
    x, y = place["x"], place["y"]
    return pixels[y : y + place["height"], x : x + place["width"]]


def _drawn(icon: Integers, rng: np.random.Generator) -> Bytes:
    """One image [48, 48, 3]."""
    size = int(rng.integers(32, 45))
    colour, opacity = _resized(icon, size)
    top, left = rng.integers(0, SIDE - size + 1, 2)
    image = _background(rng)
    window = image[top : top + size, left : left + size]
    window[:] = (colour * opacity + window * (255 - opacity) + 127) // 255
    brightness = rng.integers(110, 281)
    image = image * brightness // 256 + rng.integers(-12, 13, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _background(rng: np.random.Generator) -> Integers:
    """A colour, a slope across the image and 6 x 6 patches around it [48, 48, 3]."""
    colour, slope = rng.integers(40, 200, 3), rng.integers(-2, 3, 2)
    patches = rng.integers(-25, 26, (6, 6, 3)).repeat(SIDE // 6, axis=0).repeat(SIDE // 6, axis=1)
    ramp = np.arange(SIDE) - SIDE // 2
    slant = (slope[0] * ramp[:, None] + slope[1] * ramp[None, :])[:, :, None]
    image: Integers = np.clip(colour + patches + slant, 0, 255)
    return image


def _resized(icon: Integers, size: int) -> tuple[Integers, Integers]:
    """Colour [size, size, 3] and opacity [size, size, 1], both 0 ... 255, of an icon scaled to a square."""
    taps = 2 * np.arange(size * _TAPS) + 1
    rows, columns = (taps * side // (2 * size * _TAPS) for side in icon.shape[:2])
    samples = icon[rows][:, columns].reshape(size, _TAPS, size, _TAPS, 4)
    opacity = samples[..., 3:].sum(axis=(1, 3))
    weighted = (samples[..., :3] * samples[..., 3:]).sum(axis=(1, 3))
    return weighted // np.maximum(opacity, 1), opacity // _TAPS**2


def _rows(images: Bytes, side: int) -> NDArray[np.float32]:
    """Images [N, 48, 48, 3] as rows [N, 3 * side * side] in [0, 1]."""
    block = SIDE // side
    blocks = images.reshape(len(images), side, block, side, block, 3).astype(np.int64)
    means = (blocks.sum(axis=(2, 4)) // block**2).astype(np.uint8)
    return scaled(np.ascontiguousarray(means.transpose(0, 3, 1, 2)).reshape(len(images), -1))
