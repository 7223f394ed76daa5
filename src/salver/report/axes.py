"""Where an entry of an image or map lies. Nothing is drawn here, so nothing that draws is imported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def channel_axis(shape: tuple[int, ...]) -> int:
    """Which of three sides is that of the channels: the last where it is 1 or 3 and the first is not."""
    return 2 if shape[2] in (1, 3) and shape[0] not in (1, 3) else 0


def channels_first(values: Array, shape: tuple[int, ...]) -> Array:
    """An image or a map [channels, height, width], whichever way round the network takes it.

    Args:
        values: flattened. shape: (height, width), or of three sides as in `channel_axis`.
    """
    if len(shape) == 2:
        return values.reshape(1, *shape)
    return np.moveaxis(values.reshape(shape), channel_axis(shape), 0)


def pixel(index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row and column of an entry of an image or map."""
    place = [int(side) for side in np.unravel_index(index, shape)]
    if len(shape) == 3:
        del place[channel_axis(shape)]
    return tuple(place)


def entry_name(entry: int, shape: tuple[int, ...], features: Sequence[str]) -> str:
    """An entry of a map in words: a feature's name, a pixel (row, column), with its channel, or its number.

    Args:
        features: names of the input's entries, which are the map's where there are as many.
    """
    if len(shape) == 1:
        return features[entry] if len(features) == shape[0] else f"entry {entry}"
    place = f"({', '.join(map(str, pixel(entry, shape)))})"
    channels = shape[channel_axis(shape)] if len(shape) == 3 else 1
    if channels == 1:
        return place
    return f"{place} of channel {np.unravel_index(entry, shape)[channel_axis(shape)]}"
