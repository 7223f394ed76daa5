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
from salver.solvers.proving.deductions import Deductions
from salver.solvers.query import Budget

LEAF_ROUNDS = 2
"""How often bounds are sharpened in a leaf, each time followed by the linear relaxation."""


def replay(deductions: Deductions, context: Context, journal: Journal, budget: Budget) -> bool:
    """Shows what the journal says of one node; whether its children are next."""
    waiting, leaf = list(journal.refuted), not journal.children
    rounds = 0
    while not context.closed and not budget.over:
        deductions.bound(context)
        if not context.closed:
            deductions.drop(context)
        if context.closed or _refute(deductions, context, journal, waiting):
            continue
        if leaf and deductions.relax(context) is None and context.closed:
            break
        rounds, before = rounds + 1, len(deductions.steps)
        if read_backwards(deductions, context) or deductions.cut(context):
            continue
        again = (leaf and rounds < LEAF_ROUNDS) or _refute(deductions, context, journal, waiting)
        if len(deductions.steps) == before or not again:
            break
    return not context.closed and not leaf


def _refute(deductions: Deductions, context: Context, journal: Journal, waiting: list[Refuted]) -> bool:
    """Closes the context or decides signs with the multipliers of the journal; whether some of them held.

    Args:
        waiting: refutations that did not yet hold; those that are decided are taken out.
    """
    where = deductions.places(context)
    if journal.closing is not None:
        rows = deductions.rows()
        rows.add_refutation(0, journal.closing, where)
        if deductions.conclude(context, {"do": "close"}, {}, rows, np.ones(1, bool)):
            return True
    found: dict[int, list[Refuted]] = {}
    for refuted in list(waiting):
        if _decided(deductions, context, refuted):
            waiting.remove(refuted)
        else:
            found.setdefault(refuted.pre, []).append(refuted)
    decided = 0
    for pre, several in found.items():
        rows, switch = deductions.rows(), deductions.graph.root(deductions.program.pre[pre].name)
        for lemma, refuted in enumerate(several):
            rows.add_refutation(lemma, refuted.why, where)
        lists = {"at": [r.neuron for r in several], "side": [r.side for r in several]}
        step = {"do": "decide", "switch": switch}
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
    else:
        known = {decision.side: child for decision, child in journal.children}
        switch = _switch(deductions, first)
        on, off = (side[STEP + switch][first.entry] for side in (context.low, context.high))
        left = [0, 1] if on != off else [int(on > 0)]
        step = {"do": "split", "switch": switch, "at": first.entry}
    branches = deductions.apply(context, step) if len(left) > 1 else [context]
    return [(branch, known.get(side)) for branch, side in zip(branches, left, strict=True)]


def _switch(deductions: Deductions, decision: Decision) -> str:
    program = deductions.program
    if decision.kind == "neuron":
        return deductions.graph.root(program.pre[decision.number].name)
    block = program.blocks[decision.number]
    assert isinstance(block, AbsBlock)
    return deductions.graph.root(block.source)


def _decided(deductions: Deductions, context: Context, refuted: Refuted) -> bool:
    step = STEP + deductions.graph.root(deductions.program.pre[refuted.pre].name)
    return bool(context.low[step][refuted.neuron] == context.high[step][refuted.neuron])
