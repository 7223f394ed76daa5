"""The search for a proof: like `tree`, but over contexts of the checker, drafted in floats at first.

What the draft turns out to need goes through the exact checker, so what is written is what was checked; where
that refuses something, the search is made again over exact contexts. In each context: bounds by
backward passes where they help, alternatives of clauses refuted, then the linear relaxation; signs that the
solver's float bounds decide are proven one by one by refuting the other side in it. What stays open is split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.program import AbsBlock
from salver.proofs.context import Context
from salver.proofs.graph import STEP
from salver.proofs.record import QueryFiles
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.hybrid.branching import branching_neuron
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.hybrid.node import SearchNode, tighten
from salver.solvers.journal import Journal
from salver.solvers.proving.backwards import read_backwards
from salver.solvers.proving.conjunctions import CASES_AT_MOST, bound_and_drop
from salver.solvers.proving.deductions import Deductions
from salver.solvers.proving.draft import DraftChecker
from salver.solvers.proving.needed import confirmed
from salver.solvers.proving.reduction import open_program, take_reduced
from salver.solvers.proving.replay import children, replay
from salver.solvers.proving.rows import Places, Rows, without_comparisons
from salver.solvers.query import Budget, Query

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

PROBE_AT_MOST = 100
"""Open neurons up to which all of them are tried where float bounds decide none."""
PATIENCE = 15
"""Refutations that fail in a row before the other neurons of a pre-activation are left for later."""
WORTH_REPEATING = 0.2
"""Share of the open neurons whose decision makes another round pay."""

MOST_DRAFTED = 300
"""Places of numbers up to which floats have room for all that is multiplied."""


def prove(
    query: Query, budget: Budget, files: QueryFiles | None = None, journal: Journal | None = None
) -> list[Any] | None:
    """The steps of a proof that no x satisfies the property; None when none was found in time.

    Args:
        journal: what `hybrid` showed; the proof then goes its way.
        files: the files of the query, where the proof is to be about them.

    Raises:
        UnsupportedNetworkError, UnsupportedPropertyError, UnsupportedQueryError: see `stated`.
    """
    draft = ProofSearch(query, files, drafted=True, budget=budget)
    if draft.start.unit.places <= MOST_DRAFTED and draft.run(journal) is not None:
        steps = draft.confirmed()
        if steps is not None:
            return steps
    return ProofSearch(query, files, budget=budget).run(journal)


@dataclass(eq=False)
class ProofSearch(Deductions):
    budget: Budget = field(kw_only=True)

    def confirmed(self) -> list[Any] | None:
        """What is needed of a draft, as far as the exact checker takes it."""
        assert isinstance(self.checker, DraftChecker)
        return confirmed(self.checker)

    def run(self, journal: Journal | None) -> list[Any] | None:
        root = self.checker.root.copy() if isinstance(self.checker, DraftChecker) else self.start
        program = open_program(self.query) if journal is None else journal.program
        if journal is not None and journal.at_root:
            journal = None
        if program is not None and not root.closed and not take_reduced(self, root, program):
            journal = None
        walk = [(root, journal)]
        while walk:
            context, journal = walk.pop()
            if context.closed:
                continue
            if self.budget.over or (isinstance(self.checker, DraftChecker) and self.checker.is_too_large):
                return None
            if journal is not None and replay(self, context, journal, self.budget):
                walk += children(self, context, journal)
                continue
            step = None if context.closed else self._work(context)
            if context.closed:
                continue
            if step is None:
                return None
            walk += [(branch, None) for branch in self.apply(context, step)]
        return self.steps

    def _work(self, context: Context) -> Any:
        """Deduces what it can in one context; the step that splits it, None where nothing is to split."""
        hopes: list[tuple[int, int, int]] = []
        again = True
        while again and not context.closed and not self.budget.over:
            bound_and_drop(self, context)
            if not context.closed and (read_backwards(self, context) or self.cut(context)):
                continue
            again = not context.closed and self._relax(context, hopes)
        if not context.closed:
            self.bound(context, 0, len(self.program.blocks))
        return None if context.closed else self._split(context)

    def _relax(self, context: Context, hopes: list[tuple[int, int, int]]) -> bool:
        """Closes the context by its linear relaxation, or decides signs; whether to go another round.

        Args:
            hopes: sides that float bounds refuted and that the relaxation could not yet; renewed here.
        """
        relaxation = self.relax(context)
        if relaxation is None:
            return False
        bounds, where = self.bounds(context), self.places(context)
        hopes[:] = [hope for hope in hopes if bounds.signs[hope[0]][hope[1]] == 0] or self._candidates(
            bounds, where
        )
        decided = self._decide(context, relaxation, where, hopes)
        return decided > 0 and (decided < len(hopes) or decided > WORTH_REPEATING * bounds.undecided)

    def _candidates(self, bounds: Bounds, where: Places) -> list[tuple[int, int, int]]:
        """Pre-activation, entry and side to refute: what float bounds decide, or all where few are open."""
        node = SearchNode(dict(enumerate(bounds.signs)), bounds)
        found = tighten(self.query.asking(where.prop), node)
        if found is None and where.prop.comparisons and bounds.undecided > PROBE_AT_MOST:
            found = tighten(self.query.asking(without_comparisons(where.prop)), node)
        candidates: list[tuple[int, int, int]] = []
        for pre, before in enumerate(bounds.signs):
            after = before if found is None else found.signs[pre]
            for entry in np.flatnonzero((before == 0) & (after != 0)).tolist():
                candidates.append((pre, entry, 0 if after[entry] > 0 else 1))
        if not candidates and bounds.undecided <= PROBE_AT_MOST:
            for pre, before in enumerate(bounds.signs):
                for entry in np.flatnonzero(before == 0).tolist():
                    candidates += [(pre, entry, 0), (pre, entry, 1)]
        return candidates

    def _decide(
        self,
        context: Context,
        relaxation: LinearRelaxation,
        where: Places,
        candidates: list[tuple[int, int, int]],
    ) -> int:
        """Refutes sides in the relaxation; returns how many signs were decided."""
        found: dict[int, tuple[Rows, list[int], list[int]]] = {}
        failures = dict.fromkeys((pre for pre, _, _ in candidates), 0)
        for pre, entry, side in candidates:
            if self.budget.over:
                break
            if failures[pre] > PATIENCE:
                continue
            column = self._column(relaxation, pre, entry)
            if column is None:
                continue
            relaxation.fix(column, float(side))
            if relaxation.refuted():
                rows, at, sides = found.setdefault(pre, (self.rows(), [], []))
                rows.add_refutation(len(at), relaxation.refutation(where.atoms), where)
                at.append(entry)
                sides.append(side)
                failures[pre] = 0
            else:
                failures[pre] += 1
            relaxation.release(column)
        decided = 0
        for pre, (rows, at, sides) in found.items():
            neurons = self.program.pre[pre]
            step = {"do": "decide", "switch": self.graph.root(neurons.name)}
            places = neurons.in_network(np.array(at, np.intp)).tolist()
            decided += self.conclude(
                context, step, {"at": places, "side": sides}, rows, np.ones(len(at), bool)
            )
            if context.closed:
                break
        return decided

    def _column(self, relaxation: LinearRelaxation, pre: int, entry: int) -> int | None:
        for origin in relaxation.model.columns_of:
            if origin.kind == "pre" and origin.number == pre:
                place = np.flatnonzero(origin.entries == entry)
                return int(relaxation.model.neurons[pre][place[0]]) if len(place) else None
        return None

    def _split(self, context: Context) -> Any:
        """The step that splits a context; None when all is decided."""
        bounds = self.bounds(context)
        sizes = [len(left) for left in context.alternatives]
        several = [clause for clause, size in enumerate(sizes) if size > 1]
        clause = min(several, key=lambda c: sizes[c]) if several else None
        chosen = branching_neuron(self.program, bounds)
        if clause is not None and (chosen is None or sizes[clause] <= CASES_AT_MOST):
            return {"do": "case", "clause": clause}
        if chosen is not None:
            switch, entry = self.switch(*chosen)
            return {"do": "split", "switch": switch, "at": entry}
        return self._split_absolute(context)

    def _split_absolute(self, context: Context) -> Any:
        """Splits on the sign of the widest argument of an Abs."""
        best, widest = None, 0
        for block in self.program.blocks:
            if isinstance(block, AbsBlock):
                name = self.graph.root(block.source)
                reach = np.minimum(-context.low[name], context.high[name])
                entry = int(np.argmax(reach))
                if (
                    reach[entry] > widest
                    and context.low[STEP + name][entry] != context.high[STEP + name][entry]
                ):
                    best, widest = {"do": "split", "switch": name, "at": entry}, reach[entry]
        return best
