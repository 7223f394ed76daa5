"""Narrowing what a matrix of known ranges is multiplied with."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.solvers.bounding.backward import Estimates, estimates, interval_product, narrowed
from salver.solvers.proving.backwards import best_of

Array = np.ndarray


def random_system(seed: int, spread: int = 30) -> tuple[Array, Array, Array, Array]:
    """A matrix with columns of sizes up to 2^spread, ranges of u, and a u within them."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    matrix = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7)
    matrix *= 2.0 ** rng.integers(-spread, spread + 1, columns)
    least = rng.normal(size=columns)
    most = least + rng.exponential(size=columns) * (rng.random(columns) < 0.9)
    return matrix, least, most, rng.uniform(least, most)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1e-12, 1e-6, 1e-2, 1.0]))
def test_what_has_the_ranges_is_kept(seed: int, delta: float) -> None:
    matrix, least, most, u = random_system(seed)
    y = matrix @ u
    room = delta * (np.abs(matrix) @ (most - least)) + 1e-14 * (np.abs(matrix) @ np.abs(u))
    found = narrowed(matrix, y - room, y + room, least, most)
    assert found is not None
    assert (least <= found[0]).all()
    assert (found[0] <= u).all()
    assert (u <= found[1]).all()
    assert (found[1] <= most).all()


def hostile_system(seed: int) -> tuple[Array, Array, Array, Array]:
    """Columns that are copies or nearly so, scales far apart, ranges narrow or a point, u at their ends."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(rng.integers(1, 8)) for _ in range(2))
    matrix = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.8)
    for _ in range(int(rng.integers(0, 4))):
        one, other = rng.integers(columns, size=2)
        matrix[:, one] = matrix[:, other] * rng.choice([1.0, -1.0, 2.0, 1.0 + 2.0**-40, 1.0 - 2.0**-52])
    units = 2.0 ** rng.integers(-40, 41, columns)
    matrix *= units * 2.0 ** rng.integers(-40, 41, rows)[:, None]
    scale = 1.0 / units if rng.random() < 0.7 else 2.0 ** rng.integers(-40, 41, columns)
    far = 10.0 ** rng.integers(0, 10, columns) * (rng.random(columns) < 0.7)
    least = rng.normal(size=columns) * far * scale
    most = least + rng.exponential(size=columns) * scale * (rng.random(columns) < 0.8)
    u = np.clip(least + (most - least) * rng.choice([0.0, 0.3, 1.0], columns), least, most)
    return matrix, least, most, u


def outwards(value: Fraction) -> tuple[float, float]:
    """The nearest numbers below and above."""
    near = float(value)
    if Fraction(near) == value:
        return near, near
    return math.nextafter(near, -math.inf), math.nextafter(near, math.inf)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 1e-9, 1e-3]))
def test_what_has_the_exact_ranges_is_kept(seed: int, delta: float) -> None:
    """The rows of u are added up in fractions; their ranges have no room for rounding."""
    matrix, least, most, u = hostile_system(seed)
    exact = [sum(Fraction(a) * Fraction(b) for a, b in zip(row, u, strict=True)) for row in matrix.tolist()]
    low, high = np.array([outwards(Fraction(value)) for value in exact]).T
    room = delta * (np.abs(matrix) @ (most - least))
    found = narrowed(matrix, low - room, high, least, most)
    assert found is not None
    assert (found[0] <= u).all()
    assert (u <= found[1]).all()


@pytest.mark.parametrize("cancels", [False, True])
def test_a_small_term_beside_large_ones_is_kept(cancels: bool) -> None:
    """The others are points, so that the one row says u_0 to the last digit of what it adds up.

    Where they cancel the row itself is near 0, and only what it adds up says how far it may be off.
    """
    for seed in range(50):
        rng = np.random.default_rng(seed)
        matrix, u = np.array([[1.0, *rng.normal(size=9)]]), np.array([0.0, *(1e6 * rng.normal(size=9))])
        if cancels:
            matrix[0, -1] = -(matrix[0, :-1] @ u[:-1]) / u[-1]
        exact = sum(Fraction(a) * Fraction(b) for a, b in zip(matrix[0].tolist(), u.tolist(), strict=True))
        row, most = outwards(Fraction(exact)), u.copy()
        most[0] = 1.0
        found = narrowed(matrix, np.array([row[0]]), np.array([row[1]]), u, most)
        assert found is not None
        assert found[0][0] == 0.0


def test_an_end_far_from_0_is_kept_where_the_rows_say_next_to_nothing() -> None:
    """What a sum of rows says about u_0 is below the rounding of u_0 itself."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        least = np.array([1e13 * (1.0 + rng.random()), -1e6])
        most = np.array([least[0] + 20.0, 1e6])
        u = np.array([least[0] if seed % 2 else most[0], 1e3 * rng.normal()])
        row = outwards(Fraction(u[0]) + Fraction(u[1]))
        found = narrowed(np.ones((1, 2)), np.array([row[0] - 0.25]), np.array([row[1] + 0.25]), least, most)
        assert found is not None
        assert found[0][0] <= u[0] <= found[1][0]


