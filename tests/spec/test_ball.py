"""Balls as input sets: exact membership, projection, bounds of rows, and both texts."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.spec import Atom, Ball, Property, ball_around, parse_vnnlib, to_vnnlib1, to_vnnlib2

seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> tuple[Ball, np.ndarray, np.ndarray, np.random.Generator]:
    """A ball of any size around a binary32 point, and a box that holds the point."""
    rng = np.random.default_rng(seed)
    n, epsilon = int(rng.integers(1, 9)), float(10 ** rng.uniform(-6, 3))
    x = (rng.normal(size=n) * 10 ** rng.uniform(-3, 3)).astype(np.float32)
    room = epsilon * rng.choice([0.0, 0.1, 0.5, 1.0, 2.0], (2, n))
    low, high = (
        (x + sign * side).astype(np.float32).astype(np.float64)
        for sign, side in zip((-1, 1), room, strict=True)
    )
    return ball_around(x, epsilon), low, high, rng


def in_double(ball: Ball) -> float:
    """What adding a step to the centre may round off."""
    return 1e-15 * float(np.linalg.norm(ball.centre))


def exactly(ball: Ball, x: np.ndarray) -> bool:
    pairs = zip(x.tolist(), ball.centre.tolist(), strict=True)
    return sum((Fraction(a) - Fraction(b)) ** 2 for a, b in pairs) <= Fraction(ball.square)


def test_membership_is_exact_on_the_sphere() -> None:
    ball = Ball(np.zeros(2), 25.0)
    assert ball.holds([3.0, 4.0])
    assert ball.outside([3.0, 4.0]) == 0.0
    assert not ball.holds([3.0, np.nextafter(4.0, 5.0)])
    assert 0.0 < ball.outside([3.0, np.nextafter(4.0, 5.0)]) < 1e-14
    assert ball.outside([6.0, 8.0]) == pytest.approx(5.0)
    assert not ball.holds([np.nan, 0.0])
    assert not ball.holds([np.inf, 0.0])


def test_the_squared_radius_is_rounded_up_to_binary32() -> None:
    ball = ball_around(np.zeros(3, np.float32), 0.1)
    assert Fraction(ball.square) >= Fraction(0.1) ** 2
    assert np.float32(ball.square) == ball.square
    assert ball.square == pytest.approx(0.01, rel=1e-6)


def test_a_box_that_touches_a_ball_has_a_point_of_it_and_no_radius_is_too_small() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        centre, x = rng.normal(size=3), rng.normal(size=3)
        square = sum(
            (Fraction(a) - Fraction(b)) ** 2 for a, b in zip(x.tolist(), centre.tolist(), strict=True)
        )
        near = float(square)
        ball = Ball(centre, near if Fraction(near) >= square else float(np.nextafter(near, np.inf)))
        assert ball.holds(x)
        assert not ball.misses(x, x)
        assert Fraction(ball.radius) ** 2 >= Fraction(ball.square)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(seeds)
def test_points_next_to_a_ball_lie_in_it_exactly(seed: int) -> None:
    ball, low, high, rng = drawn(seed)
    points = ball.centre + rng.normal(size=(6, len(low))) * ball.radius * 10 ** rng.uniform(-1, 2)
    found = ball.nearest(points, low, high)
    assert all(exactly(ball, x) for x in found)
    assert (found >= low).all()
    assert (found <= high).all()
    assert (found == found.astype(np.float32)).all()
    inside = [x for x in np.clip(points.astype(np.float32), low, high).astype(np.float64) if exactly(ball, x)]
    assert all((ball.nearest(x, low, high) == x).all() for x in inside)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_the_projection_is_the_nearest_point(seed: int) -> None:
    ball, low, high, rng = drawn(seed)
    x = ball.centre + rng.normal(size=len(low)) * 2 * ball.radius
    found = ball.projected(x, low, high)
    others = ball.projected(ball.centre + rng.normal(size=(200, len(low))) * ball.radius, low, high)
    assert ball.distance(found) <= ball.radius + in_double(ball)
    least = np.linalg.norm(others - x, axis=1).min()
    assert np.linalg.norm(found - x) <= least * (1 + 1e-5) + 1e-6 * ball.radius


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(seeds)
def test_bounds_of_rows_hold_and_are_reached(seed: int) -> None:
    ball, low, high, rng = drawn(seed)
    rows = rng.normal(size=(5, len(low))) * rng.choice([0.0, 1.0], (5, len(low)), p=(0.2, 0.8))
    least = ball.least(rows, low, high)
    size = np.abs(rows) @ (np.maximum(np.abs(low), np.abs(high)) + np.abs(ball.centre))
    room = 1e-14 * size + 1e-30
    target = ball.centre - 1e7 * ball.radius * rows
    reached = ((ball.projected(target, low, high) - ball.centre) * rows).sum(axis=1)
    points = ball.projected(ball.centre + rng.normal(size=(300, len(low))) * ball.radius, low, high)
    sampled = (rows @ (points - ball.centre).T).min(axis=1)
    assert (least - room <= np.minimum(reached, sampled)).all()
    assert (least >= reached + 1e-5 * least - room).all()
    lowest = ball.lowest(rows, low, high)
    assert (((lowest - ball.centre) * rows).sum(axis=1) <= least * (1 - 1e-9) + room).all()
    assert (ball.distance(lowest) <= ball.radius * (1 + 1e-9) + in_double(ball)).all()
    boxed = -(np.abs(rows) * np.where(rows > 0, ball.centre - low, high - ball.centre)).sum(axis=1)
    assert (least >= boxed - room).all()
    assert (least >= -ball.radius * np.linalg.norm(rows, axis=1) - room).all()


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_tangent_keeps_the_ball_and_cuts_the_point(seed: int) -> None:
    ball, low, _, rng = drawn(seed)
    x = ball.centre + rng.normal(size=len(low)) * 3 * ball.radius
    if ball.distance(x) < 1.001 * ball.radius:
        return
    row, constant = ball.tangent(x)
    on_sphere = ball.centre + ball.radius * (x - ball.centre) / ball.distance(x)
    assert row @ on_sphere + constant >= -1e-12 * np.abs(row) @ np.abs(on_sphere)
    scale = float(np.abs(row) @ (np.abs(x) + np.abs(ball.centre)))
    assert row @ x + constant < 1e-9 * scale


def query(n: int = 3) -> Property:
    x = np.array([0.5, -0.25, 0.0], np.float32)[:n]
    ball = ball_around(x, 0.1)
    low, high = (x + sign * np.float32(0.125) for sign in (-1, 1))
    clauses = (((Atom(0, ">=", other=1),),),)
    return Property(low.astype(np.float64), high.astype(np.float64), clauses, 2, ball)


@pytest.mark.parametrize("n", [1, 3])
def test_both_texts_read_back_the_same_ball(n: int) -> None:
    prop = query(n)
    for text in (to_vnnlib1(prop), to_vnnlib2(prop)):
        assert parse_vnnlib(text).same_query(prop)
    assert not prop.same_query(Property(prop.input_lower, prop.input_upper, prop.clauses, 2))


def test_a_ball_multiplied_out_or_scaled_is_the_same() -> None:
    prop = query()
    lines = [line for line in to_vnnlib1(prop).splitlines() if "*" not in line]
    square = Fraction(prop.ball.square) * 2 - Fraction(5, 8)
    total = "(+ (* 2 X_0 X_0) (* 2 X_1 X_1) (* 2.0 X_2 X_2) (* -2 X_0) X_1)"
    found = parse_vnnlib("\n".join([*lines, f"(assert (>= {float(square)!r} {total}))"]))
    assert found.ball is not None
    assert (found.ball.centre == prop.ball.centre).all()
    assert found.ball.square == pytest.approx(prop.ball.square)


@pytest.mark.parametrize(
    "condition",
    [
        "(<= (+ (* X_0 X_0) (* X_1 X_1)) 0.5)",
        "(<= (+ (* X_0 X_0) (* 2 X_1 X_1) (* X_2 X_2)) 0.5)",
        "(>= (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2)) 0.5)",
        "(< (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2)) 0.5)",
        "(<= (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2) Y_0) 0.5)",
        "(<= (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2) (* X_0 X_1)) 0.5)",
        "(<= (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2) (* (/ 1 3) X_0)) 0.5)",
    ],
)
def test_what_is_no_ball_is_not_of_the_plain_form(condition: str) -> None:
    text = to_vnnlib1(Property(-np.ones(3), np.ones(3), (), 2))
    with pytest.raises(SalverError):
        parse_vnnlib(f"{text}(assert {condition})\n")


def test_two_balls_and_an_empty_one() -> None:
    text = to_vnnlib1(query())
    ball = text.splitlines()[-2]
    assert "*" in ball
    with pytest.raises(SalverError, match="more than one ball"):
        parse_vnnlib(f"{text}{ball}\n")
    nothing = "(assert (<= (+ (* X_0 X_0) (* X_1 X_1) (* X_2 X_2)) -0.5))"
    empty = parse_vnnlib(text.replace(ball, nothing))
    assert () in empty.clauses
    assert empty.ball is None
