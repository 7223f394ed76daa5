"""The box of a query covered by smaller ones, tens of them bounded at once, for queries of few inputs.

A box is refuted by bounds that are rounded outwards, as in `bounding.many_boxes`; cut in two across one
input; or left to the search as a node of its own. It is left where few neurons are open, since one linear
relaxation closes most such boxes. It is also left where the last cut decided no more than a split on a sign
does for certain. So boxes are not cut for ever along the z = 0 of a neuron: that is what signs are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.solvers.bounding.bounds import Bounds, Signs
from salver.solvers.bounding.many_boxes import BoundedBoxes, bound_boxes
from salver.solvers.hybrid.node import SearchNode
from salver.solvers.query import Query
from salver.solvers.slack import slack_rows

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

BATCH = 64
"""Boxes that are bounded at once: more of them share no more of the calls, and leave the cache."""
CELLS = 1 << 22
"""Coefficients of the linear bounds of a batch, at most: wide programs get fewer boxes at once."""
KEPT = 1 << 22
"""Neurons of all boxes left to the search whose bounds are kept, at most; each takes some 100 bytes."""
ONE_NEURON = 1.0
"""Neurons that a split on a sign decides for certain; a cut must decide more to be worth as much."""
FEW = 8
"""Open neurons up to which a box is left to the search: one linear program then closes nearly all of them, in
the time of some forty boxes here."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a query: boxes and signs.

    Attributes:
        low, high: boxes [n, parts].
        signs: per pre-activation int8 [size, parts], 0 where a part leaves the sign open.
        before: neurons that were open before the last cut [parts]; infinite where there was none.
        share: of the whole [parts], where every split halves it.
    """

    low: Array
    high: Array
    signs: tuple[Signs, ...]
    before: Array
    share: Array

    @property
    def count(self) -> int:
        return len(self.share)

    def pick(self, chosen: Indices | Flags | slice) -> Parts:
        signs = tuple(sign[:, chosen] for sign in self.signs)
        return Parts(
            self.low[:, chosen], self.high[:, chosen], signs, self.before[chosen], self.share[chosen]
        )

    @staticmethod
    def joined(parts: Sequence[Parts]) -> Parts:
        signs = zip(*(part.signs for part in parts), strict=True)
        return Parts(
            np.concatenate([part.low for part in parts], axis=1),
            np.concatenate([part.high for part in parts], axis=1),
            tuple(np.concatenate(sides, axis=1) for sides in signs),
            np.concatenate([part.before for part in parts]),
            np.concatenate([part.share for part in parts]),
        )


@dataclass(eq=False)
class Cover:
    """A cover of a query's box, under way.

    Attributes:
        query: the whole, over the program of `within`.
        within: bounds of all of it.
        few: open neurons up to which a box is left to the search.
        waiting: parts that are neither closed nor split, the next ones last.
        leaves: nodes that are left to the search.
        bounded: parts so far.
        closed, done: share of the whole that bounds refuted, and with what is left to the search.
    """

    query: Query
    within: Bounds
    few: int = FEW
    waiting: Parts = field(init=False)
    leaves: list[SearchNode] = field(default_factory=list)
    bounded: int = 0
    closed: float = 0.0
    done: float = 0.0

    def __post_init__(self) -> None:
        known = self.within
        signs = tuple(sign[:, None] for sign in known.signs)
        box = (known.input_lower[:, None], known.input_upper[:, None])
        self.waiting = Parts(*box, signs, np.full(1, np.inf), np.ones(1))
        self._refutation = _Refutation(self.query)
        program = self.query.program
        cells = (program.input_size + 1) * sum(block.size for block in program.blocks)
        self.batch = max(1, min(BATCH, CELLS // max(1, cells)))

    def step(self) -> Array:
        """Bounds the next parts, and closes or splits each; middles [k, n] of what is left of them."""
        next_ = slice(max(0, self.waiting.count - self.batch), None)
        parts, self.waiting = self.waiting.pick(next_), self.waiting.pick(slice(None, next_.start))
        found = bound_boxes(self.query.program, parts.low, parts.high, self.within, parts.signs)
        refuted = found.empty | self._refutation.of(found)
        self.bounded += parts.count
        open_ = found.open
        # Without an input that moves an open neuron there is nothing to cut.
        effect = np.where(parts.high > parts.low, found.effect, 0.0)
        stuck = (parts.before - open_ <= ONE_NEURON) | (effect.max(axis=0) <= 0)
        left = ~refuted & (stuck | (open_ <= self.few))
        self.closed += float(parts.share[refuted].sum())
        self.done += float(parts.share[refuted | left].sum())
        parts = replace(parts, signs=tuple(found.bounds.signs))
        self.leaves += [self._leaf(found, part) for part in np.flatnonzero(left).tolist()]
        middles = (parts.low + (parts.high - parts.low) / 2)[:, ~refuted].T
        cut = np.flatnonzero(~refuted & ~left)
        halves = _cut(parts.pick(cut), effect[:, cut].argmax(axis=0), open_[cut])
        self.waiting = Parts.joined([self.waiting, *halves])
        return middles

    def line(self) -> str:
        """Counts for the log."""
        return (
            f"bounded {self.bounded} closed {self.closed:.3g} left {len(self.leaves)} "
            f"waiting {self.waiting.count}"
        )

    def _leaf(self, found: BoundedBoxes, at: int) -> SearchNode:
        """The node of a box, with its bounds while there is room for them: then it needs none of its own."""
        whole, bounds = self.within, found.bounds
        if len(self.leaves) * sum(block.size for block in self.query.program.blocks) < KEPT:
            low, high = bounds.output_lower[:, at].copy(), bounds.output_upper[:, at].copy()
            known = replace(found.of(at), output_lower=low, output_upper=high, ball=whole.ball)
            return SearchNode(dict(enumerate(known.signs)), known, bounded=True)
        within = boxed(whole, bounds.input_lower[:, at].copy(), bounds.input_upper[:, at].copy())
        return SearchNode({number: sign[:, at].copy() for number, sign in enumerate(bounds.signs)}, within)


def boxed(bounds: Bounds, low: Array, high: Array) -> Bounds:
    """The bounds, which hold in a smaller box, too."""
    lower, upper = {**bounds.block_lower, -1: low}, {**bounds.block_upper, -1: high}
    return replace(bounds, input_lower=low, input_upper=high, block_lower=lower, block_upper=upper)


class _Refutation:
    """Which parts hold no x that satisfies the property, by bounds of the outputs."""

    def __init__(self, query: Query) -> None:
        self.low, self.high = (side[:, None] for side in query.prop.ranges)
        self.clauses = query.prop.comparisons
        atoms = [atom for clause in self.clauses for part in clause for atom in part]
        self.rows: Affine | None = slack_rows(query.program.output, atoms) if atoms else None

    def of(self, found: BoundedBoxes) -> Flags:
        low, high = found.bounds.output_lower, found.bounds.output_upper
        refuted = np.asarray(((high < self.low) | (low > self.high)).any(axis=0))
        if self.rows is None:
            return refuted if all(self.clauses) else np.ones_like(refuted)
        holds = found.range(self.rows)[1] >= 0
        numbers = iter(range(len(holds)))
        for clause in self.clauses:
            possible = np.zeros_like(refuted)
            for part in clause:
                possible |= holds[[next(numbers) for _ in part]].all(axis=0)
            refuted |= ~possible
        return refuted


def _cut(parts: Parts, inputs: Indices, open_: Indices) -> list[Parts]:
    """Both halves of each part, cut across an input of its own in the middle."""
    at = (inputs, np.arange(parts.count))
    middle = parts.low[at] + (parts.high[at] - parts.low[at]) / 2
    low, high = parts.low.copy(), parts.high.copy()
    low[at], high[at] = middle, middle
    half = replace(parts, before=open_.astype(np.float64), share=parts.share / 2)
    return [replace(half, high=high), replace(half, low=low)]
