"""Bounds pending nodes together on a device before the search comes to them one by one.

Meant for CUDA: on a CPU forward bounds are a twelfth of a search (docs/solving.md), and importing torch takes
longer than many queries.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from salver.nets.program import Program
from salver.solvers.bounding.arrays import Arrays
from salver.solvers.bounding.bounds import Signs
from salver.solvers.bounding.many_boxes import bound_boxes, side_by_side
from salver.solvers.hybrid.node import SearchNode

BATCH = 32


class LookAhead:
    """Forward bounds of nodes in batches."""

    def __init__(self, program: Program, arrays: Arrays) -> None:
        self._program, self._arrays = program, arrays

    def bound(self, pending: list[SearchNode]) -> None:
        """Replaces, in place, the last `BATCH` nodes by the same nodes with their bounds."""
        waiting = [at for at, node in enumerate(pending) if not node.bounded][-BATCH:]
        nodes = [pending[at] for at in waiting]
        within = side_by_side([node.within for node in nodes])
        signs = [
            np.stack([_signs(node, number) for node in nodes], axis=1) for number in range(len(within.signs))
        ]
        box = (within.input_lower, within.input_upper)
        found = bound_boxes(self._program, *box, within, signs, self._arrays, forward=False, outputs=False)
        for column, (at, node) in enumerate(zip(waiting, nodes, strict=True)):
            bounds, known = found.of(column), node.within
            bounds = replace(
                bounds, output_lower=known.output_lower, output_upper=known.output_upper, ball=known.ball
            )
            signs_of = node.signs if bounds.infeasible else dict(enumerate(bounds.signs))
            pending[at] = replace(node, within=bounds, signs=signs_of, bounded=True)


def _signs(node: SearchNode, number: int) -> Signs:
    known, asked = node.within.signs[number], node.signs.get(number)
    return known if asked is None else np.where(asked != 0, asked, known).astype(np.int8)
