"""Coefficients of a deep network underflow where values do not: bounds hold the values all the same."""

from __future__ import annotations

import numpy as np
import pytest

from salver.nets.affine import Affine
from salver.nets.program import PreActivation, Program, ReluBlock
from salver.solvers.bounding.backward import narrowed
from salver.solvers.bounding.composed import Composed
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.reduced import reduce_to_open
from tests.builders.parts import Part, at_once

ALL = np.zeros(1, np.intp)


def chain(weights: list[float], shift: float) -> Program:
    """x -> weights, a ReLU after each; then a ReLU of what comes out less `shift`."""
    pre = [
        PreActivation(Affine({number - 1: np.array([[weight]])}, np.zeros(1)))
        for number, weight in enumerate(weights)
    ]
    pre.append(PreActivation(Affine({len(weights) - 1: np.ones((1, 1))}, np.array([-shift]))))
    output = Affine({len(weights): np.ones((1, 1))}, np.zeros(1))
    return Program(1, tuple(pre), tuple(ReluBlock(number, 1) for number in range(len(pre))), output)


CHAINS = [
    ([1e38] * 7 + [1e-38] * 9, 1e30, 1.5e-46),
    ([1e38] * 7 + [1e-45] * 8, 1e30, 1.5e-64),
    ([1e-170] * 2 + [1e38] * 7, 1e100, 1.5e26),
]


@pytest.mark.parametrize(("weights", "scale", "shift"), CHAINS)
def test_nothing_is_decided_that_underflow_alone_decides(
    weights: list[float], scale: float, shift: float
) -> None:
    program, low, high = chain(weights, shift), np.array([scale]), np.array([2 * scale])
    (part,) = at_once(program, [Part(low, high)])
    found = reduce_to_open(program, low, high, ALL)
    bounds = [propagate(program, low, high), part, *([] if found is None else [found[1]])]
    for known in bounds:
        assert known.pre_lower[-1] < -0.49 * shift * (2 / 3)
        assert known.pre_upper[-1] > 0.49 * shift * (2 / 3)
        assert not known.infeasible


@pytest.mark.parametrize(("weights", "scale", "shift"), CHAINS)
def test_rows_over_open_neurons_hold_what_underflows(
    weights: list[float], scale: float, shift: float
) -> None:
    program = chain(weights, shift)
    composed = Composed(program, propagate(program, np.array([scale]), np.array([2 * scale])))
    last = len(weights)
    for x in (1.1 * scale, 1.9 * scale):
        _, pre, values = program.evaluate(np.array([[x]]))
        point = np.zeros(len(composed.low) + 1)
        point[0], point[-1] = x, 1.0
        point[composed.signs[last]], point[composed.columns[last]] = pre[last] > 0, values[last]
        assert len(point) == 4
        assert all((rows @ point >= 0).all() for rows in composed.rows)


def test_a_narrowed_range_counts_what_underflows_before_a_large_value() -> None:
    """u_0 = 0 meets the row; what u_1 weighs in the sum that bounds u_0 is below all numbers of the kind."""
    matrix, other = np.array([[1e200, 1e-125]]), np.array([1e80 * (1 - 1e-12), 1e80 * (1 + 1e-12)])
    row = np.array([1e-45 * (1 - 1e-9)]), np.array([1e-45 * (1 + 1e-9)])
    found = narrowed(matrix, *row, np.array([-1e-247, other[0]]), np.array([1e-247, other[1]]))
    assert found is not None
    assert found[0][0] <= 0.0 <= found[1][0]


def test_what_overflows_narrows_nothing() -> None:
    """u_1 is so much larger than u_0 that its weight in their row, in units of u_0, is no number."""
    matrix, low, high = np.array([[1e48, -2e-261]]), np.array([-3.5e-49, 1e259]), np.array([-2e-49, 5e260])
    u = np.array([-3e-49, 4.8e260])
    row = matrix @ u
    with np.errstate(over="ignore", invalid="ignore"):
        found = narrowed(matrix, row - 0.01, row + 0.01, low, high)
    assert found is not None
    assert (found[0] <= u).all()
    assert (u <= found[1]).all()
