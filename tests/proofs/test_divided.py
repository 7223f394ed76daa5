"""Proofs whose parts divide an input, as a cover of boxes does: nothing falls between the parts."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.soundness.naive_checker import naive_check
from experiments.soundness.proofs import accepted, corrupt_numbers, corrupt_structure, satisfiable_sibling
from experiments.soundness.queries import draw
from experiments.soundness.stated import graph_of, read_again
from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.solvers.hybrid.cover import Cover
from salver.solvers.hybrid.node import reduced_root
from salver.solvers.hybrid.solver import solve
from salver.solvers.journal import Journal
from salver.solvers.proving.search import prove
from salver.solvers.proving.statement import exact
from salver.solvers.query import Budget, Options, Query, Verdict


def covered(folder: Path, seed: int) -> tuple[Query, Journal]:
    """A query that a cover closes, and what it notes."""
    query = read_again(draw(folder, seed).query)
    small, root = reduced_root(query)
    journal = Journal(program=small.program)
    cover = Cover(small, root.within, journal, few=0)
    while not cover.ended:
        cover.step()
    assert not cover.handed_over()
    return query, journal


@pytest.mark.slow
@pytest.mark.parametrize("seed", [300, 317, 327])
def test_a_cover_that_closes_a_query_has_a_proof(tmp_path: Path, seed: int) -> None:
    query, journal = covered(tmp_path, seed)
    assert {decision.kind for decision, _ in journal.children} == {"input"}
    steps = prove(query, Budget(60.0), journal=journal)
    assert steps is not None
    assert sum(step["do"] == "divide" for step in steps) == 1
    assert accepted(query, query.prop, steps)
    naive_check(query.network, query.prop, steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [317, 324])
def test_a_damaged_division_is_no_proof_of_a_query_with_a_solution(tmp_path: Path, seed: int) -> None:
    query, journal = covered(tmp_path, seed)
    steps = prove(query, Budget(60.0), journal=journal)
    assert steps is not None
    rng = np.random.default_rng(seed)
    sibling = satisfiable_sibling(query, rng)
    for _ in range(20):
        assert not accepted(query, query.prop, corrupt_structure(steps, rng))
        if sibling is not None:
            assert not accepted(query, sibling, corrupt_numbers(steps, rng))
    for place, step in enumerate(steps):
        if step["do"] == "divide":  # only one side is left
            assert not accepted(query, query.prop, steps[:place] + steps[place + 1 :])


@pytest.mark.slow
@given(
    where=st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0.1, 1e-17, -0.0])),
    share=st.fractions(0, 1),
    entry=st.integers(0, 1),
)
def test_every_point_of_the_box_is_on_a_side_of_a_division(
    small: Query, where: float, share: Fraction, entry: int
) -> None:
    prop = exact(small.prop)
    graph = graph_of(small.network)
    whole = Context.start(graph, prop)
    sides = Checker(graph, prop).apply(whole.copy(), {"do": "divide", "at": entry, "where": where})
    low, high, name = prop.lower[entry], prop.upper[entry], graph.network.input
    one = whole.unit.one
    for x in (low + share * (high - low), min(max(Fraction(where), low), high)):
        ranges = [(side.low[name][entry], side.high[name][entry]) for side in sides if not side.closed]
        assert any(Fraction(int(a), one) <= x <= Fraction(int(b), one) for a, b in ranges)
    for side in sides:
        others = np.arange(len(prop.lower)) != entry
        assert (side.low[name][others] == whole.low[name][others]).all()
        assert (side.high[name][others] == whole.high[name][others]).all()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Query:
    return read_again(draw(tmp_path_factory.mktemp("query"), 317).query)


@pytest.mark.slow
def test_hybrid_keeps_what_its_cover_divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cover that always has its turn and may close little, the tree goes on below what it left."""
    monkeypatch.setattr("salver.solvers.hybrid.turns.COVER_SHARE", float("inf"))
    monkeypatch.setattr("salver.solvers.hybrid.turns.MOST", -1.0)
    monkeypatch.setattr("salver.solvers.hybrid.cover.Cover", partial(Cover, few=0))
    query = read_again(draw(tmp_path, 366).query)
    result = solve(query, Budget(60.0), Options(record=True, without=frozenset({"attack", "classes"})))
    assert result.verdict is Verdict.UNSAT
    assert result.journal is not None
    assert {decision.kind for decision, _ in result.journal.children} == {"input"}
    steps = prove(query, Budget(60.0), journal=result.journal)
    assert steps is not None
    assert accepted(query, query.prop, steps)
