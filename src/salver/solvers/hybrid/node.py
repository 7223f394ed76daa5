"""One node of the search: everything that its decided signs and the property imply, found by bounding.

Forward bounds, the saliency condition read backwards, and the halfspaces that decided signs and class
conditions cut from the box are repeated until they decide no more neurons.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, UnsupportedQueryError, apply, compact
from salver.nets.program import AbsBlock, Program, ReluBlock
from salver.solvers.alternatives import without_refuted
from salver.solvers.bounding.backward import tighten_backwards
from salver.solvers.bounding.bounds import Bounds, Signs
from salver.solvers.bounding.copies import implied_by_copies
from salver.solvers.bounding.halfspaces import (
    Halfspaces,
    cutting,
    lower_bounds,
    stack,
    with_multipliers,
)
from salver.solvers.bounding.linear_bounds import bound_affine, linear_lower
from salver.solvers.bounding.propagation import propagate
from salver.solvers.bounding.reduced import Reduction, TooLargeError
from salver.solvers.hybrid.branching import branching_neuron
from salver.solvers.hybrid.recording import ends_of_cuts, record_cut, record_pass
from salver.solvers.journal import Decision, Ends, Fact, Journal
from salver.solvers.query import Query
from salver.solvers.slack import slack_rows
from salver.spec import Property

Array = npt.NDArray[np.float64]

LONG_S = 0.1
"""Seconds that a network takes to reduce which is worth being asked about alone: with the map all takes ten
times as long, or more."""
_WORTH_REPEATING = 0.3
"""Share of the open neurons that a round must decide for another round to pay."""


@dataclass(frozen=True, eq=False)
class SearchNode:
    """A part of the query: what is decided so far and bounds that hold there.

    Attributes:
        signs: of every pre-activation. The signs of an Abs's argument are those of its range in `within`.
        cases: clause -> the conjunction that is to hold of it.
        rows: range rows that mattered to the parent's linear relaxation (see `LinearRelaxation`).
        bounded: `within` already has the forward bounds of these signs (see `LookAhead`).
        tried: a back end found points here, or in a part that contains this one, of which none survived
            replay.
        empty: a back end calls this part infeasible, or one that contains it; that closes nothing.
        decision: what made it of its parent.
        journal: where what is found in it goes, if that is recorded.
    """

    signs: dict[int, Signs]
    within: Bounds
    depth: int = 0
    cases: Mapping[int, int] = field(default_factory=dict)
    rows: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    bounded: bool = False
    tried: bool = False
    empty: bool = False
    decision: Decision | None = None
    journal: Journal | None = None

    def query(self, query: Query) -> Query:
        """The query with the clauses that the cases leave."""
        if not self.cases:
            return query
        clauses = tuple(
            (clause[self.cases[number]],) if number in self.cases else clause
            for number, clause in enumerate(query.prop.clauses)
        )
        return query.asking(replace(query.prop, clauses=clauses))


def root_node(query: Query) -> SearchNode:
    """The whole query; its bounds include the outputs."""
    box = (query.prop.input_lower, query.prop.input_upper)
    bounds = propagate(query.program, *box, ball=query.prop.ball)
    return SearchNode(dict(enumerate(bounds.signs)), bounds)


def reduced_root(query: Query, reduction: Reduction | None = None) -> tuple[Query, SearchNode]:
    """The query over the program of its open neurons where there is one (`Reduction`), and all of it.

    Args:
        reduction: of the query's program over its box, where it has begun.
    """
    reduction = reduction or begun_reduction(query)
    found = None if reduction is None else reduction.whole(_compared(query.prop))
    if found is None:
        return query, root_node(query)
    program, bounds = found
    return query.over(program), SearchNode(dict(enumerate(bounds.signs)), bounds)


def begun_reduction(query: Query) -> Reduction | None:
    """The reduction of the query's program to its open neurons, just begun; None where the box is empty."""
    prop = query.prop
    return Reduction.begun(query.program, prop.input_lower, prop.input_upper, prop.ball)


def class_alone(query: Query, reduction: Reduction, at_least: float = LONG_S) -> tuple[Query, Bounds] | None:
    """The query over the ReLUs that its comparisons read, reduced, without the map; and bounds there.

    Only what is compared is an output of its program; the others are 0. None where there is nothing to
    compare, what is compared reads more than ReLUs, or these take less than some seconds to reduce.

    Args:
        reduction: of the query, just begun; it can go on afterwards.
    """
    compared, size = _compared(query.prop), query.program.output.size
    ones = (np.ones(len(compared)), (compared, compared))
    try:
        outputs = compact(apply(sparse.csr_array(ones, shape=(size, size)), query.program.output, 0.0))
        blocks = query.program.blocks[: 1 + max(outputs.terms, default=-1)]
        if not blocks or not all(isinstance(block, ReluBlock) for block in blocks):
            return None
        begun = time.monotonic()
        if not reduction.upto(len(blocks)) or time.monotonic() - begun < at_least:
            return None
        program, bounds = reduction.with_outputs(outputs, compared)
    except (TooLargeError, UnsupportedQueryError):
        return None
    return without_refuted(query.over(program), bounds), bounds


