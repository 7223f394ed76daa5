"""A turning point enclosed by questions: is it above a level, or below? Some are asked in vain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Enclosure:
    """What is known of a turning point after some questions about levels.

    Attributes:
        low: it is no lower.
        high: it is no higher; inf where that is known of no level.
        vain: the least and the largest level that was asked about in vain; None where none was.
    """

    low: float = 0.0
    high: float = math.inf
    vain: tuple[float, float] | None = None

    def gaps(self, most: float = math.inf) -> list[tuple[float, float]]:
        """Where a question may still tell something, from below: up to the high end, and to `most`."""
        top = min(self.high, most)
        return [(self.low, top)] if self.vain is None else [(self.low, self.vain[0]), (self.vain[1], top)]

    def with_low(self, level: float) -> Self:
        """After an answer that it is no lower."""
        return replace(self, low=max(self.low, level))._trimmed()

    def with_high(self, level: float) -> Self:
        """After an answer that it is no higher."""
        return replace(self, high=min(self.high, level))._trimmed()

    def with_vain(self, level: float) -> Self:
        """After a question in vain."""
        low, high = self.vain or (level, level)
        return replace(self, vain=(min(low, level), max(high, level)))._trimmed()

    def _trimmed(self) -> Self:
        """Without what was asked in vain outside the two ends."""
        if self.vain is None:
            return self
        low, high = max(self.vain[0], self.low), min(self.vain[1], self.high)
        return replace(self, vain=(low, high) if low <= high else None)


def widest(gaps: list[tuple[float, float]]) -> tuple[float, float]:
    """The widest of some gaps; the first of several."""
    return max(gaps, key=lambda gap: gap[1] - gap[0])
