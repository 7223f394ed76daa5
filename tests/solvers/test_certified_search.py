"""`hybrid` closes parts by certificates alone, and finds points in narrow ones."""

from __future__ import annotations

from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from experiments.soundness.queries import draw
from salver.core.errors import SalverError
from salver.nets.affine import Affine, add, apply
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu, Sub
from salver.oracle.enumerate import enumerate_query
from salver.oracle.exact import exact_outputs
from salver.solvers.arguments import parts_left_out
from salver.solvers.bounding.linear_bounds import bound_affine
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid import tree
from salver.solvers.hybrid.interior import interior_point
from salver.solvers.hybrid.node import root_node, tighten
from salver.solvers.hybrid.probing import probe
from salver.solvers.hybrid.solver import solve
from salver.solvers.milp.model import build
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.registry import SOLVERS
from salver.spec import Atom, Property
from salver.spec.truth import Truth

SEEDS = range(305, 313)
"""Of queries, unsatisfiable and satisfiable ones, that enumeration decides."""
DECIDED = (Truth.SAT, Truth.UNSAT)


@pytest.fixture(scope="module")
def queries(tmp_path_factory) -> list[tuple[Query, Truth]]:
    folder = tmp_path_factory.mktemp("queries")
    drawn = [draw(folder, seed).query for seed in SEEDS]
    return [(query, enumerate_query(query.network, query.prop).truth) for query in drawn]


def verdicts_agree(queries: list[tuple[Query, Truth]], options: Options) -> int:
    """Asserts that no verdict is wrong; returns how many queries were decided."""
    decided = 0
    for query, truth in queries:
        verdict = solve(query, Budget(30.0), options).verdict
        assert not (verdict is Verdict.UNSAT and truth is Truth.SAT)
        assert not (verdict is Verdict.SAT and truth is Truth.UNSAT)
        decided += verdict in (Verdict.SAT, Verdict.UNSAT)
    return decided


@pytest.mark.slow
def test_a_back_end_that_calls_everything_infeasible_closes_nothing(queries):
    infeasible = mock.Mock(return_value=("infeasible", None))
    with mock.patch.object(tree, "proposing", return_value=infeasible):
        assert verdicts_agree(queries, Options(without=frozenset({"attack"}))) > len(queries) // 2


@pytest.mark.slow
@pytest.mark.parametrize("part", ["solve_within", "probe", "interior_point"])
def test_an_exception_of_a_back_end_becomes_a_split(queries, part):
    with mock.patch.object(tree, part, side_effect=RuntimeError("error in the library")):
        verdicts_agree(queries, Options(without=frozenset({"attack"})))


@pytest.mark.slow
def test_running_out_of_memory_is_told(queries):
    query = next(q for q, truth in queries if truth is Truth.SAT)
    without = frozenset({"attack"})
    if tighten(query, root_node(query), without) is None:
        pytest.fail("the query does not come to the search")
    with mock.patch.object(tree, "probe", side_effect=MemoryError()), pytest.raises(MemoryError):
        solve(query, Budget(30.0), Options(without=without))


@pytest.mark.slow
@pytest.mark.parametrize("part", SOLVERS["hybrid"].parts)
def test_leaving_a_part_out_changes_no_verdict(queries, part):
    few = [pair for truth in DECIDED for pair in [pair for pair in queries if pair[1] is truth][-2:]]
    assert verdicts_agree(few, Options(without=frozenset({part}))) > len(few) // 2


@pytest.mark.slow
def test_all_parts_can_be_left_out_together(queries):
    assert verdicts_agree(queries, Options(without=frozenset(SOLVERS["hybrid"].parts))) > len(queries) // 2


def test_parts_are_named_on_the_command_line():
    assert parts_left_out(SOLVERS["hybrid"], "attack, probing") == {"attack", "probing"}
    assert parts_left_out(SOLVERS["milp"], "") == frozenset()
    with pytest.raises(SalverError, match="did you mean attack"):
        parts_left_out(SOLVERS["hybrid"], "atack")
    with pytest.raises(SalverError, match="use hybrid"):
        parts_left_out(SOLVERS["milp"], "attack")


def exact_value(affine: Affine, values: dict[int, list[Fraction]], row: int) -> Fraction:
    total = Fraction(float(affine.constant[row]))
    for block, matrix in affine.terms.items():
        dense = matrix.toarray() if sparse.issparse(matrix) else matrix
        total += sum(Fraction(float(w)) * v for w, v in zip(dense[row], values[block], strict=True))
    return total


