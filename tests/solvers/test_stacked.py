"""Copies side by side: the same function and the same bounds as one after the other, in fewer blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.products import FORMS, draw_products
from salver.explain.expected_gradients import ExpectedGradients, References
from salver.explain.explanation import Explanation
from salver.explain.guided_backprop import GuidedBackprop
from salver.explain.integrated_gradients import IntegratedGradients
from salver.explain.noise_squares import VarGrad
from salver.explain.occlusion import Occlusion
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.nets.affine import Affine, identity
from salver.nets.network import lower
from salver.nets.program import (
    FactorBlock,
    GateBlock,
    MaskBlock,
    PreActivation,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.oracle.enumerate import enumerate_query
from salver.solvers.bounding import stacked as module
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.copies import implied_by_copies
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.stacked import stacked
from salver.solvers.hybrid import solver as hybrid
from salver.solvers.query import Budget, Options
from tests.builders.explained_networks import INPUTS, network

NOISE = Noise(draws=6, sigma=0.2)
COPIED: list[Explanation] = [
    SmoothGrad(noise=NOISE),
    VarGrad(noise=NOISE),
    IntegratedGradients(steps=6, baseline=(0.25,)),
    ExpectedGradients(references=References(baselines=((0.0,), (0.5,)), draws=6)),
    Occlusion(window=2, stride=1, baseline=(0.25,)),
]
DECIDED = ("sat", "unsat")


def program_of(explanation: Explanation, kind: str) -> Program:
    return lower(explanation.of(1).graph(network(kind)))


def ranges(bounds: Bounds) -> tuple[np.ndarray, np.ndarray]:
    """Sorted ends of all that is bounded, whatever block it is in."""
    low = [*bounds.pre_lower, *bounds.value_lower.values(), bounds.output_lower]
    high = [*bounds.pre_upper, *bounds.value_upper.values(), bounds.output_upper]
    return np.sort(np.concatenate(low)), np.sort(np.concatenate(high))


@pytest.mark.parametrize("explanation", COPIED, ids=lambda one: one.method)
def test_copies_become_few_blocks_with_the_same_values_and_bounds(explanation: Explanation) -> None:
    kind = "pooled" if isinstance(explanation, Occlusion) else "dense"
    whole = program_of(explanation, kind)
    found = stacked(whole)
    assert 3 * len(found.blocks) < len(whole.blocks)
    x = np.random.default_rng(0).uniform(-1, 1, (50, INPUTS))
    assert np.allclose(found.evaluate(x)[0], whole.evaluate(x)[0], rtol=1e-12, atol=1e-12)
    low, high = x[0] - 0.1, x[0] + 0.1
    before, after = propagate(whole, low, high), propagate(found, low, high)
    assert before.undecided == after.undecided > 0
    for one, other in zip(ranges(before), ranges(after), strict=True):
        assert np.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_what_a_copy_says_of_another_is_found_inside_a_block() -> None:
    program = stacked(program_of(SmoothGrad(noise=NOISE), "dense"))
    bounds = propagate(program, np.full(INPUTS, -1.0), np.full(INPUTS, 1.0))
    copies = next(
        k for k, pre in enumerate(program.pre) if pre.affine.size > 6 and set(pre.affine.terms) == {-1}
    )
    signs = dict(enumerate(one.copy() for one in bounds.signs))
    open_ = np.flatnonzero(signs[copies] == 0)
    middle = bounds.pre_lower[copies][open_] + bounds.pre_upper[copies][open_]
    signs[copies][open_[np.argmin(middle)]] = 1
    implied = implied_by_copies(program, signs, bounds)
    assert implied is not None
    assert (implied[0][copies] != 0).sum() > (signs[copies] != 0).sum()


def test_gates_follow_their_masks_and_masks_their_neurons_in_whatever_order_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FEWEST", 2)
    rng = np.random.default_rng(1)
    pre = tuple(PreActivation(Affine({-1: rng.normal(size=(2, 3))}, rng.normal(size=2))) for _ in range(2))
    values = [Affine({-1: rng.normal(size=(2, 3))}, rng.normal(size=2)) for _ in range(2)]
    blocks = (
        MaskBlock(0, 2),
        ReluBlock(1, 2),
        MaskBlock(1, 2),
        ReluBlock(0, 2),
        GateBlock(2, values[1], 2),
        GateBlock(0, values[0], 2),
    )
    output = Affine({block: rng.normal(size=(4, 2)) for block in (1, 3, 4, 5)}, rng.normal(size=4))
    program = Program(3, pre, blocks, output)
    found = stacked(program)
    assert len(found.blocks) == 3
    x = rng.normal(size=(100, 3))
    assert np.allclose(found.evaluate(x)[0], program.evaluate(x)[0], rtol=1e-12, atol=1e-12)


def test_what_is_piecewise_constant_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEWEST", 1)
    rng = np.random.default_rng(2)

    def reading(block: int, columns: int) -> Affine:
        return Affine({block: rng.normal(size=(2, columns))}, rng.normal(size=2))

    pre = (PreActivation(reading(-1, 3)), PreActivation(reading(0, 2)), PreActivation(reading(1, 2)))
    blocks = (
        MaskBlock(0, 2),
        ReluBlock(0, 2),
        ReluBlock(1, 2),
        ReluBlock(2, 2),
        FactorBlock(reading(2, 2), 2),
        ProductBlock(4, reading(3, 2), 2),
    )
    program = Program(3, pre, blocks, identity(5, 2))
    found = stacked(program)
    assert len(found.piecewise_constant) == len(program.piecewise_constant) == 3
    x = rng.normal(size=(100, 3))
    assert np.allclose(found.evaluate(x)[0], program.evaluate(x)[0], rtol=1e-12, atol=1e-12)


def test_a_program_without_copies_stays_as_it_is() -> None:
    program = program_of(GuidedBackprop(), "residual")
    assert stacked(program) is program
    nothing = Program(2, (), (), identity(-1, 2))
    assert stacked(nothing) is nothing


def test_blocks_that_would_be_too_wide_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    program = program_of(SmoothGrad(noise=NOISE), "dense")
    monkeypatch.setattr(module, "MOST_CELLS", 30**2)
    assert stacked(program) is program


@pytest.mark.parametrize("seed", range(len(FORMS)))
def test_random_queries_have_their_enumerated_answer_with_all_that_can_be_stacked(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FEWEST", 2)
    query = draw_products(tmp_path, seed).query
    truth = enumerate_query(query.network, query.prop).truth
    found = hybrid.solve(query, Budget(10.0), Options(without=frozenset({"attack"})))
    if truth.value in DECIDED and found.verdict.value in DECIDED:
        assert found.verdict.value == truth.value
