"""The signs that the box decides, proven once over the whole network: all else is about the open ones.

`hybrid` searches the program of the neurons that are open in the box (`bounding.reduced`). The checker knows
the file's tensors alone, and puts z or 0 for a neuron as soon as its sign is certain. Then the rows of both
say the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.nets.program import AbsBlock, MaskBlock, PreActivation, Program, ReluBlock
from salver.proofs.context import Context
from salver.proofs.graph import STEP
from salver.solvers.bounding.reduced import reduce_to_open
from salver.solvers.proving.deductions import Deductions
from salver.solvers.query import Query

Indices = npt.NDArray[np.intp]
Signed = PreActivation | AbsBlock


def open_program(query: Query) -> Program | None:
    """The program of the neurons that are open in the box; None where there is none."""
    prop, nothing = query.prop, np.zeros(0, np.intp)
    found = reduce_to_open(query.program, prop.input_lower, prop.input_upper, nothing, prop.ball)
    return None if found is None else found[0]


def take_reduced(deductions: Deductions, context: Context, program: Program) -> bool:
    """Proves all signs that `program` leaves out and goes on with it; False where one did not hold.

    Most follow from what is certain of the neurons before; few need those relaxed that are open.
    """
    for part in _parts(deductions.program):
        for relaxed in (False, True):
            missing, open_ = _open(deductions, context, program, part)
            at = missing if relaxed else np.concatenate([missing, open_])
            if len(at) and not context.closed:
                bounds = deductions.bounds(context) if relaxed else None
                name = _tensor(deductions, part)
                deductions.bound_tensor(context, bounds, name, _argument(part).rows(at), at)
    if not context.closed and _any_missing(deductions, context, program):
        deductions.bound(context, 0, _last_signed(deductions.program) + 1)
    if not context.closed and _any_missing(deductions, context, program):
        return False
    deductions.reduce(program)
    return True


def _parts(program: Program) -> list[Signed]:
    """What has signs, in the order of the network."""
    return [*program.pre, *(block for block in program.blocks if isinstance(block, AbsBlock))]


def _last_signed(program: Program) -> int:
    """The last block that brings signs of its own, -1 where none does; what comes after it decides none."""
    # Pre-activations are numbered in the order in which blocks first read them.
    newest = len(program.pre) - 1
    last = [
        n for n, b in enumerate(program.blocks) if isinstance(b, ReluBlock | MaskBlock) and b.pre == newest
    ]
    absolute = [n for n, block in enumerate(program.blocks) if isinstance(block, AbsBlock)]
    return max([*last[:1], *absolute], default=-1)


def _argument(part: Signed) -> Affine:
    return part.affine if isinstance(part, PreActivation) else part.value


def _tensor(deductions: Deductions, part: Signed) -> str:
    return deductions.graph.root(part.name if isinstance(part, PreActivation) else part.source)


def _any_missing(deductions: Deductions, context: Context, program: Program) -> bool:
    return any(len(_open(deductions, context, program, part)[0]) for part in _parts(deductions.program))


def _open(
    deductions: Deductions, context: Context, program: Program, part: Signed
) -> tuple[Indices, Indices]:
    """Entries with both signs here: those that `program` leaves out, and those that it has."""
    name = _tensor(deductions, part)
    if isinstance(part, PreActivation):
        open_ = np.flatnonzero(context.low[STEP + name] != context.high[STEP + name])
    else:
        open_ = np.flatnonzero((context.low[name] < 0) & (context.high[name] > 0))
    kept = [small for small in _parts(program) if _tensor(deductions, small) == name]
    entries = np.concatenate([np.zeros(0, np.intp), *(np.arange(_argument(k).size) for k in kept)])
    if kept:
        entries = kept[0].in_network(entries)
    return np.setdiff1d(open_, entries), np.intersect1d(open_, entries)
