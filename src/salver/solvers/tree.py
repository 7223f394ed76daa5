"""Branch and bound that decides mask and ReLU together, with exact leaves.

A node is bounded (`node.tighten`); what is left goes to the mixed-integer back end as soon as few enough
neurons are open for it to be quick, else the node is split. How many are few enough is learnt while
searching: an attempt that runs out of its allowance lowers the threshold, a success raises it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from salver.solvers.bounds import Bounds
from salver.solvers.milp import backend, solve_within
from salver.solvers.node import Node, children, tighten
from salver.solvers.query import Budget, Options, Query, Result, Verdict

FIRST_THRESHOLD = 25
ALLOWANCE_S = 1.0
LEAF_BACKEND = "scip"
"""HiGHS is quicker on whole small queries, but was seen to run past its time limit by tens of seconds."""
_REPORT_EVERY_S = 5.0


@dataclass
class Statistics:
    """Counts for the log: nodes bounded, nodes closed by bounds, attempts of the back end, its successes."""

    nodes: int = 0
    closed: int = 0
    attempts: int = 0
    solved: int = 0
    open: int = 0
    printed: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        return (
            f"nodes {self.nodes} closed-by-bounds {self.closed} back-end {self.solved}/{self.attempts} "
            f"open {self.open}"
        )

    def maybe_print(self) -> None:
        now = time.monotonic()
        if now - self.printed >= _REPORT_EVERY_S:
            self.printed = now
            print(self.line(), file=sys.stderr, flush=True)


Donate = Callable[[list[Node]], None]
"""Called between nodes with the pending ones; may take some away for others."""


def search(
    query: Query, budget: Budget, options: Options, pending: list[Node], donate: Donate = lambda _: None
) -> Result:
    """Decides the part of a query that the pending nodes cover, by depth-first search.

    `unsat` when every leaf is closed; `sat` only with a confirmed witness; `unknown` when some leaf has
    solutions of its closed relaxation but none that survives replay.

    Raises:
        UnsupportedQueryError: operators outside `Program`.
    """
    return _Search(query, budget, options).run(pending, donate)


@dataclass
class _Search:
    query: Query
    budget: Budget
    options: Options
    threshold: float = FIRST_THRESHOLD
    doubt: str = ""
    statistics: Statistics = field(default_factory=Statistics)

    def run(self, pending: list[Node], donate: Donate) -> Result:
        while pending:
            if self.budget.over:
                print(self.statistics.line(), file=sys.stderr)
                return Result(Verdict.TIMED_OUT)
            donate(pending)
            self.statistics.open = len(pending)
            self.statistics.maybe_print()
            node = pending.pop()
            self.statistics.nodes += 1
            bounds = tighten(self.query, node)
            if bounds is None:
                self.statistics.closed += 1
                continue
            result = self._attempt(bounds)
            if result is not None and result.verdict is Verdict.SAT:
                return result
            if result is None:
                pending += self._split(bounds, node)
        print(self.statistics.line(), file=sys.stderr)
        return Result(Verdict.UNKNOWN, reason=self.doubt) if self.doubt else Result(Verdict.UNSAT)

    def _split(self, bounds: Bounds, node: Node) -> list[Node]:
        nodes = children(bounds, node.depth)
        if not nodes:
            self.doubt = self.doubt or "a leaf was left undecided when the time was over"
        return nodes

    def _attempt(self, bounds: Bounds) -> Result | None:
        """The back end's answer, or None when the node is to be split."""
        open_ = bounds.undecided
        first_decided = not (np.asarray(bounds.signs[0]) == 0).any() if bounds.signs else True
        if open_ and open_ > self.threshold and not (first_decided and open_ <= 2 * self.threshold):
            return None
        seconds = self.budget.left if open_ == 0 else min(ALLOWANCE_S, self.budget.left)
        self.statistics.attempts += 1
        result = solve_within(
            self.query, bounds, Budget(seconds), self.options, backend(self.options.backend or LEAF_BACKEND)
        )
        match result.verdict:
            case Verdict.TIMED_OUT:
                self.threshold = min(self.threshold, 0.8 * open_)
                return None
            case Verdict.UNKNOWN:
                self.doubt = result.reason
        self.statistics.solved += 1
        self.threshold = max(self.threshold, 1.1 * open_)
        return result
