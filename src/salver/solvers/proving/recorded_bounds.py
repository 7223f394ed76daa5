"""What bounds moved in a node of the search, as steps of a proof, by the passes that its journal notes.

A range that hardly moved is stated, too: what rests on it there is then as strong here. The lines of a
backward pass are chosen anew, by ranges that are those of the search but for rounding. Multipliers of the
cuts, which are what took the search its time, are the journal's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import Block, MaskBlock, PreActivation, ReluBlock
from salver.proofs.context import Context
from salver.solvers.journal import Ends, Pass
from salver.solvers.proving.backwards import read_backwards
from salver.solvers.proving.certified import range_of
from salver.solvers.proving.cuts import recorded_cuts, stacked, without_cuts
from salver.solvers.proving.deductions import WORTH_FOLLOWING, Deductions

MOST_BACK = 3
"""How often the limits of the outputs are read for one pass of the search, which does so, too."""


def follow(deductions: Deductions, context: Context, noted: Pass) -> None:
    """States what a pass moved, where that still says more than is known."""
    match noted.kind:
        case "forward":
            moved = [ends for ends in noted.ends if ends.of != "block"]
            for ends in sorted(moved, key=lambda ends: _first_block(deductions, ends)):
                if not context.closed:
                    _forward(deductions, context, ends)
        case "backward":
            _backward(deductions, context, noted)
        case _:
            _cut(deductions, context, noted)


def _first_block(deductions: Deductions, ends: Ends) -> int:
    """The block before which a range is bounded."""
    if ends.of == "value":
        return ends.number
    blocks = enumerate(deductions.program.blocks)
    return min(n for n, b in blocks if isinstance(b, ReluBlock | MaskBlock) and b.pre == ends.number)


def _forward(deductions: Deductions, context: Context, ends: Ends) -> None:
    program, lower = deductions.program, ends.lower
    if ends.of == "pre":
        part: PreActivation | Block = program.pre[ends.number]
        affine, name = program.pre[ends.number].affine, program.pre[ends.number].name
    else:
        part = program.blocks[ends.number]
        assert not isinstance(part, ReluBlock | MaskBlock)
        affine, name = part.value, part.source
    signed = stacked([affine.rows(ends.entries[lower]), affine.rows(ends.entries[~lower], -1.0)])
    tensor, at = deductions.graph.root(name), part.in_network(ends.entries)
    bounds = deductions.bounds(context)
    deductions.bound_ends(context, bounds, tensor, signed, at, lower, WORTH_FOLLOWING)


def _backward(deductions: Deductions, context: Context, noted: Pass) -> None:
    """Reads the outputs' limits backwards, as often as it takes to decide what was decided there."""
    for _ in range(MOST_BACK if noted.ends else 0):
        decided = read_backwards(deductions, context, WORTH_FOLLOWING)
        if not decided or context.closed or deductions.bounds(context).undecided <= noted.undecided:
            return


def _cut(deductions: Deductions, context: Context, noted: Pass) -> None:
    if not noted.ends:
        return
    bounds, where = deductions.bounds(context), deductions.places(context)
    cuts = recorded_cuts(deductions.program, noted.facts, where)
    uncertain = [n for n, atom in enumerate(cuts.atoms) if atom < 0 and cuts.signs[n] is None]
    for ends in noted.ends:
        multipliers: npt.NDArray[np.float64] = ends.multipliers.toarray().astype(np.float64)
        multipliers[:, uncertain] = 0.0
        part = deductions.program.pre[ends.number]
        ranges = range_of(context, deductions.graph.root(part.name), part.in_network(ends.entries))
        found = without_cuts(part.affine, ends.entries, ends.lower, cuts, multipliers)
        deductions.state_cut(context, bounds, ends.number, found, cuts, where, ranges)
        if context.closed:
            return