def _compared(prop: Property) -> npt.NDArray[np.intp]:
    """Outputs that are compared with others, or in an alternative; ranges alone are for the backward pass."""
    atoms = [atom for clause in prop.comparisons for conjunction in clause for atom in conjunction]
    return np.array(sorted({output for atom in atoms for output in atom.outputs}), np.intp)


def tighten(query: Query, node: SearchNode, without: frozenset[str] = frozenset()) -> Bounds | None:
    """Bounds of a node with all that they imply; None when no x with its signs satisfies the property.

    Args:
        query: with the node's cases (`Node.query`).
        without: `backward` or `halfspaces` for what is to be left out.
    """
    if node.within.infeasible:
        return None
    signs, within, known = node.signs, node.within, node.bounded
    while True:
        implied = implied_by_copies(query.program, signs, within)
        if implied is None:
            return None
        signs, within = implied
        bounds = _forward_and_back(query, signs, within, known, "backward" not in without, node.journal)
        if bounds is None or "halfspaces" in without:
            return bounds
        open_before = bounds.undecided
        cuts = _class_cuts(query.program, query.prop, bounds)
        if cuts is None:
            return None
        cut = _cut(query.program, bounds, cuts, node.journal)
        if cut is None:
            return None
        if open_before - cut.undecided <= _WORTH_REPEATING * open_before:
            return cut
        signs, within, known = dict(enumerate(cut.signs)), cut, False


def children(query: Query, bounds: Bounds, parent: SearchNode) -> list[SearchNode]:
    """What a node is split into: both sides of a neuron; once all are decided, the alternatives of a clause,
    or both signs of the argument of an Abs. None when nothing is left to decide: then what holds is one
    linear program."""
    chosen = branching_neuron(query.program, bounds)
    if chosen is not None:
        return [_child(bounds, parent, *chosen, side) for side in (-1, 1)]
    after = replace(parent, signs=dict(enumerate(bounds.signs)), within=bounds, depth=parent.depth + 1)
    choices = [
        (len(clause), number)
        for number, clause in enumerate(query.prop.clauses)
        if len(clause) > 1 and number not in parent.cases
    ]
    if choices:
        size, number = min(choices)
        return [
            replace(
                after,
                cases={**parent.cases, number: part},
                decision=Decision("clause", number, part=query.prop.clauses[number][part]),
            )
            for part in range(size)
        ]
    return _signs_of_abs(query.program, after)


def _child(bounds: Bounds, parent: SearchNode, pre: int, neuron: int, side: int) -> SearchNode:
    signs = dict(enumerate(bounds.signs))
    signs[pre] = signs[pre].copy()
    signs[pre][neuron] = side
    decision = Decision("neuron", pre, neuron, int(side > 0))
    return replace(
        parent, signs=signs, within=bounds, depth=parent.depth + 1, bounded=False, decision=decision
    )


def _signs_of_abs(program: Program, node: SearchNode) -> list[SearchNode]:
    """Both signs of the argument of an Abs that reaches furthest to both sides; none when all are known."""
    best: tuple[float, int, int] | None = None
    for number, block in enumerate(program.blocks):
        if isinstance(block, AbsBlock):
            low, high = node.within.value_lower[number], node.within.value_upper[number]
            reach = np.minimum(-low, high) / np.where(high > low, high - low, 1.0)
            entry = int(np.argmax(reach))
            if reach[entry] > 0 and (best is None or reach[entry] > best[0]):
                best = (float(reach[entry]), number, entry)
    if best is None:
        return []
    _, number, entry = best
    lower, upper = node.within.value_lower, node.within.value_upper
    negative = replace(node.within, value_upper={**upper, number: _with_zero(upper[number], entry)})
    positive = replace(node.within, value_lower={**lower, number: _with_zero(lower[number], entry)})
    return [
        replace(node, within=within, decision=Decision("abs", number, entry, side))
        for side, within in enumerate((negative, positive))
    ]


def _with_zero(values: Array, entry: int) -> Array:
    values = values.copy()
    values[entry] = 0.0
    return values


def _forward_and_back(
    query: Query,
    signs: dict[int, Signs],
    within: Bounds,
    known: bool,
    back: bool,
    journal: Journal | None,
) -> Bounds | None:
    """Repeats both passes while they decide enough; `known`: the first forward pass is already done."""
    program = query.program
    while True:
        box = (within.input_lower, within.input_upper)
        bounds = within
        if not known:
            bounds = propagate(program, *box, fixed=signs, within=within, outputs=False)
            record_pass(journal, "forward", within, bounds)
        known = False
        if bounds.infeasible:
            return None
        low, high = bound_affine(program, bounds, program.output, method="interval")
        low, high = np.maximum(low, within.output_lower), np.minimum(high, within.output_upper)
        bounds = replace(bounds, output_lower=low, output_upper=high)
        if not back:
            return bounds
        open_before, before = bounds.undecided, bounds
        bounds = tighten_backwards(program, query.prop, bounds)
        record_pass(journal, "backward", before, bounds)
        if bounds.infeasible:
            return None
        if open_before - bounds.undecided <= _WORTH_REPEATING * open_before:
            return bounds
        signs, within = dict(enumerate(bounds.signs)), bounds


