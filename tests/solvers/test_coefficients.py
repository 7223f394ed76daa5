"""Sparse and dense coefficients of a backward pass say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from salver.explain.explanation import Explanation
from salver.nets.affine import Matrix, dense
from salver.nets.program import Program
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.propagation import propagate
from tests.builders.explained_networks import program_of
from tests.builders.questions import KINDS_OF_BLOCKS
from tests.builders.small_queries import boxes_of, random_query


@pytest.fixture
def window_rows() -> np.ndarray:
    """Rows [300, 400] that read a few neighbouring columns each."""
    rng = np.random.default_rng(0)
    rows = np.zeros((300, 400))
    for row in rows:
        start = int(rng.integers(0, 390))
        row[start : start + 9] = rng.normal(size=9)
    return rows


def test_sparse_is_what_dense_is(window_rows: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    held = coefficients.kept(sparse.csr_array(window_rows))
    lower, upper, reach = rng.normal(size=400), rng.normal(size=400), rng.exponential(size=400)
    assert sparse.issparse(held)
    both = coefficients.with_negative(held)
    dense = np.vstack([window_rows, -window_rows])
    expected = np.maximum(dense, 0.0) * lower + np.minimum(dense, 0.0) * upper
    slope = coefficients.times(both, lower, upper)
    assert np.allclose(slope.toarray(), expected)
    assert np.allclose(coefficients.times(dense, lower, upper), expected)
    for weights in (both, dense):
        assert np.allclose(coefficients.total(weights, lower, upper), expected.sum(axis=1))
        assert np.allclose(coefficients.size(weights, reach), np.abs(dense) @ reach)
    more = coefficients.product(slope, sparse.csr_array(window_rows.T))
    assert np.allclose(more.toarray(), expected @ window_rows.T)
    assert np.allclose(coefficients.added(more, more).toarray(), 2.0 * expected @ window_rows.T)
    assert np.allclose(coefficients.added(more, np.ones((600, 300))), expected @ window_rows.T + 1.0)


def test_no_coefficients_change_while_others_are_read() -> None:
    """A product has its entries in no order, and scipy sorts them in place as soon as it needs one."""
    rng = np.random.default_rng(2)
    factors = [sparse.random_array((30, 30), density=0.2, format="csr", rng=rng) for _ in range(2)]
    weights = factors[0] @ factors[1]
    assert not weights.has_sorted_indices
    slope = coefficients.times(weights, np.full(30, 2.0), np.full(30, 3.0))
    expected = 2.0 * weights.toarray()
    coefficients.size(weights, np.ones(30))
    assert np.allclose(slope.toarray(), expected)
    assert np.allclose(weights.toarray(), expected / 2.0)


def test_what_is_small_or_full_is_dense(window_rows: np.ndarray) -> None:
    assert not sparse.issparse(coefficients.kept(sparse.csr_array(window_rows[:50, :50])))
    assert not sparse.issparse(coefficients.kept(sparse.csr_array(np.ones((300, 400)))))


def test_zeros_count_for_underflow(window_rows: np.ndarray) -> None:
    reach = np.full(400, 1e290)
    nothing = np.zeros_like(window_rows)
    for weights in (nothing, sparse.csr_array(nothing)):
        assert (coefficients.size(weights, reach) >= 1e-9).all()


def in_no_order(matrix: Matrix) -> Matrix:
    """The matrix sparse, with the entries of each row in reverse, as a product may leave them."""
    entries = sparse.coo_array(dense(matrix))
    back = np.lexsort((-entries.coords[1], entries.coords[0]))
    starts = np.searchsorted(entries.coords[0][back], np.arange(matrix.shape[0] + 1))
    return sparse.csr_array((entries.data[back], entries.coords[1][back], starts), shape=matrix.shape)


def same_bounds(program: Program, low: np.ndarray, high: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Holds the bounds by sparse coefficients against those by dense ones, however small the program is."""
    expected = propagate(program, low, high)
    with monkeypatch.context() as patch:
        patch.setattr(coefficients, "kept", in_no_order)
        found = propagate(program, low, high)
    assert found.infeasible == expected.infeasible
    for one, other in (
        *zip(found.pre_lower, expected.pre_lower, strict=True),
        *zip(found.pre_upper, expected.pre_upper, strict=True),
        (found.output_lower, expected.output_lower),
        (found.output_upper, expected.output_upper),
    ):
        assert np.allclose(one, other, rtol=1e-6, atol=1e-7 * np.abs(other).max(initial=0.0))


@pytest.mark.parametrize("seed", range(20))
def test_bounds_of_random_queries(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query = random_query(tmp_path, seed)
    for low, high in boxes_of(query):
        same_bounds(query.program, low, high, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "explanation", KINDS_OF_BLOCKS, ids=lambda e: f"{e.short}{'-abs' if e.absolute else ''}"
)
def test_bounds_of_every_kind_of_block(explanation: Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(explanation, "pooled")
    middle = np.random.default_rng(5).uniform(0.2, 0.8, program.input_size)
    same_bounds(program, middle - 0.1, middle + 0.1, monkeypatch)
