"""What a node's bounds imply of a clause: nothing is cut off that one of its live alternatives allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salver.solvers.hybrid.node import SearchNode, children, root_node, tighten
from salver.solvers.query import Query
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
@pytest.mark.parametrize("count", [2, 3, 4])
def test_no_point_of_a_live_alternative_is_cut_off(count: int) -> None:
    """In the root, and in the parts that the first splits make of it."""
    checked = 0
    for seed in range(5):
        made = choice(seed, count)
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
