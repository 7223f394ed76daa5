"""Proofs say nothing that no refutation reads, and long steps are checked a piece at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from experiments.soundness.proofs import accepted
from experiments.soundness.queries import draw
from experiments.soundness.stated import read_again
from salver.nets.program import GateBlock
from salver.proofs import row_sum
from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.solvers.hybrid.node import root_node
from salver.solvers.hybrid.solver import solve
from salver.solvers.journal import Journal
from salver.solvers.proving.search import ProofSearch, prove
from salver.solvers.proving.statement import stated
from salver.solvers.query import Budget, Options, Query, Verdict
from salver.spec import Atom, Property


def _with_gates(folder: Path, seed: int) -> Query:
    query = read_again(draw(folder, seed).query)
    assert any(isinstance(block, GateBlock) for block in query.program.blocks)
    return query


def _beyond(query: Query, room: float) -> Query:
    """One of two logits is larger than backward bounds allow, by `room`."""
    box = (query.prop.input_lower, query.prop.input_upper)
    most = root_node(query).within.output_upper[:2]
    part = [(Atom(output, ">=", constant=float(most[output]) + room),) for output in (0, 1)]
    return query.asking(Property(*box, (tuple(part),), query.prop.output_count))


@pytest.mark.parametrize("seed", [0, 1, 13])
def test_where_a_class_condition_closes_the_box_nothing_is_said_of_the_map(tmp_path: Path, seed: int) -> None:
    query = _beyond(_with_gates(tmp_path, seed), 1e-3)
    steps = prove(query, Budget(60.0))
    assert steps is not None
    assert accepted(query, query.prop, steps)
    graph, _ = stated(query)
    gated = {graph.root(b.source) for b in query.program.blocks if isinstance(b, GateBlock)}
    assert not gated & {step.get("tensor") for step in steps}


def test_a_box_that_bounds_close_hands_its_program_on(tmp_path: Path) -> None:
    query = _beyond(_with_gates(tmp_path, 0), 1e-3)
    result = solve(query, Budget(60.0), Options(record=True))
    assert result.verdict is Verdict.UNSAT
    assert isinstance(result.journal, Journal)
    assert result.journal.at_root
    steps = prove(query, Budget(60.0), journal=result.journal)
    assert steps is not None
    assert accepted(query, query.prop, steps)
    assert solve(query, Budget(60.0), Options()).journal is None


def _walked(query: Query, steps: list[Any]) -> list[Context]:
    """The contexts after every step that leaves one whole."""
    graph, prop = stated(query)
    checker, found = Checker(graph, prop), []
    walk = [Context.start(graph, prop)]
    for step in steps:
        while walk[-1].closed:
            walk.pop()
        walk += checker.apply(walk.pop(), step)
        found.append(walk[-1].copy())
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [324, 325])
def test_a_step_in_pieces_shows_what_it_shows_at_once(tmp_path: Path, seed: int) -> None:
    query = read_again(draw(tmp_path, seed).query)
    steps = ProofSearch(query, budget=Budget(60.0)).run(None)
    assert steps is not None
    assert any(len(step.get("at", [])) > 1 for step in steps)
    whole = _walked(query, steps)
    with mock.patch.object(row_sum, "CELLS", 1):
        assert accepted(query, query.prop, steps)
        assert not accepted(query, query.prop, steps[:-1])
        pieces = _walked(query, steps)
    for one, other in zip(whole, pieces, strict=True):
        assert one.closed == other.closed
        for name in one.low:
            for side in ("low", "high"):
                ends = [c.unit.floats(getattr(c, side)[name]) for c in (one, other)]
                assert np.allclose(*ends, rtol=1e-9, atol=1e-12)
