"""Rational linear programs against floating-point ones, and thin regions decided by them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from salver.oracle import rational_lp
from salver.oracle.enumerate import enumerate_query
from salver.oracle.exact import exact_margin
from salver.oracle.rational_lp import maximise
from salver.spec.property import Atom, Property, box_clauses
from salver.spec.truth import Truth
from tests.builders.small_queries import random_query, toy_gap

NUMBER = st.integers(-4, 4).map(Fraction)
ROWS = st.integers(1, 5).flatmap(
    lambda rows: st.tuples(
        st.lists(st.lists(NUMBER, min_size=3, max_size=3), min_size=rows, max_size=rows),
        st.lists(NUMBER, min_size=rows, max_size=rows),
    )
)


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


@pytest.mark.parametrize(
    ("low", "truth"),
    [
        (1.0, Truth.SAT),
        (1.0 + 2.0**-30, Truth.UNSAT),
        (1.0 - 2.0**-30, Truth.SAT),
    ],
)
def test_thin_margins_are_decided_exactly(tmp_path: Path, low: float, truth: Truth) -> None:
    query = toy_gap(tmp_path)
    prop = replace(query.prop, clauses=box_clauses(0, np.array([low]), np.array([np.inf])))
    assert enumerate_query(query.program, prop).truth is Truth.UNKNOWN
    answer = enumerate_query(query.program, prop, query.network)
    assert (answer.truth, answer.thin) == (truth, 1)
    if answer.witness is not None:
        assert exact_margin(query.network, prop, answer.witness) >= 0


def test_the_open_side_of_a_mask_has_no_edge(tmp_path: Path) -> None:
    """The gradient is 1 for z > 0 only: z <= 0 with gradient 1 touches, and no point has both."""
    query = toy_gap(tmp_path)
    clauses = (((Atom(0, "<=", constant=0.0),),), ((Atom(1, ">=", constant=1.0),),))
    prop = replace(query.prop, clauses=clauses)
    assert enumerate_query(query.program, prop).truth is Truth.UNKNOWN
    assert enumerate_query(query.program, prop, query.network).truth is Truth.UNSAT


@pytest.mark.parametrize("seed", [0, 3, 6, 9])
def test_a_box_of_one_point_agrees_with_exact_evaluation(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    x = query.clip((query.prop.input_lower + query.prop.input_upper) / 2)
    box = Property(x, x, query.prop.clauses, query.prop.output_count)
    told = enumerate_query(query.program, box, query.network)
    assert (told.truth is Truth.SAT) == (exact_margin(query.network, box, x) >= 0)
