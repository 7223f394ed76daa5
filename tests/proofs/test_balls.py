"""Proofs over balls: exact bounds, the checker's own reading, and proofs that do not hold in the box."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.proofs.ball import ExactBall
from salver.proofs.checker import check
from salver.proofs.record import QueryFiles
from salver.proofs.row_sum import RejectedError
from salver.proofs.vnnlib_file import UnsupportedPropertyError, parse_property
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, read_query
from salver.spec import Property, ball_around, parse_vnnlib, to_vnnlib1, to_vnnlib2
from tests.builders.balls import plane_query

fractions = st.fractions(-4, 4, max_denominator=64)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_least_values_hold_at_points_of_ball_and_box(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 4))
    centre, step, given_ = (data.draw(st.lists(fractions, min_size=n, max_size=n)) for _ in range(3))
    coefficients = [int(value * 1000) for value in given_]
    square = sum((value * value for value in step), Fraction()) + abs(data.draw(fractions))
    x = [c + d for c, d in zip(centre, step, strict=True)]
    below, above = [d < 0 for d in step], [d > 0 for d in step]
    ball = ExactBall(tuple(centre), square, tuple(below), tuple(above))
    (least,) = ball.least(np.array([coefficients], object))
    value = sum(a * v for a, v in zip(coefficients, x, strict=True))
    assert least <= value
    middle = sum(a * c for a, c in zip(coefficients, centre, strict=True))
    # No weaker than the plain ball, but for two roundings to whole numbers.
    gap = Fraction(int(least)) + 2 - middle
    assert gap >= 0 or gap * gap <= square * sum(a * a for a in coefficients)


@pytest.mark.parametrize(
    "share", [Fraction(1, 25), Fraction(1, 10), Fraction(29, 250), Fraction(1, 5), Fraction(7)]
)
def test_the_least_value_in_a_ball_is_never_above_the_one_that_is_reached(share: Fraction) -> None:
    """At x = centre - share * coefficients, on the sphere, the value is -25 * share."""
    ball = ExactBall((Fraction(),) * 2, 25 * share**2, (True, True), (True, True))
    assert ball.least(np.array([[3, -4]], object)).tolist() == [-math.ceil(25 * share)]


def text_of(n: int = 3) -> Property:
    x = np.array([0.5, -0.25, 0.0], np.float32)[:n]
    low, high = (x.astype(np.float64) + sign * 0.125 for sign in (-1, 1))
    high[0] = x[0]
    return Property(low, high, (), 2, ball_around(x, 0.1))


@pytest.mark.parametrize("n", [1, 3])
def test_the_checker_reads_the_ball_by_itself(n: int) -> None:
    prop = text_of(n)
    for text in (to_vnnlib1(prop), to_vnnlib2(prop)):
        found = parse_property(text.encode()).ball
        assert found is not None
        assert found.centre == tuple(map(Fraction, prop.ball.centre.tolist()))
        assert found.square == Fraction(prop.ball.square)
        assert found.above[0] is False
        assert found.below == (True,) * n
        assert parse_vnnlib(text).ball.same(prop.ball)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("(- X_0 0.5) (- X_0 0.5)", "(- X_0 0.5) (- X_0 0.25)", "no square that proofs cover"),
        ("(- X_0 0.5) (- X_0 0.5)", "(- X_0 0.5) (- X_1 0.5)", "no square that proofs cover"),
        ("(- X_0 0.5) (- X_0 0.5)", "(- Y_0 0.5) (- Y_0 0.5)", "no square of another input"),
        ("(- X_0 0.5) (- X_0 0.5)", "(- X_1 0.5) (- X_1 0.5)", "no square of another input"),
        ("(* (- X_0 0.5) (- X_0 0.5)) ", "", "leaves inputs out"),
        ("(* (- X_0 0.5) (- X_0 0.5)) ", "X_0 ", "no square that proofs cover"),
        ("(<= (+", "(>= (+", "no condition that proofs cover"),
    ],
)
def test_what_is_no_ball_is_refused(old: str, new: str, why: str) -> None:
    text = to_vnnlib1(text_of())
    assert old in text
    with pytest.raises(UnsupportedPropertyError, match=why):
        parse_property(text.replace(old, new).encode())
    ball = text.splitlines()[-1]
    with pytest.raises(UnsupportedPropertyError, match="a second ball"):
        parse_property(f"{text}{ball}\n".encode())


@pytest.mark.slow
def test_a_proof_holds_in_the_ball_and_not_in_the_box(tmp_path: Path) -> None:
    seen = 0
    for seed in range(6):
        plane = plane_query(tmp_path, seed)
        if not 0.01 < plane.nearest < np.inf:
            continue
        query = plane.within(0.9 * plane.nearest)
        vnnlib = tmp_path / f"{seed}.vnnlib"
        vnnlib.write_text(to_vnnlib1(query.prop))
        files = QueryFiles.read(query.onnx, vnnlib)
        steps = prove(read_query(query.onnx, vnnlib), Budget(20.0), files)
        assert steps is not None
        network, prop = files.statement
        assert check(network, prop, steps) > 0
        larger = replace(prop.ball, square=prop.ball.square * Fraction(13, 9) ** 2)
        for wrong in (replace(prop, ball=None), replace(prop, ball=larger)):
            with pytest.raises(RejectedError):
                check(network, wrong, steps)
        seen += 1
    assert seen >= 2
