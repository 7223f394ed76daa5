"""Proofs about products: McCormick's planes hold everywhere, proofs are found, and wrong ones are refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.soundness.naive_checker import naive_check
from experiments.soundness.products import draw_products
from experiments.soundness.proofs import (
    accepted,
    corrupt_numbers,
    corrupt_structure,
    satisfiable_sibling,
)
from experiments.soundness.stated import file_of, graph_of, read_again
from salver.nets import network as nets
from salver.nets import operators as ops
from salver.proofs.checker import Checker, check
from salver.proofs.context import Context
from salver.proofs.row_sum import PRODUCT_ROWS, Atoms, RejectedError, RowSum
from salver.proofs.vnnlib_file import ExactProperty
from salver.solvers.hybrid.solver import solve
from salver.solvers.proving.search import prove
from salver.solvers.proving.statement import exact, stated
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom, Property
from tests.builders.products import ProductKind, product_query

UNSAT: list[tuple[ProductKind, int]] = [
    ("times-input", 4),
    ("square", 4),
    ("positive", 4),
    ("absolute", 4),
    ("chain", 6),
    ("variance", 7),
]
NESTED = [29, 41, 20]
"""Seeds of guided signals, and of means of gradients and of squares at shifted points."""


def pair_network(square: bool = False) -> nets.Network:
    """f v of two inputs, or the square of the first."""
    picks = [ops.Node(name, ops.Pick(np.array([at]), 2), ("X",), (1,)) for at, name in enumerate("fv")]
    product = ops.Node("p", ops.Mul(), ("f", "f" if square else "v"), (1,))
    return nets.Network("X", 2, (*picks, product), "p")


def asked(low: Any, high: Any, *atoms: Atom) -> ExactProperty:
    return exact(Property(np.array(low), np.array(high), tuple(((atom,),) for atom in atoms), 1))


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("ends", [(0.1, 0.7), (-0.7, 0.3), (-0.9, -0.2)])
def test_ranges_of_products_are_rounded_outwards(square: bool, ends: tuple[float, float]) -> None:
    low, high = ends
    context = Context.start(graph_of(pair_network(square)), asked([low, 0.3], [high, 0.7]))
    one = context.unit.one
    f, v = ((context.low[name][0], context.high[name][0]) for name in ("f", "f" if square else "v"))
    products = {a * b for a in f for b in v} if not square else {a * a for a in f}
    least = 0 if square and low < 0 < high else min(products)
    assert context.low["p"][0] * one <= least
    assert context.high["p"][0] * one >= max(products)
    assert (context.high["p"][0] - 1) * one < max(products)


def test_digits_that_a_coefficient_loses_never_raise_a_bound() -> None:
    """0.1 times three units is no whole number of units; what is lost weighs a thousandfold at x = -1000."""
    tenth = ops.Linear(np.array([[0.1]], np.float32), np.zeros(1, np.float32))
    network = nets.Network("X", 1, (ops.Node("y", tenth, ("X",), (1,)),), "y")
    graph, prop = graph_of(network), asked([-1000.0], [-1000.0])
    context = Context.start(graph, prop)
    rows = RowSum(graph, Atoms.of(prop), context, 1)
    rows.add("y", np.zeros(1, np.intp), np.zeros(1, np.intp), np.array([3], object))
    exactly = Fraction(float(np.float32(0.1))) * -1000 * 3
    assert exactly - 2000 < int(rows.least({})[0]) <= exactly


def close(*rows: tuple[str, float], atom: float = 1.0) -> dict[str, Any]:
    groups = [[kind, "p", [0], [0], [weight]] for kind, weight in rows]
    return {"do": "close", "by": [*groups, ["atom", "", [0], [[0, 0, 0]], [atom]]]}


NUMBER = st.floats(-1e4, 1e4, allow_subnormal=False)
WIDTH = st.sampled_from([0.0, 1e-9, 0.7, 300.0])
WEIGHT = st.floats(0.0, 1e3, allow_subnormal=False)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    low=st.tuples(NUMBER, NUMBER),
    width=st.tuples(WIDTH, WIDTH),
    weights=st.lists(WEIGHT, min_size=5, max_size=5),
    shares=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    square=st.booleans(),
)
def test_no_multipliers_exclude_a_point(low, width, weights, shares, square) -> None:
    """Where the box is a point all planes are 0 there, so what was rounded in them shows at once."""
    high = [one + side for one, side in zip(low, width, strict=True)]
    sides = [(Fraction(a), Fraction(b)) for a, b in zip(low, high, strict=True)]
    f, v = (a + Fraction(share) * (b - a) for (a, b), share in zip(sides, shares, strict=True))
    graph, prop = graph_of(pair_network(square)), asked(low, high)
    context, checker = Context.start(graph, prop), Checker(graph, prop)
    kinds = [*PRODUCT_ROWS, "product_middle"][: 5 if square else 4]
    by = [[kind, "p", [0], [0], [weight]] for kind, weight in zip(kinds, weights, strict=False)]
    assert not checker.contradictions(context, {"do": "close", "by": by}).any()
    for lower in (1, 0):
        checker.apply(context, {"do": "bound", "tensor": "p", "at": [0], "lower": [lower], "by": by})
    least, most = (Fraction(int(side["p"][0]), context.unit.one) for side in (context.low, context.high))
    assert least <= f * (f if square else v) <= most


@pytest.mark.slow
@pytest.mark.parametrize("square", [False, True])
def test_a_value_that_is_taken_is_never_excluded(square: bool) -> None:
    """Both ends of the range of a product are taken, so no sum of planes may pass them."""
    network, rng = file_of(pair_network(square)), np.random.default_rng(0)
    low, high = (-1.0, -2.0), (3.0, 1.0)
    least, most = (0.0, 9.0) if square else (-6.0, 3.0)
    for _ in range(20):
        rows = [(kind, float(rng.exponential())) for kind in PRODUCT_ROWS if rng.random() < 0.5]
        for atom in (Atom(0, "<=", constant=least), Atom(0, ">=", constant=most)):
            with pytest.raises(RejectedError, match="no contradiction"):
                check(network, asked(low, high, atom), [close(*rows, atom=float(rng.exponential()))])


PLANES = [
    ("product_under_low", (0, 0), "<="),
    ("product_under_high", (1, 1), "<="),
    ("product_over_low", (0, 1), ">="),
    ("product_over_high", (1, 0), ">="),
]


@pytest.mark.parametrize(("kind", "corner", "relation"), PLANES)
def test_a_plane_says_what_no_other_and_no_range_says(kind, corner, relation) -> None:
    """f in [-1, 1] and v in [-1, 1], so the plane is exact at its corner, where f and v are +1 or -1.

    Of the output y = p + s f + t v, with signs that lead away from the corner, the plane alone gives the end.
    """
    signs = [1.0 if end == 0 else -1.0 for end in corner]
    by = -1.0 if relation == ">=" else 1.0
    sum_ = ops.Linear(np.array([[1.0, by * signs[0], by * signs[1]]], np.float32), np.zeros(1, np.float32))
    nodes = pair_network().nodes
    joined = ops.Node("c", ops.Concat(), ("p", "f", "v"), (3,))
    network = file_of(nets.Network("X", 2, (*nodes, joined, ops.Node("y", sum_, ("c",), (1,))), "y"))
    ends = [(-1.0, 1.0)[end] for end in corner]
    extreme = ends[0] * ends[1] + by * (signs[0] * ends[0] + signs[1] * ends[1])
    outside = asked((-1.0, -1.0), (1.0, 1.0), Atom(0, relation, constant=extreme - 0.01 * by))
    assert check(network, outside, [close((kind, 1.0))]) == 1
    for other in PRODUCT_ROWS:
        if other != kind:
            with pytest.raises(RejectedError, match="no contradiction"):
                check(network, outside, [close((other, 1.0))])
    touching = asked((-1.0, -1.0), (1.0, 1.0), Atom(0, relation, constant=extreme))
    with pytest.raises(RejectedError, match="no contradiction"):
        check(network, touching, [close((kind, 1.0))])


def test_rows_of_products_are_refused_where_there_is_none() -> None:
    prop = asked((0.0, 0.0), (1.0, 1.0), Atom(0, ">=", constant=2.0))
    for kind, name in (
        ("product_under_low", "f"),
        ("product_middle", "p"),
        ("gate_low", "p"),
        ("product_none", "p"),
    ):
        step = {"do": "close", "by": [[kind, name, [0], [0], [1.0]]]}
        with pytest.raises(RejectedError):
            check(file_of(pair_network()), prop, [step])


def test_a_tower_of_squares_is_refused_before_its_numbers_are_made() -> None:
    nodes, name = [], "X"
    for number in range(64):
        nodes.append(ops.Node(f"s{number}", ops.Mul(), (name, name), (1,)))
        name = f"s{number}"
    network = file_of(nets.Network("X", 1, tuple(nodes), name))
    with pytest.raises(RejectedError, match="the product 's9' may be as large as 1e"):
        check(network, asked((0.0,), (2.0,)), [])


def solved(folder: Path, query: Query) -> tuple[Query, list[Any]]:
    query = read_again(query)
    result = solve(query, Budget(30.0), Options(record=True))
    assert result.verdict is Verdict.UNSAT
    steps = prove(query, Budget(30.0), journal=result.journal)
    assert steps is not None
    return query, steps


def _examine(query: Query, steps: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert accepted(query, query.prop, steps)
    naive_check(query.network, query.prop, steps)
    for _ in range(2):
        assert not accepted(query, query.prop, corrupt_structure(steps, rng))
        changed = corrupt_numbers(steps, rng)
        if accepted(query, query.prop, changed):
            naive_check(query.network, query.prop, changed)
    sibling = satisfiable_sibling(query, rng)
    if sibling is not None:
        assert not accepted(query, sibling, steps)
        assert prove(query.asking(sibling), Budget(0.5)) is None


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed"), UNSAT)
def test_products_are_proven(tmp_path: Path, kind: ProductKind, seed: int) -> None:
    _examine(*solved(tmp_path, product_query(tmp_path, kind, seed)), seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", NESTED)
def test_nested_rectified_signals_and_shifted_copies_are_proven(tmp_path: Path, seed: int) -> None:
    _examine(*solved(tmp_path, draw_products(tmp_path, seed).query), seed)


def test_outputs_that_cancel_are_not_taken_for_another_network(tmp_path: Path) -> None:
    """Two equal neurons cancel: one reading says 0, the other 5e-17."""
    stated(read_again(draw_products(tmp_path, 95_000_004).query))
