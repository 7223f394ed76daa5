"""Speed of the parts of `hybrid` and of one whole solve. Measured, never asserted.

`scripts/perf.sh` compares with the stored baselines.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import lower
from salver.nets.program import Program
from salver.solvers.bounding.backward import tighten_backwards
from salver.solvers.bounding.halfspaces import Halfspaces, lower_bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.hybrid.node import children, root_node, tighten
from salver.solvers.hybrid.solver import solve
from salver.solvers.hybrid.tree import LEAF_BACKEND
from salver.solvers.milp.model import build
from salver.solvers.milp.solver import proposing, solve_within
from salver.solvers.query import Budget, Options, Query, Verdict
from tests.builders.small_queries import bandit_query, relu_network, saliency_query


def image_query(folder: Path, delta: float = 1e-3, reach: float = 0.01) -> Query:
    """A query of the published MNIST size, 784-256-256-10."""
    generator = np.random.default_rng(0)
    classifier = relu_network([784, 256, 256, 10], generator, 1.4)
    centre = generator.uniform(0.0, 1.0, 784)
    return saliency_query(folder, classifier, centre, (centre - reach, centre + reach), delta)


def small_query(folder: Path) -> Query:
    """An unsatisfiable query that bounds at the root leave open: 16-24-24-4."""
    generator = np.random.default_rng(3)
    classifier = relu_network([16, 24, 24, 4], generator, 1.4)
    centre = generator.uniform(0.0, 1.0, 16)
    return saliency_query(folder, classifier, centre, (centre - 0.25, centre + 0.25), 0.2)


@cache
def _gradient_program() -> Program:
    generator = np.random.default_rng(0)
    return lower(unroll(relu_network([784, 256, 256, 10], generator, 1.4), logit_combination(10, 3)))


def test_forward_bounds(benchmark: BenchmarkFixture) -> None:
    program, centre = _gradient_program(), np.random.default_rng(1).uniform(0.0, 1.0, 784)
    assert benchmark(propagate, program, centre - 0.01, centre + 0.01).undecided > 0


def test_backward_propagation(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    query = image_query(tmp_path)
    bounds = root_node(query).within
    after = benchmark(tighten_backwards, query.program, query.prop, bounds)
    assert after.undecided < bounds.undecided


def test_halfspaces(benchmark: BenchmarkFixture) -> None:
    generator = np.random.default_rng(2)
    rows, cuts = generator.normal(size=(120, 784)), generator.normal(size=(40, 784))
    low, high = np.full(784, -0.05), np.full(784, 0.05)
    halfspaces = Halfspaces(cuts, generator.normal(0.0, 0.2, 40))
    assert np.isfinite(benchmark(lower_bounds, rows, np.zeros(120), halfspaces, low, high)).all()


def test_root(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    query = image_query(tmp_path, 1e-3, 0.02)
    root = root_node(query)
    bounds = benchmark(tighten, query, root)
    assert bounds is not None
    assert bounds.undecided < root.within.undecided


def test_node(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A child of the root: bounding it again with one sign more."""
    query = image_query(tmp_path, 1e-3, 0.05)
    root = root_node(query)
    bounds = tighten(query, root)
    assert bounds is not None
    child = children(query, bounds, root)[0]
    after = benchmark(tighten, query, child)
    assert after is None or after.undecided < bounds.undecided


def test_leaf(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """The back end on a whole small query, as on a node with few open neurons."""
    query = small_query(tmp_path)
    bounds = tighten(query, root_node(query))
    assert bounds is not None
    decide = proposing(LEAF_BACKEND, query.program)
    found = benchmark.pedantic(
        solve_within, (query, bounds, Budget(600.0), Options(), decide), rounds=5, warmup_rounds=1
    )
    assert found.verdict is Verdict.UNSAT


def test_relaxation(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    query = small_query(tmp_path)
    bounds = tighten(query, root_node(query))
    assert bounds is not None

    def relax() -> bool:
        model = build(query.program, query.prop, bounds)
        return model is None or LinearRelaxation(model).refuted()

    assert benchmark(relax)


def test_whole_solve(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    query = small_query(tmp_path)
    result = benchmark.pedantic(solve, (query, Budget(600.0), Options()), rounds=10, warmup_rounds=1)
    assert result.verdict is Verdict.UNSAT


@pytest.mark.parametrize("delta", [1.16, 1.17])
def test_published_bandit(benchmark: BenchmarkFixture, data_dir: Path, tmp_path: Path, delta: float) -> None:
    query = bandit_query(data_dir, tmp_path, delta)
    result = benchmark(solve, query, Budget(60.0), Options())
    assert result.verdict is (Verdict.UNSAT if delta == 1.16 else Verdict.SAT)
