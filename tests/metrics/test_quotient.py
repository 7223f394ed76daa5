"""Quotients of changes, bounded shell by shell, held against values that are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from salver.families.question import Question
from salver.metrics.changes import LocalLipschitz, RelativeInputStability
from salver.metrics.gap import SMALL
from salver.metrics.metric import Array, Evaluated, ExplainedInput, Neighbourhood
from salver.metrics.quotient import ENOUGH
from salver.spec import Norm

EPSILON, NEAREST = 2.0, 0.01
HERE = ExplainedInput(np.zeros(1), np.ones(1), 0, EPSILON)
JUMPS = st.lists(st.tuples(st.floats(NEAREST * EPSILON, EPSILON), st.floats(0.0, 100.0)), max_size=6)


@dataclass
class Jumps:
    """A map of one entry that changes at some distances, and certificates about it.

    Attributes:
        jumps: distances, and by how much the map has changed there.
        silent: which questions are answered in vain; the others are answered by what is true.
    """

    jumps: list[tuple[float, float]]
    silent: list[bool] = field(default_factory=list)
    over: bool = False
    asked: int = 0
    known: float = math.inf
    found: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])

    def excludes(self, question: Question) -> bool:
        raise AssertionError("a quotient asks about changes alone")

    def most_change(self, weights: Array, near: Neighbourhood) -> float:
        raise AssertionError("a quotient asks about one level after the other")

    def known_change(self, weights: Array, near: Neighbourhood) -> float:
        return self.known

    def worst_found(self) -> float:
        return max(change / distance if distance else 0.0 for distance, change in self.found)

    def candidates(self) -> Evaluated:
        distances, changes = np.array(self.found).T[:, :, None]
        return Evaluated(distances, np.zeros_like(distances), HERE.map + changes)

    def excluded_change(self, level: float, weights: Array, near: Neighbourhood) -> float | None:
        self.asked += 1
        if self.asked <= len(self.silent) and self.silent[self.asked - 1]:
            return None
        inside = [jump for jump in self.jumps if jump[0] <= near.radius and jump[1] >= level]
        self.found += inside[:1]
        return None if inside else level

    @property
    def truth(self) -> float:
        return max((change / distance for distance, change in self.jumps), default=0.0)


@given(JUMPS)
@example([(0.93 * EPSILON, 1.0), (0.99 * EPSILON, 50.0)])
def test_answers_that_are_all_there_close_the_gap(jumps: list[tuple[float, float]]) -> None:
    certifier = Jumps(jumps)
    bound = LocalLipschitz(nearest=NEAREST).certified(HERE, certifier)
    assert certifier.truth <= bound * (1 + 1e-9)
    assert bound - certifier.worst_found() <= ENOUGH * max(bound, SMALL) * (1 + 1e-9)


@given(JUMPS, st.lists(st.booleans(), max_size=200))
def test_no_bound_is_below_the_truth_whatever_stays_open(
    jumps: list[tuple[float, float]], silent: list[bool]
) -> None:
    certifier = Jumps(jumps, silent)
    assert LocalLipschitz(nearest=NEAREST).certified(HERE, certifier) * (1 + 1e-9) >= certifier.truth


def test_without_answers_and_without_time_there_is_no_bound() -> None:
    assert math.isinf(LocalLipschitz().certified(HERE, Jumps([], [True] * 9999)))
    assert LocalLipschitz().certified(HERE, Jumps([], [True] * 9999, known=3.0)) == pytest.approx(3.0)
    late = Jumps([], over=True)
    assert math.isinf(LocalLipschitz().certified(HERE, late))
    assert late.asked == 0


@pytest.mark.parametrize(
    "metric", [LocalLipschitz(nearest=0.01), RelativeInputStability(), RelativeInputStability(floor=1e9)]
)
def test_searches_reach_from_the_least_distance_to_the_whole_radius(
    metric: LocalLipschitz | RelativeInputStability,
) -> None:
    here = ExplainedInput(np.array([0.5, 0.0]), np.array([1.0, 2.0]), 0, 0.1)
    *nears, whole = metric.hopeful(here)
    least, _most = metric.ends(here)
    assert whole.holds(here.within(0.1))
    for near, wider in zip(nears, [*nears[1:], whole], strict=True):
        assert wider.holds(near)
    assert nears[0].holds(metric.near(here, least))
    assert len(nears) < 15


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("metric", [LocalLipschitz(nearest=0.01), RelativeInputStability(least=0.1)])
def test_all_inputs_that_are_no_farther_are_near(
    metric: LocalLipschitz | RelativeInputStability, norm: Norm
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        here = ExplainedInput(
            rng.choice([-1.0, 0.0, 0.1, 3.0], 3), np.ones(2), 0, 10 ** rng.uniform(-3, 1), norm
        )
        x = here.x + rng.choice([-1.0, 0.0, 1.0], (50, 3)) * rng.uniform(0, here.epsilon, (50, 3))
        x = x[here.distances(x) <= here.epsilon]
        for one, distance in zip(x, metric.distances(here, x), strict=True):
            near = metric.near(here, float(distance) * (1 + 1e-9))
            assert (np.abs(one - here.x) <= near.entries).all()
            assert here.distances(one[None])[0] <= near.radius


def test_inputs_of_which_one_entry_may_change_more_are_not_held() -> None:
    wide = Neighbourhood(np.array([0.2, 0.2]), 0.2)
    for entries, radius, held in (
        ((0.2, 0.2), 0.2, True),
        ((0.1, 0.3), 0.1, False),
        ((0.1, 0.1), 0.3, False),
    ):
        assert wide.holds(Neighbourhood(np.array(entries), radius)) is held
