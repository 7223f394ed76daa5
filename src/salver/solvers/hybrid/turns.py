"""The attack takes turns with the search, so that neither has to guess how hard a query is for the other.

The search hands over the points of its linear relaxations, which meet every row of the relaxed query. Some
runs start around them. Only replay makes a witness of a point.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.solvers.attack.falsify import BATCH, Descent
from salver.solvers.query import Budget

Array = npt.NDArray[np.float64]

SHARE = 0.25
"""Of the time since the search began, at most, that the attack takes."""


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
        if self.spent + self.longest > SHARE * (now - self.started):
            return None
        near = np.array(self.points[-BATCH:]).reshape(-1, self.descent.query.program.input_size)
        witness = self.descent.round_near(near, budget)
        took = time.monotonic() - now
        self.points.clear()
        self.spent, self.longest = self.spent + took, max(self.longest, took)
        return witness
