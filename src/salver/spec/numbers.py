"""Numbers as they stand in a query: binary32 values, written out exactly.

A bound that every reader turns into the same real number, whatever its precision, leaves no room
for two tools to answer two different questions.
"""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def float32_down(values: npt.ArrayLike) -> Array:
    """Largest binary32 values not above `values`, as float64 of the same shape."""
    exact = np.asarray(values, dtype=np.float64)
    nearest = exact.astype(np.float32)
    lower = np.where(nearest.astype(np.float64) > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return lower.astype(np.float64) + 0.0


def float32_up(values: npt.ArrayLike) -> Array:
    """Smallest binary32 values not below `values`, as float64 of the same shape."""
    return -float32_down(-np.asarray(values, dtype=np.float64)) + 0.0


def below(nearest: float, exact: Decimal | Fraction) -> float:
    """The largest binary64 number not above `exact`, of which `nearest` is the nearest."""
    return math.nextafter(nearest, -math.inf) if type(exact)(nearest) > exact else nearest


def above(nearest: float, exact: Decimal | Fraction) -> float:
    """The smallest binary64 number not below `exact`, of which `nearest` is the nearest."""
    return math.nextafter(nearest, math.inf) if type(exact)(nearest) < exact else nearest


@lru_cache(maxsize=65536)
def decimal(value: float) -> str:
    """Exact decimal expansion of a binary32 value, without exponent, with a point.

    Raises:
        ValueError: the value is not finite or is no binary32 number.
    """
    if not math.isfinite(value) or _single(value) != value:
        raise ValueError(f"{value!r} is no finite binary32 number")
    text = format(Decimal(value + 0.0), "f")
    return text if "." in text else text + ".0"


def _single(value: float) -> float:
    """The nearest binary32 number, infinite beyond its range."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.inf
