"""Parts of a query that are bounded at once: boxes with signs, and with what is known about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from salver.nets.program import MaskBlock, Program, ReluBlock
from salver.solvers.bounding.arrays import HOST, Arrays
from salver.solvers.bounding.bounds import Array, Bounds, Signs
from salver.solvers.bounding.many_boxes import bound_boxes, side_by_side
from salver.solvers.bounding.propagation import propagate


@dataclass(frozen=True, eq=False)
class Part:
    """
    Attributes:
        lower, upper: box [n].
        fixed: pre-activation -> signs [size].
        within: bounds that hold in it, or None.
    """

    lower: Array
    upper: Array
    fixed: Mapping[int, Signs] = field(default_factory=dict)
    within: Bounds | None = None

    def alone(self, program: Program) -> Bounds:
        return propagate(program, self.lower, self.upper, self.fixed, within=self.within, outputs=False)


def nothing_known(program: Program, lower: Array, upper: Array) -> Bounds:
    """Bounds that leave everything open."""

    def open_(size: int) -> tuple[Array, Array]:
        return np.full(size, -np.inf), np.full(size, np.inf)

    pre = [open_(pre.affine.size) for pre in program.pre]
    blocks = {number: open_(block.size) for number, block in enumerate(program.blocks)}
    values = {
        n: both for n, both in blocks.items() if not isinstance(program.blocks[n], ReluBlock | MaskBlock)
    }
    known = Bounds(lower, upper, [low for low, _ in pre], [high for _, high in pre])
    known.signs.extend(np.zeros(len(low), np.int8) for low, _ in pre)
    known.pre_size.extend(low for low, _ in pre)
    for side, at in ((0, known.block_lower), (1, known.block_upper)):
        at.update({number: both[side] for number, both in blocks.items()} | {-1: (lower, upper)[side]})
    known.value_size.update({number: high for number, (_, high) in values.items()})
    for side, at in ((0, known.value_lower), (1, known.value_upper)):
        at.update({number: both[side] for number, both in values.items()})
    return known


def at_once(program: Program, parts: Sequence[Part], arrays: Arrays = HOST) -> list[Bounds]:
    """Bounds of the parts, without linear bounds carried forward, so that they are those of `alone`."""
    known = [part.within or nothing_known(program, part.lower, part.upper) for part in parts]
    within = side_by_side(known)
    low, high = (np.stack(sides, axis=1) for sides in zip(*((p.lower, p.upper) for p in parts), strict=True))
    signs = []
    for number, sign in enumerate(within.signs):
        asked = np.stack([part.fixed.get(number, np.zeros(len(sign), np.int8)) for part in parts], axis=1)
        signs.append(np.where(asked != 0, asked, sign).astype(np.int8))
    found = bound_boxes(program, low, high, within, signs, arrays, forward=False, outputs=False)
    return [found.of(number) for number in range(len(parts))]
