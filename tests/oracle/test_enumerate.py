"""The oracle against sampling and against the published bandit network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.oracle.enumerate import TOLERANCE, delta_star, enumerate_query
from salver.solvers.query import Query
from salver.spec.property import Property, box_clauses
from salver.spec.truth import Truth
from tests.builders.small_queries import bandit_query, random_query, toy_gap


def _samples(query: Query, count: int, seed: int = 0) -> np.ndarray:
    low, high = query.prop.input_lower, query.prop.input_upper
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6, 8, 9, 11, 14, 18])
def test_agrees_with_dense_sampling(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    answer = enumerate_query(query.program, query.prop)
    x = _samples(query, 5_000)
    outputs, zs, _ = query.program.evaluate(x)
    patterns = np.hstack([z > 0 for z in zs])
    assert answer.regions >= len(np.unique(patterns, axis=0))
    if query.prop.margin(outputs).max() >= 0:
        assert answer.truth is Truth.SAT
    if answer.witness is not None:
        assert query.confirm(answer.witness) is not None or answer.clearance < 1e-5
        assert answer.margin > TOLERANCE


@pytest.mark.slow
def test_bandit_regions_and_delta_star(data_dir: Path, tmp_path: Path) -> None:
    query = bandit_query(data_dir, tmp_path, 1.0)
    prop = query.prop
    reference = query.program.evaluate(np.array([[1.0, 1.0, 0.0, 1.0, 1.0]]))[0][0, 2:]
    star = delta_star(
        query.program, prop.input_lower, prop.input_upper, reference, np.arange(2, 7), prop.clauses[-1:]
    )
    assert star.value == pytest.approx(1.1665, abs=5e-5)
    assert star.regions == 94


@pytest.mark.slow
@pytest.mark.parametrize(("delta", "truth"), [(1.16, Truth.UNSAT), (1.17, Truth.SAT)])
def test_bandit_around_delta_star(data_dir: Path, tmp_path: Path, delta: float, truth: Truth) -> None:
    query = bandit_query(data_dir, tmp_path, delta)
    answer = enumerate_query(query.program, query.prop)
    assert (answer.truth, answer.regions) == (truth, 94)
    if answer.witness is not None:
        assert query.confirm(answer.witness) is not None


def test_gradient_of_one_relu_takes_no_value_in_between(tmp_path: Path) -> None:
    query = toy_gap(tmp_path)
    assert enumerate_query(query.program, query.prop).truth is Truth.UNSAT
    wide = toy_gap(tmp_path, 0.4, 1.1)
    assert enumerate_query(wide.program, wide.prop).truth is Truth.SAT


def test_an_edge_is_reported_as_unknown(tmp_path: Path) -> None:
    query = toy_gap(tmp_path)
    touching = (*box_clauses(0, np.array([1.0]), np.array([np.inf])),)
    prop = Property(query.prop.input_lower, query.prop.input_upper, touching, 2)
    answer = enumerate_query(query.program, prop)
    assert answer.truth is Truth.UNKNOWN
    assert abs(answer.margin) <= TOLERANCE


def test_no_violation_gives_an_infinite_delta_star(tmp_path: Path) -> None:
    query = toy_gap(tmp_path)
    never = box_clauses(0, np.array([2.0]), np.array([np.inf]))
    star = delta_star(query.program, -np.ones(1), np.ones(1), np.ones(1), np.array([1]), never)
    assert (star.value, star.witness) == (np.inf, None)
    assert star.regions == 2
