"""The published hybrid: its bounds hold and help, and its verdicts agree with the oracle."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from salver.oracle.enumerate import enumerate_query
from salver.solvers.absolute import without_abs
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid_paper import published_bounds, solve
from salver.solvers.query import Budget, Options, Query, Verdict
from tests.builders.small_queries import bandit_query, random_query

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("maraboupy", "auto_LiRPA")),
    reason="no maraboupy or no auto_LiRPA here",
)

SEEDS = (0, 1, 2, 3)
"""Networks of at most some 30 activation regions."""


def all_sides(bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    values = sorted(bounds.value_lower)
    lower = [*bounds.pre_lower, *(bounds.value_lower[number] for number in values), bounds.output_lower]
    upper = [*bounds.pre_upper, *(bounds.value_upper[number] for number in values), bounds.output_upper]
    return np.concatenate(lower), np.concatenate(upper)


def bounds_of(query: Query) -> Bounds:
    box = query.prop.input_lower, query.prop.input_upper
    bounds = published_bounds(without_abs(query.program), *box, Budget(60.0))
    assert bounds is not None
    return bounds


@pytest.mark.slow
def test_bounds_hold_and_are_never_looser_than_intervals(tmp_path: Path) -> None:
    narrower = 0
    for seed in range(12):
        query = random_query(tmp_path, seed)
        program, low, high = without_abs(query.program), query.prop.input_lower, query.prop.input_upper
        bounds, intervals = bounds_of(query), propagate(program, low, high, method="interval")
        x = np.random.default_rng(seed).uniform(low, high, (2000, len(low)))
        outputs, pre, values = program.evaluate(x)
        gated = [program.blocks[number].value.evaluate(values) for number in sorted(bounds.value_lower)]
        samples = np.concatenate([*pre, *gated, outputs], axis=1)
        lower, upper = all_sides(bounds)
        assert (samples >= lower).all()
        assert (samples <= upper).all()
        loose_lower, loose_upper = all_sides(intervals)
        assert (lower >= loose_lower).all()
        assert (upper <= loose_upper).all()
        narrower += int((upper - lower < 0.9 * (loose_upper - loose_lower)).sum())
    assert narrower > 20


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_agrees_with_the_oracle(tmp_path: Path, threads: int) -> None:
    seen = set()
    for seed in SEEDS:
        query = random_query(tmp_path, seed)
        answer = enumerate_query(query.network, query.prop)
        result = solve(query, Budget(60.0), Options(threads=threads))
        if answer.clear:
            assert result.verdict.value == answer.truth.value, f"seed {seed}"
        seen.add(result.verdict)
    assert seen >= {Verdict.SAT, Verdict.UNSAT}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delta", "verdict"), [(1.0, "unsat"), (1.16, "unsat"), (1.17, "sat"), (1.25, "sat")]
)
def test_bandit(data_dir: Path, tmp_path: Path, delta: float, verdict: str) -> None:
    query = bandit_query(data_dir, tmp_path, delta)
    assert solve(query, Budget(60.0), Options(threads=2)).verdict.value == verdict


def test_out_of_budget(tmp_path: Path) -> None:
    assert solve(random_query(tmp_path, 0), Budget(0.0), Options()).verdict is Verdict.TIMED_OUT
