"""Conjunctions of a clause that cannot hold in a context, as steps of a proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from salver.proofs.context import Context
from salver.proofs.row_sum import MOST_AT_ONCE
from salver.solvers.bounding.bounds import Bounds

if TYPE_CHECKING:
    from salver.solvers.proving.deductions import Deductions

CASES_AT_MOST = 64
"""Open conjunctions up to which a clause is split before neurons are."""


def bound_and_drop(deductions: Deductions, context: Context) -> None:
    """Bounds everything and refutes conjunctions, those as soon as what they read is bounded.

    A class condition reads the classifier alone; where it closes the context, bounds of the map, which
    are most of the work, show nothing.
    """
    end = deductions.read_by_comparisons
    deductions.bound(context, 0, end)
    if not context.closed:
        drop(deductions, context)
    if not context.closed:
        deductions.bound(context, end, len(deductions.program.blocks))


def drop(deductions: Deductions, context: Context) -> None:
    """Refutes conjunctions by one of their atoms, with backward passes."""
    bounds = deductions.bounds(context)
    for clause in deductions.compared:
        alternatives = deductions.query.prop.clauses[clause]
        if len(context.alternatives[clause]) > CASES_AT_MOST:
            bounds = _drop_by_ranges(deductions, context, bounds, clause)
        places_ = [
            (clause, part, number)
            for part in sorted(context.alternatives[clause])
            for number in range(len(alternatives[part]))
        ]
        for start in range(0, len(places_), MOST_AT_ONCE // 2):
            _drop_some(deductions, context, bounds, clause, places_[start : start + MOST_AT_ONCE // 2])
            if context.closed:
                return


def _drop_by_ranges(deductions: Deductions, context: Context, bounds: Bounds, clause: int) -> Bounds:
    """Refutes conjunctions of many by the ranges of the outputs that they compare."""
    output, prop = deductions.graph.network.output, deductions.query.prop
    used = np.unique(
        [
            entry
            for part in context.alternatives[clause]
            for atom in prop.clauses[clause][part]
            for entry in atom.outputs
        ]
    )
    deductions.bound_tensor(context, bounds, output, deductions.program.output.rows(used), used)
    bounds = deductions.bounds(context)
    low, high = bounds.output_lower, bounds.output_upper
    refuted: dict[int, tuple[int, list[tuple[str, int]]]] = {}
    for part in sorted(context.alternatives[clause]):
        for number, atom in enumerate(prop.clauses[clause][part]):
            sides = [(atom.left, atom.relation == ">=")]
            sides += [] if atom.other is None else [(atom.other, atom.relation == "<=")]
            limit = atom.constant if atom.other is None else 0.0
            most = sum(high[entry] if up else -low[entry] for entry, up in sides)
            if most < (limit if atom.relation == ">=" else -limit):
                refuted[part] = (number, [("high" if up else "low", entry) for entry, up in sides])
    parts = list(refuted)
    for start in range(0, len(parts), MOST_AT_ONCE // 4):
        chosen = parts[start : start + MOST_AT_ONCE // 4]
        rows = deductions.rows()
        for lemma, part in enumerate(chosen):
            number, sides_ = refuted[part]
            rows.add_atom(lemma, (clause, part, number), 1.0)
            for kind, entry in sides_:
                rows.add_output(kind, lemma, entry)
        step = {"do": "drop", "clause": clause}
        deductions.conclude(context, step, {"parts": chosen}, rows, np.ones(len(chosen), bool))
        if context.closed:
            break
    return bounds


def _drop_some(
    deductions: Deductions, context: Context, bounds: Bounds, clause: int, places_: list[tuple[int, int, int]]
) -> None:
    rows = deductions.rows()
    least = deductions.minimise(bounds, deductions.against(tuple(places_)), rows)
    for lemma, place in enumerate(places_):
        rows.add_atom(lemma, place, 1.0)
    keep = least > 0
    first: set[int] = set()
    for lemma in np.flatnonzero(keep).tolist():
        keep[lemma] = places_[lemma][1] not in first
        first.add(places_[lemma][1])
    deductions.conclude(
        context, {"do": "drop", "clause": clause}, {"parts": [p[1] for p in places_]}, rows, keep
    )
