"""The attack: its surrogate's derivatives, what it finds, and that it never says sat where nothing is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.oracle.enumerate import enumerate_query
from salver.solvers.attack.clause_loss import clause_arrays
from salver.solvers.attack.falsify import attack, solve
from salver.solvers.attack.surrogate import Surrogate
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec.property import Atom, Property
from salver.spec.truth import Truth
from tests.builders.small_queries import bandit_query, random_query, toy_gap


@pytest.mark.parametrize("seed", range(6))
def test_surrogate_gradient_equals_finite_differences(tmp_path: Path, seed: int) -> None:
    program = random_query(tmp_path, seed).program
    generator = np.random.default_rng(seed)
    surrogate = Surrogate(program, tuple(np.full(pre.affine.size, 0.3) for pre in program.pre))
    x = generator.uniform(-1, 1, (3, program.input_size))
    cotangent = generator.normal(size=(3, program.output.size))
    slope = surrogate.backward(surrogate.forward(x), cotangent)
    for axis in range(program.input_size):
        step = np.zeros(program.input_size)
        step[axis] = 1e-6
        change = surrogate.forward(x + step).outputs - surrogate.forward(x - step).outputs
        assert slope[:, axis] == pytest.approx((change * cotangent).sum(axis=1) / 2e-6, rel=1e-4, abs=1e-6)


def test_cold_surrogate_is_the_network(tmp_path: Path) -> None:
    program = random_query(tmp_path, 1).program
    x = np.random.default_rng(0).uniform(-1, 1, (50, program.input_size))
    outputs, zs, _ = program.evaluate(x)
    away = np.min([np.abs(z).min(axis=1) for z in zs], axis=0) > 1e-3
    cold = Surrogate(program, tuple(np.full(pre.affine.size, 1e-5) for pre in program.pre))
    assert cold.forward(x[away]).outputs == pytest.approx(outputs[away], abs=1e-4)


def test_clause_arrays_agree_with_the_property() -> None:
    clauses = (
        ((Atom(0, ">=", 1), Atom(2, "<=", constant=0.5)), (Atom(1, ">=", constant=-0.2),)),
        ((Atom(2, ">=", constant=-1.0),),),
        ((), (Atom(0, ">=", constant=99.0),)),
    )
    prop = Property(np.zeros(1), np.ones(1), clauses, 3)
    arrays = clause_arrays(prop)
    outputs = np.random.default_rng(0).normal(size=(200, 3))
    assert arrays.margins(outputs)[2].min(axis=1) == pytest.approx(prop.margin(outputs))

    room, weights = np.full(2, 0.3), np.ones((200, 2))
    slope = arrays.cotangent(outputs, weights, room)

    def loss(y: np.ndarray) -> np.ndarray:
        return np.maximum(room - arrays.margins(y)[2], 0.0).sum(axis=1)

    for j in range(3):
        step = np.eye(3)[j] * 1e-7
        change = (loss(outputs + step) - loss(outputs - step)) / 2e-7
        assert slope[:, j] == pytest.approx(change, abs=1e-4)


def test_a_clause_without_alternatives_ends_the_search(tmp_path: Path) -> None:
    query = toy_gap(tmp_path)
    prop = Property(query.prop.input_lower, query.prop.input_upper, ((),), 2)
    assert attack(Query(query.onnx, query.network, prop), Budget(5.0)) is None


@pytest.mark.slow
def test_agrees_with_the_oracle(tmp_path: Path) -> None:
    found = 0
    for seed in (0, 1, 2, 3, 8, 11, 14, 17, 18, 21):
        query = random_query(tmp_path, seed)
        truth = enumerate_query(query.network, query.prop).truth
        witness = attack(query, Budget(20.0), seed=0, rounds=2)
        if witness is not None:
            found += 1
            assert truth is not Truth.UNSAT
            assert query.confirm(witness) is not None
    assert found >= 4


@pytest.mark.slow
def test_gives_up_with_a_reason(tmp_path: Path) -> None:
    result = solve(toy_gap(tmp_path), Budget(60.0), Options())
    assert result.verdict is Verdict.UNKNOWN
    assert "misses by 0.4" in result.reason


def test_out_of_budget_is_a_timeout(tmp_path: Path) -> None:
    assert solve(toy_gap(tmp_path), Budget(0.0), Options()).verdict is Verdict.TIMED_OUT


def test_bandit_counterexample(data_dir: Path, tmp_path: Path) -> None:
    query = bandit_query(data_dir, tmp_path, 1.25)
    result = solve(query, Budget(30.0), Options())
    assert result.verdict is Verdict.SAT
    assert result.witness is not None
    assert query.prop.inputs_inside(result.witness)
