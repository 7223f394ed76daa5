"""What a node's bounds imply of a clause: nothing is cut off that one of its live alternatives allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.nets.network import Network
from salver.nets.operators import Abs, Linear, Node
from salver.solvers.hybrid.node import SearchNode, children, root_node, tighten
from salver.solvers.query import Query
from salver.spec import Atom, Property
from tests.builders.choices import choice


def first_lost(query: Query, points: np.ndarray, node: SearchNode) -> str:
    """What the bounds of a node say against points [k, n] that have its signs; "" if nothing."""
    bounds = tighten(query, node)
    if bounds is None:
        return "closed"
    zs = query.program.evaluate(points)[1]
    for number, z in enumerate(zs):
        low, high, sign = bounds.pre_lower[number], bounds.pre_upper[number], bounds.signs[number]
        if (z < low - 1e-9).any() or (z > high + 1e-9).any():
            return f"z {number} is outside its range"
        if ((sign > 0) & (z <= 0)).any() or ((sign < 0) & (z > 0)).any():
            return f"z {number} has another sign"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize(("count", "far"), [(2, 0.05), (3, 0.05), (3, 100.0)])
def test_no_point_of_a_live_alternative_is_cut_off(count: int, far: float) -> None:
    """In the root, and in the parts that the first splits make of it."""
    checked = 0
    for seed in range(5):
        made = choice(seed, count, far)
        [clause] = made.query.prop.clauses
        for order in (clause, clause[::-1]):
            query = made.query.asking(replace(made.query.prop, clauses=(order,)))
            root = root_node(query)
            assert not first_lost(query, made.points, root), (seed, order)
            bounds = tighten(query, root)
            assert bounds is not None
            for child in children(query, bounds, root) if bounds.undecided else []:
                zs = query.program.evaluate(made.points)[1]
                pairs = zip(child.signs.values(), zs, strict=True)
                fits = np.all([((s == 0) | ((z > 0) == (s > 0))).all(axis=1) for s, z in pairs], axis=0)
                if fits.any():
                    assert not first_lost(query, made.points[fits], child), (seed, order)
                    checked += 1
    assert checked > 8


def test_every_point_is_on_a_side_of_a_split_argument_and_in_one_of_the_alternatives() -> None:
    """Where no neuron is open: first the alternatives of a clause, then the signs of an Abs."""
    linear = Linear(np.array([[1, 0.5], [0.25, 1]], np.float32), np.zeros(2, np.float32))
    nodes = (Node("z", linear, ("x",), (2,)), Node("y", Abs(), ("z",), (2,)))
    parts = tuple((Atom(0, ">=", constant=limit),) for limit in (0.25, 0.5, 0.75))
    prop = Property(-np.ones(2), np.ones(2), (parts,), 2)
    query = Query(Path("none.onnx"), Network("x", 2, nodes, "y"), prop)
    root = root_node(query)
    cases = children(query, root.within, root)
    assert [case.query(query).prop.clauses[0] for case in cases] == [(part,) for part in parts]
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    arguments, waiting, sides = x @ linear.weight.T.astype(float), list(cases[:1]), 0
    leaves = []
    while waiting:
        node = waiting.pop()
        made = children(query, node.within, node)
        waiting += made
        sides += len(made)
        leaves += [] if made else [node.within]
    assert sides == 6
    held = [((b.value_lower[0] <= arguments) & (arguments <= b.value_upper[0])).all(axis=1) for b in leaves]
    assert np.any(held, axis=0).all()
