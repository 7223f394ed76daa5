"""A Euclidean ball around a point, beside the box of a property: membership is exact, the rest outward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.spec.numbers import float32_down, float32_up

Array = npt.NDArray[np.float64]
Norm = Literal["linf", "l2"]
"""How far an input is from another: its largest change of an entry, or the Euclidean distance."""
_CLEAR = 1e-12
"""Share of the squared radius by which a rounded sum of squares must differ from it to tell."""
_SMALLEST = 1e-280
"""Squares below this lose digits, and then only exact arithmetic tells."""
_INWARDS = 1e-9
"""Share of the radius by which points are put inside it."""
_ROUNDS = 32


@dataclass(frozen=True, eq=False)
class Ball:
    """The x with |x - centre|_2^2 <= square, over the reals.

    Attributes:
        centre: float64 [n], exact.
        square: squared radius, >= 0. A decimal that binary64 does not hold is rounded up.
    """

    centre: Array
    square: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre).all() and math.isfinite(self.square) and self.square >= 0):
            raise ValueError("a ball's centre or squared radius is not finite, or the square is negative")

    @property
    def radius(self) -> float:
        """The radius, rounded up."""
        return math.nextafter(math.sqrt(self.square), math.inf)

    def same(self, other: Ball | None) -> bool:
        """Whether both are the same ball, bit for bit."""
        return other is not None and self.square == other.square and np.array_equal(self.centre, other.centre)

    def holds(self, x: npt.ArrayLike) -> bool:
        """Whether `x` [n], in binary64, lies in the ball; exactly."""
        point = np.asarray(x, np.float64)
        if not np.isfinite(point).all():
            return False
        with np.errstate(over="ignore"):
            found = float(np.square(point - self.centre).sum())
        if self.square > _SMALLEST and abs(found - self.square) > len(point) * _CLEAR * self.square:
            return found < self.square
        pairs = zip(point.tolist(), self.centre.tolist(), strict=True)
        return sum(((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs), Fraction()) <= self.square

    def outside(self, x: npt.ArrayLike) -> float:
        """How far `x` [n] lies outside; 0 exactly where it does not."""
        if self.holds(x):
            return 0.0
        return max(float(self.distance(np.asarray(x, np.float64))) - self.radius, math.ulp(0.0))

    def distance(self, x: Array) -> Array:
        """Distances [...] of points [..., n] from the centre."""
        with np.errstate(over="ignore"):
            return np.asarray(np.linalg.norm(x - self.centre, axis=-1))

    def misses(self, low: Array, high: Array) -> bool:
        """Whether a box [n], [n] has no point of the ball; False where rounding could tell."""
        away = np.maximum(np.maximum(low - self.centre, self.centre - high), 0.0)
        return float(np.square(away).sum()) > (1 + len(away) * _CLEAR) * self.square + _SMALLEST

    def nearest(self, x: Array, low: Array, high: Array) -> Array:
        """Binary32 points [..., n] of the ball and of a box [n], [n] next to points [..., n].

        What lies inside stays where it is. The box must hold the centre: else the points may miss the ball.
        """
        points = np.clip(np.asarray(x, np.float32).astype(np.float64), low, high)
        flat = points.reshape(-1, points.shape[-1])
        near = np.flatnonzero(self.distance(flat) >= math.sqrt(self.square) * (1 - _INWARDS))
        rows = np.array([row for row in near if not self.holds(flat[row])], np.intp)
        if len(rows):
            wanted = np.asarray(x, np.float64).reshape(flat.shape)[rows]
            flat[rows] = self._towards_centre(self.projected(wanted, low, high), low, high)
        return flat.reshape(points.shape)

    def projected(self, x: Array, low: Array, high: Array) -> Array:
        """Points [..., n] of ball and box nearest to points [..., n], in double precision.

        The projection is clip(centre + s (x - centre)) with the largest s <= 1 that lies in the ball.
        """
        step = x - self.centre
        reach = math.sqrt(self.square) * (1 - _INWARDS)
        scale = np.minimum(_scale(np.abs(step), self._room(step, low, high), reach), 1.0)
        return np.asarray(np.clip(self.centre + scale[..., None] * step, low, high))

    def uniform(self, count: int, generator: np.random.Generator) -> Array:
        """Points [count, n] drawn evenly from the ball."""
        n = len(self.centre)
        steps = generator.standard_normal((count, n))
        shares = generator.random((count, 1)) ** (1 / n)
        lengths = _positive(np.linalg.norm(steps, axis=1))[:, None]
        return np.asarray(self.centre + math.sqrt(self.square) * shares * steps / lengths)

    def _towards_centre(self, x: Array, low: Array, high: Array) -> Array:
        """Points rounded to binary32 towards the centre, so that none leaves the ball."""
        return np.clip(np.where(x >= self.centre, float32_down(x), float32_up(x)), low, high)

    def least(self, rows: Array, low: Array, high: Array) -> Array:
        """Lower bounds [r] of rows [r, n] @ (x - centre) over ball and box.

        For any s > 0 weak duality gives -(sum of |a_i| t_i - t_i^2 / (2 s)) - square / (2 s), where
        t_i = min(s |a_i|, room of x_i); the best s is that of `_scale`. They are off by a few roundings of
        |rows| @ largest, with the largest absolute values of the box and the centre.
        """
        size, room = np.abs(rows), self._room(-rows, low, high)
        scale = _scale(size, room, self.radius)
        usable = scale > _SMALLEST * (1.0 + self.square)
        scale = np.where(usable, scale, 1.0)
        step = np.minimum(scale[:, None] * size, room)
        curved = (size * step - step * step / (2 * scale[:, None])).sum(axis=1) + self.square / (2 * scale)
        boxed = (size * room).sum(axis=1)
        return np.asarray(-np.where(usable, np.minimum(curved, boxed), boxed))

    def lowest(self, rows: Array, low: Array, high: Array) -> Array:
        """Points [r, n] of ball and box at which rows [r, n] @ x are least, up to rounding."""
        size, room = np.abs(rows), self._room(-rows, low, high)
        scale = _scale(size, room, self.radius)
        return np.asarray(self.centre - np.sign(rows) * np.minimum(scale[:, None] * size, room))

    def _room(self, step: Array, low: Array, high: Array) -> Array:
        """How far each entry can move from the centre in the direction of a step [..., n]."""
        room = np.where(step > 0, high - self.centre, self.centre - low)
        return np.minimum(np.maximum(room, 0.0), self.radius)

    def towards(self, start: Array, end: Array) -> Array:
        """The farthest point [n] of the ball on the way from a point [n] of it to another, up to rounding."""
        step, offset = end - start, start - self.centre
        a, b = float(step @ step), float(step @ offset)
        c = float(offset @ offset) - self.square * (1 - _INWARDS)
        if a == 0.0 or c > 0.0:
            return start
        return np.asarray(start + min((math.sqrt(b * b - a * c) - b) / a, 1.0) * step)

    def tangent(self, x: Array) -> tuple[Array, float]:
        """A halfspace u @ y + c >= 0 that holds in the ball and, for x [n] outside, not at x.

        It is radius |d| - d @ (y - centre) >= 0 with d = x - centre, rounded outwards for |y| as large as x
        or the centre.
        """
        d = x - self.centre
        largest = np.maximum(np.abs(x), np.abs(self.centre)) + self.radius
        slop = 1e-14 * len(d) * float(np.abs(d) @ largest)
        return -d, float(self.radius * np.linalg.norm(d) + d @ self.centre + slop)


def _scale(size: Array, room: Array, reach: float) -> Array:
    """The largest s [...] with |min(s size, room)|_2 <= reach, for sizes and rooms [..., n] >= 0.

    Entries at their room only grow in number with s, so adding them round by round ends at the largest s; it
    is 0 where nothing can grow, and never too large.
    """
    free = size > 0
    squares, rooms = size * size, room * room * free
    scale = np.zeros(size.shape[:-1])
    for _ in range(_ROUNDS):
        rest = np.sqrt(np.einsum("...n,...n->...", squares, free))
        left = np.sqrt(np.maximum(reach * reach - np.einsum("...n,...n->...", rooms, ~free), 0.0))
        scale = np.where((rest > 0) & (left > 0), left / _positive(rest), scale)
        still = free & (scale[..., None] * size < room)
        if np.array_equal(still, free):
            break
        free = still
    return scale


def _positive(sizes: Array) -> Array:
    return np.asarray(np.where(sizes > 0, sizes, 1.0))


def norm_of(step: Array, norm: Norm) -> Array:
    """Norms [...] of steps [..., n]."""
    if norm == "l2":
        return np.asarray(np.linalg.norm(step, axis=-1))
    return np.asarray(np.abs(step).max(axis=-1, initial=0.0))


def ball_around(x: npt.NDArray[np.float32], epsilon: float) -> Ball:
    """|x - xhat|_2 <= epsilon around xhat [n], its squared radius rounded up to binary32.

    Raises:
        SalverError: the square is too large for binary32.
    """
    square = math.nextafter(epsilon * epsilon, math.inf)
    if not square < float(np.finfo(np.float32).max):
        what = f"radius {epsilon:g} has no square in single precision"
        raise SalverError(what, "epsilon", "give a smaller one")
    return Ball(x.astype(np.float64), float(float32_up(square)))
