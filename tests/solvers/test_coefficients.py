"""Sparse and dense coefficients of a backward pass say the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from salver.solvers.bounding import coefficients


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
