"""Leaving out refuted alternatives keeps the solutions, checked by sampling and by enumeration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.explain.ranking import ranking_of, some_pair_flips
from salver.explain.unroll import logit_combination, unroll
from salver.families.conditions import class_is
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.oracle.enumerate import enumerate_query
from salver.solvers.alternatives import without_refuted
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.milp import solver as milp
from salver.solvers.query import Budget, Options, Query
from salver.spec import Atom, Clause, Property
from salver.spec.truth import Truth
from tests.builders.small_queries import relu_network


def query_with(folder: Path, seed: int, clause: Clause | None = None) -> Query:
    """10 inputs, 6 neurons, 3 classes; the strict ranking of 4, or another clause, in a narrow box."""
    generator = np.random.default_rng(seed)
    classifier = relu_network([10, 6, 3], generator)
    reach, saliency = generator.uniform(0.02, 0.25), np.zeros(10)
    while not saliency.any():
        centre = generator.uniform(-1, 1, 10)
        label = int(lower(classifier).evaluate(centre)[0][0].argmax())
        graph = unroll(classifier, logit_combination(3, label), "abs")
        saliency = lower(graph).evaluate(centre)[0][0][3:]
    changed = some_pair_flips(3, ranking_of(saliency, 4)) if clause is None else clause
    low, high = (side.astype(np.float32).astype(np.float64) for side in (centre - reach, centre + reach))
    path = folder / f"{seed}.onnx"
    path.write_bytes(to_bytes(to_model(graph)))
    return Query(path, graph, Property(low, high, (*class_is(label, 3), changed), graph.output_size))


def pruned(query: Query) -> Query:
    box = query.prop.input_lower, query.prop.input_upper
    return without_refuted(query, propagate(query.program, *box))


def test_no_point_of_the_box_tells_the_difference(tmp_path: Path) -> None:
    before = after = 0
    for seed in range(12):
        query = query_with(tmp_path, seed)
        fewer = pruned(query)
        before += len(query.prop.clauses[-1])
        after += len(fewer.prop.clauses[-1])
        sides = query.prop.input_lower, query.prop.input_upper
        points = np.random.default_rng(seed).uniform(*sides, (400, 10))
        outputs = query.program.evaluate(np.vstack([points, *sides]))[0]
        assert np.array_equal(query.prop.margin(outputs) >= 0, fewer.prop.margin(outputs) >= 0)
    assert 0 < after < 0.8 * before


@pytest.mark.slow
def test_the_answers_are_those_of_the_oracle(tmp_path: Path) -> None:
    seen = set()
    for seed in range(6):
        query = query_with(tmp_path, seed)
        truth = enumerate_query(query.network, query.prop).truth
        assert enumerate_query(query.network, pruned(query).prop).truth == truth
        for solver in (hybrid, milp):
            verdict = solver.solve(query, Budget(20.0), Options()).verdict
            assert truth is Truth.UNKNOWN or verdict.value == truth.value
        seen.add(truth)
    assert {Truth.SAT, Truth.UNSAT} <= seen


def test_a_clause_without_a_possible_alternative_is_unsat(tmp_path: Path) -> None:
    never = ((Atom(3, "<=", constant=-1.0),), (Atom(4, "<=", constant=-0.5),))
    query = query_with(tmp_path, 0, never)
    assert pruned(query).prop.clauses[-1] == ()
    for solver in (hybrid, milp):
        assert solver.solve(query, Budget(20.0), Options()).verdict.value == "unsat"


@pytest.mark.parametrize("atom", [Atom(0, ">=", other=1), Atom(1, "<=", other=0)])
def test_outputs_that_may_be_equal_are_kept(tmp_path: Path, atom: Atom) -> None:
    query = query_with(tmp_path, 0, ((atom,), (Atom(3, "<=", constant=-1.0),)))
    bounds = propagate(query.program, query.prop.input_lower, query.prop.input_upper)
    touching = replace(bounds, output_upper=bounds.output_upper.copy())
    touching.output_upper[0] = touching.output_lower[1]
    assert without_refuted(query, touching).prop.clauses[-1] == ((atom,),)
    touching.output_upper[0] = np.nextafter(touching.output_lower[1], -np.inf)
    assert without_refuted(query, touching).prop.clauses[-1] == ()
