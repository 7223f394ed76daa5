"""Proofs are found on drafts in floats, and what nothing rests on goes through no exact arithmetic."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from experiments.soundness.proofs import accepted
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.solvers.proving import search
from salver.solvers.proving.cuts import recorded_cuts
from salver.solvers.proving.draft import Draft, DraftChecker, count
from salver.solvers.proving.needed import Needed
from salver.solvers.proving.rows import places
from salver.solvers.proving.search import ProofSearch, prove
from salver.solvers.query import Budget, Query
from salver.spec import Atom
from tests.builders.small_queries import toy_gap

SEEDS = [300, 309, 317, 321, 324, 325, 327]
"""Of queries without a solution."""


def drawn(folder: Path, seed: int) -> Query:
    return read_again(draw(folder, seed).query)


def searched(query: Query) -> list[Any]:
    """The steps of the exact search, all of them."""
    steps = ProofSearch(query, budget=Budget(60.0)).run(None)
    assert steps is not None
    return steps


def deductions(steps: list[Any]) -> int:
    return sum(count(step) for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_draft_never_says_more_than_the_exact_checker_and_hardly_less(tmp_path: Path, seed: int) -> None:
    query = drawn(tmp_path, seed)
    steps = searched(query)
    own = ProofSearch(query, drafted=True, budget=Budget(60.0))
    rough, exact = own.checker, Checker(own.graph, own.exact)
    assert isinstance(rough, DraftChecker)
    walk: list[tuple[Context, Context]] = [(Context.start(own.graph, own.exact), rough.root.copy())]
    for step in steps:
        while walk[-1][0].closed:
            walk.pop()
        context, draft = walk.pop()
        walk += zip(exact.apply(context, step), rough.apply(draft, step), strict=True)
        context, draft = walk[-1]
        assert draft.alternatives == context.alternatives
        room = 1e-9 * max(float(np.abs(ends).max()) for ends in draft.high.values())
        for name in context.low:
            low, high = (context.unit.floats(side[name]) for side in (context.low, context.high))
            assert (draft.low[name] <= low + 1e-15 * np.abs(low)).all()
            assert (draft.high[name] >= high - 1e-15 * np.abs(high)).all()
            if not context.closed:
                assert (draft.low[name] >= low - room).all()
                assert (draft.high[name] <= high + room).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_proof_states_no_more_than_its_closings_rest_on(tmp_path: Path, seed: int) -> None:
    query = drawn(tmp_path, seed)
    steps = prove(query, Budget(60.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)
    assert deductions(steps) <= deductions(searched(query))
    again = ProofSearch(query, drafted=True, budget=Budget(60.0)).checker
    assert isinstance(again, DraftChecker)
    walk: list[Context] = [again.root.copy()]
    for step in steps:
        while walk[-1].closed:
            walk.pop()
        walk += again.apply(walk.pop(), step)
    needed = Needed(again)
    needed.tree()
    assert needed.flags.all()


@pytest.mark.slow
def test_most_of_what_a_search_states_is_left_out(tmp_path: Path) -> None:
    queries = [drawn(tmp_path, seed) for seed in SEEDS]
    proofs = [prove(query, Budget(60.0)) for query in queries]
    kept = sum(deductions(steps) for steps in proofs if steps is not None)
    assert kept < 0.7 * sum(deductions(searched(query)) for query in queries)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [309, 325])
def test_where_rounding_decides_the_exact_search_takes_over(tmp_path: Path, seed: int) -> None:
    query = drawn(tmp_path, seed)
    with mock.patch.object(search, "confirmed", return_value=None) as asked:
        steps = prove(query, Budget(60.0))
    assert asked.called
    assert steps == searched(query)
    assert accepted(query, query.prop, steps)


@pytest.mark.slow
def test_a_draft_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    query = drawn(tmp_path, 321)
    with mock.patch("salver.solvers.proving.rough_sum.ROUNDING", -0.3):
        steps = prove(query, Budget(60.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)


@pytest.mark.slow
def test_a_draft_that_keeps_too_much_makes_way_for_the_exact_search(tmp_path: Path) -> None:
    query = drawn(tmp_path, 321)
    with (
        mock.patch("salver.solvers.proving.draft.MOST_KEPT", 0),
        mock.patch.object(ProofSearch, "confirmed", side_effect=AssertionError("a draft was kept")),
    ):
        steps = prove(query, Budget(60.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)


def test_limits_of_one_output_that_exclude_each_other_are_proven(tmp_path: Path) -> None:
    """No sign decides them, and no row of a linear program."""
    query = toy_gap(tmp_path)
    clauses = (((Atom(0, ">=", constant=0.625),),), ((Atom(0, "<=", constant=0.375),),))
    query = read_again(query.asking(replace(query.prop, clauses=clauses)))
    steps = prove(query, Budget(20.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)


def test_a_copy_of_a_draft_stays_as_it_was(tmp_path: Path) -> None:
    own = ProofSearch(drawn(tmp_path, 306), drafted=True, budget=Budget(60.0))
    assert isinstance(own.checker, DraftChecker)
    draft = own.checker.root.copy()
    before = draft.copy()
    arrays = {name: (draft.low[name].copy(), draft.high[name].copy()) for name in draft.low}
    switch = own.graph.switches[0]
    (entry, *_) = np.flatnonzero((draft.low[switch] < 0) & (draft.high[switch] > 0)).tolist()
    draft.decide(switch, entry, 1)
    draft.refresh()
    assert draft.low[switch][entry] == 0.0
    assert isinstance(before, Draft)
    for name, (low, high) in arrays.items():
        assert (before.low[name] == low).all()
        assert (before.high[name] == high).all()


def test_an_atom_that_is_not_certain_cuts_nothing(tmp_path: Path) -> None:
    query = drawn(tmp_path, 306)
    own = ProofSearch(query, budget=Budget(60.0))
    where = places(query.prop, [set() for _ in query.prop.clauses])
    cuts = recorded_cuts(query.program, [Atom(0, ">=", 1)], where)
    rows = own.rows()
    cuts.add_rows(rows, np.zeros((2, 1)), where)
    assert rows.pick(np.ones(2, bool)) == []
