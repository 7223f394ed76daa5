"""Proofs from what `hybrid` recorded while solving: they go its way, and a forged record proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from experiments.soundness.proofs import accepted, satisfiable_sibling
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.proofs.context import Context
from salver.solvers.bounding.reduced import reduce_to_open
from salver.solvers.hybrid.solver import solve
from salver.solvers.journal import Ends, Journal, Pass, Refutation
from salver.solvers.proving.conjunctions import bound_and_drop
from salver.solvers.proving.deductions import Deductions
from salver.solvers.proving.recorded_bounds import follow
from salver.solvers.proving.reduction import take_reduced
from salver.solvers.proving.rows import shortened
from salver.solvers.proving.search import ProofSearch, prove
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom

BOUNDS = frozenset({"attack", "backward", "halfspaces"})
"""Parts of `hybrid` without which its linear programs have more to do."""
ALONE = [
    (300, BOUNDS),
    (317, BOUNDS),
    (324, BOUNDS),
    (325, frozenset({"attack"})),
    (327, frozenset({"attack"})),
]
SPLIT = [(306, BOUNDS), (306, BOUNDS | {"probing"}), (309, BOUNDS)]


def solved(folder: Path, seed: int, without: frozenset[str]) -> tuple[Query, Journal]:
    query = read_again(draw(folder, seed).query)
    result = solve(query, Budget(60.0), Options(record=True, without=without | {"inputs"}))
    assert result.verdict is Verdict.UNSAT
    assert result.journal is not None
    return query, result.journal


def nodes(journal: Journal) -> Iterator[Journal]:
    yield journal
    for _, child in journal.children:
        yield from nodes(child)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "without"), ALONE)
def test_what_was_recorded_proves_the_query_without_another_search(tmp_path, seed, without):
    query, journal = solved(tmp_path, seed, without)
    assert any(node.refuted or node.closing for node in nodes(journal))
    with mock.patch.object(ProofSearch, "_work", side_effect=AssertionError("searched again")):
        steps = prove(query, Budget(60.0), journal=journal)
    assert steps is not None
    assert accepted(query, query.prop, steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [306, 309, 321, 325])
def test_what_passes_of_the_search_decided_is_proven_by_following_them(tmp_path, seed):
    query, journal = solved(tmp_path, seed, frozenset({"attack", "relaxation"}))
    assert {"forward", "backward", "cut"} <= {noted.kind for noted in journal.passes}
    assert journal.program is not None
    deductions = Deductions(query)
    context = Context.start(deductions.graph, deductions.exact)
    assert take_reduced(deductions, context, journal.program)
    bound_and_drop(deductions, context)
    for noted in journal.passes:
        follow(deductions, context, noted)
    assert deductions.bounds(context).undecided <= journal.passes[-1].undecided


def test_a_cut_by_an_atom_that_is_not_certain_here_is_followed_without_it(tmp_path):
    drawn = read_again(draw(tmp_path, 306).query)
    atom, other = Atom(0, ">=", constant=-1e6), Atom(0, "<=", constant=1e6)
    query = drawn.asking(replace(drawn.prop, clauses=(((atom,), (other,)),)))
    deductions = Deductions(query)
    context = Context.start(deductions.graph, deductions.exact)
    assert not deductions.places(context).comparisons
    ends = Ends("pre", 0, np.zeros(1, np.intp), np.ones(1, bool), sparse.csr_array(np.ones((1, 1))))
    before = [end.copy() for end in deductions.bounds(context).pre_lower]
    follow(deductions, context, Pass("cut", 0, 0, (ends,), (atom,)))
    assert not any(group[0] == "atom" for step in deductions.steps for group in step["by"])
    assert (deductions.bounds(context).pre_lower[0] >= before[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "without"), SPLIT)
def test_a_proof_goes_through_the_nodes_of_the_search(tmp_path, seed, without):
    query, journal = solved(tmp_path, seed, without)
    assert len(list(nodes(journal))) > 1
    assert any(noted.ends for node in nodes(journal) for noted in node.passes)
    steps = prove(query, Budget(60.0), journal=journal)
    assert steps is not None
    assert accepted(query, query.prop, steps)
    assert any(step["do"] in ("split", "case") for step in steps)


@pytest.mark.slow
def test_nothing_is_recorded_unless_a_proof_is_asked_for(tmp_path, capfd):
    query = read_again(draw(tmp_path, 306).query)
    found, counts = [], []
    for record in (False, True):
        # A back end's time limit would make the search depend on the clock.
        options = Options(without=BOUNDS | {"backend"}, record=record)
        found.append(solve(query, Budget(60.0), options).journal)
        counts.append(capfd.readouterr().err.splitlines()[-1])
    assert found[0] is None
    assert found[1] is not None
    assert counts[0].startswith("nodes ")
    assert counts[0] == counts[1]


def forged(journal: Journal, rng: np.random.Generator) -> Journal:
    """A journal with other multipliers, sides, reasons and children here and there."""

    def other(why: Refutation) -> Refutation:
        factor = float(10.0 ** rng.uniform(-3, 3)) * (-1.0 if rng.random() < 0.2 else 1.0)
        parts = [
            replace(part, multipliers=part.multipliers * (factor if rng.random() < 0.5 else 1.0))
            for part in why.parts
            if rng.random() < 0.9
        ]
        return Refutation(tuple(parts), tuple((atom, abs(factor) * value) for atom, value in why.atoms))

    found = [
        replace(
            refuted, side=1 - refuted.side if rng.random() < 0.5 else refuted.side, why=other(refuted.why)
        )
        for refuted in journal.refuted
    ]
    passes = [
        replace(noted, ends=tuple(other_ends(ends, rng) for ends in noted.ends))
        for noted in journal.passes
        if rng.random() < 0.9
    ]
    closing = journal.closing or (found[0].why if found else None)
    kept = [
        (replace(decision, side=1 - decision.side) if rng.random() < 0.3 else decision, forged(child, rng))
        for decision, child in journal.children
        if decision.kind != "clause"
    ]
    why, kept = None if closing is None else other(closing), kept if rng.random() < 0.8 else []
    return Journal(found, why, kept, journal.program, passes=passes)


def other_ends(ends: Ends, rng: np.random.Generator) -> Ends:
    """The same ends with the other sides or multipliers here and there."""
    if rng.random() < 0.3:
        order = np.argsort(ends.lower, kind="stable")
        return replace(ends, entries=ends.entries[order][::-1])
    if ends.multipliers is None:
        return ends
    return replace(ends, multipliers=ends.multipliers * np.float32(10.0 ** rng.uniform(-3, 3)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> list[tuple[Query, Journal]]:
    return [solved(tmp_path_factory.mktemp("q"), seed, without) for seed, without in (ALONE[1], SPLIT[2])]


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_forged_record_makes_no_wrong_proof(recorded, seed):
    rng = np.random.default_rng(seed)
    for query, journal in recorded:
        steps = prove(query, Budget(20.0), journal=forged(journal, rng))
        assert steps is None or accepted(query, query.prop, steps)
        sibling = satisfiable_sibling(query, rng)
        if sibling is not None:
            assert prove(query.asking(sibling), Budget(5.0), journal=forged(journal, rng)) is None


@pytest.mark.slow
def test_a_journal_of_a_program_that_leaves_open_signs_out_is_not_followed(recorded):
    for query, journal in recorded:
        low, high = query.prop.input_lower, query.prop.input_upper
        point = (low + high) / 2
        found = reduce_to_open(query.program, point, point, np.zeros(0, np.intp))
        assert found is not None
        steps = prove(query, Budget(20.0), journal=replace(journal, program=found[0]))
        assert steps is not None
        assert accepted(query, query.prop, steps)


@given(st.lists(st.floats(1e-40, 1e40), min_size=1, max_size=5))
def test_multipliers_are_kept_to_nine_digits(values: list[float]) -> None:
    found = shortened(np.array(values))
    assert np.allclose(found, values, rtol=6e-9, atol=0.0)
    assert all(len(repr(value).split("e")[0].replace(".", "").strip("0")) <= 9 for value in found.tolist())
