"""A largest value enclosed by questions, held against a value that is known."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from salver.metrics.gap import PRECISION, SMALL, Gap

LEVELS = st.floats(0.0, 1e4)


@given(truth=LEVELS, vain=st.lists(st.booleans(), max_size=40))
def test_both_ends_stay_on_their_sides_of_the_truth(truth: float, vain: list[bool]) -> None:
    gap = Gap(0.0)
    for undecided in vain:
        level = gap.next()
        if level is None:
            break
        assert gap.low < level < gap.high
        if undecided:
            gap = gap.with_vain(level)
        elif truth >= level:
            gap = gap.with_low(level)
        else:
            gap = gap.with_high(level)
        assert gap.low <= truth
        assert gap.high > truth


@given(truth=LEVELS)
def test_questions_that_are_all_decided_close_the_gap(truth: float) -> None:
    gap = Gap(0.0)
    for _ in range(40):
        level = gap.next()
        if level is None:
            break
        gap = gap.with_low(truth) if truth >= level else gap.with_high(level)
    assert gap.next() is None
    assert gap.high - truth <= PRECISION * max(gap.high, SMALL) + 1e-12


def test_there_is_a_largest_level() -> None:
    gap, level = Gap(0.0), 0.0
    for _ in range(60):
        asked = gap.next()
        if asked is None:
            break
        level, gap = asked, gap.with_vain(asked)
    assert gap.next() is None
    assert 1e9 < level < 1e12


def test_without_a_bound_the_levels_grow() -> None:
    gap, levels = Gap(1.0), []
    for _ in range(12):
        level = gap.next()
        assert level is not None
        levels.append(level)
        gap = gap.with_vain(level)
    assert levels == sorted(levels)
    assert levels[-1] > 1e3
    assert math.isinf(gap.high)
