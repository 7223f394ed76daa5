"""Witnesses at kinks hold over the reals, where single and double precision take the wrong side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from experiments.soundness.networks import convolutional, random_layers, residual
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.operators import Linear, Node, Relu, Scale
from salver.oracle.exact import exact_outputs
from salver.solvers import boxes, kinks
from salver.solvers.kinks import hangs_on_rounding, outputs_over_the_reals
from salver.solvers.query import Budget, Query, Verdict
from salver.spec.property import Atom, Property
from tests.builders.products import KINDS, product_network
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


def test_halving_boxes_ends_at_no_such_sum_either(tmp_path: Path) -> None:
    network = step()
    flat = Property(BESIDE, BESIDE, (((Atom(1, "<=", None, 0.5),),),), 3)
    query = Query(saved(network, tmp_path / "net.onnx"), network, flat)
    assert boxes.search(query, Budget(10.0), 0).verdict is not Verdict.SAT


@pytest.mark.parametrize("seed", range(5))
def test_a_point_at_a_kink_has_the_values_of_exact_arithmetic(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = unroll(relu_network([3, 4, 4, 3], generator), logit_combination(3, 1), "abs")
    program, x = lower(network), generator.normal(size=3)
    weights = program.pre[0].affine.terms[-1]
    x[0] -= (weights @ x + program.pre[0].affine.constant)[0] / weights[0, 0]
    assert hangs_on_rounding(program, x)
    exact = [float(value) for value in exact_outputs(network, x)]
    assert np.allclose(outputs_over_the_reals(network, program, x), exact, rtol=1e-12, atol=0)


@pytest.mark.parametrize("seed", range(8))
def test_fractions_go_through_the_network_as_it_stands(seed: int) -> None:
    """Weights that were composed are rounded, and with them the place of z = 0."""
    rng = np.random.default_rng(seed)
    scale, shift, weight = (rng.normal(size=2).astype(np.float32) for _ in range(3))
    nodes = (
        Node("n", Scale(scale, shift), ("X",), (2,)),
        Node("z", Linear(weight[None], np.zeros(1, np.float32)), ("n",), (1,)),
        Node("r", Relu(), ("z",), (1,)),
    )
    network = unroll(Network("X", 2, nodes, "r"), logit_combination(1, 0), "raw")
    program, x = lower(network), rng.normal(size=2)
    parts = [[Fraction(float(value)) for value in values] for values in (weight, scale, shift, x)]
    (w, other), (a, b), (c, d), (_, y) = parts
    x[0] = float((-other * (b * y + d) / w - c) / a)
    for _ in range(5):
        exact = [float(value) for value in exact_outputs(network, x)]
        assert np.allclose(outputs_over_the_reals(network, program, x)[1:], exact[1:], rtol=1e-12, atol=0)
        x[0] = np.nextafter(x[0], np.inf)


def test_digits_lost_a_layer_before_count(tmp_path: Path) -> None:
    """z = relu(x_0 + x_1 - 1 + 2^-20) - 2^-20 - x_2 is 2^-54, and -2^-54 once 1 + 2^-53 is 1."""
    first = Linear(np.array([[1, 1, 0], [0, 0, 1]], np.float32), np.array([2.0**-20 - 1, 0], np.float32))
    second = Linear(np.array([[1, -1]], np.float32), np.array([-(2.0**-20)], np.float32))
    nodes = (
        Node("u", first, ("X",), (2,)),
        Node("v", Relu(), ("u",), (2,)),
        Node("z", second, ("v",), (1,)),
        Node("r", Relu(), ("z",), (1,)),
    )
    network = unroll(Network("X", 3, nodes, "r"), logit_combination(1, 0), "raw")
    x = np.array([1.0, TINY, TINY / 2])
    assert exact_outputs(network, x)[1] == 1
    assert outputs_over_the_reals(network, lower(network), x)[1] == 1.0
    flat = Property(np.zeros(3), np.ones(3), (((Atom(1, "<=", None, 0.5),),),), 4)
    assert Query(saved(network, tmp_path / "net.onnx"), network, flat).confirm(x) is None


@pytest.mark.parametrize("kind", ["conv", "residual", *KINDS])
def test_every_operator_has_exact_values(kind: Any) -> None:
    rng = np.random.default_rng(1)
    match kind:
        case "conv":
            classifier = convolutional(rng, "normal")
            network = unroll(classifier, logit_combination(classifier.output_size, 0), "abs")
        case "residual":
            layers, [skip] = random_layers(rng, [3, 4, 2], "normal"), random_layers(rng, [3, 2], "normal")
            network = unroll(residual(layers, skip), logit_combination(2, 0), "raw")
        case _:
            network, _ = product_network(kind, relu_network([3, 4, 2], rng), 0, rng)
    x = rng.normal(size=network.input_size)
    exact = [float(value) for value in exact_outputs(network, x)]
    with mock.patch.object(kinks, "DOUBLE", 1e9):  # every point counts as near a kink
        found = outputs_over_the_reals(network, lower(network), x)
    assert found.tolist() == exact


def test_a_large_network_is_evaluated_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    network = step()
    assert outputs_over_the_reals(network, lower(network), BESIDE)[1] == 1.0
    monkeypatch.setattr(kinks, "MOST_PRODUCTS", 1)
    assert outputs_over_the_reals(network, lower(network), BESIDE)[1] == 0.0
