"""A ball that the query cuts its box to, and what a linear function is at least in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from salver.proofs.exact import Ints


@dataclass(frozen=True)
class ExactBall:
    """The x of a box with |x - centre|_2^2 <= square.

    Attributes:
        below, above: whether each entry [n] can be less, and more, than the centre's in the box.
    """

    centre: tuple[Fraction, ...]
    square: Fraction
    below: tuple[bool, ...]
    above: tuple[bool, ...]

    def least(self, coefficients: Ints) -> Ints:
        """Lower bounds [count] of coefficients [count, n] @ x, rounded down to whole numbers.

        With d = x - centre, a d >= -|a| |d|; an entry that cannot move against its sign only adds.
        """
        numbers, denominator = self._common
        given = coefficients.astype(object)
        middle = (given @ numbers) // denominator
        moving = np.where(np.where(given > 0, self.below, self.above), given, 0)
        squares = (moving * moving).sum(axis=1) if len(self.centre) else np.zeros(len(given), object)
        reach = [_root_up(Fraction(int(size)) * self.square) for size in squares]
        return np.asarray(middle - np.array(reach, object), object)

    @cached_property
    def _common(self) -> tuple[Ints, int]:
        """The centre's entries times their common denominator, and that."""
        denominator = math.lcm(*(value.denominator for value in self.centre))
        return np.array([int(value * denominator) for value in self.centre], object), denominator


def _root_up(value: Fraction) -> int:
    """The least whole number whose square is no less."""
    root = math.isqrt(math.ceil(value))
    return root if root * root >= value else root + 1