@pytest.mark.parametrize("rows", [4, 40])
def test_rows_of_narrow_ranges_determine_what_they_read(rows: int) -> None:
    rng = np.random.default_rng(rows)
    matrix, u = rng.normal(size=(rows, 4)), rng.uniform(size=4)
    y = matrix @ u
    found = narrowed(matrix, y - 1e-6, y + 1e-6, np.zeros(4), np.ones(4))
    assert found is not None
    assert (found[1] - found[0] < 1e-3).all()


def test_one_row_narrows_as_far_as_the_others_let_it() -> None:
    found = narrowed(np.array([[1.0, -2.0]]), np.array([0.75]), np.array([9.0]), np.zeros(2), np.ones(2))
    assert found is not None
    assert found[0][0] == pytest.approx(0.75)
    assert found[1][1] == pytest.approx(0.125)


def test_wide_ranges_narrow_nothing() -> None:
    least, most = np.zeros(3), np.ones(3)
    found = narrowed(np.ones((2, 3)), np.full(2, -1.0), np.full(2, 4.0), least, most)
    assert found is not None
    assert (found[0] == least).all()
    assert (found[1] == most).all()


def test_ranges_that_no_value_has_are_seen() -> None:
    assert narrowed(np.ones((1, 2)), np.array([2.5]), np.array([3.0]), np.zeros(2), np.ones(2)) is None


@pytest.mark.parametrize("side", [np.inf, 1e300])
def test_limits_that_say_nothing_are_no_error(side: float) -> None:
    found = narrowed(np.eye(2), np.full(2, -side), np.full(2, side), np.zeros(2), np.ones(2))
    assert found is not None
    assert (found[0] == 0.0).all()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_what_a_proof_adds_up_says_as_much_as_the_search_found(seed: int, delta: float) -> None:
    matrix, least, most, u = random_system(seed, spread=1)
    y, room = matrix @ u, delta * (np.abs(matrix) @ (most - least)) + 1e-14 * (np.abs(matrix) @ np.abs(u))
    how = estimates(matrix, y - room, y + room, least, most)
    if not isinstance(how, Estimates):
        return
    found = best_of(how, matrix, (y - room, y + room), (least, most))
    searched = narrowed(matrix, y - room, y + room, least, most)
    assert searched is not None
    size = np.full(len(how.chosen), 1e-6)
    assert (found.low >= searched[0][how.chosen] - size).all()
    assert (found.high <= searched[1][how.chosen] + size).all()
    # What a deduction says: minus the sum of multiplier * row, from below.
    each = np.arange(len(how.chosen))
    mixed = each % 2 == 0
    sides = {True: found.multipliers(each, mixed), False: found.multipliers(each, ~mixed)}
    for entry, place in enumerate(how.chosen):
        for lower, end in ((True, found.low[entry]), (False, -found.high[entry])):
            weights, left = (part[entry] for part in sides[bool(mixed[entry]) == lower])
            rest = -weights @ matrix
            rest[place] += 1.0 if lower else -1.0
            assert np.allclose(left, rest, rtol=1e-9, atol=1e-9 * (np.abs(weights) @ np.abs(matrix)).max())
            limits = interval_product(weights[None], y - room, y + room)[0][0]
            shown = limits + interval_product(rest[None], least, most)[0][0]
            own = least[place] if lower else -most[place]
            assert max(shown, own) >= end - size[entry]


def test_a_row_that_nothing_reaches_is_named() -> None:
    matrix = np.array([[1.0, 1.0], [1.0, -1.0]])
    nothing = np.zeros(2)
    assert estimates(matrix, np.array([0.0, 3.0]), np.array([1.0, 4.0]), nothing, np.ones(2)) == 1
    assert estimates(matrix, np.array([-9.0, -9.0]), np.array([9.0, 9.0]), nothing, np.ones(2)) is None
