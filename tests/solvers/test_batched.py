"""Bounds of many parts at once: the same as one by one with numpy, and sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from salver.core.errors import SalverError
from salver.explain.unroll import logit_combination, unroll
from salver.nets.affine import Affine
from salver.nets.network import lower
from salver.nets.program import AbsBlock, GateBlock, Program
from salver.nets.torch_bridge import from_torch
from salver.solvers.bounding import batched
from salver.solvers.bounding.batched import BatchBounder, BatchPart
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from tests.builders.small_queries import random_query, relu_network


def _alone(program: Program, part: BatchPart) -> Bounds:
    return propagate(program, part.lower, part.upper, part.fixed, within=part.within, outputs=False)


def _values(bounds: Bounds) -> np.ndarray:
    sides = (bounds.block_lower, bounds.block_upper, bounds.value_lower, bounds.value_upper)
    keyed = [side[number] for side in sides for number in sorted(side)]
    return np.concatenate([*bounds.pre_lower, *bounds.pre_upper, *keyed])


def _assert_same(found: list[Bounds], expected: list[Bounds]) -> None:
    assert [bounds.infeasible for bounds in found] == [bounds.infeasible for bounds in expected]
    for one, other in zip(found, expected, strict=True):
        if one.infeasible:
            continue
        assert np.array_equal(np.concatenate(one.signs), np.concatenate(other.signs))
        assert [array.dtype for array in one.signs] == [np.int8] * len(one.signs)
        for side in ("block_lower", "block_upper", "value_lower", "value_upper"):
            assert getattr(one, side).keys() == getattr(other, side).keys()
        assert np.allclose(_values(one), _values(other), rtol=1e-9, atol=1e-11)
        assert one.input_lower is other.input_lower
        assert not len(one.output_lower)


def _random_part(
    program: Program, box: tuple[np.ndarray, np.ndarray], generator: np.random.Generator
) -> BatchPart:
    """A sub-box or the box, a few open neurons fixed, with or without the bounds of what contains it."""
    low, high = box
    whole = propagate(program, low, high)
    if generator.random() < 0.5:
        sides = np.sort(generator.uniform(low, high, (2, len(low))), axis=0)
        low, high = sides[0], sides[1]
    fixed = {}
    for number, signs in enumerate(whole.signs):
        asked = np.where(generator.random(len(signs)) < 0.4, generator.choice([-1, 1], len(signs)), 0)
        fixed[number] = np.where(signs == 0, asked, 0).astype(np.int8)
    if generator.random() < 0.3:
        return BatchPart(low, high, fixed)
    if generator.random() < 0.5:
        return BatchPart(low, high, {number: signs for number, signs in fixed.items() if number}, whole)
    parent = propagate(program, *box, fixed={0: fixed[0]}, within=whole)
    # Signs that only the parent knows must be kept, asked for or not.
    asked = {
        number: (signs * (generator.random(len(signs)) < 0.5)).astype(np.int8)
        for number, signs in fixed.items()
    }
    return BatchPart(low, high, asked, whole if parent.infeasible else parent)


def _conv_program() -> Program:
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 6, 6)), torch.nn.Conv2d(1, 3, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 5),
        torch.nn.ReLU(), torch.nn.Linear(5, 3),
    )  # fmt: skip
    return lower(unroll(from_torch(classifier, 36), logit_combination(3, 1)))


def _cases(folder: Path, seed: int) -> tuple[Program, list[BatchPart]]:
    """Random small queries, a deeper network and one with convolutions; parts of all sorts."""
    generator = np.random.default_rng(seed)
    if seed == 0:
        program, box = _conv_program(), (np.full(36, 0.2), np.full(36, 0.8))
    elif seed == 1:
        network = relu_network([5, 9, 8, 7, 3], generator)
        program, box = lower(unroll(network, logit_combination(3, 0))), (-np.ones(5), np.ones(5) / 2)
    else:
        query = random_query(folder, seed)
        program, box = query.program, (query.prop.input_lower, query.prop.input_upper)
    return program, [_random_part(program, box, generator) for _ in range(12)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(26))
def test_the_same_as_numpy_part_by_part(tmp_path: Path, seed: int) -> None:
    program, parts = _cases(tmp_path, seed)
    expected = [_alone(program, part) for part in parts]
    bounder = BatchBounder(program)
    _assert_same(bounder.propagate(parts), expected)
    _assert_same(bounder.propagate(parts[:1]), expected[:1])


@pytest.mark.slow
def test_the_random_parts_are_of_all_sorts(tmp_path: Path) -> None:
    """Guards the test above against parts that leave nothing to compare."""
    cases = [_cases(tmp_path, seed) for seed in range(26)]
    found = [(program, part, _alone(program, part)) for program, parts in cases for part in parts]
    open_ = sum(not bounds.infeasible and bounds.undecided > 0 for *_, bounds in found)
    infeasible = sum(bounds.infeasible for *_, bounds in found)
    without = sum(part.within is None for _, part, _ in found)
    absolute = sum(any(isinstance(block, AbsBlock) for block in program.blocks) for program, *_ in found)
    assert min(open_, infeasible, without, absolute) >= 24


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_samples_with_the_fixed_signs_stay_inside(tmp_path: Path, seed: int) -> None:
    program, parts = _cases(tmp_path, seed)
    for part, bounds in zip(parts, BatchBounder(program).propagate(parts), strict=True):
        x = np.random.default_rng(seed).uniform(part.lower, part.upper, (4000, len(part.lower)))
        _, zs, _ = program.evaluate(x)
        known = {} if part.within is None else dict(enumerate(part.within.signs))
        inside = np.ones(len(x), bool)
        for signs in (known, part.fixed):
            for number, side in signs.items():
                inside &= ((side <= 0) | (zs[number] > 0)).all(axis=1)
                inside &= ((side >= 0) | (zs[number] <= 0)).all(axis=1)
        if bounds.infeasible:
            assert not inside.any()
            continue
        _, zs, values = program.evaluate(x[inside])
        for z, low, high, signs in zip(zs, bounds.pre_lower, bounds.pre_upper, bounds.signs, strict=True):
            assert ((low <= z) & (z <= high)).all()
            assert (((z > 0) | (signs <= 0)) & ((z <= 0) | (signs >= 0))).all()
        for number, block in enumerate(program.blocks):
            value = values[number]
            assert ((bounds.block_lower[number] <= value) & (value <= bounds.block_upper[number])).all()
            if isinstance(block, GateBlock | AbsBlock):
                value = block.value.evaluate(values)
                assert ((bounds.value_lower[number] <= value) & (value <= bounds.value_upper[number])).all()


def test_infeasible_parts_leave_the_others_alone(tmp_path: Path) -> None:
    program, parts = _cases(tmp_path, 1)
    feasible = [part for part in parts if not _alone(program, part).infeasible]
    empty = BatchPart(np.ones(5), -np.ones(5))
    point = np.full(5, 0.25)
    signs = propagate(program, point, point).signs
    contradictions = [BatchPart(point, point, {number: -side}) for number, side in enumerate(signs)]
    batch = [empty, feasible[0], *contradictions, *feasible[1:], empty]
    found = BatchBounder(program).propagate(batch)
    _assert_same(found, [_alone(program, part) for part in batch])
    assert [bounds.infeasible for bounds in found].count(True) == 2 + len(contradictions)
    assert all(bounds.infeasible for bounds in BatchBounder(program).propagate([empty, *contradictions]))


def test_a_fixed_sign_is_closed_and_a_lower_bound_of_zero_decides_nothing() -> None:
    layer, head = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1)
    layer.weight.data.fill_(1.0)
    program = lower(unroll(from_torch(torch.nn.Sequential(layer, torch.nn.ReLU(), head), 1), np.ones(1)))
    zero, one, on, off = np.zeros(1), np.ones(1), np.ones(1, np.int8), -np.ones(1, np.int8)
    parts = [
        BatchPart(zero, one),
        BatchPart(zero, zero, {0: on}),
        BatchPart(zero, zero, {0: off}),
        BatchPart(-one, -one, {0: on}),
    ]
    free, at_zero_on, at_zero_off, negative = BatchBounder(program).propagate(parts)
    assert free.signs[0][0] == 0
    assert (at_zero_on.infeasible, at_zero_on.signs[0][0]) == (False, 1)
    assert (at_zero_off.infeasible, at_zero_off.signs[0][0]) == (False, -1)
    assert negative.infeasible


def test_a_neuron_that_reads_nothing_is_decided_exactly() -> None:
    layer, head = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    layer.bias.data.zero_()
    network = from_torch(torch.nn.Sequential(layer, torch.nn.ReLU(), head), 2)
    program = lower(unroll(network, np.ones(1)))
    (bounds,) = BatchBounder(program).propagate([BatchPart(-np.ones(2), np.ones(2))])
    assert bounds.signs[0].tolist() == [0, -1]


def test_a_program_without_relus() -> None:
    affine = Affine({-1: np.array([[1.0, -2.0]])}, np.array([0.5]))
    second = Affine({0: np.array([[1.0]]), -1: np.array([[-1.0, 0.0]])}, np.zeros(1))
    blocks = (AbsBlock(affine, 1), AbsBlock(second, 1))
    program = Program(2, (), blocks, Affine({1: np.ones((1, 1))}, np.zeros(1)))
    part = BatchPart(-np.ones(2), np.ones(2))
    assert np.allclose(
        _values(BatchBounder(program).propagate([part])[0]), _values(_alone(program, part)), atol=1e-11
    )


def test_overflow_refutes_nothing(tmp_path: Path) -> None:
    program, parts = _cases(tmp_path, 1)
    vast = [
        BatchPart(np.full(5, -np.inf), np.full(5, np.inf)),
        BatchPart(np.full(5, -1e308), np.full(5, 1e308)),
    ]
    with np.errstate(all="ignore"):
        found = BatchBounder(program).propagate([*vast, *parts])
    assert not found[0].infeasible
    assert not found[1].infeasible
    _assert_same(found[2:], [_alone(program, part) for part in parts])


def test_an_empty_batch_has_no_bounds(tmp_path: Path) -> None:
    assert BatchBounder(random_query(tmp_path, 0).program).propagate([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_passes_give_the_same(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parts = _cases(tmp_path, seed)
    monkeypatch.setitem(batched.CELLS, "cpu", 1)
    _assert_same(BatchBounder(program).propagate(parts), [_alone(program, part) for part in parts])


def test_convolutions_stay_sparse_on_the_cpu() -> None:
    bounder = BatchBounder(_conv_program())
    assert [matrix.dense is None for affine in bounder.pre for matrix in affine.terms.values()] == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.slow
def test_what_is_handed_in_and_out_is_never_shared(tmp_path: Path) -> None:
    program, parts = _cases(tmp_path, 1)
    bounder = BatchBounder(program)
    given = [_values(part.within).copy() for part in parts if part.within is not None]
    first = bounder.propagate(parts)
    kept = [_values(bounds) for bounds in first if not bounds.infeasible]
    for bounds in bounder.propagate(parts):
        for array in (*bounds.pre_lower, *bounds.pre_upper, *bounds.value_lower.values()):
            array[:] = np.nan
    again = [_values(bounds) for bounds in bounder.propagate(parts) if not bounds.infeasible]
    assert all(np.array_equal(a, b) for a, b in zip(kept, again, strict=True))
    after = [_values(part.within) for part in parts if part.within is not None]
    assert all(np.array_equal(a, b) for a, b in zip(given, after, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_every_tensor_is_made_on_the_device_asked_for(tmp_path: Path, seed: int) -> None:
    """A tensor that lands on torch's default device would only be noticed on a machine with CUDA."""
    program, parts = _cases(tmp_path, seed)
    with torch.device("meta"):
        found = BatchBounder(program, "cpu").propagate(parts)
    _assert_same(found, [_alone(program, part) for part in parts])


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = random_query(tmp_path, 0).program
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SalverError, match="--device cuda: torch finds no CUDA device; use --device cpu"):
        BatchBounder(program, "cuda")
    with pytest.raises(SalverError, match="choose cpu or cuda"):
        BatchBounder(program, "tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("seed", range(6))
def test_the_same_on_cuda(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parts = _cases(tmp_path, seed)
    expected = [_alone(program, part) for part in parts]
    _assert_same(BatchBounder(program, "cuda").propagate(parts), expected)
    monkeypatch.setattr("salver.solvers.bounding.batched_maps.DENSE_ON_CUDA", 0)
    _assert_same(BatchBounder(program, "cuda").propagate(parts), expected)
