"""Witnesses at kinks hold over the reals, where single and double precision take the wrong side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.operators import Linear, Node, Relu
from salver.oracle.exact import exact_outputs
from salver.solvers import kinks
from salver.solvers.kinks import hangs_on_rounding, outputs_over_the_reals
from salver.solvers.query import Query
from salver.spec.property import Atom, Property
from tests.builders.small_queries import relu_network
from tests.builders.witnesses import saved

TINY = 2.0**-53
"""1 + TINY is 1 in double precision."""
BESIDE = np.array([TINY, -1.0])


def step() -> Network:
    """The gradient of relu(x_0 - x_1 - 1): output 1 is its first entry, 1 where the sum is positive."""
    nodes = (
        Node("z", Linear(np.array([[1, -1]], np.float32), np.array([-1], np.float32)), ("X",), (1,)),
        Node("r", Relu(), ("z",), (1,)),
        Node("y", Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32)), ("r",), (1,)),
    )
    return unroll(Network("X", 2, nodes, "y"), logit_combination(1, 0), "raw")


def test_no_witness_rests_on_a_sum_that_double_precision_rounds_to_the_other_side(tmp_path: Path) -> None:
    network = step()
    closed = Property(np.array([0.0, -1.0]), np.ones(2), (((Atom(1, "<=", None, 0.5),),),), 3)
    query = Query(saved(network, tmp_path / "net.onnx"), network, closed)
    assert query.confirm(BESIDE) is None
    assert query.confirm(np.array([0.0, -1.0])) is not None


def test_no_witness_rests_on_a_small_sum_that_a_large_one_before_was_rounded_to(tmp_path: Path) -> None:
    """The second sum is of 2^-41; in the first one, of 1, double precision loses what decides its sign."""
    small = np.float32(2.0**-41 * (1 + 0.4 * 2.0**-11))
    nodes = (
        Node("z", Linear(np.array([[1, -1]], np.float32), np.array([-1], np.float32)), ("X",), (1,)),
        Node("r", Relu(), ("z",), (1,)),
        Node("w", Linear(np.ones((1, 1), np.float32), np.array([-small])), ("r",), (1,)),
        Node("s", Relu(), ("w",), (1,)),
        Node("y", Linear(np.ones((1, 1), np.float32), np.zeros(1, np.float32)), ("s",), (1,)),
    )
    network = unroll(Network("X", 2, nodes, "y"), logit_combination(1, 0), "raw")
    closed = Property(np.array([0.0, -1.0]), np.ones(2), (((Atom(1, "<=", None, 0.5),),),), 3)
    query = Query(saved(network, tmp_path / "net.onnx"), network, closed)
    beside = np.array([float(np.float32(2.0**-41 * (1 + 0.45 * 2.0**-11))), -1.0])
    assert beside[0] > small
    assert exact_outputs(network, beside)[1] == 1
    assert query.confirm(beside) is None
    assert query.confirm(np.array([0.0, -1.0])) is not None


@pytest.mark.parametrize("seed", range(5))
def test_a_point_at_a_kink_has_the_values_of_exact_arithmetic(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = unroll(relu_network([3, 4, 4, 3], generator), logit_combination(3, 1), "abs")
    program, x = lower(network), generator.normal(size=3)
    weights = program.pre[0].affine.terms[-1]
    x[0] -= (weights @ x + program.pre[0].affine.constant)[0] / weights[0, 0]
    assert hangs_on_rounding(program, x)
    exact = [float(value) for value in exact_outputs(network, x)]
    assert np.allclose(outputs_over_the_reals(program, x), exact, rtol=1e-12, atol=0)


def test_a_large_program_is_evaluated_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    program = lower(step())
    assert outputs_over_the_reals(program, BESIDE)[1] == 1.0
    monkeypatch.setattr(kinks, "MOST_ENTRIES", 1)
    assert outputs_over_the_reals(program, BESIDE)[1] == 0.0
