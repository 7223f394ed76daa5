"""Soundness of the bounds against sampling, their order, and what fixing a sign does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import lower
from salver.nets.program import AbsBlock, GateBlock, Program
from salver.nets.torch_bridge import from_torch
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.linear_bounds import bound_affine, linear_lower
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.relaxation import abs_lines, gate_lines, mask_lines, relu_lines
from tests.builders.small_queries import random_query, relu_network


def _assert_contains(program: Program, bounds: Bounds, x: np.ndarray) -> None:
    outputs, zs, values = program.evaluate(x)
    assert (outputs >= bounds.output_lower).all()
    assert (outputs <= bounds.output_upper).all()
    for z, low, high, signs in zip(zs, bounds.pre_lower, bounds.pre_upper, bounds.signs, strict=True):
        assert (z >= low).all()
        assert (z <= high).all()
        assert ((z > 0) | (signs <= 0)).all()
        assert ((z <= 0) | (signs >= 0)).all()
    for number, block in enumerate(program.blocks):
        assert (values[number] >= bounds.block_lower[number]).all()
        assert (values[number] <= bounds.block_upper[number]).all()
        if isinstance(block, GateBlock | AbsBlock):
            gated = block.value.evaluate(values)
            assert (gated >= bounds.value_lower[number]).all()
            assert (gated <= bounds.value_upper[number]).all()


@pytest.mark.parametrize("method", ["crown", "interval"])
@pytest.mark.parametrize("seed", range(8))
def test_ten_thousand_samples_stay_inside(tmp_path: Path, seed: int, method: str) -> None:
    query = random_query(tmp_path, seed)
    low, high = query.prop.input_lower, query.prop.input_upper
    bounds = propagate(query.program, low, high, method=method)  # type: ignore[arg-type]
    x = np.random.default_rng(seed).uniform(low, high, (10_000, len(low)))
    x[:100] = np.where(x[:100] > (low + high) / 2, high, low)
    _assert_contains(query.program, bounds, x)
    assert not bounds.infeasible


def test_convolutions_stay_sparse_and_inside() -> None:
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 6, 6)), torch.nn.Conv2d(1, 3, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 3),
    )  # fmt: skip
    program = lower(unroll(from_torch(classifier, 36), logit_combination(3, 1)))
    x = np.random.default_rng(0).uniform(0.3, 0.7, (10_000, 36))
    _assert_contains(program, propagate(program, np.full(36, 0.3), np.full(36, 0.7)), x)


@pytest.mark.parametrize("seed", range(4))
def test_crown_is_never_looser_than_intervals_and_sometimes_tighter(seed: int) -> None:
    generator = np.random.default_rng(seed)
    program = lower(unroll(relu_network([4, 8, 8, 3], generator), logit_combination(3, 0)))
    plain = propagate(program, -0.2 * np.ones(4), 0.2 * np.ones(4), method="interval")
    crown = propagate(program, -0.2 * np.ones(4), 0.2 * np.ones(4))
    assert (crown.output_lower >= plain.output_lower).all()
    assert (crown.output_upper <= plain.output_upper).all()
    assert (crown.output_upper - crown.output_lower)[:3].sum() < (plain.output_upper - plain.output_lower)[
        :3
    ].sum()


@pytest.mark.parametrize("seed", range(6))
def test_fixed_signs_hold_exactly_on_their_side(tmp_path: Path, seed: int) -> None:
    query = random_query(tmp_path, seed)
    program, low, high = query.program, query.prop.input_lower, query.prop.input_upper
    x = np.random.default_rng(seed).uniform(low, high, (5000, len(low)))
    _, zs, _ = program.evaluate(x)
    whole = propagate(program, low, high)
    neuron = int(np.argmin(whole.signs[0] != 0))
    for sign in (-1, 1):
        fixed = np.zeros(len(whole.signs[0]), np.int8)
        fixed[neuron] = sign
        branch = propagate(program, low, high, fixed={0: fixed}, within=whole)
        side = zs[0][:, neuron] > 0 if sign > 0 else zs[0][:, neuron] <= 0
        if branch.infeasible:
            assert not side.any()
            continue
        _assert_contains(program, branch, x[side])
        assert branch.undecided < whole.undecided or whole.signs[0][neuron] != 0


def test_known_bounds_keep_their_signs_and_are_never_exceeded() -> None:
    generator = np.random.default_rng(5)
    program = lower(unroll(relu_network([3, 6, 6, 2], generator), logit_combination(2, 0)))
    low, high = -np.ones(3), np.ones(3)
    fixed = np.where(propagate(program, low, high).signs[0] == 0, 1, 0)
    branch = propagate(program, low, high, fixed={0: fixed})
    again = propagate(program, low / 2, high / 2, within=branch)
    assert not branch.infeasible
    assert (np.abs(again.signs[0]) >= np.abs(branch.signs[0])).all()
    assert (again.pre_lower[1] >= branch.pre_lower[1]).all()
    assert (again.pre_upper[1] <= branch.pre_upper[1]).all()


def test_a_contradicting_sign_is_infeasible(tmp_path: Path) -> None:
    program = lower(unroll(relu_network([2, 1, 2], np.random.default_rng(0)), logit_combination(2, 0)))
    point = np.array([0.5, -0.5])
    sign = 1 if propagate(program, point, point).pre_lower[0][0] > 0 else -1
    assert not propagate(program, point, point, fixed={0: np.array([sign])}).infeasible
    assert propagate(program, point, point, fixed={0: np.array([-sign])}).infeasible


def test_lower_bound_of_zero_leaves_the_mask_open() -> None:
    layer, head = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1)
    layer.weight.data.fill_(1.0)
    program = lower(unroll(from_torch(torch.nn.Sequential(layer, torch.nn.ReLU(), head), 1), np.ones(1)))
    at_zero = propagate(program, np.zeros(1), np.ones(1))
    assert at_zero.signs[0][0] == 0
    assert at_zero.output_lower[1] <= 0.0 <= at_zero.output_upper[1]


@pytest.mark.parametrize("pairing", [False, True])
def test_linear_minorant_lies_below_the_network(tmp_path: Path, pairing: bool) -> None:
    query = random_query(tmp_path, 3)
    low, high = query.prop.input_lower, query.prop.input_upper
    bounds = propagate(query.program, low, high)
    slope, offset = linear_lower(query.program, bounds, query.program.output, pairing)
    x = np.random.default_rng(0).uniform(low, high, (2000, len(low)))
    assert (query.program.evaluate(x)[0] >= x @ slope.T + offset).all()
    least, most = bound_affine(query.program, bounds, query.program.output)
    assert np.allclose(least, bounds.output_lower)
    assert np.allclose(most, bounds.output_upper)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.floats(-3, 3), st.floats(0, 3), st.floats(0, 1), st.floats(-3, 3), st.floats(0, 3), st.floats(0, 1))
def test_relaxations_contain_the_function(
    low: float, width: float, where: float, value_low: float, value_width: float, value_where: float
) -> None:
    least, most = np.array([low]), np.array([low + width])
    z = least + where * (most - least)
    signs = np.where(least > 0, 1, np.where(most <= 0, -1, 0)).astype(np.int8)
    mask = (z > 0).astype(float)
    for lines, true in (
        (relu_lines(signs, least, most), np.maximum(z, 0)),
        (mask_lines(signs, least, most), mask),
        (abs_lines(least, most), abs(z)),
    ):
        assert lines.lower_slope * z + lines.lower_offset <= true + 1e-12
        assert lines.upper_slope * z + lines.upper_offset >= true - 1e-12
    vl, vu = np.array([value_low]), np.array([value_low + value_width])
    v = vl + value_where * (vu - vl)
    for pairing in (False, True):
        gate = gate_lines(signs, vl, vu, pairing)
        assert gate.lower_mask * mask + gate.lower_value * v + gate.lower_offset <= mask * v + 1e-12
        assert gate.upper_mask * mask + gate.upper_value * v + gate.upper_offset >= mask * v - 1e-12
