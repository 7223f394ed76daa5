"""Ranking attacks and complete solvers against the oracle, on the strict and on the relaxed form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from salver.explain.ranking import (
    UndefinedConditionError,
    enough_departed,
    ranking_of,
    some_pair_flips,
    with_departures,
)
from salver.explain.unroll import logit_combination, unroll
from salver.families.conditions import class_is
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.oracle.enumerate import enumerate_query
from salver.runners.registry import runners
from salver.solvers.attack import er_attack, mse_attack
from salver.solvers.attack.mse_attack import reference_point
from salver.solvers.attack.ranking_attack import read_target
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query, Verdict, read_query
from salver.spec import Property, to_vnnlib1
from salver.spec.truth import Truth
from tests.builders.records import instance
from tests.builders.small_queries import random_query, relu_network, toy_gap


def ranking_query(folder: Path, seed: int, leave: int) -> Query | None:
    """5 inputs, 4-6 neurons, 3 classes, top 2; None where the point's ranks are tied."""
    generator = np.random.default_rng(seed)
    classifier = relu_network([5, int(generator.integers(4, 7)), 3], generator)
    centre = generator.uniform(-1, 1, 5)
    reach = generator.uniform(0.1, 0.7)
    label = int(lower(classifier).evaluate(centre)[0][0].argmax())
    graph = unroll(classifier, logit_combination(3, label), "abs")
    try:
        ranking = ranking_of(lower(graph).evaluate(centre)[0][0][3:], 2, leave)
    except UndefinedConditionError:
        return None
    changed = some_pair_flips(3, ranking)
    if leave > 1:
        graph, changed = with_departures(graph, ranking), enough_departed(3, ranking)
    low, high = (side.astype(np.float32).astype(np.float64) for side in (centre - reach, centre + reach))
    path = folder / f"{seed}-{leave}.onnx"
    path.write_bytes(to_bytes(to_model(graph)))
    return Query(path, graph, Property(low, high, (*class_is(label, 3), changed), graph.output_size))


@pytest.mark.slow
@pytest.mark.parametrize("leave", [1, 2])
def test_solvers_agree_with_the_oracle(tmp_path: Path, leave: int) -> None:
    seen, attacked = Counter(), 0
    for seed in range(10):
        query = ranking_query(tmp_path, seed, leave)
        if query is None:
            continue
        truth = enumerate_query(query.network, query.prop).truth
        seen[truth] += 1
        for solver in (hybrid, milp):
            verdict = solver.solve(query, Budget(20.0), Options()).verdict
            if truth is not Truth.UNKNOWN:
                assert verdict.value == truth.value, (seed, solver.__name__)
        for solver in (er_attack, mse_attack) if truth is Truth.SAT or seen[truth] == 1 else ():
            result = solver.solve(query, Budget(20.0), Options())
            assert result.verdict in (Verdict.SAT, Verdict.UNKNOWN)
            if result.verdict is Verdict.SAT:
                attacked += 1
                assert truth is not Truth.UNSAT
                assert query.confirm(result.witness) is not None
            else:
                assert result.reason
    assert seen[Truth.SAT] >= 2
    assert seen[Truth.UNSAT] >= 2
    assert attacked >= seen[Truth.SAT]


@pytest.mark.parametrize("leave", [1, 2])
def test_the_ranking_is_read_back_from_the_files(tmp_path: Path, leave: int) -> None:
    query = next(q for s in range(9) if (q := ranking_query(tmp_path, s, leave)) is not None)
    text = tmp_path / "q.vnnlib"
    text.write_text(to_vnnlib1(query.prop))
    target = read_target(read_query(query.onnx, text))
    assert target.logits == 3
    assert len(target.ranking.inside) == 2
    assert target.ranking.leave == leave
    x = np.random.default_rng(0).uniform(query.prop.input_lower, query.prop.input_upper, (200, 5))
    outputs = query.program.evaluate(x)[0]
    assert np.array_equal(target.margin(outputs) >= 0, query.prop.margin(outputs) >= 0)


@pytest.mark.parametrize("solver", [er_attack, mse_attack])
def test_other_properties_get_a_reason(tmp_path: Path, solver) -> None:
    for query in (toy_gap(tmp_path), *(random_query(tmp_path, seed) for seed in range(4))):
        result = solver.solve(query, Budget(5.0), Options())
        assert result.verdict is Verdict.UNKNOWN
        assert "no ranking query" in result.reason


def test_out_of_budget_is_a_timeout(tmp_path: Path) -> None:
    query = next(q for s in range(9) if (q := ranking_query(tmp_path, s, 1)) is not None)
    assert er_attack.solve(query, Budget(0.0), Options()).verdict is Verdict.TIMED_OUT


@pytest.mark.parametrize("epsilon", [0.1, 0.3])
def test_the_reference_point_is_read_off_a_cut_box(epsilon: float) -> None:
    x = np.array([0.0, 0.04, 0.5, 0.97, 1.0])
    low, high = np.maximum(x - epsilon, 0.0), np.minimum(x + epsilon, 1.0)
    assert reference_point(low, high) == pytest.approx(x)


@pytest.mark.parametrize("name", ["er-attack", "mse-attack"])
def test_the_runners_take_rankings_only(name: str) -> None:
    runner = runners()[name]()
    assert runner.supports(instance(family="vg_box")) == "made for topk_rank, not for vg_box"
    assert runner.supports(instance(family="topk_rank")) is None
