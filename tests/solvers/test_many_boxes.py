"""Bounds of many boxes at once contain what the network computes, and are those of each box alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salver.explain.explanation import Explanation
from salver.nets.affine import Affine
from salver.nets.program import Program
from salver.solvers.bounding.bounds import Bounds, interval
from salver.solvers.bounding.forward import Form, ForwardForms
from salver.solvers.bounding.many_boxes import BoundedBoxes, bound_boxes
from salver.solvers.bounding.propagation import propagate
from tests.builders.explained_networks import program_of
from tests.builders.questions import KINDS_OF_BLOCKS
from tests.builders.small_queries import boxes_of, random_query

BOXES = 9


def boxes_in(low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, BOXES] of all widths in one; the first is the whole, the second a point."""
    width = (high - low)[:, None] * 10 ** rng.uniform(-3, 0, (len(low), BOXES))
    lows = low[:, None] + rng.uniform(size=width.shape) * ((high - low)[:, None] - width)
    highs = np.minimum(lows + width, high[:, None])
    lows[:, 0], highs[:, 0], highs[:, 1] = low, high, lows[:, 1]
    return lows, highs


def signs_of(within: Bounds, rng: np.random.Generator) -> list[np.ndarray]:
    """What is known, and signs of some open neurons as if they had been split on."""
    signs = [np.repeat(known[:, None], BOXES, axis=1) for known in within.signs]
    for sign in signs:
        split = (sign == 0) & (rng.random(sign.shape) < 0.1)
        sign[split] = rng.choice([-1, 1], int(split.sum()))
    return signs


def contains_values(program: Program, found: BoundedBoxes, signs: list[np.ndarray], seed: int) -> int:
    """Holds bounds against values at points of every box that have its signs; how many points had."""
    bounds, checked = found.bounds, 0
    for box in range(BOXES):
        low, high = bounds.input_lower[:, box], bounds.input_upper[:, box]
        x = np.random.default_rng(seed).uniform(low, high, (100, len(low)))
        outputs, pre, blocks = program.evaluate(x)
        pairs = zip(pre, signs, strict=True)
        met = [((z > 0) == (s[:, box] > 0)) | (s[:, box] == 0) for z, s in pairs]
        fits = np.all([part.all(axis=1) for part in met], axis=0) if met else np.ones(len(x), bool)
        checked += int(fits.sum())
        assert not (found.empty[box] and fits.any())
        sides = [(bounds.output_lower, bounds.output_upper, outputs)]
        sides += list(zip(bounds.pre_lower, bounds.pre_upper, pre, strict=True))
        sides += [(bounds.block_lower[b], bounds.block_upper[b], v) for b, v in blocks.items() if b >= 0]
        for least, most, values in sides:
            assert (least[:, box] <= values[fits]).all()
            assert (values[fits] <= most[:, box]).all()
        for z, decided in zip(pre, bounds.signs, strict=True):
            assert ((z[fits] > 0) == (decided[:, box] > 0))[:, decided[:, box] != 0].all()
    return checked


@pytest.mark.parametrize("seed", range(12))
def test_random_queries(tmp_path: Path, seed: int) -> None:
    query, rng = random_query(tmp_path, seed), np.random.default_rng(seed)
    low, high = query.prop.input_lower, query.prop.input_upper
    within = propagate(query.program, low, high)
    signs = signs_of(within, rng)
    found = bound_boxes(query.program, *boxes_in(low, high, rng), within, signs)
    assert contains_values(query.program, found, signs, seed) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "explanation", KINDS_OF_BLOCKS, ids=lambda e: f"{e.short}{'-abs' if e.absolute else ''}"
)
def test_every_kind_of_block(explanation: Explanation) -> None:
    """Gates, factors, products, squares and absolute values."""
    program, rng = program_of(explanation, "pooled"), np.random.default_rng(5)
    middle = rng.uniform(0.2, 0.8, program.input_size)
    low, high = middle - 0.2, middle + 0.2
    within = propagate(program, low, high)
    signs = [np.repeat(known[:, None], BOXES, axis=1) for known in within.signs]
    found = bound_boxes(program, *boxes_in(low, high, rng), within, signs)
    assert contains_values(program, found, signs, 5) == 100 * BOXES


@pytest.mark.parametrize("seed", range(8))
def test_without_forward_bounds_they_are_those_of_each_box(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: ForwardForms, form: Form) -> tuple[np.ndarray, np.ndarray]:
        return np.full_like(form.size, -np.inf), np.full_like(form.size, np.inf)

    monkeypatch.setattr(ForwardForms, "range", nothing)
    query, rng = random_query(tmp_path, 40 + seed), np.random.default_rng(seed)
    program, (low, high) = query.program, next(iter(boxes_of(query)))
    within = propagate(program, low, high, outputs=False)
    signs = signs_of(within, rng)
    lows, highs = boxes_in(low, high, rng)
    found = bound_boxes(program, lows, highs, within, signs)
    for box in range(BOXES):
        fixed = {number: sign[:, box] for number, sign in enumerate(signs)}
        alone = propagate(program, lows[:, box], highs[:, box], fixed, within=within)
        assert alone.infeasible == found.empty[box]
        if alone.infeasible:
            continue
        for number, sign in enumerate(alone.signs):
            assert np.array_equal(sign, found.bounds.signs[number][:, box])
        for one, many in zip(alone.pre_lower, found.bounds.pre_lower, strict=True):
            assert np.allclose(one, many[:, box], rtol=1e-9, atol=1e-11)
        # Outputs get their own interval here, and in `propagate` no better one.
        assert np.allclose(alone.output_lower, found.bounds.output_lower[:, box], rtol=1e-9, atol=1e-11)
        assert np.allclose(alone.output_upper, found.bounds.output_upper[:, box], rtol=1e-9, atol=1e-11)


def test_a_map_that_reads_nothing_is_its_constant_in_every_box() -> None:
    low, high, size = interval(Affine({}, np.array([3.0, 0.0])), Bounds(np.zeros((2, 5)), np.ones((2, 5))))
    assert low.shape == high.shape == size.shape == (2, 5)
    assert (size == [[3.0], [0.0]]).all()
    assert (low <= [[3.0], [0.0]]).all()
    assert (high >= [[3.0], [0.0]]).all()
