"""Products of a piecewise constant factor and a value: bounds, solvers and the oracles agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.products import form_network
from salver.explain.unroll import unroll
from salver.nets.affine import UnsupportedQueryError
from salver.nets.network import Network, evaluate, lower
from salver.nets.operators import Mul, Node
from salver.oracle.enumerate import enumerate_query
from salver.solvers.absolute import without_abs
from salver.solvers.attack.surrogate import Surrogate
from salver.solvers.bounding.backward import quotient, tighten_backwards
from salver.solvers.bounding.bounds import Method
from salver.solvers.bounding.copies import aligned_neurons, implied_by_copies
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.relaxation import product_lines, square_lines
from salver.solvers.boxes import decides
from salver.solvers.milp.expansion import with_gates
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.solvers.registry import embedded_solver
from salver.spec.truth import Truth
from tests.builders.parts import Part, at_once
from tests.builders.products import KINDS, ProductKind, product_query
from tests.builders.small_queries import relu_network

SEEDS = range(3)


def _points(query: Query, count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(query.prop.input_lower, query.prop.input_upper, (count, len(query.prop.input_lower)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_with_products_computes_the_network(tmp_path: Path, kind: ProductKind) -> None:
    query = product_query(tmp_path, kind, 0)
    points = _points(query, 20)
    assert query.program.has_products
    assert np.allclose(query.program.evaluate(points)[0], evaluate(query.network, points), atol=1e-9)
    assert np.allclose(query.replay(points[0]), evaluate(query.network, points[:1])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["crown", "interval"])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold_at_points(tmp_path: Path, kind: ProductKind, method: Method) -> None:
    for seed in SEEDS:
        query = product_query(tmp_path, kind, seed)
        bounds = propagate(query.program, query.prop.input_lower, query.prop.input_upper, method=method)
        outputs, _, values = query.program.evaluate(_points(query))
        found = {**values, -2: outputs}
        low = {**bounds.block_lower, -2: bounds.output_lower}
        high = {**bounds.block_upper, -2: bounds.output_upper}
        assert all((found[b] >= low[b]).all() and (found[b] <= high[b]).all() for b in low)


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_signs_decided_products_are_linear(tmp_path: Path, kind: ProductKind) -> None:
    """In the cell of a point every product is bounded like the affine map that it is there."""
    query = product_query(tmp_path, kind, 0)
    point = _points(query, 1)
    _, pre, values = query.program.evaluate(point)
    signs = {number: np.where(z[0] > 0, 1, -1).astype(np.int8) for number, z in enumerate(pre)}
    low = high = point[0]
    bounds = propagate(query.program, low, high, fixed=signs)
    for block in bounds.block_lower:
        assert np.allclose(bounds.block_lower[block], values[block][0], rtol=1e-6, atol=1e-6)
    wide = propagate(query.program, query.prop.input_lower, query.prop.input_upper, fixed=signs)
    for number in query.program.piecewise_constant:
        assert np.allclose(wide.block_lower[number], wide.block_upper[number], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_satisfies_the_query_survives_reading_it_backwards(tmp_path: Path, kind: ProductKind) -> None:
    kept = 0
    for seed in SEEDS:
        query = product_query(tmp_path, kind, seed, delta=1.0)
        points = _points(query, 2000)
        outputs, pre, values = query.program.evaluate(points)
        inside = query.prop.margin(outputs) >= 0
        bounds = propagate(query.program, query.prop.input_lower, query.prop.input_upper)
        found = tighten_backwards(query.program, query.prop, bounds)
        assert not (inside.any() and found.infeasible)
        kept += int(inside.sum())
        if found.infeasible:
            continue
        for block in found.block_lower:
            value = values[block][inside]
            assert (value >= found.block_lower[block]).all()
            assert (value <= found.block_upper[block]).all()
        for number, z in enumerate(pre):
            assert (z[inside] >= found.pre_lower[number]).all()
            assert (z[inside] <= found.pre_upper[number]).all()
    assert kept


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_of_parts_at_once_are_the_same(tmp_path: Path, kind: ProductKind) -> None:
    for seed in SEEDS:
        query = product_query(tmp_path, kind, seed)
        low, high = query.prop.input_lower, query.prop.input_upper
        parts = [Part(low, high), Part(low, (low + high) / 2)]
        for part, found in zip(parts, at_once(query.program, parts), strict=True):
            alone = propagate(query.program, part.lower, part.upper, outputs=False)
            for block in alone.block_lower:
                assert np.allclose(found.block_lower[block], alone.block_lower[block], rtol=1e-9, atol=1e-11)
                assert np.allclose(found.block_upper[block], alone.block_upper[block], rtol=1e-9, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_oracles_agree(tmp_path: Path, kind: ProductKind) -> None:
    for seed in SEEDS:
        query = product_query(tmp_path, kind, seed)
        found = enumerate_query(query.network, query.prop)
        assert found.truth is enumerate_query(query.network, query.prop).truth


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_search_is_right(tmp_path: Path, kind: ProductKind) -> None:
    """The other solvers, and more of this one: `tests/soundness/test_campaign.py`."""
    truths = {Truth.SAT: Verdict.SAT, Truth.UNSAT: Verdict.UNSAT}
    for seed in range(1, 3):
        query = product_query(tmp_path, kind, seed)
        truth = enumerate_query(query.network, query.prop).truth
        options = Options(without=frozenset({"attack"}))
        assert embedded_solver("hybrid").load()(query, Budget(20.0), options).verdict is truths[truth]


def test_the_slope_of_the_surrogate_is_that_of_its_value(tmp_path: Path) -> None:
    for kind in KINDS:
        query = product_query(tmp_path, kind, 1)
        surrogate = Surrogate(query.program, tuple(np.full(1, 0.3) for _ in query.program.pre))
        x, step = _points(query, 1), 1e-5
        trace = surrogate.forward(x)
        slope = surrogate.backward(trace, np.ones_like(trace.outputs))[0]
        moved = x + step * np.eye(x.shape[1])
        back = x - step * np.eye(x.shape[1])
        rise = (surrogate.forward(moved).outputs - surrogate.forward(back).outputs).sum(axis=1) / (2 * step)
        assert np.allclose(slope, rise, rtol=1e-3, atol=1e-4)


def test_a_quotient_holds_every_quotient() -> None:
    rng = np.random.default_rng(0)
    p, q = np.sort(rng.normal(size=(2, 500)), axis=0), np.sort(rng.normal(size=(2, 500)), axis=0)
    low, high = quotient((p[0], p[1]), (q[0], q[1]))
    for _ in range(20):
        share = rng.random((2, 500))
        numerator, divisor = p[0] + share[0] * (p[1] - p[0]), q[0] + share[1] * (q[1] - q[0])
        assert ((numerator / divisor >= low) & (numerator / divisor <= high)).all()
    assert np.isfinite(low[(q[0] > 0) | (q[1] < 0)]).all()
    assert np.isinf(low[(q[0] < 0) & (q[1] > 0)]).all()


def test_the_planes_of_a_product_hold_everywhere() -> None:
    rng = np.random.default_rng(1)
    factor, value = np.sort(rng.normal(size=(2, 400)), axis=0), np.sort(rng.normal(size=(2, 400)), axis=0)
    for pairing in (False, True):
        lines = product_lines((factor[0], factor[1]), (value[0], value[1]), pairing)
        squares = square_lines(factor[0], factor[1], pairing)
        for share in np.vstack([rng.random((30, 2)), [[0, 0], [0, 1], [1, 0], [1, 1]]]):
            f, v = factor[0] + share[0] * np.ptp(factor, axis=0), value[0] + share[1] * np.ptp(value, axis=0)
            for planes, product, other in ((lines, f * v, v), (squares, f * f, f)):
                below = planes.lower_mask * f + planes.lower_value * other + planes.lower_offset
                above = planes.upper_mask * f + planes.upper_value * other + planes.upper_offset
                assert (below <= product + 1e-12).all()
                assert (above >= product - 1e-12).all()


def test_copies_imply_signs_of_each_other(tmp_path: Path) -> None:
    """With the sign of one copy's neuron fixed, those of the others keep every point that has it."""
    rng = np.random.default_rng(3)
    classifier = relu_network([3, 6, 4, 2], rng)
    form = form_network(rng, "integrated", classifier, np.array([1.0, 0.0]), np.zeros(3))
    program = lower(form)
    low, high = -np.ones(3), np.ones(3)
    points = rng.uniform(low, high, (3000, 3))
    z = program.evaluate(points)[1]
    bounds = propagate(program, low, high)
    aligned = aligned_neurons(program)
    assert aligned is not None
    implied = 0
    for pre in aligned.first:
        for neuron in np.flatnonzero(bounds.signs[pre] == 0):
            for side in (-1, 1):
                signs = {number: fixed.copy() for number, fixed in enumerate(bounds.signs)}
                signs[pre][neuron] = side
                found = implied_by_copies(program, signs, bounds)
                assert found is not None
                inside = np.sign(z[pre][:, neuron]) == side
                for number, after in found[0].items():
                    assert ((z[number][inside] > 0) == (after > 0))[:, after != 0].all()
                    assert (z[number][inside] >= found[1].pre_lower[number]).all()
                    assert (z[number][inside] <= found[1].pre_upper[number]).all()
                    implied += int((after != signs[number]).sum())
    assert implied


