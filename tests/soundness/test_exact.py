"""Rational arithmetic against the reference evaluation, and where floating point goes wrong."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.queries import draw
from salver.nets.network import Network, evaluate
from salver.nets.operators import Linear, Node, Relu, Scale, Sign
from salver.oracle.exact import exact_margin, exact_outputs
from salver.spec import Atom, Property

ONE = np.ones(1, np.float32)


@pytest.mark.parametrize("seed", range(30))
def test_agrees_with_float64(seed: int, tmp_path: Path) -> None:
    query = draw(tmp_path, seed).query
    rng = np.random.default_rng(seed)
    for x in rng.uniform(query.prop.input_lower, query.prop.input_upper, (3, query.network.input_size)):
        expected = evaluate(query.network, x)[0]
        found = np.array([float(value) for value in exact_outputs(query.network, x)])
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(expected).max())
        margin = float(exact_margin(query.network, query.prop, x))
        least = float(query.prop.margin(expected))
        assert margin == pytest.approx(least, rel=1e-9, abs=1e-9 * max(1.0, float(np.abs(expected).max())))


def test_sums_do_not_round() -> None:
    weight = np.array([[1e8, 1.0, -1e8]], np.float32)
    network = Network("X", 3, (Node("Y", Linear(weight, np.zeros(1, np.float32)), ("X",), (1,)),), "Y")
    x = np.array([1e10, 0.1, 1e10])
    assert exact_outputs(network, x) == [Fraction(0.1)]
    assert evaluate(network, x)[0, 0] != 0.1


def test_the_mask_is_strict_at_zero() -> None:
    nodes = (
        Node("z", Scale(ONE, -ONE), ("X",), (1,)),
        Node("s", Sign(), ("z",), (1,)),
        Node("Y", Relu(), ("s",), (1,)),
    )
    network = Network("X", 1, nodes, "Y")
    values = [exact_outputs(network, np.array([x]))[0] for x in (1.0, np.nextafter(1.0, 2.0), 0.0)]
    assert values == [0, 1, 0]


def test_margin_of_clauses() -> None:
    network = Network("X", 2, (Node("Y", Scale(ONE, 0 * ONE), ("X",), (2,)),), "Y")
    box = np.zeros(2), np.ones(2)
    above, below = Atom(0, ">=", constant=0.25), Atom(0, "<=", other=1)

    def margin(*clauses: object) -> float:
        return float(exact_margin(network, Property(*box, clauses, 2), np.array([0.5, 0.75])))

    assert margin(((above,),)) == 0.25
    assert margin(((below,),)) == 0.25
    assert margin(((above, below),), ((Atom(1, ">=", constant=1.0),),)) == -0.25
    assert margin(((Atom(1, ">=", constant=1.0),), (above,))) == 0.25
    assert margin() == np.inf
    assert margin(()) == -np.inf
