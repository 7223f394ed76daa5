"""Coefficients of a deep network underflow where values do not: bounds hold the values all the same."""

from __future__ import annotations

import numpy as np
import pytest

from salver.nets.affine import Affine
from salver.nets.program import PreActivation, Program, ReluBlock
from salver.solvers.bounding.batched import BatchBounder, BatchPart
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.reduced import reduce_to_open

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
    (part,) = BatchBounder(program).propagate([BatchPart(low, high, {}, None)])
    found = reduce_to_open(program, low, high, ALL)
    bounds = [propagate(program, low, high), part, *([] if found is None else [found[1]])]
    for known in bounds:
        assert known.pre_lower[-1] < -0.49 * shift * (2 / 3)
        assert known.pre_upper[-1] > 0.49 * shift * (2 / 3)
        assert not known.infeasible
