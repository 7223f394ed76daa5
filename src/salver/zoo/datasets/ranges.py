"""The lowest and highest valid value of every input entry, stored in as few numbers as say it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Pair = tuple[float, float]
Clip = Pair | tuple[Pair, ...]
"""One pair for all entries, or pairs for equal parts of them in order: one a channel, or one a feature."""


def bounds(clip: Clip | None, entries: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest values [n], [n] of `entries` input entries; infinite where there is no range.

    Raises:
        ValueError: the pairs do not stand for equal parts, a number is not finite, or a lowest value is above
            the highest.
    """
    if clip is None:
        return np.full(entries, -math.inf), np.full(entries, math.inf)
    pairs = np.asarray(clip, np.float64).reshape(-1, 2)
    if len(pairs) == 0 or entries % len(pairs):
        raise ValueError(f"{len(pairs)} ranges for {entries} entries")
    if not np.isfinite(pairs).all() or (pairs[:, 0] > pairs[:, 1]).any():
        raise ValueError("a range is not finite, or its lower end is above its upper one")
    low, high = np.repeat(pairs, entries // len(pairs), axis=0).T
    return low.copy(), high.copy()


def compact(low: NDArray[np.float64], high: NDArray[np.float64], shape: tuple[int, ...]) -> Clip:
    """The same ranges [n], [n] as one pair, else as one for each channel of an image, else one an entry."""
    pairs = np.stack([low, high], axis=1)
    for parts in (1, shape[0] if len(shape) == 3 else len(low)):
        blocks = pairs.reshape(parts, -1, 2)
        if (blocks == blocks[:, :1]).all():
            found = tuple((float(a), float(b)) for a, b in blocks[:, 0])
            return found[0] if parts == 1 else found
    return tuple((float(a), float(b)) for a, b in pairs)
