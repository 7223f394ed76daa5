"""The program of the open neurons has the values of the network over the box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.explain.explanation import Explanation, Form
from salver.nets.network import lower
from salver.nets.program import Program
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.reduced import reduce_to_open
from salver.solvers.hybrid.node import reduced_root
from salver.solvers.hybrid.solver import solve
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Property
from tests.builders.explained_networks import program_of
from tests.builders.questions import KINDS_OF_BLOCKS
from tests.builders.small_queries import boxes_of, random_query, relu_network

ALL = np.zeros(0, np.intp)


def reduced_equals_whole(program: Program, low: np.ndarray, high: np.ndarray, seed: int) -> tuple[int, int]:
    """Compares values and bounds of both; how many neurons each has."""
    generator = np.random.default_rng(seed)
    found = reduce_to_open(program, low, high, wanted=np.arange(program.output.size))
    assert found is not None
    reduced, bounds = found
    x = generator.uniform(low, high, (200, len(low)))
    x[:2] = low, high
    expected, values = program.evaluate(x)[0], reduced.evaluate(x)
    scale = program.output.magnitude(propagate(program, low, high, outputs=False).largest)
    assert (np.abs(values[0] - expected) <= 1e-12 * scale).all()
    assert (expected >= bounds.output_lower).all()
    assert (expected <= bounds.output_upper).all()
    for z, least, most in zip(values[1], bounds.pre_lower, bounds.pre_upper, strict=True):
        assert ((z >= least) & (z <= most)).all()
    whole = dict(zip((pre.name for pre in program.pre), program.evaluate(x)[1], strict=True))
    for pre, z in zip(reduced.pre, values[1], strict=True):
        meant = whole[pre.name][:, pre.in_network(np.arange(z.shape[1]))]
        assert np.allclose(z, meant, rtol=1e-9, atol=1e-9 * np.abs(meant).max())
    for number, value in values[2].items():
        assert (value >= bounds.block_lower[number]).all()
        assert (value <= bounds.block_upper[number]).all()
    return sum(p.affine.size for p in program.pre), sum(p.affine.size for p in reduced.pre)


@pytest.mark.parametrize("seed", range(30))
def test_same_values_over_the_box_of_random_queries(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    for low, high in boxes_of(query):
        reduced_equals_whole(query.program, low, high, seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "explanation", KINDS_OF_BLOCKS, ids=lambda e: f"{e.short}{'-abs' if e.absolute else ''}"
)
def test_same_values_of_every_kind_of_block(explanation: Explanation) -> None:
    """Gates, factors, products, squares and copies of a convolutional network."""
    program = program_of(explanation, "pooled")
    middle = np.random.default_rng(3).uniform(0.2, 0.8, program.input_size)
    whole, left = reduced_equals_whole(program, middle - 0.05, middle + 0.05, 3)
    assert left <= whole
    if explanation.form is Form.FORWARD or left:
        assert left < whole


def test_only_open_neurons_are_left() -> None:
    network = relu_network([3, 8, 8, 2], np.random.default_rng(0))
    program = lower(network)
    middle = np.full(3, 0.3)
    bounds = propagate(program, middle - 0.2, middle + 0.2)
    found = reduce_to_open(program, middle - 0.2, middle + 0.2, ALL)
    assert found is not None
    assert sum(p.affine.size for p in found[0].pre) == bounds.undecided
    assert found[1].undecided == bounds.undecided


def test_a_point_leaves_an_affine_map() -> None:
    program = lower(relu_network([3, 8, 2], np.random.default_rng(1)))
    x = np.array([0.1, -0.4, 0.7])
    found = reduce_to_open(program, x, x, ALL)
    assert found is not None
    assert not found[0].blocks
    assert np.allclose(found[0].output.evaluate({-1: x[None]}), program.evaluate(x)[0])


def test_an_empty_box_is_left_to_the_whole_program() -> None:
    program = lower(relu_network([3, 4, 2], np.random.default_rng(1)))
    assert reduce_to_open(program, np.ones(3), np.zeros(3), ALL) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_hybrid_says_the_same_with_and_without(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, 500 + seed)
    options = Options(without=frozenset({"attack"}))
    with_it = solve(query, Budget(20.0), options)
    without = solve(query, Budget(20.0), replace(options, without=frozenset({"attack", "reduction"})))
    assert {with_it.verdict, without.verdict} & {Verdict.SAT, Verdict.UNSAT}
    assert with_it.verdict is without.verdict


def test_witnesses_are_judged_with_the_rounding_of_the_network_itself(tmp_path: Path) -> None:
    network = relu_network([4, *[20] * 5, 2], np.random.default_rng(0))
    middle = np.random.default_rng(1).normal(size=4)
    prop = Property(middle - 1e-4, middle + 1e-4, (), 2)
    query = Query(tmp_path / "none.onnx", network, prop)
    reduced = reduced_root(query)[0]
    assert len(reduced.program.blocks) < len(query.program.blocks)
    assert reduced.rounding(middle) == query.rounding(middle)
    assert reduced.asking(prop).rounding(middle) == query.rounding(middle)
