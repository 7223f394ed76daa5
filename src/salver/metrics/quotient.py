"""Metrics that divide the change of the map by that of the input, bounded shell by shell.

Near a kink of the network a map jumps within no distance at all, so a quotient of changes has no bound over
all inputs. Inputs that are too near are therefore left out, or count as farther away than they are.

No quotient is above q if the map changes by less than q r_i within r_(i+1), for distances r_0 < ... < r_m
that begin with the least that counts and end with the largest there is. Each of these is one question. How
wide a shell may be is not fixed: the less q is above the true value, the narrower they have to be.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, field

from salver.metrics.gap import LARGEST, SMALL
from salver.metrics.metric import Array, Certifier, ExplainedInput, Metric, Neighbourhood

ENOUGH = 0.05
"""Distance of a bound from what is known to be possible at which it is enough, as a share of the bound."""
FIRST = 0.01
"""The first change that is asked about where no input is known to change the map."""
GROWTH, DECLINE = 2.0, 8.0
"""By how much levels grow at first as long as there is no bound, and fall where nothing is known below it."""
WIDER = 4.0
"""From one distance that is searched within to the next."""
THINNEST = 1.01
"""Ends of a shell are not asked about that are nearer to each other."""
TRIES, STEPS = 8, 60
"""Most questions about a shell, and most levels."""


class Quotient(Metric):
    """A change of the map, divided by a distance of the input from the explained one."""

    precision = ENOUGH

    @abstractmethod
    def scaled(self, here: ExplainedInput) -> tuple[Array, float]:
        """Weights [s] of changes of entries, and the change of a metric's quotient that has the size 1."""

    @abstractmethod
    def ends(self, here: ExplainedInput) -> tuple[float, float]:
        """The least distance that counts, and the largest there is."""

    @abstractmethod
    def distances(self, here: ExplainedInput, x: Array) -> Array:
        """Distances [q] of inputs [q, n], which may be below the least that counts."""

    @abstractmethod
    def near(self, here: ExplainedInput, distance: float) -> Neighbourhood:
        """A set with all inputs that are no farther away."""

    def hopeful(self, here: ExplainedInput) -> list[Neighbourhood]:
        least, most = self.ends(here)
        count = math.ceil(math.log(max(most / least, 1.0), WIDER))
        distances = [least * (1 + ENOUGH), *(least * WIDER**step for step in range(1, count))]
        return [*(self.near(here, distance) for distance in distances), here.within(here.epsilon)]

    def certified(self, here: ExplainedInput, certifier: Certifier) -> float:
        return _ShellCover(self, here, certifier).bound()


@dataclass
class _ShellCover:
    """The search for the least level whose shells can all be certified.

    Attributes:
        found: distances of inputs, and by how much the map changes there.
    """

    quotient: Quotient
    here: ExplainedInput
    certifier: Certifier
    found: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights, self.scale = self.quotient.scaled(self.here)
        self.least, self.most = self.quotient.ends(self.here)

    def bound(self) -> float:
        """A value that no input exceeds; inf where none is known."""
        known = self.certifier.known_change(self.weights, self.here.within(self.here.epsilon))
        bound, vain, growth = _above(known * self.scale / self.least), 0.0, GROWTH
        for _ in range(STEPS):
            self._look()
            level = self._next(bound, max(vain, self.certifier.worst_found()), growth)
            if level is None or self.certifier.over:
                break
            covered = self._covered(level)
            if covered is None:
                vain, growth = max(vain, level), growth * growth
            else:
                bound = min(bound, covered)
        return bound

    def _next(self, bound: float, below: float, growth: float) -> float | None:
        """The level to ask about next, above what is known to be possible or was asked about in vain."""
        if math.isinf(bound):
            level = max(growth * below, FIRST * self.scale / self.least)
            return level if level < LARGEST else None
        if bound - below <= ENOUGH * max(bound, SMALL):
            return None
        return max(math.sqrt(below * bound), bound / DECLINE)

    def _covered(self, level: float) -> float | None:
        """A bound of about this level, or None where some shell is not certified."""
        inner, worst = self.least, 0.0
        while True:
            shell = self._shell(inner, level)
            if shell is None:
                return None
            outer, change = shell
            worst = max(worst, change * self.scale / inner)
            if outer >= self.most:
                return _above(worst)
            inner = outer

    def _shell(self, inner: float, level: float) -> tuple[float, float] | None:
        """An outer end, and a change that no input within it reaches and that is about `level` * `inner`."""
        change = level * inner / self.scale
        for attempt in range(TRIES):
            certain, widest = self._certain(inner, level), self._without(change)
            # First as wide as may be, then in the middle, then as narrow as must do.
            outer = min((widest, math.sqrt(certain * widest), certain)[min(attempt, 2)], widest)
            if outer < min(THINNEST * inner, self.most) or self.certifier.worst_found() >= level:
                return None
            excluded = self.certifier.excluded_change(change, self.weights, self._within(outer))
            if excluded is not None:
                return outer, excluded
            if self._look() == 0 and attempt > 1:
                return None
        return None

    def _within(self, outer: float) -> Neighbourhood:
        """All inputs that are no farther away; none is lost to rounding where that is all there are."""
        if outer < self.most:
            return self.quotient.near(self.here, outer)
        return self.here.within(self.here.epsilon)

    def _certain(self, inner: float, level: float) -> float:
        """An outer end that can be certified if no input has a worse value than those that were found."""
        worst = self.certifier.worst_found()
        return min(inner * level / worst, self.most) if worst > 0 else inner

    def _without(self, change: float) -> float:
        """The largest distance within which no input is known with such a change."""
        nearest = min((distance for distance, moved in self.found if moved >= change), default=math.inf)
        return min(self.most, nearest * (1 - ENOUGH / 10))

    def _look(self) -> int:
        """Takes what was found since; how many inputs that are."""
        seen, known = self.certifier.candidates(), len(self.found)
        new = slice(known, len(seen.x))
        distances = self.quotient.distances(self.here, seen.x[new])
        changes = self.here.changes(seen.maps[new], self.weights)
        self.found += zip(distances.tolist(), changes.tolist(), strict=True)
        return len(self.found) - known


def _above(value: float) -> float:
    """No less than the exact value of a few roundings that led to this one."""
    return value * (1 + 1e-12)
