"""Branch and bound that decides mask and ReLU together.

A node is bounded (`node.tighten`), then its linear relaxation is solved where few enough neurons are open.
Where still fewer are, both sides of each are probed there (`probing`). What remains open is split: on a
neuron, and once all are decided on what is left to choose, until a part is one linear program. How few are
few enough is learnt while searching: success raises a threshold, failure lowers it. With many inputs and
open neurons a relaxation takes several times as long as bounds and rarely closes a part.

A part is closed by a certificate alone: by bounds that are rounded outwards, or by multipliers that are
evaluated again with an allowance for rounding. A mixed-integer back end looks for points where hardly any
neuron is open; that it finds none closes nothing. A part that is one linear program, without a certificate
and without a point that survives replay, makes the answer `unknown`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from salver.solvers.bounding.arrays import Device
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.hybrid.class_tree import ClassTree
from salver.solvers.hybrid.interior import interior_point
from salver.solvers.hybrid.lookahead import LookAhead
from salver.solvers.hybrid.node import SearchNode, children, tighten
from salver.solvers.hybrid.probing import Probed, probe
from salver.solvers.hybrid.turns import AttackTurns, CoverTurns
from salver.solvers.journal import Decision, Journal
from salver.solvers.milp.model import build
from salver.solvers.milp.solver import proposing, solve_within
from salver.solvers.query import Budget, Options, Query, Result, Verdict
from salver.solvers.watchdog import is_out_of_memory

Array = npt.NDArray[np.float64]

RELAX_FIRST = 100
"""Open neurons up to which the linear relaxation is always solved at first."""
PROBE_FIRST = 50
"""Open neurons up to which probing is tried at first."""
LAST_LAYER = 2.0
"""Where only the last layer is open, probing pays for this many times as many neurons."""
LEAF_FIRST = 12
"""Open neurons up to which the mixed-integer back end is tried at first."""
MOST_RECORDED = 50_000
"""Refutations that are kept for a proof, of a few kB each; of a larger search the proof finds its own."""
LIKE_ONE = 500
"""Numbers that passes keep which count as a refutation."""
ALLOWANCE_S = 1.0
RELAXING_SHARE = 0.25
"""Of the seconds for bounds, up to which parts with more open neurons are relaxed, too."""
LEAF_BACKEND = "scip"
"""HiGHS is quicker on whole small queries, but was seen to run past its time limit by tens of seconds."""
THIN = "a part has neither a certificate nor a point that survives replay: it is decided by rounding"
_REPORT_EVERY_S = 5.0


@dataclass
class Statistics:
    """Counts for the log: nodes, those closed by bounds and by linear relaxations, linear programs solved,
    attempts of the mixed-integer back end and the points it found, pending nodes."""

    nodes: int = 0
    closed: int = 0
    refuted: int = 0
    programs: int = 0
    attempts: int = 0
    solved: int = 0
    open: int = 0
    printed: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        return (
            f"nodes {self.nodes} closed-by-bounds {self.closed} closed-by-lp {self.refuted} "
            f"lps {self.programs} back-end {self.solved}/{self.attempts} open {self.open}"
        )

    def maybe_print(self) -> None:
        now = time.monotonic()
        if now - self.printed >= _REPORT_EVERY_S:
            self.printed = now
            print(self.line(), file=sys.stderr, flush=True)


Donate = Callable[[list[SearchNode]], None]
"""Called between nodes with the pending ones; may take some away for others."""


def search(
    query: Query,
    budget: Budget,
    options: Options,
    pending: list[SearchNode],
    donate: Donate = lambda _: None,
    attack: AttackTurns | None = None,
    cover: CoverTurns | None = None,
    classes: ClassTree | None = None,
) -> Result:
    """Decides the part of a query that the pending nodes cover, by depth-first search.

    `unsat` when every leaf is closed; `sat` only with a confirmed witness; `unknown` when some leaf has
    solutions of its closed relaxation but none that survives replay.

    Args:
        cover: of the same part; where it ends first, what it left is all that is searched.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    return TreeSearch(query, budget, options, attack, cover, classes).run(pending, donate)


@dataclass
class _Threshold:
    """A number of open neurons, learnt: raised by success, lowered by failure."""

    value: float

    def success(self, size: float) -> None:
        self.value = max(self.value, 1.2 * size)

    def failure(self, size: float) -> None:
        self.value = min(self.value, 0.9 * size)


