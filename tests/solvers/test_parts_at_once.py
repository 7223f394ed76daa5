"""Bounds of many parts at once are those of each alone, with numpy and with torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from salver.core.errors import SalverError
from salver.explain.unroll import logit_combination, unroll
from salver.nets.affine import Affine
from salver.nets.network import lower
from salver.nets.program import AbsBlock, Program
from salver.nets.torch_bridge import from_torch
from salver.solvers.bounding import arrays
from salver.solvers.bounding.arrays import HOST, Arrays, Device, TransposedMatrix
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from tests.builders.parts import Part, at_once
from tests.builders.small_queries import random_query, relu_network

PLACES = pytest.mark.parametrize("place", [HOST, Device("cpu")], ids=["numpy", "torch"])


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


def _random_part(
    program: Program, box: tuple[np.ndarray, np.ndarray], generator: np.random.Generator
) -> Part:
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
        return Part(low, high, fixed)
    if generator.random() < 0.5:
        return Part(low, high, {number: signs for number, signs in fixed.items() if number}, whole)
    parent = propagate(program, *box, fixed={0: fixed[0]}, within=whole)
    # Signs that only the parent knows must be kept, asked for or not.
    asked = {
        number: (signs * (generator.random(len(signs)) < 0.5)).astype(np.int8)
        for number, signs in fixed.items()
    }
    return Part(low, high, asked, whole if parent.infeasible else parent)


def _conv_program() -> Program:
    torch.manual_seed(0)
    classifier = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 6, 6)), torch.nn.Conv2d(1, 3, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(36, 5),
        torch.nn.ReLU(), torch.nn.Linear(5, 3),
    )  # fmt: skip
    return lower(unroll(from_torch(classifier, 36), logit_combination(3, 1)))


def _cases(folder: Path, seed: int) -> tuple[Program, list[Part]]:
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
def test_the_same_as_part_by_part(tmp_path: Path, seed: int) -> None:
    program, parts = _cases(tmp_path, seed)
    expected = [part.alone(program) for part in parts]
    for place in (HOST, Device("cpu")):
        _assert_same(at_once(program, parts, place), expected)
        _assert_same(at_once(program, parts[:1], place), expected[:1])


@pytest.mark.slow
def test_the_random_parts_are_of_all_sorts(tmp_path: Path) -> None:
    """Guards the test above against parts that leave nothing to compare."""
    cases = [_cases(tmp_path, seed) for seed in range(26)]
    found = [(program, part, part.alone(program)) for program, parts in cases for part in parts]
    open_ = sum(not bounds.infeasible and bounds.undecided > 0 for *_, bounds in found)
    infeasible = sum(bounds.infeasible for *_, bounds in found)
    without = sum(part.within is None for _, part, _ in found)
    absolute = sum(any(isinstance(block, AbsBlock) for block in program.blocks) for program, *_ in found)
    assert min(open_, infeasible, without, absolute) >= 24


@pytest.mark.slow
@PLACES
def test_infeasible_parts_leave_the_others_alone(tmp_path: Path, place: Arrays) -> None:
    program, parts = _cases(tmp_path, 1)
    feasible = [part for part in parts if not part.alone(program).infeasible]
    empty = Part(np.ones(5), -np.ones(5))
    point = np.full(5, 0.25)
    signs = propagate(program, point, point).signs
    contradictions = [Part(point, point, {number: -side}) for number, side in enumerate(signs)]
    batch = [empty, feasible[0], *contradictions, *feasible[1:], empty]
    found = at_once(program, batch, place)
    _assert_same(found, [part.alone(program) for part in batch])
    assert [bounds.infeasible for bounds in found].count(True) == 2 + len(contradictions)
    assert all(bounds.infeasible for bounds in at_once(program, [empty, *contradictions], place))


@PLACES
def test_a_fixed_sign_is_closed_and_a_lower_bound_of_zero_decides_nothing(place: Arrays) -> None:
    layer, head = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1)
    layer.weight.data.fill_(1.0)
    program = lower(unroll(from_torch(torch.nn.Sequential(layer, torch.nn.ReLU(), head), 1), np.ones(1)))
    zero, one, on, off = np.zeros(1), np.ones(1), np.ones(1, np.int8), -np.ones(1, np.int8)
    parts = [
        Part(zero, one),
        Part(zero, zero, {0: on}),
        Part(zero, zero, {0: off}),
        Part(-one, -one, {0: on}),
    ]
    free, at_zero_on, at_zero_off, negative = at_once(program, parts, place)
    assert free.signs[0][0] == 0
    assert (at_zero_on.infeasible, at_zero_on.signs[0][0]) == (False, 1)
    assert (at_zero_off.infeasible, at_zero_off.signs[0][0]) == (False, -1)
    assert negative.infeasible


@PLACES
def test_a_program_without_relus(place: Arrays) -> None:
    affine = Affine({-1: np.array([[1.0, -2.0]])}, np.array([0.5]))
    second = Affine({0: np.array([[1.0]]), -1: np.array([[-1.0, 0.0]])}, np.zeros(1))
    blocks = (AbsBlock(affine, 1), AbsBlock(second, 1))
    program = Program(2, (), blocks, Affine({1: np.ones((1, 1))}, np.zeros(1)))
    part = Part(-np.ones(2), np.ones(2))
    assert np.allclose(_values(at_once(program, [part], place)[0]), _values(part.alone(program)), atol=1e-11)


@PLACES
def test_overflow_refutes_nothing(tmp_path: Path, place: Arrays) -> None:
    program, parts = _cases(tmp_path, 1)
    vast = [Part(np.full(5, -np.inf), np.full(5, np.inf)), Part(np.full(5, -1e308), np.full(5, 1e308))]
    with np.errstate(all="ignore"):
        found = at_once(program, [*vast, *parts], place)
    assert not found[0].infeasible
    assert not found[1].infeasible
    _assert_same(found[2:], [part.alone(program) for part in parts])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_passes_give_the_same(tmp_path: Path, seed: int) -> None:
    program, parts = _cases(tmp_path, seed)
    place = Device("cpu")
    place.cells = 1
    _assert_same(at_once(program, parts, place), [part.alone(program) for part in parts])


def test_convolutions_stay_sparse_on_the_cpu() -> None:
    place = Device("cpu")
    maps = [place.map(pre.affine) for pre in _conv_program().pre]
    assert [isinstance(matrix, TransposedMatrix) for affine in maps for matrix in affine.terms.values()] == [
        True, False, False,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_every_tensor_is_made_on_the_device_asked_for(tmp_path: Path, seed: int) -> None:
    """A tensor that lands on torch's default device would only be noticed on a machine with CUDA."""
    program, parts = _cases(tmp_path, seed)
    with torch.device("meta"):
        found = at_once(program, parts, Device("cpu"))
    _assert_same(found, [part.alone(program) for part in parts])


def test_a_device_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SalverError, match="--device cuda: torch finds no CUDA device; use --device cpu"):
        Device("cuda")
    with pytest.raises(SalverError, match="choose cpu or cuda"):
        Device("tpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
@pytest.mark.parametrize("seed", range(6))
def test_the_same_on_cuda(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    program, parts = _cases(tmp_path, seed)
    expected = [part.alone(program) for part in parts]
    _assert_same(at_once(program, parts, Device("cuda")), expected)
    monkeypatch.setattr(arrays, "DENSE_ON_CUDA", 0)
    _assert_same(at_once(program, parts, Device("cuda")), expected)
