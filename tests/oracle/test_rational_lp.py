"""Rational linear programs against floating-point ones."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from salver.oracle import rational_lp
from salver.oracle.rational_lp import maximise

NUMBER = st.integers(-4, 4).map(Fraction)
ROWS = st.integers(1, 5).flatmap(
    lambda rows: st.tuples(
        st.lists(st.lists(NUMBER, min_size=3, max_size=3), min_size=rows, max_size=rows),
        st.lists(NUMBER, min_size=rows, max_size=rows),
    )
)


@pytest.mark.slow
@given(ROWS)
@settings(max_examples=150, deadline=None)
def test_agrees_with_a_floating_point_solver(program: tuple[list[list[Fraction]], list[Fraction]]) -> None:
    matrix, limits = program
    unit = [[Fraction(int(i == j)) for j in range(3)] for i in range(3)]
    matrix, limits = matrix + unit, limits + [Fraction(3)] * 3
    found = maximise(matrix, limits, last=2)
    told = optimize.linprog(
        [0, 0, -1], [[float(v) for v in row] for row in matrix], [float(v) for v in limits], method="highs"
    )
    assert (found.value is None) == (told.status == 2)
    if found.value is not None:
        assert float(found.value) == pytest.approx(-told.fun, abs=1e-7)


def test_a_false_certificate_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Fraction(1)
    monkeypatch.setattr(rational_lp.Tableau, "multipliers", lambda self: [Fraction(0)] * len(self.rows))
    with pytest.raises(ArithmeticError, match="certificate"):
        maximise([[one]], [one], last=0)
    with pytest.raises(ArithmeticError, match="certificate"):
        maximise([[one]], [-one], last=0)
