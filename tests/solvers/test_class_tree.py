"""The tree that asks about the class alone, and the bounds that close its parts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.soundness.planted import draw_planted
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.operators import Linear, Node, Relu, Scale
from salver.solvers.bounding.class_dual import ClassDual, Parts
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.range_ascent import with_narrower_ranges
from salver.solvers.hybrid import class_tree
from salver.solvers.hybrid.class_tree import ClassTree
from salver.solvers.hybrid.node import begun_reduction, class_alone, reduced_root, root_node
from salver.solvers.journal import Journal
from salver.solvers.proving.search import prove
from salver.solvers.query import Budget, Query, query_over
from salver.solvers.slack import slack_rows
from salver.spec import Atom, Property

LONG_AGO = -1e6
SPLIT = 4
"""Seed of a network that the tree has to split."""


def _classifier(seed: int, scale: float = 1.0) -> Network:
    random, nodes, last = np.random.default_rng(seed), list[Node](), "x"
    for number, (wide, narrow) in enumerate([(6, 12), (12, 12), (12, 3)]):
        weight = (random.normal(size=(narrow, wide)) * scale / np.sqrt(wide)).astype(np.float32)
        bias = (0.1 * random.normal(size=narrow) * scale ** (number + 1)).astype(np.float32)
        nodes.append(Node(last_z := f"z{number}", Linear(weight, bias), (last,), (narrow,)))
        if number < 2:
            nodes.append(Node(last := f"h{number}", Relu(), (last_z,), (narrow,)))
    return Network("x", 6, tuple(nodes), "z2")


def _dual(network: Network, reach: float) -> ClassDual:
    program = lower(network)
    bounds = propagate(program, np.full(6, -reach), np.full(6, reach))
    made = ClassDual.over(program, bounds, program.output)
    assert made is not None
    return made


def _random_part(dual: ClassDual, random: np.random.Generator, fixed: float) -> tuple[Parts, np.ndarray]:
    """A part that holds a random point, with random slopes and multipliers, and the point."""
    low, high = dual.bounds.input_lower, dual.bounds.input_upper
    x = random.uniform(low, high)
    pre = dual.program.evaluate(x[None])[1]
    parts = dual.start(np.arange(3))
    signs = tuple(
        np.where((s == 0) & (random.random((len(s), 1)) < fixed), np.where(z.T > 0, 1, -1), s).astype(np.int8)
        for s, z in zip(parts.signs, pre, strict=True)
    )
    slopes = tuple(random.random(part.shape).astype(np.float32) for part in parts.slopes)
    multipliers = tuple(random.exponential(0.1, part.shape).astype(np.float32) for part in parts.slopes)
    return replace(parts, signs=signs, slopes=slopes, multipliers=multipliers), x


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
def test_any_slopes_and_multipliers_bound_the_rows(scale: float) -> None:
    for seed in range(3):
        dual, random = _dual(_classifier(seed, scale), 1.0), np.random.default_rng(seed)
        unit = np.full(3, scale**3, np.float32)
        for _ in range(10):
            parts, x = _random_part(dual, random, 0.5)
            value = dual.program.evaluate(x[None])[0][0]
            assert (dual.certified(parts, unit).bounds <= value).all()
            assert (dual.certified(dual.ascended(parts, unit, 5)[0], unit).bounds <= value).all()


@pytest.mark.parametrize("scale", [2.0**-30, 1.0, 2.0**30])
def test_steps_only_improve_and_mean_what_is_certified(scale: float) -> None:
    dual = _dual(_classifier(0, scale), 1.0)
    parts, unit = dual.start(np.arange(3)), np.full(3, scale**3, np.float32)
    before = dual.certified(parts, unit).bounds
    better, bounds, scores, _ = dual.ascended(parts, unit, 30)
    after = dual.certified(better, unit).bounds
    assert (after > before).all()
    assert np.allclose(after, bounds, rtol=1e-3, atol=1e-3 * scale**3)
    assert (scores.max(axis=0) >= 0).all()


def _query(network: Network, reach: float, room: float) -> Query:
    """Whether another class comes within `room` of the first one in a box."""
    whole = unroll(network, logit_combination(3, 0), "raw")
    classes = [0, 1, 2]
    label = int(lower(network).evaluate(np.zeros((1, 6)))[0][0].argmax())
    shift = np.zeros(3, np.float32)
    shift[[k for k in classes if k != label]] = room
    moved = Network(
        "x", 6, (*network.nodes, Node("y", Scale(np.ones(3, np.float32), shift), ("z2",), (3,))), "y"
    )
    whole = unroll(moved, logit_combination(3, label), "raw")
    clause = tuple((Atom(k, ">=", label),) for k in classes if k != label)
    prop = Property(np.full(6, -reach), np.full(6, reach), (clause,), whole.output_size)
    return Query(Path("none.onnx"), whole, prop)


def _largest_slack(query: Query) -> float:
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (2_000, 6)) * query.prop.input_upper
    outputs = query.program.evaluate(x)[0]
    return float(query.prop.margin(outputs).max())


@pytest.mark.parametrize("cells", [pytest.param(1, marks=pytest.mark.slow), class_tree.CELLS])
def test_the_tree_closes_what_the_root_leaves_and_nothing_that_has_a_point(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tree, "CELLS", cells)
    split = 0
    for seed in range(6):
        for room in (-0.6, 0.2):
            query = _query(_classifier(seed), 0.4, room)
            tree = ClassTree(query, root_node(query).within, started=LONG_AGO)
            if tree.turn(Budget(20.0)):
                assert _largest_slack(query) < 0.0
                split += tree.nodes > 2
    assert split >= 2


def test_what_the_tree_closes_is_proved_by_its_own_multipliers(tmp_path: Path) -> None:
    query = _query(_classifier(SPLIT), 0.4, -0.2)
    path = tmp_path / "network.onnx"
    path.write_bytes(to_bytes(to_model(query.network)))
    query = query_over(path, query.prop, (), path)
    tree = ClassTree(query, root_node(query).within, record=True, started=LONG_AGO)
    assert tree.turn(Budget(20.0))
    assert tree.nodes > 2
    tree.journal.program = query.program
    steps = prove(query, Budget(60.0), journal=tree.journal)
    assert steps is not None
    kinds = [step["do"] for step in steps]
    assert set(kinds) == {"bound", "case", "split", "close"}
    assert kinds.count("close") == _leaves(tree.journal)


def _leaves(journal: Journal) -> int:
    return sum(_leaves(child) for _, child in journal.children) if journal.children else 1


def test_what_reads_masks_is_left_to_the_search(tmp_path: Path) -> None:
    query = _query(_classifier(0), 0.5, 0.0)
    rows = slack_rows(query.program.output, [Atom(3, ">=", 4)])
    assert ClassDual.over(query.program, root_node(query).within, rows) is None


def test_no_tree_closes_a_query_with_a_planted_point(tmp_path: Path) -> None:
    for seed in range(3):
        query = draw_planted(tmp_path, seed)
        root = root_node(query)
        assert not root.within.infeasible
        assert not ClassTree(query, root.within, started=LONG_AGO).turn(Budget(0.3))


def test_alternatives_that_are_bounded_one_by_one_are_all_closed_or_none_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(class_tree, "CELLS", 1)
    query = _query(_classifier(SPLIT), 0.4, -0.2)
    far, label = query.prop.clauses[0][0], int(query.prop.clauses[0][0][0].other or 0)
    reached = (
        Atom(label, ">=", constant=-1e-3 + float(query.program.evaluate(np.zeros((1, 6)))[0][0, label])),
    )
    for clause, closed in (((far, far), True), ((far, reached), False), ((reached, far), False)):
        asked = query.asking(replace(query.prop, clauses=(clause,)))
        tree = ClassTree(asked, root_node(query).within, started=LONG_AGO)
        assert tree.turn(Budget(20.0)) is closed
        assert len(tree.journal.children) == 2
        assert tree.over


@pytest.mark.slow
def test_an_alternative_with_a_point_stays_where_no_point_that_was_looked_at_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(class_tree, "CELLS", 1)
    monkeypatch.setattr(class_tree, "FIRST_STEPS", 0)
    monkeypatch.setattr(ClassDual, "values", lambda dual, x: np.zeros((dual.rows.size, x.shape[1])))
    query = _query(_classifier(SPLIT), 0.4, -0.2)
    far, label = query.prop.clauses[0][0], int(query.prop.clauses[0][0][0].other or 0)
    reached = (Atom(label, ">=", constant=float(query.program.evaluate(np.zeros((1, 6)))[0][0, label])),)
    for clause, closed in (((far,), True), ((far, reached), False), ((reached, far), False)):
        asked = query.asking(replace(query.prop, clauses=(clause,)))
        tree = ClassTree(asked, root_node(query).within, started=LONG_AGO)
        assert tree.turn(Budget(20.0 if closed else 0.5)) is closed
        assert tree.narrowed


def test_an_alternative_that_always_holds_is_no_clause_for_the_tree() -> None:
    query = _query(_classifier(SPLIT), 0.4, -0.2)
    always = replace(query.prop, clauses=(((), *query.prop.clauses[0]),))
    tree = ClassTree(query.asking(always), root_node(query).within, started=LONG_AGO)
    assert not tree.turn(Budget(5.0))
    assert tree.over


def test_numbers_beyond_single_precision_only_leave_the_tree_without_bounds() -> None:
    query = _query(_classifier(0, 2.0**40), 1e80, 0.0)
    tree = ClassTree(query, root_node(query).within, started=LONG_AGO)
    assert not tree.turn(Budget(1.0))


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
def test_narrower_ranges_hold_at_every_point_that_has_the_known_signs(scale: float) -> None:
    narrower = 0
    for seed in range(4):
        random, dual = np.random.default_rng(seed), _dual(_classifier(seed, scale), 1.0)
        # Some signs that the box leaves open are those of a point, as the map may say.
        x = random.uniform(-1.0, 1.0, (20_000, 6))
        pre = dual.program.evaluate(x)[1]
        signs = [
            np.where((known == 0) & (random.random(known.shape) < 0.05), np.where(z[0] > 0, 1, -1), known)
            for known, z in zip(dual.bounds.signs, pre, strict=True)
        ]
        bounds = replace(dual.bounds, signs=[sign.astype(np.int8) for sign in signs])
        made = ClassDual.over(dual.program, bounds, dual.rows)
        assert made is not None
        found = with_narrower_ranges(made, Budget(20.0)).bounds
        pairs = zip(signs, pre, strict=True)
        holds = np.all([((z > 0) == (sign > 0))[:, sign != 0].all(axis=1) for sign, z in pairs], axis=0)
        assert holds.any()
        for z, low, high, old_low, old_high, sign in zip(
            pre,
            found.pre_lower,
            found.pre_upper,
            bounds.pre_lower,
            bounds.pre_upper,
            found.signs,
            strict=True,
        ):
            assert ((z[holds] >= low) & (z[holds] <= high)).all()
            assert ((z[holds] > 0)[:, sign > 0]).all()
            assert not (z[holds] > 0)[:, sign < 0].any()
            assert (low >= old_low).all()
            assert (high <= old_high).all()
            narrower += int((high - low < 0.99 * (old_high - old_low)).sum())
        for number, value in dual.program.evaluate(x[holds])[2].items():
            assert (value >= found.block_lower[number]).all()
            assert (value <= found.block_upper[number]).all()
    assert narrower > 4


@pytest.mark.parametrize("scale", [2.0**-40, 1.0, 2.0**40])
def test_no_range_ends_before_the_exact_value_at_a_corner_of_the_box(scale: float) -> None:
    """The box decides the first layer, so the second is affine: bounds are exact but for what rounds."""
    random = np.random.default_rng(0)
    weights = [scale * random.normal(size=shape).astype(np.float32) for shape in ((6, 3), (8, 6), (2, 8))]
    sides = np.abs(weights[0]).sum(axis=1) * np.where(np.arange(6) < 4, 1.5, -1.5).astype(np.float32)
    biases = [sides, -weights[1] @ np.maximum(sides, 0), np.zeros(2, np.float32)]
    nodes, last = list[Node](), "x"
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        size = (len(bias),)
        nodes.append(Node(f"z{number}", Linear(weight, bias), (last,), size))
        nodes.append(Node(last := f"h{number}", Relu(), (f"z{number}",), size))
    program = lower(Network("x", 3, tuple(nodes[:-1]), "z2"))
    dual = ClassDual.over(program, propagate(program, -np.ones(3), np.ones(3)), program.output)
    assert dual is not None
    found = with_narrower_ranges(dual, Budget(20.0)).bounds
    exact, corners = np.vectorize(Fraction, otypes=[object]), np.array([*product((-1, 1), repeat=3)]).T
    hidden = exact(weights[0][:4].astype(float)) @ corners + exact(biases[0][:4, None].astype(float))
    values = exact(weights[1][:, :4].astype(float)) @ hidden + exact(biases[1][:, None].astype(float))
    for number in np.flatnonzero(found.signs[1] == 0):
        least, most = min(values[number]), max(values[number])
        low, high = Fraction(found.pre_lower[1][number]), Fraction(found.pre_upper[1][number])
        assert low <= least
        assert most <= high
        assert high - low <= (most - least) * Fraction(1001, 1000)
    assert (found.signs[1] == 0).sum() > 4


def test_without_time_all_ranges_stay_as_they_are() -> None:
    dual = _dual(_classifier(0), 1.0)
    found = with_narrower_ranges(dual, Budget(0.0)).bounds
    for old, new in zip(dual.bounds.pre_lower, found.pre_lower, strict=True):
        assert (old == new).all()


def test_the_network_alone_has_its_own_values_and_the_reduction_goes_on() -> None:
    query = _query(_classifier(SPLIT), 0.4, 0.0)
    reduction = begun_reduction(query)
    assert reduction is not None
    alone = class_alone(query, reduction, at_least=0.0)
    assert alone is not None
    x = np.random.default_rng(0).uniform(-0.4, 0.4, (100, 6))
    outputs = alone[0].program.evaluate(x)[0]
    assert np.allclose(outputs[:, :3], query.program.evaluate(x)[0][:, :3])
    assert (outputs[:, 3:] == 0.0).all()
    open_ = alone[1].undecided
    again, straight = reduced_root(query, reduction), reduced_root(query)
    assert alone[1].undecided == open_ > 0
    for one, other in zip(again[1].within.pre_lower, straight[1].within.pre_lower, strict=True):
        assert (one == other).all()
    assert np.allclose(again[0].program.evaluate(x)[0], query.program.evaluate(x)[0])
    assert set(alone[1].block_lower) == {-1, *range(len(alone[0].program.blocks))}


def test_only_a_slow_network_whose_outputs_alone_are_compared_is_asked_alone() -> None:
    query = _query(_classifier(SPLIT), 0.4, 0.0)
    ranking = query.asking(replace(query.prop, clauses=(((Atom(3, ">=", 4),), (Atom(4, ">=", 5),)),)))
    nothing = query.asking(replace(query.prop, clauses=()))
    for asked, at_least in ((query, 60.0), (ranking, 0.0), (nothing, 0.0)):
        reduction = begun_reduction(asked)
        assert reduction is not None
        assert class_alone(asked, reduction, at_least=at_least) is None


@pytest.mark.parametrize("record", [False, True])
def test_what_single_precision_calls_closed_is_not(record: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every point has another class, and a pass that is not certified calls all parts closed.

    What is certified are a few parts without any point, below twenty splits.
    """
    ascended = ClassDual.ascended

    def closed(dual: ClassDual, *given: Any, **named: Any) -> Any:
        parts, bounds, scores, points = ascended(dual, *given, **named)
        return parts, np.ones_like(bounds), scores, points

    monkeypatch.setattr(ClassDual, "ascended", closed)
    monkeypatch.setattr(ClassDual, "values", lambda dual, x: np.zeros((dual.rows.size, x.shape[1])))
    query = _query(_classifier(SPLIT), 0.4, 10.0)
    tree = ClassTree(query, root_node(query).within, record=record, started=LONG_AGO)
    assert not tree.turn(Budget(0.2))
    assert tree.covered < 1e-4


@pytest.mark.slow
def test_parts_that_are_closed_and_that_wait_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClassDual, "values", lambda dual, x: np.zeros((dual.rows.size, x.shape[1])))
    query = _query(_classifier(SPLIT), 1.0, 0.0)
    tree = ClassTree(query, root_node(query).within, record=True)
    tree._start()
    for _ in range(8):
        tree._round()
        waiting = sum(2.0**-part.depth for part in tree.pending)
        assert tree.covered + waiting == pytest.approx(1.0)
    assert len(tree.pending) > class_tree.BATCH
