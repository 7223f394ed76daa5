"""The attack and the cover take turns with the search: none has to guess how hard a query is for the others.

The search hands over the points of its linear relaxations, which meet every row of the relaxed query. Some
of the attack's runs start around them. Only replay makes a witness of a point.

The cover by boxes (`cover`) is another way into the same query. Where it comes to its end first, and closed
most of the box, what it left takes the place of what the search had pending. How it fares is measured: by the
share of the whole that was done since half of its time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.solvers.attack.falsify import BATCH, Descent
from salver.solvers.hybrid.cover import Cover
from salver.solvers.query import Budget

Array = npt.NDArray[np.float64]

SHARE = 0.25
"""Of the time since the search began, at most, that the attack takes."""
NEAR, NEAR_SHARE = 1 / 40, 0.5
"""Where its closest point misses by no more than this share of what the first samples missed by, it takes
half of the time. Seen of 12 queries: with solutions it came to 0.005 to 0.03, without to 0.04 or more."""


@dataclass
class AttackTurns:
    """An attack that goes on beside a search.

    Attributes:
        descent: with what it has learnt so far.
        longest: seconds of the longest turn, at first of a round before the search. There is no turn until
            the share has room for it.
        points: inputs [n] that relaxations gave since the last turn.
        spent: seconds of all turns.
    """

    descent: Descent
    longest: float = 0.0
    points: list[Array] = field(default_factory=list)
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def reseed(self, number: int) -> None:
        """Lets every process draw points of its own."""
        self.descent.generator = np.random.default_rng([number, int(self.descent.generator.integers(2**31))])

    def turn(self, budget: Budget) -> Array | None:
        """A confirmed witness, where it is the attack's turn and finds one."""
        now = time.monotonic()
        if self.spent + self.longest > self._share * (now - self.started):
            return None
        near = np.array(self.points[-BATCH:]).reshape(-1, self.descent.query.program.input_size)
        witness = self.descent.round_near(near, budget)
        took = time.monotonic() - now
        self.points.clear()
        self.spent, self.longest = self.spent + took, max(self.longest, took)
        return witness

    @property
    def _share(self) -> float:
        return NEAR_SHARE if self.descent.best >= NEAR * self.descent.first else SHARE


YOUNG = 0.1
"""Share of the time that is given, up to which the cover has half of it: before that little is measured."""
MOST = 0.5
"""Share of the box that a cover has to close: a split on one sign leaves no more than that to each side."""
COVER_SHARE = 0.1
"""Of the time since the search began, at most, that the cover takes later where it would not end in time."""


@dataclass
class CoverTurns:
    """A cover that goes on beside a search.

    Attributes:
        longest: seconds of the longest step, at first of bounding the root. There is none until it has room.
        spent: seconds of all steps.
        history: seconds spent and share done, after each step.
    """

    cover: Cover
    longest: float
    spent: float = 0.0
    history: list[tuple[float, float]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def turn(self, budget: Budget, attack: AttackTurns | None) -> Array | None:
        """Takes steps as long as it is the cover's turn; a confirmed witness where there is one."""
        while not self.ended and not budget.over and self._is_next(budget):
            now = time.monotonic()
            middles = self.cover.step()
            witness = self._confirmed(middles)
            took = time.monotonic() - now
            self.spent, self.longest = self.spent + took, max(self.longest, took)
            self.history.append((self.spent, self.cover.done))
            if witness is not None:
                return witness
            if attack is not None:
                attack.points += list(middles[-BATCH // 4 :])
        return None

    @property
    def ended(self) -> bool:
        return self.cover.ended

    @property
    def pays(self) -> bool:
        """Whether what is left of an ended cover is to be searched in place of the whole."""
        return self.cover.closed > MOST

    def _confirmed(self, middles: Array) -> Array | None:
        """A middle that survives replay; where few signs are open, most of a part is like its middle."""
        if not len(middles):
            return None
        query = self.cover.query
        margins = query.prop.margin(query.program.evaluate(middles)[0])
        best = int(margins.argmax())
        return query.confirm(middles[best]) if margins[best] >= 0 else None

    def _is_next(self, budget: Budget) -> bool:
        elapsed = time.monotonic() - self.started
        young = elapsed < YOUNG * budget.seconds
        share = 0.5 if young else COVER_SHARE
        return self.spent + self.longest <= share * elapsed or (self.spent > 0 and self._left() < budget.left)

    def _left(self) -> float:
        """Seconds that the cover would still take at the rate of the last half of its time."""
        spent, done = self.history[-1]
        early = next((at for at in self.history if at[0] >= spent / 2), self.history[0])
        gained, over = done - early[1], spent - early[0]
        return (1.0 - done) * over / gained if gained > 0 else np.inf
