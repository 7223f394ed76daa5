"""The cover of a box by smaller ones: nothing falls between them, and no solution is ever closed."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from salver.nets.network import Network
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Abs, Linear, Node
from salver.oracle.enumerate import enumerate_query
from salver.solvers.hybrid import cover as covers
from salver.solvers.hybrid import turns
from salver.solvers.hybrid.cover import Cover, Parts
from salver.solvers.hybrid.node import root_node
from salver.solvers.hybrid.tree import TreeSearch, search
from salver.solvers.hybrid.turns import CoverTurns
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom, Property
from salver.spec.truth import Truth
from tests.builders.choices import choice
from tests.builders.small_queries import random_query


def parts_of(rng: np.random.Generator) -> Parts:
    """Boxes of all sizes: wide, points in some inputs, and ends that are neighbours in float64."""
    inputs, count = 3, 40
    low = rng.normal(size=(inputs, count)) * 10 ** rng.uniform(-6, 6, (inputs, count))
    width = rng.choice([0.0, 1.0, 1e-9], (inputs, count)) * rng.uniform(0, 2, (inputs, count))
    high = low + width * np.abs(low)
    high = np.where(rng.random(low.shape) < 0.2, np.nextafter(low, np.inf), high)
    signs = tuple(rng.integers(-1, 2, (size, count)).astype(np.int8) for size in (4, 5))
    signs[1][0] = 0
    return Parts(low, high, signs, np.full(count, np.inf), rng.uniform(size=count), np.full(count, None))


def test_halves_meet_in_the_middle_and_are_the_whole() -> None:
    rng = np.random.default_rng(0)
    parts = parts_of(rng)
    inputs = rng.integers(0, 3, parts.count)
    below, above = covers._cut(parts, inputs, np.arange(parts.count))
    for part, at in enumerate(inputs):
        assert below.high[at, part] == above.low[at, part]
        assert parts.low[at, part] <= below.high[at, part] <= parts.high[at, part]
        others = np.arange(3) != at
        for half in (below, above):
            assert np.array_equal(half.low[others, part], parts.low[others, part])
            assert np.array_equal(half.high[others, part], parts.high[others, part])
    assert np.array_equal(below.low, parts.low)
    assert np.array_equal(above.high, parts.high)
    assert np.array_equal(below.share + above.share, parts.share)
    assert all(
        np.array_equal(a, b) for half in (below, above) for a, b in zip(half.signs, parts.signs, strict=True)
    )


def is_in(query: Query, parts: Parts, x: np.ndarray) -> bool:
    """Whether some part has the point in its box, with the signs that it has there."""
    _, pre, _ = query.program.evaluate(x[None])
    inside = ((parts.low <= x[:, None]) & (x[:, None] <= parts.high)).all(axis=0)
    for z, sign in zip(pre, parts.signs, strict=True):
        inside &= ((sign == 0) | ((z[0][:, None] > 0) == (sign > 0))).all(axis=0)
    return bool(inside.any())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 64])
def test_a_solution_is_never_closed(tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covers, "BATCH", batch)
    followed = 0
    for seed in range(500, 530):
        query = random_query(tmp_path, seed)
        x = np.random.default_rng(seed).uniform(
            query.prop.input_lower, query.prop.input_upper, (400, query.program.input_size)
        )
        margins = query.prop.margin(query.program.evaluate(x)[0])
        if margins.max() <= 0:
            continue
        cover = Cover(query, root_node(query).within, few=0)
        for _ in range(12 if batch == 1 else 200):
            if cover.ended:
                break
            cover.step()
            nodes = [*cover.leaves, *(node for node, _ in cover.small)]
            known_parts = [cover.waiting, *(_part_of(node) for node in nodes)]
            assert is_in(query, Parts.joined(known_parts), x[int(margins.argmax())])
        followed += 1
    assert followed >= 5


@pytest.mark.slow
def test_what_is_left_is_bounded_once_while_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covers, "MOST_OPEN", -1)  # no box is searched by itself
    kept = 0
    for room in (0, covers.KEPT):
        monkeypatch.setattr(covers, "KEPT", room)
        for seed in range(500, 510):
            query = random_query(tmp_path, seed)
            cover = Cover(query, root_node(query).within, few=4)
            for _ in range(8):
                if cover.waiting.count:
                    cover.step()
            for leaf in cover.leaves:
                assert leaf.bounded == (room > 0)
                kept += leaf.bounded
                _holds_values(query, leaf, seed)
    assert kept >= 5


def _holds_values(query: Query, leaf: covers.SearchNode, seed: int) -> None:
    """Holds the bounds of a leaf against values at points of its box."""
    bounds = leaf.within
    x = np.random.default_rng(seed).uniform(
        bounds.input_lower, bounds.input_upper, (100, query.program.input_size)
    )
    outputs, pre, _ = query.program.evaluate(x)
    fits = np.ones(len(x), bool)
    for number, z in enumerate(pre):
        fits &= ((leaf.signs[number] == 0) | ((z > 0) == (leaf.signs[number] > 0))).all(axis=1)
    sides = [(bounds.output_lower, bounds.output_upper, outputs)]
    for low, high, values in [*sides, *zip(bounds.pre_lower, bounds.pre_upper, pre, strict=True)]:
        assert ((low <= values[fits]) & (values[fits] <= high)).all()


def _part_of(leaf: covers.SearchNode) -> Parts:
    signs = tuple(leaf.signs[number][:, None] for number in range(len(leaf.signs)))
    box = (leaf.within.input_lower[:, None], leaf.within.input_upper[:, None])
    return Parts(*box, signs, np.ones(1), np.ones(1), np.full(1, None))


@pytest.mark.slow
def test_a_search_whose_cover_always_has_its_turn_agrees_with_enumeration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "COVER_SHARE", float("inf"))
    monkeypatch.setattr(turns, "MOST", -1.0)
    verdicts = set()
    for seed in range(600, 612):
        query = random_query(tmp_path, seed)
        root = root_node(query)
        if root.within.infeasible:
            continue
        cover = CoverTurns(Cover(query, root.within, few=0), longest=0.0)
        result = search(query, Budget(20.0), Options(), [root], cover=cover)
        exact = enumerate_query(query.network, query.prop)
        verdicts.add(result.verdict)
        if exact.truth is Truth.UNSAT:
            assert result.verdict is not Verdict.SAT
        if exact.truth is Truth.SAT:
            assert result.verdict is not Verdict.UNSAT
        if exact.clear:
            assert result.verdict.value == exact.truth.value
        assert cover.cover.bounded > 0
        assert not cover.ended or cover.cover.done == pytest.approx(1.0)
    assert {Verdict.SAT, Verdict.UNSAT} <= verdicts


def test_the_cover_waits_for_its_share_unless_it_will_end_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = random_query(tmp_path, 3)
    clock = [0.0]
    monkeypatch.setattr("salver.solvers.hybrid.turns.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("salver.solvers.query.time.monotonic", lambda: clock[0])
    budget = Budget(100.0, started=0.0)
    cover = CoverTurns(Cover(query, root_node(query).within), longest=2.0, started=0.0)
    clock[0] = 3.0
    assert not cover._is_next(budget)  # half of 3 s, while little is measured
    clock[0] = 4.0
    assert cover._is_next(budget)
    cover.spent, cover.history = 8.0, [(2.0, 0.5), (4.0, 0.5), (8.0, 0.5)]
    clock[0] = 50.0
    assert not cover._is_next(budget)  # nothing gained in the last half of its time
    cover.history = [(4.0, 0.5), (8.0, 0.6)]
    assert cover._is_next(budget)  # 0.4 more at 0.1 in 4 s
    clock[0] = 90.0
    assert not cover._is_next(budget)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_network_without_neurons_leaves_its_box_to_the_search(tmp_path: Path, absolute: bool) -> None:
    linear = Linear(np.array([[1, 0], [0, 1], [1, 1]], np.float32), np.zeros(3, np.float32))
    nodes = [Node("z", linear, ("x",), (3,))] + [Node("y", Abs(), ("z",), (3,))] * absolute
    network = Network("x", 2, tuple(nodes), nodes[-1].name)
    path = tmp_path / "linear.onnx"
    path.write_bytes(to_bytes(to_model(network)))
    far = [((Atom(i, ">=", constant=0.5),), (Atom(i, "<=", constant=-0.5),)) for i in (0, 1)]
    near = [((Atom(2, ">=", constant=0.15),),), ((Atom(2, "<=", constant=0.4),),)]
    query = Query(path, network, Property(np.full(2, -0.55), np.full(2, 0.55), (*far, *near), 3))
    root = root_node(query)
    cover = CoverTurns(Cover(query, root.within), longest=0.0)
    assert search(query, Budget(20.0), Options(), [root], cover=cover).verdict is Verdict.UNSAT
    assert cover.ended
    assert len(cover.cover.leaves) == 1


@pytest.mark.parametrize("count", [2, 3])
def test_points_of_one_alternative_outlive_the_refutation_of_the_others(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds of the whole box refute all but one, wherever that stands."""
    monkeypatch.setattr(covers, "MOST_OPEN", -1)  # bounds alone close
    made = choice(0, count, far=100.0)
    [clause] = made.query.prop.clauses
    within = root_node(made.query).within
    refuted = Cover(made.query.asking(replace(made.query.prop, clauses=(clause[:-1],))), within)
    refuted.step()
    assert refuted.closed == 1.0
    for order in permutations(clause):
        query = made.query.asking(replace(made.query.prop, clauses=(order,)))
        cover = Cover(query, within, few=0)
        for _ in range(4):
            if not cover.ended:
                cover.step()
        left = Parts.joined([cover.waiting, *(_part_of(leaf) for leaf in cover.leaves)])
        assert all(is_in(query, left, x) for x in made.points[:40])


@pytest.mark.parametrize("most", [-1.0, 1.0])
def test_all_that_an_ended_cover_left_is_searched_in_place_of_the_whole_or_nothing_changes(
    most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MOST", most)
    monkeypatch.setattr(covers, "MOST_OPEN", -1)
    monkeypatch.setattr(covers, "BATCH", 1)
    query = choice(0).query
    root = root_node(query)
    cover = CoverTurns(Cover(query, root.within, few=0), longest=0.0)
    while cover.cover.waiting.count:
        assert not cover.ended
        cover.cover.step()
    leaves, pending = list(cover.cover.leaves), [root]
    assert len(leaves) > 1
    assert cover.ended
    found = TreeSearch(query, Budget(20.0), Options(), doubt="thin")
    found._adopt(cover, pending)
    assert pending == (leaves if most < 0 else [root])
    assert bool(found.doubt) == (most > 0)
