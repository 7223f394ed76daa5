"""Programs over open neurons alone hold every point of their box; no search in one closes a solution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import highspy
import numpy as np
import pytest

from salver.nets.program import GateBlock, MaskBlock, ReluBlock
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.composed import Composed, can_be_composed
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid import small_boxes
from salver.solvers.hybrid.cover import Cover
from salver.solvers.hybrid.node import root_node
from salver.solvers.hybrid.small_boxes import SmallBoxes
from salver.solvers.query import Query
from salver.spec.property import Atom
from tests.builders.choices import choice
from tests.builders.small_queries import random_query

Array = np.ndarray


def boxes(folder: Path, seeds: range) -> Iterator[tuple[Query, Bounds, Array]]:
    """Queries, bounds of boxes in them with some signs fixed, and points [k, n] there with these signs."""
    for seed in seeds:
        query, rng = random_query(folder, seed), np.random.default_rng(seed)
        low, high = query.prop.input_lower, query.prop.input_upper
        if not (high > low).any() or not can_be_composed(query.program):
            continue
        middle, share = rng.uniform(low, high), rng.choice([0.02, 0.2, 1.0])
        low, high = middle - share * (middle - low), middle + share * (high - middle)
        x = rng.uniform(low, high, (300, len(low)))
        _, pre, _ = query.program.evaluate(x)
        fixed = {
            n: np.where(rng.random(z.shape[1]) < 0.3, np.sign(z[0]), 0).astype(int) for n, z in enumerate(pre)
        }
        bounds = propagate(query.program, low, high, fixed=fixed)
        if bounds.infeasible:
            continue
        fits = [
            ((sign == 0) | (np.sign(z) == sign)).all(axis=1)
            for sign, z in zip(bounds.signs, pre, strict=True)
        ]
        yield query, bounds, x[np.logical_and.reduce([np.ones(len(x), bool), *fits])]


def columns_at(query: Query, composed: Composed, x: Array) -> Array:
    """Values [k, columns] of the columns at points."""
    _, pre, values = query.program.evaluate(x)
    signs, found = composed.bounds.signs, np.zeros((len(x), len(composed.low)))
    found[:, : query.program.input_size] = x
    for number, columns in composed.signs.items():
        found[:, columns] = pre[number][:, signs[number] == 0] > 0
    for number, block in enumerate(query.program.blocks):
        mask = query.program.blocks[block.mask] if isinstance(block, GateBlock) else block
        assert isinstance(mask, ReluBlock | MaskBlock)
        if number in composed.columns:
            found[:, composed.columns[number]] = values[number][:, signs[mask.pre] == 0]
    return found


@pytest.mark.slow
def test_rows_and_ranges_hold_at_every_point_of_the_box(tmp_path: Path) -> None:
    rows = points = 0
    for query, bounds, x in boxes(tmp_path, range(700, 740)):
        composed = Composed(query.program, bounds)
        values = columns_at(query, composed, x)
        assert (values >= composed.low - 1e-12 * np.abs(composed.low)).all()
        assert (values <= composed.high + 1e-12 * np.abs(composed.high)).all()
        ones = np.concatenate([values, np.ones((len(x), 1))], axis=1)
        for weights in composed.rows:
            assert (ones @ weights.T >= 0.0).all()
            rows += len(weights)
        output = composed.of(query.program.output)
        error = np.abs(ones @ output.weights.T - query.program.evaluate(x)[0])
        assert (error <= 1e-10 * output.size).all()
        points += len(x)
    assert rows > 80
    assert points > 1000


@pytest.mark.slow
def test_a_box_with_a_solution_stays_open_and_others_are_closed(tmp_path: Path) -> None:
    open_ = closed = 0
    for query, bounds, x in boxes(tmp_path, range(800, 860)):
        if not len(x):
            continue
        margins = query.prop.margin(query.program.evaluate(x)[0])
        found = SmallBoxes(query).decide(bounds)
        if margins.max() > 0:
            assert not found.closed
            open_ += 1
        closed += found.closed
    assert open_ >= 5
    assert closed >= 20


@pytest.mark.slow
def test_what_a_back_end_calls_infeasible_closes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_boxes._Search, "_contradiction", lambda *_: False)
    for query, bounds, _ in boxes(tmp_path, range(800, 820)):
        search = SmallBoxes(query)
        monkeypatch.setattr(search, "_alternatives", lambda _: [])
        assert not search.decide(bounds).closed


class AlwaysInfeasible:
    """A back end that calls everything infeasible and gives every row the same multiplier."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None

    def passModel(self, program: highspy.HighsLp) -> None:
        self.rows = program.num_row_

    def getModelStatus(self) -> highspy.HighsModelStatus:
        return highspy.HighsModelStatus.kInfeasible

    def getDualRay(self) -> tuple[None, bool, Array]:
        return None, True, np.ones(self.rows)


@pytest.mark.slow
def test_rows_of_another_alternative_refute_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_boxes, "simplex", AlwaysInfeasible)
    asked = 0
    for query, bounds, x in boxes(tmp_path, range(800, 840)):
        outputs = query.program.evaluate(x)[0][:, 0] if len(x) else np.zeros(1)
        span = float(np.ptp(outputs))
        if span < 1e-3:
            continue
        greater = Atom(0, ">=", constant=float(outputs.min() + 0.6 * span))
        less = Atom(0, "<=", constant=float(outputs.min() + 0.4 * span))
        either = query.asking(replace(query.prop, clauses=(((greater,), (less,)),)))
        assert not SmallBoxes(either).decide(bounds).closed
        asked += 1
    assert asked >= 5


@pytest.mark.slow
def test_a_cover_whose_back_end_fails_leaves_its_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no back end")

    monkeypatch.setattr(small_boxes, "simplex", failing)
    left = 0
    for seed in range(500, 510):
        query = random_query(tmp_path, seed)
        cover = Cover(query, root_node(query).within)
        for _ in range(200):
            if cover.ended:
                break
            cover.step()
        left += len(cover.leaves)
    assert left >= 3


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_one_refuted_alternative_of_several_that_are_left_closes_no_box(count: int) -> None:
    """Ranges leave all of them; programs refute all but the last, which has points."""
    refuted = 0
    for seed in range(5):
        made = choice(seed, count)
        [clause] = made.query.prop.clauses
        bounds = root_node(made.query).within
        alone = made.query.asking(replace(made.query.prop, clauses=(clause[:-1],)))
        refuted += SmallBoxes(alone).decide(bounds).closed
        for order in (clause, clause[::-1]):
            asked = made.query.asking(replace(made.query.prop, clauses=(order,)))
            assert not SmallBoxes(asked).decide(bounds).closed
    assert refuted >= 3


@pytest.mark.parametrize("most", [1, 3])
def test_a_search_that_its_limit_ends_closes_no_box_with_a_point(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_boxes, "SOLVES", most)
    ended = 0
    for seed in range(3):
        query = choice(seed).query
        found = SmallBoxes(query).decide(root_node(query).within)
        assert not found.closed
        ended += not found.whole
    assert ended > 0
