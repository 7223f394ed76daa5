"""What a proof deduces in one context: bounds by backward passes, and conjunctions refuted by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine, compact, dense
from salver.nets.program import (
    AbsBlock,
    Block,
    FactorBlock,
    GateBlock,
    MaskBlock,
    PreActivation,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.proofs.record import QueryFiles
from salver.proofs.row_sum import MOST_AT_ONCE
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.propagation import propagate
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.milp.model import build
from salver.solvers.proving.certified import certified, range_of
from salver.solvers.proving.cuts import Cuts, Sharpened, known_cuts, sharpened, stacked
from salver.solvers.proving.draft import DraftChecker
from salver.solvers.proving.lines import Record, by_intervals, minimise
from salver.solvers.proving.rows import Places, Rows, listed, places
from salver.solvers.proving.statement import stated
from salver.solvers.query import Query
from salver.solvers.slack import slack_rows

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

WORTH_BOUNDING = 0.9
"""A bound is proven when it leaves at most this share of a range, or decides a sign."""
WORTH_STATING = 0.02
"""A side of a range is proven when it moves by this share of the range, or decides a sign."""
MOST_CELLS = 1 << 21
"""Numbers of a program's output map up to which all of it is kept dense."""
WORTH_FOLLOWING = 1e-2
"""The same where the journal says that the search has moved the side; what rests on it there, does here."""


