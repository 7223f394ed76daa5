"""The way of `hybrid`, gone again with what its journal holds: the same splits, and its multipliers.

The multipliers of a linear program hold where the bounds they rest on are as tight here as they were there;
what does not hold is left for later in the node, or to the search.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from salver.nets.program import AbsBlock
from salver.proofs.context import Context
from salver.proofs.graph import STEP
from salver.solvers.journal import Decision, Journal, Refuted
from salver.solvers.proving.backwards import read_backwards
from salver.solvers.proving.conjunctions import bound_and_drop, drop
from salver.solvers.proving.deductions import Deductions
from salver.solvers.proving.recorded_bounds import follow
from salver.solvers.query import Budget

INNER_ROUNDS = 3
"""How often bounds are sharpened in a node with children, as long as some of what was recorded does not yet
hold. What they leave open, they find again in the children."""
LEAF_ROUNDS = 2
"""How often bounds are sharpened in a leaf, each time followed by the linear relaxation."""


def replay(deductions: Deductions, context: Context, journal: Journal, budget: Budget) -> bool:
    """Shows what the journal says of one node; whether its children are next."""
    waiting, leaf = list(journal.refuted), not journal.children
    if journal.bare:
        _refute(deductions, context, journal, waiting)
        if not leaf:
            return not context.closed
    if journal.passes:
        if journal.program is not None or journal.unnoted:
            bound_and_drop(deductions, context)
        _follow(deductions, context, journal, waiting, budget)
        # More is open here where copies of a network implied signs, which is no pass.
        behind = deductions.bounds(context).undecided > journal.passes[-1].undecided
        if not leaf and (context.closed or not behind):
            return not context.closed
    rounds, relaxed = 0, -1
    while not context.closed and not budget.over:
        bound_and_drop(deductions, context)
        held = _refute(deductions, context, journal, waiting)
        if leaf and relaxed < 0 and not context.closed:
            relaxed = _relax(deductions, context)
        if context.closed:
            break
        rounds, before = rounds + 1, len(deductions.steps)
        decided = read_backwards(deductions, context) or deductions.cut(context)
        if not leaf:
            held |= _refute(deductions, context, journal, waiting)
            if not waiting or not (decided or held) or rounds == INNER_ROUNDS:
                break
            continue
        if decided or context.closed:
            continue
        if relaxed < len(deductions.steps):
            relaxed = _relax(deductions, context)
        if len(deductions.steps) == before or rounds >= LEAF_ROUNDS:
            break
    return not context.closed and not leaf


def _follow(
    deductions: Deductions, context: Context, journal: Journal, waiting: list[Refuted], budget: Budget
) -> None:
    """States what the passes of the node moved, with its refutations where they were found."""
    found, leaf = 0, not journal.children
    for noted in journal.passes:
        if noted.after > found and not context.closed:
            found = noted.after
            _refute(deductions, context, journal, waiting)
        if context.closed or budget.over:
            return
        follow(deductions, context, noted)
        if noted.kind == "forward" and not context.closed and (leaf or deductions.choices_left(context)):
            drop(deductions, context)
        if journal.closing is not None:
            _refute(deductions, context, journal, [])
    if waiting and not context.closed:
        _refute(deductions, context, journal, waiting)
    if leaf and journal.closing is None and not context.closed:
        # What bounds closed there by ranges a little narrower, the linear relaxation often closes at once.
        _relax(deductions, context)


def _relax(deductions: Deductions, context: Context) -> int:
    """Tries to close a leaf by its linear relaxation: after all else, as it is the dearest; steps so far."""
    deductions.relax(context)
    return len(deductions.steps)


def _refute(deductions: Deductions, context: Context, journal: Journal, waiting: list[Refuted]) -> bool:
    """Closes the context or decides signs with the multipliers of the journal; whether some of them held.

    Args:
        waiting: refutations that did not yet hold; those that are decided are taken out.
    """
    if journal.closing is not None and not context.closed:
        rows = deductions.rows()
        rows.add_refutation(0, journal.closing, deductions.places(context))
        if deductions.conclude(context, {"do": "close"}, {}, rows, np.ones(1, bool)):
            return True
    held = False
    while not context.closed and _refute_once(deductions, context, waiting):
        held = True
    return held


def _refute_once(deductions: Deductions, context: Context, waiting: list[Refuted]) -> bool:
    where = deductions.places(context)
    waiting[:] = [refuted for refuted in waiting if not _decided(deductions, context, refuted)]
    found: dict[int, list[Refuted]] = {}
    for refuted in waiting:
        found.setdefault(refuted.pre, []).append(refuted)
    decided = 0
    for pre, several in found.items():
        rows, neurons = deductions.rows(), deductions.program.pre[pre]
        for lemma, refuted in enumerate(several):
            rows.add_refutation(lemma, refuted.why, where)
        at = neurons.in_network(np.array([refuted.neuron for refuted in several], np.intp))
        lists = {"at": at.tolist(), "side": [refuted.side for refuted in several]}
        step = {"do": "decide", "switch": deductions.graph.root(neurons.name)}
        decided += deductions.conclude(context, step, lists, rows, np.ones(len(several), bool))
        if context.closed:
            break
    return decided > 0


def children(
    deductions: Deductions, context: Context, journal: Journal
) -> list[tuple[Context, Journal | None]]:
    """What is left of a context after the split of its node, with the journals of the children."""
    first, query = journal.children[0][0], deductions.query
    if first.kind == "clause":
        clause = query.prop.clauses[first.number]
        known = {clause.index(decision.part): child for decision, child in journal.children}
        left = sorted(context.alternatives[first.number], reverse=True)
        step: dict[str, Any] = {"do": "case", "clause": first.number}
    elif first.kind == "input":
        known, left = {decision.side: child for decision, child in journal.children}, [0, 1]
        step = {"do": "divide", "at": first.entry, "where": first.where}
    else:
        known = {decision.side: child for decision, child in journal.children}
        switch, entry = _switch(deductions, first)
        on, off = (side[STEP + switch][entry] for side in (context.low, context.high))
        left = [0, 1] if on != off else [int(on > 0)]
        step = {"do": "split", "switch": switch, "at": entry}
    branches = deductions.apply(context, step) if len(left) > 1 else [context]
    return [(branch, known.get(side)) for branch, side in zip(branches, left, strict=True)]


def _switch(deductions: Deductions, decision: Decision) -> tuple[str, int]:
    """The switch and its entry that a node was split on."""
    program = deductions.program
    if decision.kind == "neuron":
        return deductions.switch(decision.number, decision.entry)
    block = program.blocks[decision.number]
    assert isinstance(block, AbsBlock)
    (entry,) = block.in_network(np.array([decision.entry], np.intp)).tolist()
    return deductions.graph.root(block.source), entry


def _decided(deductions: Deductions, context: Context, refuted: Refuted) -> bool:
    switch, entry = deductions.switch(refuted.pre, refuted.neuron)
    return bool(context.low[STEP + switch][entry] == context.high[STEP + switch][entry])
