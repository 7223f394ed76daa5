"""A largest value enclosed by questions: some input reaches one value, and no input reaches another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from salver.points.enclosure import Enclosure, widest

PRECISION = 0.01
"""Distance of the two ends at which it is enough, as a share of the upper one or of `SMALL`."""
SMALL = 0.1
LARGEST = 1e12
"""Levels above are not asked about: in the units of a map they may leave single precision."""
GROWTH, VAIN_GROWTH = 2.0, 4.0
"""By how much a step upwards grows after an input was found, and after a question in vain."""


@dataclass(frozen=True)
class Gap(Enclosure):
    """What is known of a largest value: some input reaches `low`, and none reaches `high`.

    Attributes:
        step: how far above all that the next level lies while there is no bound.
    """

    step: float = PRECISION

    def next(self) -> float | None:
        """The level to ask about next; None where the ends are near enough."""
        if math.isinf(self.high):
            asked = 0.0 if self.vain is None else self.vain[1]
            level = max(self.low, asked) + max(self.step, PRECISION * self.low)
            return level if level < LARGEST else None
        start, end = widest(self.gaps()[::-1])
        middle = (start + end) / 2
        near = end - start <= PRECISION * max(self.high, SMALL)
        return None if near or not start < middle < end else middle

    def with_low(self, level: float) -> Self:
        """After an input with this value."""
        return replace(super().with_low(level), step=GROWTH * self.step)

    def with_vain(self, level: float) -> Self:
        """After a question in vain."""
        return replace(super().with_vain(level), step=VAIN_GROWTH * self.step)