@dataclass(eq=False)
class Deductions:
    """Writes steps that leave a context whole; every one goes through the checker.

    Attributes:
        query: whose program may become that of the neurons that are open in the box (`reduction`).
        files: of the query, where the proof is to be about them.
        drafted: steps go through a draft in floats instead (`draft`).
        steps: of the proof so far.
    """

    query: Query
    files: QueryFiles | None = None
    drafted: bool = False
    steps: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.graph, self.exact = stated(self.query, self.files)
        self.start = Context.start(self.graph, self.exact)
        self.checker = Checker(self.graph, self.exact)
        if self.drafted:
            self.checker = DraftChecker(self.graph, self.exact, self.start, self.query.prop.ball)
        self._choices = [n for n, clause in enumerate(self.query.prop.clauses) if len(clause) > 1]
        self.compared = [
            clause
            for clause, parts in enumerate(self.query.prop.clauses)
            if len(parts) > 1 or any(atom.other is not None for atom in parts[0])
        ]
        self._places: dict[Any, Places] = {}
        self._known: tuple[Context, Bounds] | None = None
        self._against: tuple[tuple[tuple[int, int, int], ...], Affine] | None = None

    @property
    def program(self) -> Program:
        return self.query.program

    def reduce(self, program: Program) -> None:
        """Goes on with the program of the open neurons, once all other signs are certain."""
        output = program.output
        if sum(math.prod(matrix.shape) for matrix in output.terms.values()) <= MOST_CELLS:
            # Its rows are picked at every step; of few open neurons that is quicker of dense ones.
            dense_terms = {block: dense(matrix) for block, matrix in output.terms.items()}
            program = replace(program, output=replace(output, terms=dense_terms))
        self.query, self._known, self._against = self.query.over(program), None, None

    def apply(self, context: Context, step: Any) -> list[Context]:
        """The contexts that a step leaves of one."""
        self._known = None
        step = step if self.drafted else listed(step)
        self.steps.append(step)
        return self.checker.apply(context, step)

    def bounds(self, context: Context) -> Bounds:
        """What is certain in a context."""
        if self._known is None or self._known[0] is not context:
            bounds = replace(certified(self.program, context), ball=self.query.prop.ball)
            self._known = context, bounds
        return self._known[1]

    def places(self, context: Context) -> Places:
        """The certain part of the property in a context."""
        left = tuple(frozenset(context.alternatives[clause]) for clause in self._choices)
        if left not in self._places:
            self._places[left] = places(self.query.prop, context.alternatives)
        return self._places[left]

    def choices_left(self, context: Context) -> bool:
        """Whether a clause has several conjunctions that may hold."""
        return any(len(context.alternatives[clause]) > 1 for clause in self._choices)

    def against(self, atoms: tuple[tuple[int, int, int], ...]) -> Affine:
        """How far atoms, by clause, conjunction and number, are from holding; kept for the next context."""
        if self._against is None or self._against[0] != atoms:
            named = [self.query.prop.clauses[clause][part][number] for clause, part, number in atoms]
            slack = slack_rows(self.program.output, named)
            self._against = atoms, slack.rows(np.arange(slack.size), -1.0)
        return self._against[1]

    def switch(self, pre: int, neuron: int) -> tuple[str, int]:
        """A neuron in the checker's words: a switch and its entry."""
        neurons = self.program.pre[pre]
        (entry,) = neurons.in_network(np.array([neuron], np.intp)).tolist()
        return self.graph.root(neurons.name), entry

    def rows(self) -> Rows:
        return Rows(self.program, self.graph)

    @property
    def read_by_comparisons(self) -> int:
        """Blocks from the first on that hold all which compared outputs depend on."""
        atoms = [a for clause in self.compared for part in self.query.prop.clauses[clause] for a in part]
        outputs = sorted({output for atom in atoms for output in atom.outputs})
        return max(compact(self.program.output.rows(np.array(outputs, np.intp))).terms, default=-1) + 1

    def bound(self, context: Context, first: int, end: int) -> None:
        """Bounds of pre-activations and gated values, in order, wherever backward passes improve them.

        Args:
            first, end: the blocks [first, end) whose arguments are bounded.
        """
        bounds = self.bounds(context)
        box = (bounds.input_lower, bounds.input_upper)
        fixed = dict(enumerate(bounds.signs))
        program = replace(self.program, blocks=self.program.blocks[:end])
        goal = propagate(program, *box, fixed=fixed, within=bounds, outputs=False)
        if goal.infeasible or first == end:
            return
        seen = {b.pre for b in program.blocks[:first] if isinstance(b, ReluBlock | MaskBlock)}
        for number, block in enumerate(program.blocks[first:], first):
            match block:
                case ReluBlock() | MaskBlock():
                    pre = block.pre
                    if pre in seen:
                        continue
                    seen.add(pre)
                    ranges = (bounds.pre_lower[pre], bounds.pre_upper[pre])
                    better = (goal.pre_lower[pre], goal.pre_upper[pre])
                    part: PreActivation | Block = self.program.pre[pre]
                    name, affine = self.graph.root(part.name), self.program.pre[pre].affine
                    open_ = bounds.signs[pre] == 0
                case ProductBlock(square=True):
                    continue
                case GateBlock() | AbsBlock() | FactorBlock() | ProductBlock():
                    ranges = (bounds.value_lower[number], bounds.value_upper[number])
                    better = (goal.value_lower[number], goal.value_upper[number])
                    part, name, affine = block, self.graph.root(block.source), block.value
                    open_ = (ranges[0] < 0) & (ranges[1] > 0)
                    if isinstance(block, FactorBlock | ProductBlock):
                        open_ = ranges[0] < ranges[1]
                    if isinstance(block, GateBlock):
                        mask = self.program.blocks[block.mask]
                        assert isinstance(mask, MaskBlock)
                        open_ = bounds.signs[mask.pre] == 0
            entries = _worth(ranges, better, open_)
            if self.bound_tensor(context, bounds, name, affine.rows(entries), part.in_network(entries)):
                if context.closed:
                    return
                bounds = self.bounds(context)

    def bound_tensor(
        self, context: Context, bounds: Bounds | None, name: str, affine: Affine, at: Indices
    ) -> bool:
        """Bounds of both ends of entries `at` of a tensor, which `affine` says; whether there are any.

        Args:
            bounds: by which open neurons are relaxed; None where they take the worst of their ranges.
        """
        both, lower = np.concatenate([at, at]), np.arange(2 * len(at)) < len(at)
        if len(at):
            each = np.arange(len(at))
            ends = stacked([affine.rows(each), affine.rows(each, -1.0)])
            self.bound_ends(context, bounds, name, ends, both, lower)
        return len(at) > 0

    def bound_ends(
        self,
        context: Context,
        bounds: Bounds | None,
        name: str,
        affine: Affine,
        at: Indices,
        lower: Flags,
        worth: float = WORTH_STATING,
    ) -> None:
        """Bounds of ends of a tensor: `affine` says entries `at`, or minus them where it is no lower end."""
        low, high = range_of(context, name, at)
        for part in np.array_split(np.arange(len(at)), -(-len(at) // MOST_AT_ONCE)):
            rows, keep = self.rows(), np.ones(len(part), bool)
            if bounds is not None:
                least = self.minimise(bounds, affine.rows(part), rows)
                keep = _worth_stating(least, low[part], high[part], lower[part], worth)
            step = {
                "do": "bound",
                "tensor": name,
                "at": at[part][keep].tolist(),
                "lower": lower[part][keep].astype(int).tolist(),
                "by": rows.pick(keep),
            }
            if keep.any():
                self.apply(context, step)

    def cut(self, context: Context) -> bool:
        """Bounds of open neurons over the box cut by what is known; whether a sign was decided."""
        bounds = self.bounds(context)
        where = self.places(context)
        cuts = known_cuts(self.program, bounds, where)
        before = bounds.undecided
        for pre in range(len(self.program.pre) if cuts is not None else 0):
            assert cuts is not None
            found = sharpened(self.program, bounds, pre, cuts, WORTH_BOUNDING)
            if found is None:
                continue
            self.state_cut(context, bounds, pre, found, cuts, where)
            if context.closed:
                return True
        return self.bounds(context).undecided < before

    def state_cut(
        self,
        context: Context,
        bounds: Bounds,
        pre: int,
        found: Sharpened,
        cuts: Cuts,
        where: Places,
        ranges: tuple[Array, Array] | None = None,
    ) -> None:
        """States bounds that cuts give; of those within `ranges` what says enough more."""
        activation = self.program.pre[pre]
        for part in np.array_split(np.arange(len(found.entries)), -(-len(found.entries) // MOST_AT_ONCE)):
            rows, keep = self.rows(), np.ones(len(part), bool)
            least = self.minimise(bounds, found.affine.rows(part), rows)
            if ranges is not None:
                sides = (ranges[0][part], ranges[1][part])
                keep = _worth_stating(least, *sides, found.lower[part], WORTH_FOLLOWING)
            cuts.add_rows(rows, found.multipliers[part], where)
            step = {
                "do": "bound",
                "tensor": self.graph.root(activation.name),
                "at": activation.in_network(found.entries[part][keep]).tolist(),
                "lower": found.lower[part][keep].astype(int).tolist(),
                "by": rows.pick(keep),
            }
            if keep.any():
                self.apply(context, step)

    def minimise(self, bounds: Bounds, affine: Affine, rows: Rows) -> Array:
        """Lower bounds of affine rows, by intervals or a backward pass; adds to `rows` what shows them."""
        gates = any(isinstance(block, GateBlock | ProductBlock) for block in self.program.blocks)
        records: list[Record] = [[] for _ in range(3 if gates else 2)]
        values = [by_intervals(self.program, bounds, affine, records[0])]
        for pairing, record in enumerate(records[1:]):
            values.append(minimise(self.program, bounds, affine, bool(pairing), record))
        best = np.argmax(np.stack(values), axis=0)
        for choice, record in enumerate(records):
            chosen = np.flatnonzero(best == choice)
            for kind, number, multipliers in record if len(chosen) else ():
                own = multipliers[chosen]
                lemmas, entries = np.nonzero(own > 0)
                rows.add(kind, number, chosen[lemmas], entries, own[lemmas, entries])
        return np.asarray(np.max(np.stack(values), axis=0))

    def relax(self, context: Context) -> LinearRelaxation | None:
        """Closes a context by its linear relaxation; the relaxation where that failed."""
        bounds, where = self.bounds(context), self.places(context)
        if self._limits_contradict(context, where):
            return None
        model = build(self.program, where.prop, bounds, exact=True)
        if model is None:
            # Bounds in floats leave a clause no chance; what they rest on, the program has as rows.
            if not self._out_of_range(context, bounds, where):
                model = build(self.program, where.prop, bounds, prune=False, exact=True)
            if model is None:
                return None
        relaxation = LinearRelaxation(model)
        if relaxation.refuted():
            rows = self.rows()
            rows.add_refutation(0, relaxation.refutation(where.atoms), where)
            if self.conclude(context, {"do": "close"}, {}, rows, np.ones(1, bool)):
                return None
        return relaxation

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
                    atom = ["atom", "", [0], [[clause, part, number]], [1.0]]
                    if self._close(context, [atom, [kind, output, [0], [entry], [1.0]]]):
                        return True
        return False

    def _limits_contradict(self, context: Context, where: Places) -> bool:
        """Closes a context in which two limits of one output exclude each other: a program has one row for
        both, and no multiplier says so."""
        low, high = where.prop.ranges
        for entry in np.flatnonzero(low > high).tolist():
            atoms = [list(where.low[entry]), list(where.high[entry])]
            if self._close(context, [["atom", "", [0, 0], atoms, [1.0, 1.0]]]):
                return True
        return False

    def _close(self, context: Context, by: list[Any]) -> bool:
        """Closes a context by rows, where they do."""
        step = {"do": "close", "by": by}
        closed = bool(self.checker.conclude(context, step).all())
        if closed:
            self._known = None
            self.steps.append(step)
        return closed

    def conclude(
        self, context: Context, step: dict[str, Any], lists: dict[str, list[Any]], rows: Rows, keep: Any
    ) -> int:
        """Applies the deductions of a step that hold; returns how many."""
        for _ in range(2):
            if not keep.any():
                return 0
            chosen = {k: [v for v, k_ in zip(vs, keep, strict=True) if k_] for k, vs in lists.items()}
            made = {**step, **chosen, "by": rows.pick(keep)}
            made = made if self.drafted else listed(made)
            holds = self.checker.conclude(context, made)
            if holds.all():
                self._known = None
                self.steps.append(made)
                return int(keep.sum())
            keep = keep.copy()
            keep[np.flatnonzero(keep)[~holds]] = False
        return 0


def _worth(ranges: tuple[Array, Array], better: tuple[Array, Array], open_: Any) -> Indices:
    """Entries [k] of open ones whose better range is much narrower or decides a sign."""
    width = ranges[1] - ranges[0]
    narrower = better[1] - better[0] <= WORTH_BOUNDING * width
    decides = (better[0] > 0) | (better[1] <= 0)
    return np.flatnonzero(open_ & (narrower | decides) & (width > 0))


def _worth_stating(least: Array, low: Array, high: Array, lower: Flags, worth: float) -> Flags:
    """Which bounds [k], of entries or of minus them, say enough more than their ranges [k]."""
    gain = least - np.where(lower, low, -high)
    decides = np.where(lower, (low <= 0) & (least > 0), (high > 0) & (least >= 0))
    return np.asarray(decides | (gain > worth * (high - low)))