def test_without_copies_nothing_is_implied() -> None:
    program = lower(unroll(relu_network([3, 6, 4, 2], np.random.default_rng(3)), np.array([1.0, 0.0])))
    assert aligned_neurons(program) is None


@pytest.mark.parametrize("kind", KINDS)
def test_sums_of_gates_compute_the_products(tmp_path: Path, kind: ProductKind) -> None:
    query = product_query(tmp_path, kind, 0)
    expanded = with_gates(without_abs(query.program))
    assert expanded is not None
    assert not expanded.has_products
    points = _points(query, 50)
    assert np.allclose(expanded.evaluate(points)[0], query.program.evaluate(points)[0], atol=1e-9)
    assert with_gates(without_abs(query.program), most=1) is None


@pytest.mark.parametrize("name", ["marabou", "hybrid-paper"])
def test_solvers_without_products_say_so(tmp_path: Path, name: str) -> None:
    pytest.importorskip("maraboupy")
    query = product_query(tmp_path, "times-input", 0)
    assert not embedded_solver(name).products
    with pytest.raises(UnsupportedQueryError, match="products of two values"):
        embedded_solver(name).load()(query, Budget(5.0), Options())
    assert decides(query)


def test_a_product_without_a_piecewise_constant_factor_is_no_program() -> None:
    square = Network("x", 2, (Node("y", Mul(), ("x", "x"), (2,)),), "y")
    with pytest.raises(UnsupportedQueryError, match="neither factor is piecewise constant"):
        lower(square)