@dataclass
class TreeSearch:
    query: Query
    budget: Budget
    options: Options
    attack: AttackTurns | None = None
    cover: CoverTurns | None = None
    classes: ClassTree | None = None
    relaxing: _Threshold = field(default_factory=lambda: _Threshold(RELAX_FIRST))
    probing: _Threshold = field(default_factory=lambda: _Threshold(PROBE_FIRST))
    leaf: _Threshold = field(default_factory=lambda: _Threshold(LEAF_FIRST))
    doubt: str = ""
    statistics: Statistics = field(default_factory=Statistics)
    recorded: int = 0
    bounding_s: float = 0.0
    relaxing_s: float = 0.0

    def __post_init__(self) -> None:
        self.ahead = None
        if self.options.device != "cpu":
            self.ahead = LookAhead(self.query.program, Device(self.options.device))

    def run(self, pending: list[SearchNode], donate: Donate) -> Result:
        while pending:
            if self.budget.over:
                print(self.statistics.line(), file=sys.stderr)
                return Result(Verdict.TIMED_OUT)
            if self.classes is not None and self.classes.turn(self.budget):
                return self.classes.result
            donate(pending)
            if self.cover is not None:
                witness = self.cover.turn(self.budget, self.attack)
                if witness is not None:
                    return Result(Verdict.SAT, witness)
                if self.cover.ended:
                    self._adopt(self.cover, pending)
                    continue
            self.statistics.open = len(pending)
            self.statistics.maybe_print()
            self.statistics.nodes += 1
            if self.ahead is not None and not pending[-1].bounded:
                self.ahead.bound(pending)
            outcome = self._node(pending.pop())
            if isinstance(outcome, Result):
                if outcome.verdict is Verdict.SAT:
                    return outcome
            else:
                pending += outcome
        print(self.statistics.line(), file=sys.stderr)
        return Result(Verdict.UNKNOWN, reason=self.doubt) if self.doubt else Result(Verdict.UNSAT)

    def _adopt(self, cover: CoverTurns, pending: list[SearchNode]) -> None:
        """Puts what a cover has left in the place of the pending nodes, where it closed enough."""
        print(f"cover: {cover.cover.line()}", file=sys.stderr)
        self.cover = None
        if cover.pays:
            pending[:], self.doubt = cover.cover.handed_over(), ""

    def _node(self, node: SearchNode) -> Result | list[SearchNode]:
        """A verdict about the node, or the nodes that it is split into."""
        query = node.query(self.query)
        while True:
            bounds = self._tighten(query, node)
            if bounds is None:
                self.statistics.closed += 1
                return Result(Verdict.UNSAT)
            allowed = self._allowed(bounds.undecided)
            if allowed.over and bounds.undecided:
                break
            probed = self._probe(query, bounds, node, allowed)
            if node.journal is not None:
                node.journal.refuted += probed.refuted
                node.journal.closing = probed.closing
                self.recorded += len(probed.refuted)
            if probed.closed:
                self.statistics.refuted += 1
                return Result(Verdict.UNSAT)
            witness = None if probed.point is None else self.query.confirm_near(probed.point)
            if witness is not None:
                return Result(Verdict.SAT, witness)
            if self.attack is not None and probed.point is not None:
                self.attack.points.append(probed.point)
            node = replace(node, signs=probed.signs, within=bounds, rows=probed.rows, bounded=False)
            if not probed.decided or self.budget.over:
                break
        if self.attack is not None:
            witness = self.attack.turn(self.budget)
            if witness is not None:
                return Result(Verdict.SAT, witness)
        if not bounds.undecided:
            witness = self._inside(query, bounds, probed.point)
            if witness is not None:
                return Result(Verdict.SAT, witness)
        small = bounds.undecided <= (0 if node.tried else self.leaf.value)
        if query.prop.ball is not None:
            # With a quadratic constraint the back end takes seconds, where a split takes milliseconds.
            small = not children(query, bounds, node)
        if small and not node.empty:
            found = self._ask(query, bounds)
            if found.verdict is Verdict.SAT:
                return found
            node = replace(
                node,
                empty=found.verdict is Verdict.UNSAT,
                tried=node.tried or found.verdict is Verdict.UNKNOWN,
            )
        nodes = self._ordered(children(query, bounds, node))
        if not nodes:
            self.doubt = self.doubt or THIN
        return nodes if node.journal is None else _recorded(node.journal, nodes)

    def _tighten(self, query: Query, node: SearchNode) -> Bounds | None:
        """Bounds of a node; the seconds for them are counted."""
        begun = time.monotonic()
        bounds = self._recorded_bounds(query, node)
        self.bounding_s += time.monotonic() - begun
        return bounds

    def _recorded_bounds(self, query: Query, node: SearchNode) -> Bounds | None:
        """Bounds of a node, whose passes are kept as long as there is room."""
        if node.journal is None or self.recorded >= MOST_RECORDED:
            return tighten(query, replace(node, journal=None), self.options.without)
        before = len(node.journal.passes)
        bounds = tighten(query, node, self.options.without)
        self.recorded += sum(noted.numbers for noted in node.journal.passes[before:]) // LIKE_ONE
        return bounds

    def _ordered(self, nodes: list[SearchNode]) -> list[SearchNode]:
        """The nodes, those with the attack's closest point last: they are searched first."""
        point = None if self.attack is None else self.attack.descent.closest
        if point is None or not nodes or nodes[0].decision is None or nodes[0].decision.kind != "neuron":
            return nodes
        _, pre, _ = self.query.program.evaluate(point[None])
        return sorted(nodes, key=lambda node: _is_in(node.decision, pre))

    def _allowed(self, undecided: int) -> Budget:
        """For the linear relaxation of a part: all that is left where it is small enough."""
        if undecided and "relaxation" in self.options.without:
            return Budget(0.0)
        if undecided <= self.relaxing.value:
            return Budget(self.budget.left)
        return Budget(min(RELAXING_SHARE * self.bounding_s - self.relaxing_s, self.budget.left))

    def _probe(self, query: Query, bounds: Bounds, node: SearchNode, allowed: Budget) -> Probed:
        """What the relaxation says; its seconds are counted, and up to which size it is solved is learnt."""
        begun = time.monotonic()
        probed = self._relaxed(query, bounds, node, allowed)
        self.relaxing_s += time.monotonic() - begun
        if probed.closed:
            self.relaxing.success(bounds.undecided)
        elif probed.decided < 0.1 * bounds.undecided:
            self.relaxing.failure(bounds.undecided)
        return probed

    def _relaxed(self, query: Query, bounds: Bounds, node: SearchNode, allowed: Budget) -> Probed:
        earlier_open = any((np.asarray(signs) == 0).any() for signs in bounds.signs[:-1])
        size = bounds.undecided / (1.0 if earlier_open else LAST_LAYER)
        sides = 0 < size <= self.probing.value and "probing" not in self.options.without
        try:
            record = node.journal is not None and self.recorded < MOST_RECORDED
            probed = probe(query, bounds, node.rows, allowed, sides, record)
        except Exception as error:  # of the back end, whatever it is: the node is split on
            return self._failed(error, bounds)
        self.statistics.programs += probed.solves
        if sides and probed.closed:
            self.probing.success(size)
        elif sides and probed.decided < 0.1 * bounds.undecided:
            self.probing.failure(size)
        return probed

    def _failed(self, error: Exception, bounds: Bounds) -> Probed:
        if is_out_of_memory(error):
            raise error
        print(f"back end: {type(error).__name__}: {error}", file=sys.stderr)
        return Probed(False, dict(enumerate(bounds.signs)))

    def _inside(self, query: Query, bounds: Bounds, nearest: Array | None) -> Array | None:
        """A witness with room to all limits, where every sign is decided.

        Args:
            nearest: a point of the part; where a ball does not hold the one with most room, a point between
                the two has some.
        """
        try:
            model = build(query.program, query.prop, bounds, exact=True)
            point = None if model is None or model.integer.any() else interior_point(model)
        except Exception as error:
            self._failed(error, bounds)
            return None
        if point is None:
            return None
        if query.prop.ball is not None and nearest is not None:
            point = query.prop.ball.towards(nearest, point)
        return self.query.confirm_near(point)

    def _ask(self, query: Query, bounds: Bounds) -> Result:
        """What the back end says; only a witness that it finds counts."""
        if "backend" in self.options.without:
            return Result(Verdict.TIMED_OUT)
        open_ = bounds.undecided
        self.statistics.attempts += 1
        decide = proposing(self.options.backend or LEAF_BACKEND, self.query.program)
        # Where all is decided nothing is left to split, and the program is linear.
        budget = Budget(min(ALLOWANCE_S, self.budget.left) if open_ else self.budget.left)
        try:
            result = solve_within(query, bounds, budget, self.options, decide)
        except Exception as error:
            self._failed(error, bounds)
            return Result(Verdict.TIMED_OUT)
        if result.verdict is Verdict.TIMED_OUT:
            self.leaf.failure(open_)
            return result
        self.leaf.success(open_)
        if result.witness is None:
            return result
        witness = self.query.confirm(result.witness)
        self.statistics.solved += 1
        return Result(Verdict.UNKNOWN) if witness is None else Result(Verdict.SAT, witness)


def _is_in(decision: Decision | None, pre: Sequence[Array]) -> bool:
    """Whether a point with these pre-activations [1, size] is on the side that a decision takes."""
    assert decision is not None
    return bool(pre[decision.number][0, decision.entry] > 0) == (decision.side == 1)


def _recorded(journal: Journal, nodes: list[SearchNode]) -> list[SearchNode]:
    """The children of a node, each with a journal that hangs on that of the node."""
    made = []
    for node in nodes:
        assert node.decision is not None
        journal.children.append((node.decision, Journal()))
        made.append(replace(node, journal=journal.children[-1][1]))
    return made
