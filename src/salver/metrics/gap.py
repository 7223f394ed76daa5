"""A largest value enclosed by questions: some input reaches one value, and no input reaches another."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

PRECISION = 0.01
"""Distance of the two ends at which it is enough, as a share of the upper one or of `SMALL`."""
SMALL = 0.1
LARGEST = 1e12
"""Levels above are not asked about: in the units of a map they may leave single precision."""
GROWTH, VAIN_GROWTH = 2.0, 4.0
"""By how much a step upwards grows after an input was found, and after a question in vain."""


@dataclass(frozen=True)
class Gap:
    """What is known of a largest value after some questions whether an input reaches a level.

    Attributes:
        reached: some input reaches it. bound: none does (inf where that is known of no level).
        low, high: ends of the levels that were asked about in vain; None where none were.
        step: how far above all that the next level lies while there is no bound.
    """

    reached: float
    bound: float = math.inf
    low: float | None = None
    high: float | None = None
    step: float = PRECISION

    def next(self) -> float | None:
        """The level to ask about next; None where the ends are near enough."""
        if math.isinf(self.bound):
            level = max(self.reached, self.high or 0.0) + max(self.step, PRECISION * self.reached)
            return level if level < LARGEST else None
        gaps = [(self.reached, self.bound)]
        if self.low is not None and self.high is not None:
            gaps = [(self.high, self.bound), (self.reached, self.low)]
        start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
        middle = (start + end) / 2
        near = end - start <= PRECISION * max(self.bound, SMALL)
        return None if near or not start < middle < end else middle

    def with_reached(self, value: float) -> Gap:
        """After an input with this value."""
        return replace(self, reached=max(self.reached, value), step=GROWTH * self.step)._trimmed()

    def with_bound(self, value: float) -> Gap:
        """After a certificate that no input reaches this value."""
        return replace(self, bound=min(self.bound, value))._trimmed()

    def with_vain(self, level: float) -> Gap:
        """After a question in vain."""
        low, high = (level if end is None else end for end in (self.low, self.high))
        grown = replace(self, low=min(low, level), high=max(high, level), step=VAIN_GROWTH * self.step)
        return grown._trimmed()

    def _trimmed(self) -> Gap:
        """Without what was asked in vain outside the two ends."""
        if self.low is None or self.high is None:
            return self
        low, high = max(self.low, self.reached), min(self.high, self.bound)
        return replace(self, low=low, high=high) if low <= high else replace(self, low=None, high=None)
