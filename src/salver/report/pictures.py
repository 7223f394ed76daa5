"""Inputs and saliency maps as pictures: images as PNG, tables as bars in SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd
import vl_convert
from PIL import Image

from salver.report.axes import channels_first
from salver.report.colours import ABOVE, BELOW
from salver.zoo.datasets import Clip, bounds

Array = npt.NDArray[np.float64]
SIDE = 140
"""Width and height that a picture has at least, in pixels."""


def shown_range(clip: Clip, shape: tuple[int, ...]) -> Clip:
    """Values of black and white in an image: by channel where each has its own range, else for all.

    Args:
        shape: (channels, height, width).
    """
    pairs = np.asarray(clip, np.float64).reshape(-1, 2)
    if len(pairs) in (1, shape[0]):
        return clip
    return float(pairs[:, 0].min()), float(pairs[:, 1].max())


def image_png(values: Array, shape: tuple[int, ...], clip: Clip) -> bytes:
    """An input as a picture.

    Args:
        values, shape: see `channels_first`; three channels are red, green, blue, else the first is grey.
        clip: values of black and of white; see `shown_range`.
    """
    image = channels_first(values, shape)
    low, high = (end.reshape(image.shape) for end in bounds(shown_range(clip, image.shape), values.size))
    grey = np.clip((image - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    pixels = np.moveaxis(grey if len(grey) == 3 else np.repeat(grey[:1], 3, axis=0), 0, 2)
    return _png(np.rint(255 * pixels).astype(np.uint8), ())


def map_png(values: Array, shape: tuple[int, ...], limit: float, marked: Sequence[int] = ()) -> bytes:
    """A map as a picture: blue below zero, white at zero, red above.

    Args:
        values, shape: see `channels_first`; of several channels a pixel shows the entry of largest size.
        limit: size at which the colours are full.
        marked: pixels to frame, as indices of a map with one channel.
    """
    flat = flattened(values, shape)
    share = np.clip(flat / (limit or 1.0), -1.0, 1.0)[..., None]
    ends = np.where(share < 0, np.array(BELOW), np.array(ABOVE))
    return _png(np.rint(255 + np.abs(share) * (ends - 255)).astype(np.uint8), marked)


def flattened(values: Array, shape: tuple[int, ...]) -> Array:
    """The map [height, width]: per pixel the entry of largest size over the channels."""
    channels = channels_first(values, shape)
    largest = np.abs(channels).argmax(axis=0)
    return np.asarray(np.take_along_axis(channels, largest[None], axis=0)[0])


def bars_svg(names: Sequence[str], series: Mapping[str, Array], title: str) -> str:
    """A bar for every entry and series, such as the values at xhat and at the witness.

    Args:
        names: of the entries. series: [len(names)] values by name. title: of the axis.
    """
    rows = [
        {"entry": name, "at": at, "value": float(value)}
        for at, values in series.items()
        for name, value in zip(names, values, strict=True)
    ]
    order = list(series)
    colour = alt.Color(
        "at:N",
        sort=order,
        title=None,
        scale=alt.Scale(domain=order, range=["#0072B2", "#D55E00"][: len(order)]),
        legend=alt.Legend(orient="top") if len(order) > 1 else None,
    )
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title=title),
            y=alt.Y("entry:N", sort=list(names), title=None),
            yOffset=alt.YOffset("at:N", sort=order),
            color=colour,
        )
        .properties(width=170, height=alt.Step(9 if len(order) > 1 else 18))
        .configure(background="white")
    )
    return vl_convert.vegalite_to_svg(chart.to_dict())


def _png(pixels: npt.NDArray[np.uint8], marked: Sequence[int]) -> bytes:
    """Pixels [height, width, 3] enlarged by a whole factor, without smoothing."""
    height, width, _ = pixels.shape
    factor = max(1, -(-SIDE // max(height, width)))
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    for index in marked:
        row, column = divmod(index, width)
        _frame(large[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor])
    stream = io.BytesIO()
    Image.fromarray(large, "RGB").save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _frame(cell: npt.NDArray[np.uint8]) -> None:
    thick = max(1, len(cell) // 10)
    for side in (cell[:thick], cell[-thick:], cell[:, :thick], cell[:, -thick:]):
        side[:] = 0
