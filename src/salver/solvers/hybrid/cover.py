"""The box of a query covered by smaller ones, tens of them bounded at once, for queries of few inputs.

A box is refuted by bounds that are rounded outwards, as in `bounding.many_boxes`; cut in two across one
input; or searched by itself where few neurons are open (`small_boxes`). It is searched, too, where the last
cut decided no more than a split on a sign does for certain. So boxes are not cut for ever along the z = 0 of
a neuron. What such a search does not close in time is split on a sign. Boxes that need more are left to the
search as nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.solvers.bounding.bounds import Bounds, Signs
from salver.solvers.bounding.many_boxes import BoundedBoxes, bound_boxes
from salver.solvers.hybrid.branching import branching_neuron
from salver.solvers.hybrid.node import SearchNode
from salver.solvers.hybrid.small_boxes import MOST_OPEN, SmallBoxes
from salver.solvers.journal import Decision, Journal
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
FEW = 10
"""Open neurons up to which a box is searched by itself, or left to the search."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a query: boxes and signs.

    Attributes:
        low, high: boxes [n, parts].
        signs: per pre-activation int8 [size, parts], 0 where a part leaves the sign open.
        before: neurons that were open before the last cut [parts]; infinite where there was none.
        share: of the whole [parts], where every split halves it.
        journals: where what is found in each part goes [parts], objects; None where nothing is recorded.
    """

    low: Array
    high: Array
    signs: tuple[Signs, ...]
    before: Array
    share: Array
    journals: Any

    @property
    def count(self) -> int:
        return len(self.share)

    def pick(self, chosen: Indices | Flags | slice) -> Parts:
        signs = tuple(sign[:, chosen] for sign in self.signs)
        rest = (self.before[chosen], self.share[chosen], self.journals[chosen])
        return Parts(self.low[:, chosen], self.high[:, chosen], signs, *rest)

    @staticmethod
    def joined(parts: Sequence[Parts]) -> Parts:
        signs = zip(*(part.signs for part in parts), strict=True)
        return Parts(
            np.concatenate([part.low for part in parts], axis=1),
            np.concatenate([part.high for part in parts], axis=1),
            tuple(np.concatenate(sides, axis=1) for sides in signs),
            np.concatenate([part.before for part in parts]),
            np.concatenate([part.share for part in parts]),
            np.concatenate([part.journals for part in parts]),
        )


@dataclass(eq=False)
class Cover:
    """A cover of a query's box, under way.

    Attributes:
        query: the whole, over the program of `within`.
        within: bounds of all of it.
        few: open neurons up to which a box is not cut.
        waiting: parts that are neither closed nor split, the next ones last.
        small: nodes that are not cut, each with its share, and are to be searched by themselves.
        leaves: nodes that are left to the search.
        bounded: parts so far.
        closed, done: share of the whole that was refuted, and with what is left to the search.
        root: journal of the whole where a proof is asked for, which `handed_over` gives the splits; journal:
            where they are until then.
    """

    query: Query
    within: Bounds
    root: Journal | None = None
    few: int = FEW
    waiting: Parts = field(init=False)
    small: list[tuple[SearchNode, float]] = field(default_factory=list)
    leaves: list[SearchNode] = field(default_factory=list)
    bounded: int = 0
    closed: float = 0.0
    done: float = 0.0

    def __post_init__(self) -> None:
        known = self.within
        signs = tuple(sign[:, None] for sign in known.signs)
        box = (known.input_lower[:, None], known.input_upper[:, None])
        self.journal = None if self.root is None else Journal()
        self.waiting = Parts(*box, signs, np.full(1, np.inf), np.ones(1), np.array([self.journal], object))
        self._refutation, self._small_boxes = _Refutation(self.query), SmallBoxes(self.query)
        program = self.query.program
        cells = (program.input_size + 1) * sum(block.size for block in program.blocks)
        self.batch = max(1, min(BATCH, CELLS // max(1, cells)))

    @property
    def ended(self) -> bool:
        return not (self.waiting.count or self.small)

    def step(self) -> Array:
        """Searches the next small box, else bounds the next parts and closes or splits each.

        Returns:
            Points [k, n] of what is left: middles of boxes, and what relaxations gave.
        """
        return self._search() if self.small else self._bound()

    def _search(self) -> Array:
        node, share = self.small.pop()
        found = self._small_boxes.decide(node.within)
        if found.closed:
            self.closed, self.done = self.closed + share, self.done + share
        else:
            self._split(node, share, found.whole)
        points = [] if found.point is None else [found.point]
        return np.array(points).reshape(-1, self.query.program.input_size)

    def _bound(self) -> Array:
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
        parts = replace(parts, signs=tuple(found.bounds.signs))
        tried = left & (open_ <= MOST_OPEN) & self._small_boxes.possible
        for part in np.flatnonzero(left).tolist():
            node = self._node(found, part, parts.journals[part])
            if tried[part]:
                self.small.append((node, float(parts.share[part])))
            else:
                self._leave(node)
        self.done += float(parts.share[refuted | (left & ~tried)].sum())
        middles = (parts.low + (parts.high - parts.low) / 2)[:, ~refuted].T
        cut = np.flatnonzero(~refuted & ~left)
        halves = _cut(parts.pick(cut), effect[:, cut].argmax(axis=0), open_[cut])
        self.waiting = Parts.joined([self.waiting, *halves])
        return middles

    def handed_over(self) -> list[SearchNode]:
        """The nodes that are left, in the place of all that the journal of the whole says of its parts."""
        if self.root is not None and self.journal is not None:
            self.root.children = self.journal.children
        return self.leaves

    def line(self) -> str:
        """Counts for the log."""
        return (
            f"bounded {self.bounded} closed {self.closed:.3g} left {len(self.leaves)} "
            f"waiting {self.waiting.count}"
        )

    def _split(self, node: SearchNode, share: float, whole: bool) -> None:
        """Splits a box on a sign, but where all signs are known in a solution of its relaxation."""
        chosen = None if whole else branching_neuron(self.query.program, node.within)
        if chosen is None:
            self.done += share
            self._leave(node)
            return
        pre, neuron = chosen
        box = (node.within.input_lower[:, None], node.within.input_upper[:, None])
        signs = [sign[:, None] for sign in node.within.signs]
        for side in (-1, 1):
            signs[pre] = signs[pre].copy()
            signs[pre][neuron] = side
            journal = _child(node.journal, Decision("neuron", pre, neuron, int(side > 0)))
            rest = (np.full(1, np.inf), np.full(1, share / 2), np.array([journal], object))
            part = Parts(*box, tuple(signs), *rest)
            self.waiting = Parts.joined([self.waiting, part])

    def _node(self, found: BoundedBoxes, at: int, journal: Journal | None) -> SearchNode:
        """The node of a box, with its bounds: then it needs none of its own."""
        low, high = found.bounds.output_lower[:, at].copy(), found.bounds.output_upper[:, at].copy()
        known = replace(found.of(at), output_lower=low, output_upper=high, ball=self.within.ball)
        return SearchNode(dict(enumerate(known.signs)), known, bounded=True, journal=journal)

    def _leave(self, node: SearchNode) -> None:
        """Leaves a node to the search, with its bounds while there is room for them."""
        if len(self.leaves) * sum(block.size for block in self.query.program.blocks) >= KEPT:
            within = boxed(self.within, node.within.input_lower, node.within.input_upper)
            node = SearchNode(node.signs, within, journal=node.journal)
        self.leaves.append(node)


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
    journals = [
        [_child(journal, Decision("input", -1, entry, side, where=where)) for side in (0, 1)]
        for journal, entry, where in zip(parts.journals, inputs.tolist(), middle.tolist(), strict=True)
    ]
    lower, upper = np.array(journals, object).reshape(-1, 2).T
    low, high = parts.low.copy(), parts.high.copy()
    low[at], high[at] = middle, middle
    half = replace(parts, before=open_.astype(np.float64), share=parts.share / 2)
    return [replace(half, high=high, journals=lower), replace(half, low=low, journals=upper)]


def _child(journal: Journal | None, decision: Decision) -> Journal | None:
    """The journal of a part that a decision makes, where that is recorded."""
    if journal is None:
        return None
    journal.bare = True  # what bounds say of a part that they do not close, they say better of its parts
    journal.children.append((decision, Journal(unnoted=True)))
    return journal.children[-1][1]