def _class_cuts(program: Program, prop: Property, bounds: Bounds) -> list[_Cut] | None:
    """Halfspaces from comparisons of outputs with one conjunction left; None when a clause has none.

    Ranges of single outputs are the business of the backward pass.
    """
    atoms = [atom for clause in prop.comparisons for conjunction in clause for atom in conjunction]
    if not atoms:
        return [] if all(prop.comparisons) else None
    majorant = _majorant(program, bounds, slack_rows(program.output, atoms))
    possible = _can_hold(majorant, bounds)
    cuts, numbers = list[_Cut](), iter(range(len(atoms)))
    for clause in prop.comparisons:
        rows = [np.array([next(numbers) for _ in part], dtype=np.intp) for part in clause]
        live = [part for part in rows if possible[part].all()]
        if not live:
            return None
        if len(live) == 1:
            halfspaces = Halfspaces(majorant.matrix[live[0]], majorant.constant[live[0]])
            cuts.append(_Cut(halfspaces, [atoms[number] for number in live[0]]))
    return cuts


def _can_hold(majorant: Halfspaces, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Which halfspaces [k] meet the box."""
    nothing = Halfspaces(np.zeros((0, majorant.matrix.shape[1])), np.zeros(0))
    box = (bounds.input_lower, bounds.input_upper)
    least = lower_bounds(-majorant.matrix, -majorant.constant, nothing, *box, ball=bounds.ball)
    return np.asarray(~(least > 0))


def _majorant(program: Program, bounds: Bounds, rows: Affine) -> Halfspaces:
    """Halfspaces that contain every x of the box where the rows are >= 0."""
    matrix, constant = linear_lower(program, bounds, rows.rows(np.arange(rows.size), -1.0))
    return Halfspaces(-matrix, -constant)


@dataclass(frozen=True, eq=False)
class _Cut:
    """Halfspaces that contain every x of the box for which facts hold, and the fact of each."""

    halfspaces: Halfspaces
    facts: Sequence[Fact]


def _cut(program: Program, bounds: Bounds, class_cuts: list[_Cut], journal: Journal | None) -> Bounds | None:
    """Bounds of the open pre-activations over the box cut by decided signs and class conditions."""
    box = (bounds.input_lower, bounds.input_upper)
    known = [*_sign_cuts(program, bounds), *class_cuts]
    whole = stack([part.halfspaces for part in known], program.input_size)
    keep = cutting(whole, *box, bounds.ball)
    cuts = Halfspaces(whole.matrix[keep], whole.constant[keep])
    if not cuts.count:
        return bounds
    lows, highs, signs = list(bounds.pre_lower), list(bounds.pre_upper), list(bounds.signs)
    moved, empty = list[Ends](), False
    for number, pre in enumerate(program.pre):
        open_ = np.flatnonzero(bounds.signs[number] == 0)
        if not len(open_):
            continue
        minorants = [linear_lower(program, bounds, pre.affine.rows(open_, sign)) for sign in (1.0, -1.0)]
        rows, constants = (np.concatenate(parts) for parts in zip(*minorants, strict=True))
        found, multipliers = with_multipliers(rows, constants, cuts, *box, ball=bounds.ball)
        if journal is not None:
            moved += ends_of_cuts(number, open_, (lows[number], highs[number]), found, multipliers)
        low, high = lows[number].copy(), highs[number].copy()
        low[open_] = np.maximum(low[open_], found[: len(open_)])
        high[open_] = np.minimum(high[open_], -found[len(open_) :])
        lows[number], highs[number] = low, high
        empty = bool((low > high).any())
        if empty:
            break
        decided = np.where(low > 0, 1, np.where(high <= 0, -1, 0))
        signs[number] = np.where(signs[number] != 0, signs[number], decided).astype(np.int8)
    if journal is not None:
        facts = [fact for part in known for fact in part.facts]
        undecided = sum(int((sign == 0).sum()) for sign in signs)
        record_cut(journal, [facts[number] for number in keep.tolist()], moved, undecided)
    return None if empty else replace(bounds, pre_lower=lows, pre_upper=highs, signs=signs)


def _sign_cuts(program: Program, bounds: Bounds) -> list[_Cut]:
    """Decided signs that the box alone does not imply."""
    parts = []
    for number, pre in enumerate(program.pre):
        signs = bounds.signs[number]
        for side, unclear in ((1, bounds.pre_lower[number] <= 0), (-1, bounds.pre_upper[number] >= 0)):
            rows = np.flatnonzero((signs == side) & unclear)
            if len(rows):
                halfspaces = _majorant(program, bounds, pre.affine.rows(rows, float(side)))
                parts.append(_Cut(halfspaces, [(number, int(row), side) for row in rows]))
    return parts
