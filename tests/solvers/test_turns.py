"""The attack that goes on beside a search: it decides nothing else, keeps its share, and orders children."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from salver.oracle.enumerate import enumerate_query
from salver.solvers.attack.falsify import Descent
from salver.solvers.hybrid import turns
from salver.solvers.hybrid.node import SearchNode, root_node, tighten
from salver.solvers.hybrid.tree import TreeSearch, search
from salver.solvers.hybrid.turns import AttackTurns
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom
from salver.spec.truth import Truth
from tests.builders.small_queries import random_query


def open_root(folder: Path, first: int) -> tuple[Query, SearchNode]:
    """A small query whose root is not closed by bounds and has an open neuron."""
    for seed in range(first, first + 60):
        query = random_query(folder, seed)
        bounds = tighten(query, root_node(query))
        if bounds is not None and bounds.undecided:
            return query, SearchNode(dict(enumerate(bounds.signs)), bounds)
    raise AssertionError("no query with an open root")


@pytest.mark.slow
def test_a_search_whose_attack_always_has_its_turn_agrees_with_enumeration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SHARE", float("inf"))
    verdicts = set()
    for seed in range(300, 316):
        query = random_query(tmp_path, seed)
        attack = AttackTurns(Descent.start(query, seed))
        result = search(query, Budget(20.0), Options(), [root_node(query)], attack=attack)
        exact = enumerate_query(query.network, query.prop)
        verdicts.add(result.verdict)
        if exact.truth is Truth.UNSAT:
            assert result.verdict is not Verdict.SAT
        if exact.truth is Truth.SAT:
            assert result.verdict is not Verdict.UNSAT
        if exact.clear:
            assert result.verdict.value == exact.truth.value
        if result.witness is not None:
            assert query.confirm(result.witness) is not None
    assert {Verdict.SAT, Verdict.UNSAT} <= verdicts


@pytest.mark.parametrize(("missed", "share"), [(1.0, turns.SHARE), (0.5 * turns.NEAR, turns.NEAR_SHARE)])
def test_the_attack_waits_until_its_share_has_room_for_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missed: float, share: float
) -> None:
    query, _ = open_root(tmp_path, 0)
    clock = [0.0]
    monkeypatch.setattr("salver.solvers.hybrid.turns.time.monotonic", lambda: clock[0])
    rounds: list[int] = []

    class Recorded(Descent):
        def round_near(self, points: np.ndarray, budget: Budget) -> None:
            rounds.append(len(points))
            clock[0] += 1.0

    attack = AttackTurns(Recorded.start(query, 0), longest=1.0, started=0.0)
    attack.descent.first, attack.descent.best = -1.0, -missed
    attack.points = [np.zeros(query.program.input_size)] * 3
    budget = Budget(1e9)
    for _ in range(400):
        attack.turn(budget)
        clock[0] += 0.1
    assert rounds[0] == 3
    assert set(rounds[1:]) == {0}
    assert attack.spent == len(rounds)
    assert 0.5 * share * clock[0] < attack.spent <= share * clock[0]


def test_what_the_first_samples_missed_by_is_kept(tmp_path: Path) -> None:
    query, _ = open_root(tmp_path, 0)
    never = replace(query.prop, clauses=(((Atom(0, ">=", constant=1e3),),),))
    query = query.asking(never)
    descent = Descent.start(query, 0)
    assert descent.first == 0.0
    margins = query.prop.margin(query.program.evaluate(descent._samples())[0])
    descent = Descent.start(query, 0)
    assert descent.run(Budget(60.0), rounds=2) is None
    assert descent.first == margins.max() <= descent.best


@pytest.mark.parametrize("side", [-1, 1])
def test_the_child_with_the_closest_point_is_searched_first(tmp_path: Path, side: int) -> None:
    query, root = open_root(tmp_path, 40)
    attack = AttackTurns(Descent.start(query, 0))
    tree = TreeSearch(query, Budget(20.0), Options(without=frozenset({"relaxation", "backend"})), attack)
    rng = np.random.default_rng(0)
    low, high = query.prop.input_lower, query.prop.input_upper
    attack.descent.closest, attack.longest = None, np.inf
    nodes = tree._node(root)
    assert isinstance(nodes, list)
    assert nodes[0].decision is not None
    decision = nodes[0].decision
    points = rng.uniform(low, high, (500, len(low)))
    z = query.program.evaluate(points)[1][decision.number][:, decision.entry]
    attack.descent.closest = points[np.argmax(side * z)]
    nodes = tree._node(replace(root))
    assert isinstance(nodes, list)
    assert nodes[-1].decision is not None
    assert nodes[-1].decision.side == int(side > 0)
