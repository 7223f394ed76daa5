"""The search for a proof: like `tree`, but every deduction goes through the checker.

The checker's own contexts are the state, so what is written is what was checked. In each context: bounds by
backward passes where they help, alternatives of clauses refuted, then the linear relaxation; signs that the
solver's float bounds decide are proven one by one by refuting the other side in it. What stays open is split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.program import AbsBlock, Affine, GateBlock, MaskBlock, ReluBlock
from salver.proofs.checker import MOST_AT_ONCE, Checker, RejectedError
from salver.proofs.context import Context
from salver.proofs.graph import STEP, Graph
from salver.solvers.bounds import Bounds, propagate
from salver.solvers.branching import branching_neuron
from salver.solvers.linear import LinearRelaxation
from salver.solvers.milp_model import build, slack_rows
from salver.solvers.node import Node, picked, tighten
from salver.solvers.proving.certified import certified
from salver.solvers.proving.lines import minimise
from salver.solvers.proving.rows import Places, Rows, places, without_comparisons
from salver.solvers.query import Budget, Query

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

WORTH_BOUNDING = 0.9
"""A bound is proven when it leaves at most this share of a range, or decides a sign."""
PROBE_AT_MOST = 100
PATIENCE = 15
WORTH_REPEATING = 0.2
"""Share of the open neurons whose decision makes another round pay."""
CASES_AT_MOST = 64
"""Open conjunctions up to which a clause is split before neurons are."""


def prove(query: Query, budget: Budget) -> list[Any] | None:
    """The steps of a proof that no x satisfies the property; None when none was found in time.

    Raises:
        UnsupportedNetworkError: see `Graph`.
        UnsupportedQueryError: see `Program`.
    """
    return _Search(query, budget).run()


@dataclass(eq=False)
class _Search:
    query: Query
    budget: Budget
    steps: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.program = self.query.program
        self.graph = Graph(self.query.network)
        self.checker = Checker(self.graph, self.query.prop)

    def run(self) -> list[Any] | None:
        walk = [Context.start(self.graph, self.query.prop)]
        while walk:
            context = walk.pop()
            if context.closed:
                continue
            if self.budget.over:
                return None
            step = self._work(context)
            if context.closed:
                continue
            if step is None:
                return None
            self.steps.append(step)
            walk += self.checker.apply(context, step)
        return self.steps

    def _work(self, context: Context) -> Any:
        """Deduces what it can in one context; the step that splits it, None where nothing is to split."""
        hopes: list[tuple[int, int, int]] = []
        again = True
        while again and not context.closed and not self.budget.over:
            self._bound(context)
            if not context.closed:
                self._drop(context)
            again = not context.closed and self._relax(context, hopes)
        if not context.closed:
            self._bound(context)
        return None if context.closed else self._split(context)

    def _apply(self, context: Context, step: Any) -> None:
        self.checker.apply(context, step)
        self.steps.append(step)

    def _rows(self) -> Rows:
        return Rows(self.program, self.graph, self.query.prop)

    def _bound(self, context: Context) -> None:
        """Bounds of pre-activations and gated values, in order, wherever backward passes improve them."""
        bounds = certified(self.program, context)
        box = (bounds.input_lower, bounds.input_upper)
        fixed = dict(enumerate(bounds.signs))
        goal = propagate(self.program, *box, fixed=fixed, within=bounds, outputs=False)
        if goal.infeasible:
            return
        seen: set[int] = set()
        for number, block in enumerate(self.program.blocks):
            match block:
                case ReluBlock() | MaskBlock():
                    pre = block.pre
                    if pre in seen:
                        continue
                    seen.add(pre)
                    ranges = (bounds.pre_lower[pre], bounds.pre_upper[pre])
                    better = (goal.pre_lower[pre], goal.pre_upper[pre])
                    name, affine = self.graph.root(self.program.pre[pre].name), self.program.pre[pre].affine
                    open_ = bounds.signs[pre] == 0
                case GateBlock() | AbsBlock():
                    ranges = (bounds.value_lower[number], bounds.value_upper[number])
                    better = (goal.value_lower[number], goal.value_upper[number])
                    name, affine = self.graph.root(block.source), block.value
                    open_ = (ranges[0] < 0) & (ranges[1] > 0)
                    if isinstance(block, GateBlock):
                        mask = self.program.blocks[block.mask]
                        assert isinstance(mask, MaskBlock)
                        open_ = bounds.signs[mask.pre] == 0
            if self._bound_tensor(context, bounds, name, affine, _worth(ranges, better, open_)):
                if context.closed:
                    return
                bounds = certified(self.program, context)

    def _bound_tensor(
        self, context: Context, bounds: Bounds, name: str, affine: Affine, entries: Indices
    ) -> bool:
        if not len(entries):
            return False
        for part in np.array_split(entries, -(-2 * len(entries) // MOST_AT_ONCE)):
            rows = self._rows()
            both = _stacked(picked(affine, part, 1.0), picked(affine, part, -1.0))
            self._minimise(bounds, both, rows, range(2 * len(part)))
            step = {
                "do": "bound",
                "tensor": name,
                "at": [*part.tolist(), *part.tolist()],
                "lower": [1] * len(part) + [0] * len(part),
                "by": rows.pick(np.ones(2 * len(part), bool)),
            }
            self._apply(context, step)
        return True

    def _minimise(self, bounds: Bounds, affine: Affine, rows: Rows, lemmas: range) -> Array:
        """Lower bounds of affine rows; adds what shows the better of both passes to `rows`."""
        found: list[list[tuple[str, int, Array]]] = []
        values = []
        gates = any(isinstance(block, GateBlock) for block in self.program.blocks)
        for pairing in (False, True) if gates else (False,):
            record: list[tuple[str, int, Array]] = []
            found.append(record)
            values.append(minimise(self.program, bounds, affine, pairing, record))
        best = np.argmax(np.stack(values), axis=0)
        for choice, record in enumerate(found):
            for kind, number, multipliers in record:
                for row in np.flatnonzero((best == choice) & multipliers.any(axis=1)):
                    entries = np.flatnonzero(multipliers[row])
                    rows.add(kind, number, lemmas[row], entries, multipliers[row, entries])
        return np.asarray(np.max(np.stack(values), axis=0))

    def _drop(self, context: Context) -> None:
        """Refutes conjunctions by one of their atoms, with backward passes."""
        bounds = certified(self.program, context)
        for clause, alternatives in enumerate(self.query.prop.clauses):
            if len(alternatives) == 1 and all(atom.other is None for atom in alternatives[0]):
                continue
            places_ = [
                (clause, part, number)
                for part in sorted(context.alternatives[clause])
                for number in range(len(alternatives[part]))
            ]
            for start in range(0, len(places_), MOST_AT_ONCE // 2):
                self._drop_some(context, bounds, clause, places_[start : start + MOST_AT_ONCE // 2])
                if context.closed:
                    return

    def _drop_some(
        self, context: Context, bounds: Bounds, clause: int, places_: list[tuple[int, int, int]]
    ) -> None:
        atoms = [self.query.prop.clauses[c][part][number] for c, part, number in places_]
        slack = slack_rows(self.program.output, atoms)
        rows = self._rows()
        least = self._minimise(bounds, picked(slack, np.arange(slack.size), -1.0), rows, range(slack.size))
        for lemma, place in enumerate(places_):
            rows.add_atom(lemma, place, 1.0)
        keep = least > 0
        first: set[int] = set()
        for lemma in np.flatnonzero(keep).tolist():
            keep[lemma] = places_[lemma][1] not in first
            first.add(places_[lemma][1])
        self._conclude(
            context, {"do": "drop", "clause": clause}, {"parts": [p[1] for p in places_]}, rows, keep
        )

    def _conclude(
        self, context: Context, step: dict[str, Any], lists: dict[str, list[Any]], rows: Rows, keep: Any
    ) -> int:
        """Applies the deductions of a step that hold; returns how many."""
        for _ in range(2):
            if not keep.any():
                return 0
            chosen = {k: [v for v, k_ in zip(vs, keep, strict=True) if k_] for k, vs in lists.items()}
            made = {**step, **chosen, "by": rows.pick(keep)}
            holds = self.checker.contradictions(context, made)
            if holds.all():
                self._apply(context, made)
                return int(keep.sum())
            keep = keep.copy()
            keep[np.flatnonzero(keep)[~holds]] = False
        return 0

    def _relax(self, context: Context, hopes: list[tuple[int, int, int]]) -> bool:
        """Closes the context by its linear relaxation, or decides signs; whether to go another round.

        Args:
            hopes: sides that float bounds refuted and that the relaxation could not yet; renewed here.
        """
        bounds = certified(self.program, context)
        where = places(self.query.prop, context.alternatives)
        model = build(self.program, where.prop, bounds)
        if model is None:
            self._out_of_range(context, bounds, where)
            return False
        relaxation = LinearRelaxation(model)
        if relaxation.refuted():
            rows = self._rows()
            rows.add_infeasible(0, relaxation, where)
            if self._conclude(context, {"do": "close"}, {}, rows, np.ones(1, bool)):
                return False
        hopes[:] = [hope for hope in hopes if bounds.signs[hope[0]][hope[1]] == 0] or self._candidates(
            bounds, where
        )
        decided = self._decide(context, relaxation, where, hopes)
        return decided > 0 and (decided < len(hopes) or decided > WORTH_REPEATING * bounds.undecided)

    def _out_of_range(self, context: Context, bounds: Bounds, where: Places) -> bool:
        """Closes a context in which an output's own bounds leave a clause no value."""
        output = self.graph.network.output
        for side, opposite, kind in (
            (where.low, bounds.output_upper, "high"),
            (where.high, bounds.output_lower, "low"),
        ):
            for entry, (clause, part, number) in side.items():
                limit = self.query.prop.clauses[clause][part][number].constant
                if (opposite[entry] < limit) if kind == "high" else (opposite[entry] > limit):
                    step = {
                        "do": "close",
                        "by": [
                            ["atom", "", [0], [[clause, part, number]], [1.0]],
                            [kind, output, [0], [entry], [1.0]],
                        ],
                    }
                    if self.checker.contradictions(context, step).all():
                        self._apply(context, step)
                        return True
        return False

    def _candidates(self, bounds: Bounds, where: Places) -> list[tuple[int, int, int]]:
        """Pre-activation, entry and side to refute: what float bounds decide, or all where few are open."""
        node = Node(dict(enumerate(bounds.signs)), bounds)
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
                rows, at, sides = found.setdefault(pre, (self._rows(), [], []))
                rows.add_infeasible(len(at), relaxation, where)
                at.append(entry)
                sides.append(side)
                failures[pre] = 0
            else:
                failures[pre] += 1
            relaxation.release(column)
        decided = 0
        for pre, (rows, at, sides) in found.items():
            switch = self.graph.root(self.program.pre[pre].name)
            step = {"do": "decide", "switch": switch}
            decided += self._conclude(context, step, {"at": at, "side": sides}, rows, np.ones(len(at), bool))
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
        bounds = certified(self.program, context)
        sizes = [len(left) for left in context.alternatives]
        several = [clause for clause, size in enumerate(sizes) if size > 1]
        clause = min(several, key=lambda c: sizes[c]) if several else None
        chosen = branching_neuron(self.program, bounds)
        if clause is not None and (chosen is None or sizes[clause] <= CASES_AT_MOST):
            return {"do": "case", "clause": clause}
        if chosen is not None:
            pre, entry = chosen
            return {"do": "split", "switch": self.graph.root(self.program.pre[pre].name), "at": entry}
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


def _worth(ranges: tuple[Array, Array], better: tuple[Array, Array], open_: Any) -> Indices:
    """Entries [k] of open ones whose better range is much narrower or decides a sign."""
    width = ranges[1] - ranges[0]
    narrower = better[1] - better[0] <= WORTH_BOUNDING * width
    decides = (better[0] > 0) | (better[1] <= 0)
    return np.flatnonzero(open_ & (narrower | decides) & (width > 0))


def _stacked(first: Affine, second: Affine) -> Affine:
    """Rows of both."""
    terms = {
        block: np.vstack([np.asarray(_dense(part.terms[block])) for part in (first, second)])
        for block in first.terms
    }
    return Affine(terms, np.concatenate([first.constant, second.constant]))


def _dense(matrix: Any) -> Array:
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())


__all__ = ["RejectedError", "prove"]
