"""The oracle against sampling, exact evaluation, and the published bandit network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.oracle.enumerate import enumerate_query
from salver.oracle.exact import exact_margin
from salver.solvers.query import Query
from salver.spec.property import Atom, Property, box_clauses
from salver.spec.truth import Truth
from tests.builders.small_queries import bandit_query, random_query, toy_gap


def _samples(query: Query, count: int, seed: int = 0) -> np.ndarray:
    low, high = query.prop.input_lower, query.prop.input_upper
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6, 8, 9, 11, 14, 18])
def test_agrees_with_dense_sampling(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    answer = enumerate_query(query.network, query.prop)
    outputs = query.program.evaluate(_samples(query, 5_000))[0]
    if query.prop.margin(outputs).max() >= 0:
        assert answer.truth is Truth.SAT
    point = answer.binary32_point(query.network, query.prop)
    assert (point is None) == (answer.truth is Truth.UNSAT)
    if point is not None:
        assert query.confirm(point) is not None or not answer.robust


@pytest.mark.slow
@pytest.mark.parametrize(("delta", "truth"), [(1.1664, Truth.UNSAT), (1.1666, Truth.SAT)])
def test_bandit_around_its_smallest_change(
    data_dir: Path, tmp_path: Path, delta: float, truth: Truth
) -> None:
    """Le et al. (ACML 2024) state 1.1665."""
    query = bandit_query(data_dir, tmp_path, delta)
    answer = enumerate_query(query.network, query.prop)
    assert answer.truth is truth
    if truth is Truth.SAT:
        assert query.confirm(answer.binary32_point(query.network, query.prop)) is not None


def test_gradient_of_one_relu_takes_no_value_in_between(tmp_path: Path) -> None:
    query, wide = toy_gap(tmp_path), toy_gap(tmp_path, 0.4, 1.1)
    assert enumerate_query(query.network, query.prop).truth is Truth.UNSAT
    assert enumerate_query(wide.network, wide.prop).truth is Truth.SAT


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
    answer = enumerate_query(query.network, prop)
    assert answer.truth is truth
    assert not answer.robust
    if truth is Truth.SAT:
        assert answer.binary32_point(query.network, prop) is not None


def test_a_point_between_binary32_numbers_shows_nothing(tmp_path: Path) -> None:
    """The gradient is 1 for z > 0 only, and no binary32 number is at most 2^-151 and above 0."""
    query = toy_gap(tmp_path)
    clauses = (((Atom(0, "<=", constant=2.0**-151),),), ((Atom(1, ">=", constant=1.0),),))
    prop = replace(query.prop, clauses=clauses)
    answer = enumerate_query(query.network, prop)
    assert answer.truth is Truth.SAT
    assert answer.binary32_point(query.network, prop) is None


def test_the_open_side_of_a_mask_has_no_edge(tmp_path: Path) -> None:
    """The gradient is 1 for z > 0 only: z <= 0 with gradient 1 touches, and no point has both."""
    query = toy_gap(tmp_path)
    clauses = (((Atom(0, "<=", constant=0.0),),), ((Atom(1, ">=", constant=1.0),),))
    assert enumerate_query(query.network, replace(query.prop, clauses=clauses)).truth is Truth.UNSAT


@pytest.mark.parametrize("seed", [0, 3, 6, 9])
def test_a_box_of_one_point_agrees_with_exact_evaluation(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    x = query.clip((query.prop.input_lower + query.prop.input_upper) / 2)
    box = Property(x, x, query.prop.clauses, query.prop.output_count)
    found = enumerate_query(query.network, box)
    assert (found.truth is Truth.SAT) == (exact_margin(query.network, box, x) >= 0)
