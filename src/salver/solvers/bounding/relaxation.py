"""Linear relaxations of single nonlinear entries: ReLU, mask, gate, product and absolute value.

All arrays are float64 [size], one entry per neuron; `signs` says what is decided (+1 on, -1 off, 0 open).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING

Array = npt.NDArray[np.float64]
Signs = npt.NDArray[np.int8]

TINY = 1e-250
"""More than all that underflow can take from a bound, less than any number that means something."""
UNDERFLOW = 1e-300
"""Added to the size of every coefficient of a backward pass, times `ROUNDING` it is more than what sums of
coefficients lose to underflow; that counts beside values as large as other coefficients are small."""


@dataclass(frozen=True, eq=False)
class Lines:
    """lower_slope * z + lower_offset <= value <= upper_slope * z + upper_offset."""

    lower_slope: Array
    lower_offset: Array
    upper_slope: Array
    upper_offset: Array


@dataclass(frozen=True, eq=False)
class GateLines:
    """lower_mask * m + lower_value * v + lower_offset <= m * v <= the same with `upper`.

    Of a product m is its factor.
    """

    lower_mask: Array
    lower_value: Array
    lower_offset: Array
    upper_mask: Array
    upper_value: Array
    upper_offset: Array


def relu_lines(signs: Signs, low: Array, high: Array) -> Lines:
    """The triangle, with the lower slope that leaves less area (CROWN's adaptive choice)."""
    on, open_ = signs > 0, signs == 0
    slope = np.where(open_, high / np.where(open_, high - low, 1.0), on)
    lower = np.where(open_, high > -low, on).astype(np.float64)
    offset = np.where(open_, -slope * low, 0.0)
    return Lines(lower, np.zeros_like(low), slope, offset)


FLAT = 1e-7
"""A mask gets no sloped line where z reaches less than this share of what its sum was added up from: the
slope would multiply rounding errors."""


def mask_lines(signs: Signs, low: Array, high: Array, size: Array | float = 0.0) -> Lines:
    """The step 1[z > 0]: z / high <= m and m <= 1 - z / low, or the constants 0 and 1.

    Both sides hold at z = 0 for either value of the mask. The sloped line is used where it leaves less
    area than the constant: below it where high > -low, above it where high < -low.

    Args:
        size: sums of absolute values [size] that z was added up from (see `FLAT`).
    """
    on, open_ = (signs > 0).astype(np.float64), signs == 0
    flat = np.maximum(FLAT * size, TINY)
    below, above = open_ & (high > np.maximum(-low, flat)), open_ & (low < np.minimum(-high, -flat))
    lower_slope = np.where(below, 1.0 / np.where(below, high, 1.0), 0.0)
    upper_slope = np.where(above, -1.0 / np.where(above, low, -1.0), 0.0)
    return Lines(lower_slope, on, upper_slope, np.where(open_, 1.0, on))


def gate_lines(signs: Signs, low: Array, high: Array, pairing: bool) -> GateLines:
    """McCormick's envelope of m * v for m in [0, 1] and v in [low, high].

    low * m <= m v <= high * m, and with `pairing` v + high * (m - 1) <= m v <= v + low * (m - 1): the
    first keeps the mask's dependence on x, the second the value's. Neither dominates.
    """
    on, open_ = (signs > 0).astype(np.float64), signs == 0
    zero = np.zeros_like(low)
    if not pairing:
        return GateLines(np.where(open_, low, 0.0), on, zero, np.where(open_, high, 0.0), on, zero)
    value = np.where(open_, 1.0, on)
    above, below = np.where(open_, high, 0.0), np.where(open_, low, 0.0)
    return GateLines(above, value, -above, below, value, -below)


def product_lines(factor: tuple[Array, Array], value: tuple[Array, Array], pairing: bool) -> GateLines:
    """McCormick's envelope of f * v for f in `factor` = [a, b] and v in `value` = [c, d].

    c f + a v - a c <= f v <= d f + a v - a d, and with `pairing` d f + b v - b d <= f v <= c f + b v - b c:
    the first pair is exact where f = a, the second where f = b. Where f is a point both are f v itself.
    """
    (a, b), (c, d) = factor, value
    if pairing:
        return GateLines(d, b, -b * d, c, b, -b * c)
    return GateLines(c, a, -a * c, d, a, -a * d)


def square_lines(low: Array, high: Array, pairing: bool) -> GateLines:
    """f * f for f in [low, high], by f as the value alone: the chord above; below the tangent in the middle,
    and with `pairing` that at the point nearest to 0."""
    at = np.clip(0.0, low, high) if pairing else (low + high) / 2
    zero = np.zeros_like(low)
    return GateLines(zero, 2.0 * at, -at * at, zero, low + high, -low * high)


def product_range(
    factor: tuple[Array, Array], value: tuple[Array, Array], square: bool = False
) -> tuple[Array, Array]:
    """Bounds of f * v, of any shape, moved outwards by what rounding may do; `square`: v is f."""
    (a, b), (c, d) = factor, value
    if square:
        nearest = np.maximum(np.maximum(np.maximum(a, c), -np.minimum(b, d)), 0.0)
        farthest = np.minimum(np.maximum(np.abs(a), np.abs(b)), np.maximum(np.abs(c), np.abs(d)))
        low, high = nearest * nearest, farthest * farthest
    else:
        ends = (a * c, a * d, b * c, b * d)
        low, high = np.minimum.reduce(ends), np.maximum.reduce(ends)
    low, high = low - ROUNDING * np.abs(low) - TINY, high + ROUNDING * np.abs(high) + TINY
    return np.maximum(low, 0.0) if square else low, high


def is_point(low: Array, high: Array, size: Array) -> npt.NDArray[np.bool_]:
    """Where nothing but the allowance for rounding keeps bounds apart.

    Args:
        size: sums of absolute values that the bounded values were added up from.
    """
    return np.asarray(high - low <= 4.0 * ROUNDING * size + 4.0 * TINY)


def abs_lines(low: Array, high: Array) -> Lines:
    """|v|: the tangent on the wider side below, the chord above."""
    positive, negative = low >= 0, high <= 0
    straddles = ~positive & ~negative
    side = np.where(positive | (straddles & (high > -low)), 1.0, -1.0)
    width = np.where(straddles, high - low, 1.0)
    slope = np.where(straddles, (high + low) / width, side)
    offset = np.where(straddles, -2.0 * high * low / width, 0.0)
    return Lines(side, np.zeros_like(low), slope, offset)
