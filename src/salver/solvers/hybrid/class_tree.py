"""A second tree beside the search, which asks about the class alone and leaves the saliency out.

Where no point of the box has another class, or few have, the map says little, and the network's own bounds
close a part in milliseconds (`ClassDual`). On wide convolutional networks a node of the search takes seconds.
The tree takes turns with the search until either is done, until it would take too long, or until it
meets a point of another class.

Where the network alone takes long to bound (`node.class_alone`), the tree has its first turn before the map
is bounded at all. Else it starts from the ranges and signs of the root, which the map had its say in. Depth
first, the parts nearest to being closed first; a part is closed by a certified bound alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.class_dual import ClassDual, Parts, Single
from salver.solvers.bounding.linear_bounds import bound_affine
from salver.solvers.bounding.range_ascent import with_narrower_ranges
from salver.solvers.journal import Decision, Journal
from salver.solvers.query import Budget, Query, Result, Verdict
from salver.solvers.slack import slack_rows
from salver.spec import Atom

BATCH = 16
"""Parts bounded together."""
CELLS = 1 << 22
"""Neurons of all parts that are bounded together, at most; each takes some 150 bytes."""
STEPS, FIRST_STEPS = 5, 30
CANDIDATES = 4
"""Neurons of the highest scores of which both sides are bounded, once, before one of them is split on."""
LEAST_GAIN = 1e-6
"""Of a side, in units of the row: what gains on one side alone is the better for gaining more there."""
SHARE = 0.5
"""Of the time so far, at most, that the tree takes; and of what is left, where it is nearly done."""
WAIT_S = 0.5
"""Many searches are over before; then nothing is set up."""
TRIAL_S, FARTHEST = 3.0, 8.0
"""After this time the tree is given up where the parts closed so far promise this many times what is left."""


@dataclass(eq=False)
class _Pending:
    """A part: a column of `parts`, its bound, depth, the neuron to split it on, and its journal."""

    parts: Parts
    column: int
    bound: float
    depth: float
    neuron: int
    journal: Journal


@dataclass(eq=False)
class ClassTree:
    """
    Attributes:
        closed: every part is closed: the query has no solution.
        over: nothing is left to do.
        nodes: parts bounded so far.
        narrowed: the ranges of all neurons are as narrow as ascent makes them; not with `record`, since a
            proof finds its own.
        wait: seconds from the start until the first turn.
        granted: seconds of turns that are the tree's, whatever its progress.
        spent: seconds of all turns; covered: share of the whole that is closed.
        record: whether to keep what closes each part, for a proof; journal: the splits.
    """

    query: Query
    bounds: Bounds
    record: bool = False
    closed: bool = False
    over: bool = False
    nodes: int = 0
    spent: float = 0.0
    covered: float = 0.0
    journal: Journal = field(default_factory=Journal)
    started: float = field(default_factory=time.monotonic)
    wait: float = WAIT_S
    granted: float = 0.0
    dual: ClassDual | None = None
    narrowed: bool = False
    pending: list[_Pending] = field(default_factory=list)
    units: Single = field(default_factory=lambda: np.zeros(0, np.float32))
    atoms: list[Atom] = field(default_factory=list)
    splits: list[tuple[int, int]] = field(default_factory=list)

    def turn(self, budget: Budget) -> bool:
        """Goes on while it is the tree's turn; whether all is closed."""
        while not self.over and not budget.over:
            now = time.monotonic()
            since = now - self.started
            near = self.spent < SHARE * (self.spent + budget.left) and self._within(SHARE * budget.left)
            if since < self.wait or not (near or self.spent <= max(self.granted, SHARE * since)):
                return False
            # What leaves the range of single precision bounds nothing.
            with np.errstate(all="ignore"):
                if self.dual is None:
                    self._start()
                elif not (self.record or self.narrowed):
                    self._narrow(budget)
                else:
                    self._round()
            if not self.over and not self.pending:
                self.over = self.closed = True
            self.spent += time.monotonic() - now
            if self.spent > TRIAL_S and not self._within(FARTHEST * budget.left):
                self.over = True
        return self.closed

    @property
    def result(self) -> Result:
        """Where all is closed."""
        return Result(Verdict.UNSAT, reason=f"no other class, in {self.nodes} parts")

    def _within(self, seconds: float) -> bool:
        """Whether what is left would take so long at the pace so far."""
        return self.spent * (1.0 - self.covered) <= seconds * self.covered

    def _start(self) -> None:
        """Takes the clause of comparisons with the fewest alternatives, and of each its least likely atom."""
        clauses = [clause for clause in self.query.prop.comparisons if clause and all(clause)]
        clause = min(clauses, key=len, default=())
        self.atoms = [atom for part in clause for atom in part]
        slack = slack_rows(self.query.program.output, self.atoms)
        negative = slack.rows(np.arange(slack.size), -1.0)
        self.dual = ClassDual.over(self.query.program, self.bounds, negative)
        if self.dual is None or not clause:
            self.over = True
            return
        most = bound_affine(self.query.program, self.bounds, slack)[1]
        ends = np.cumsum([0, *(len(part) for part in clause)])
        rows = np.array([a + int(most[a:b].argmin()) for a, b in pairwise(ends)], np.intp)
        self.splits = [(n.pre, entry) for n in self.dual.relus for entry in range(len(n.width))]
        size = np.maximum(np.abs(most - self.dual.rows.constant), np.abs(most))
        self.units = np.where(size > 0.0, size, 1.0).astype(np.float32)
        self._bound_all(rows, self._alternatives(clause), float(np.log2(len(rows))))

    def _narrow(self, budget: Budget) -> None:
        """Narrows the ranges of all neurons, and bounds what is left of the whole by them."""
        assert self.dual is not None
        self.narrowed, self.dual = True, with_narrower_ranges(self.dual, budget)
        left, self.pending = self.pending, []
        rows = np.array([part.parts.rows[part.column] for part in left], np.intp)
        self._bound_all(rows, [part.journal for part in left], left[0].depth)

    def _bound_all(self, rows: npt.NDArray[np.intp], journals: list[Journal], depth: float) -> None:
        """Bounds alternatives by a row each, for the first time."""
        assert self.dual is not None
        for first in range(0, len(rows), self._most):
            if not self.over:
                part = slice(first, first + self._most)
                parts = self.dual.start(rows[part])
                self._bound(parts, journals[part], np.full(len(parts.rows), depth), FIRST_STEPS)

    @property
    def _most(self) -> int:
        """Parts that are bounded together, at most."""
        return max(1, CELLS // max(1, len(self.splits)))

    def _alternatives(self, clause: tuple[tuple[Atom, ...], ...]) -> list[Journal]:
        if len(clause) == 1:
            return [self.journal]
        number = self.query.prop.clauses.index(clause)
        self.journal.children = [
            (Decision("clause", number, part=part), Journal(bare=True)) for part in clause
        ]
        return [journal for _, journal in self.journal.children]

    def _round(self) -> None:
        """Splits the next parts, and bounds both sides of each."""
        count = max(1, min(BATCH, self._most) // 2)
        taken = [self.pending.pop() for _ in range(min(count, len(self.pending)))]
        if any(part.neuron < 0 for part in taken):
            self.over = True  # decided by rounding: the search has the last word
            return
        parts = _joined([part.parts.pick([part.column]) for part in taken] * 2)
        journals, depths = list[Journal](), np.array([part.depth for part in taken] * 2) + 1
        for side in (0, 1):
            for column, part in enumerate(taken):
                pre, entry = self.splits[part.neuron]
                parts.signs[pre][entry, column + side * len(taken)] = 2 * side - 1
                journals.append(Journal(bare=True))
                part.journal.children.append((Decision("neuron", pre, entry, side), journals[-1]))
        self._bound(parts, journals, depths, STEPS)

    def _bound(
        self, parts: Parts, journals: list[Journal], depths: npt.NDArray[np.float64], steps: int
    ) -> None:
        assert self.dual is not None
        units = self.units[parts.rows]
        parts, bounds, scores, points = self.dual.ascended(parts, units, steps)
        if (self.dual.values(points)[np.unique(parts.rows)] < 0.0).any():
            self.over = True  # another class is there: only the map can tell
            return
        self.nodes += len(journals)
        certified = np.zeros(len(journals), bool)
        hopeful = np.flatnonzero(bounds > 0.0)
        if len(hopeful):
            found = self.dual.certified(parts.pick(hopeful), units[hopeful])
            certified[hopeful] = found.bounds > 0.0
            for column in np.flatnonzero(found.bounds > 0.0) if self.record else ():
                at = hopeful[column]
                atom = self.atoms[parts.rows[at]]
                journals[at].closing = self.dual.refutation(found, int(column), atom)
        left = np.flatnonzero(~certified)
        left = left[np.argsort(bounds[left], kind="stable")]
        split = self._chosen(parts.pick(left), bounds[left], scores[:, left])
        self.pending += [
            _Pending(parts, int(at), float(bounds[at]), float(depths[at]), int(neuron), journals[at])
            for at, neuron in zip(left, split, strict=True)
        ]
        self.covered += float(np.exp2(-depths[certified]).sum())

    def _chosen(self, parts: Parts, bounds: Single, scores: Single) -> npt.NDArray[np.intp]:
        """The neuron to split each part on, -1 where none is open.

        Of those with the highest scores it is the one of the largest product of both sides' gains, as in
        strong branching (Achterberg, Koch and Martin, "Branching rules revisited", 2005, sec. 2). What a side
        gains above 0 closes it no better.

        Args:
            parts: whose signs are changed here.
            bounds: of the parts [parts]; scores: of all neurons [neurons, parts].
        """
        assert self.dual is not None
        every, units = np.arange(len(bounds)), self.units[parts.rows]
        best, chosen = np.zeros(len(bounds)), np.full(len(bounds), -1, np.intp)
        for neurons in np.argsort(-scores, axis=0, kind="stable")[:CANDIDATES] if len(bounds) else ():
            gain = np.where(scores[neurons, every] >= 0.0, 1.0, 0.0)
            for side in (-1, 1):
                self._fix(parts, neurons, side)
                gained = np.minimum(self.dual.bounds_of(parts, units), 0.0) - bounds
                gain *= np.fmax(gained / units, LEAST_GAIN)
            self._fix(parts, neurons, 0)
            chosen, best = np.where(gain > best, neurons, chosen), np.maximum(gain, best)
        return chosen

    def _fix(self, parts: Parts, neurons: npt.NDArray[np.intp], side: int) -> None:
        """Sets the sign of one neuron of each part."""
        for column, neuron in enumerate(neurons):
            pre, entry = self.splits[neuron]
            parts.signs[pre][entry, column] = side


def _joined(parts: list[Parts]) -> Parts:
    return Parts(
        np.concatenate([part.rows for part in parts]),
        *(
            tuple(np.concatenate(layer, axis=1) for layer in zip(*columns, strict=True))
            for columns in (
                [part.signs for part in parts],
                [part.slopes for part in parts],
                [part.multipliers for part in parts],
            )
        ),
    )