def cancelling_network(rng: np.random.Generator, depth: int, scale: float) -> Network:
    """Linear layers one after the other, whose weights nearly cancel, and a difference of two of them."""
    size = 3
    nodes, last = [], "X"
    for number in range(depth):
        weight = rng.normal(size=(size, size)).astype(np.float32)
        weight[1] = np.nextafter(weight[0], np.float32(np.inf))
        weight *= np.float32(scale)
        nodes.append(
            Node(f"l{number}", Linear(weight, rng.normal(size=size).astype(np.float32)), (last,), (size,))
        )
        last = f"l{number}"
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    nodes.append(Node("swapped", Linear(swap, np.zeros(size, np.float32)), (last,), (size,)))
    nodes.append(Node("Y", Sub(), (last, "swapped"), (size,)))
    return Network("X", size, tuple(nodes), "Y")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1e-12, 1e-4, 1.0, 1e6]))
def test_bounds_hold_exactly_however_much_cancels(seed, depth, scale):
    rng = np.random.default_rng(seed)
    network = cancelling_network(rng, depth, scale)
    program = lower(network)
    x = rng.normal(size=3)
    found = propagate(program, x, x)
    for value, low, high in zip(
        exact_outputs(network, x), found.output_lower, found.output_upper, strict=True
    ):
        assert Fraction(float(low)) <= value <= Fraction(float(high))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_composing_says_what_it_may_have_rounded(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(4, 3)), rng.normal(size=(2, 4))
    second[1] = -second[0] * (1 + 2.0**-50)
    inner = Affine({-1: first}, rng.normal(size=4))
    outer = add(apply(second, inner, rng.normal(size=2)), apply(second[::-1], inner, 0.0), 1.0)
    point = [Fraction(float(v)) for v in rng.normal(size=3)]
    largest = {-1: np.abs([float(v) for v in point])}
    middle = [exact_value(inner, {-1: point}, row) for row in range(4)]
    bias = outer.constant - (second @ inner.constant + second[::-1] @ inner.constant)
    for row in range(2):
        exact = sum(Fraction(float(second[row, k])) * middle[k] for k in range(4))
        exact += sum(Fraction(float(second[1 - row, k])) * middle[k] for k in range(4))
        missed = abs(exact_value(outer, {-1: point}, row) - exact - Fraction(float(bias[row])))
        assert missed <= Fraction(1e-14) * Fraction(float(outer.magnitude(largest)[row]))


@pytest.mark.slow
def test_the_centre_of_a_part_lies_within_every_limit(tmp_path):
    centres = 0
    for seed in range(40):
        query = draw(tmp_path, seed).query
        bounds = tighten(query, root_node(query))
        if bounds is None or bounds.undecided:
            continue
        model = build(query.program, query.prop, bounds, exact=True)
        if model is None or model.integer.any():
            continue
        point = interior_point(model)
        if point is None:
            continue
        low, high = bound_affine(query.program, propagate(query.program, point, point), query.program.output)
        ranges = query.prop.ranges
        room = 1e-6 * (1 + np.abs(low))
        assert (high >= ranges[0] - room).all()
        assert (low <= ranges[1] + room).all()
        centres += 1
    assert centres


def test_a_narrow_part_has_its_point_found(tmp_path):
    """A range of outputs as wide as a few roundings of single precision, far from 0."""
    weight = np.array([[1.0, 1e-4]], np.float32)
    nodes = (
        Node("z", Linear(weight, np.zeros(1, np.float32)), ("X",), (1,)),
        Node("Y", Relu(), ("z",), (1,)),
    )

    network = Network("X", 2, nodes, "Y")
    path = tmp_path / "narrow.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    middle = 0.5 + 0.3e-4
    clauses = (((Atom(0, ">=", constant=middle - 2e-7),),), ((Atom(0, "<=", constant=middle + 2e-7),),))
    prop = Property(np.array([0.5, 0.0]), np.array([0.5, 1.0]), clauses, 1)
    result = solve(
        Query(path, network, prop), Budget(30.0), Options(without=frozenset({"attack", "backend"}))
    )
    assert result.verdict is Verdict.SAT


def test_a_node_is_closed_by_a_refutation_however_much_is_decided(tmp_path):
    """40 neurons that linear programs alone decide, ten at a time, and a point with all of them on."""
    size = 40
    nodes = (
        Node("z", Linear(np.eye(size, dtype=np.float32), np.zeros(size, np.float32)), ("X",), (size,)),
        Node("h", Relu(), ("z",), (size,)),
        Node("Y", Linear(np.ones((1, size), np.float32), np.zeros(1, np.float32)), ("h",), (1,)),
    )
    clause = ((Atom(0, ">=", constant=size - 0.5),),)
    prop = Property(-np.ones(size), np.ones(size), (clause,), 1)
    network, path = Network("X", size, nodes, "Y"), tmp_path / "sum.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    query = Query(path, network, prop)
    without = frozenset({"attack", "backend", "halfspaces", "backward"})
    decided = []

    def kept(*given, **named):
        decided.append(probe(*given, **named))
        return decided[-1]

    searched = tree.TreeSearch(query, Budget(30.0), Options(without=without))
    with mock.patch.object(tree, "probe", kept):
        found = searched._node(root_node(query))
    assert not (isinstance(found, Result) and found.verdict is Verdict.UNSAT)
    assert max(one.decided for one in decided) >= size // 4
