"""One node of the search: everything that its decided signs and the property imply, found by bounding.

Forward bounds, the saliency condition read backwards, and the halfspaces that decided signs and class
conditions cut from the box are repeated until they decide no more neurons.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.program import Affine, Program
from salver.solvers.bounding.backward import tighten_backwards
from salver.solvers.bounding.bounds import Bounds, Signs, bound_affine, linear_lower, propagate
from salver.solvers.bounding.halfspaces import Halfspaces, cutting, lower_bounds, stack
from salver.solvers.hybrid.branching import branching_neuron
from salver.solvers.milp.model import slack_rows
from salver.solvers.query import Query
from salver.spec import Property

Array = npt.NDArray[np.float64]

_WORTH_REPEATING = 0.3
"""Share of the open neurons that a round must decide for another round to pay."""


@dataclass(frozen=True, eq=False)
class Node:
    """A part of the query: signs decided so far and bounds that hold there.

    `rows` are the range rows that mattered to the parent's linear relaxation (see `LinearRelaxation`);
    `bounded` says that `within` already has the forward bounds of these signs (see `LookAhead`).
    """

    signs: dict[int, Signs]
    within: Bounds
    depth: int = 0
    rows: npt.NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    bounded: bool = False


def root_node(query: Query) -> Node:
    """The whole query; its bounds include the outputs."""
    box = (query.prop.input_lower, query.prop.input_upper)
    bounds = propagate(query.program, *box)
    return Node(dict(enumerate(bounds.signs)), bounds)


def tighten(query: Query, node: Node) -> Bounds | None:
    """Bounds of a node with all that they imply; None when no x with its signs satisfies the property."""
    if node.within.infeasible:
        return None
    signs, within, known = node.signs, node.within, node.bounded
    while True:
        bounds = _forward_and_back(query, signs, within, known)
        if bounds is None:
            return None
        open_before = bounds.undecided
        cuts = _class_cuts(query.program, query.prop, bounds)
        if cuts is None:
            return None
        cut = _cut(query.program, bounds, cuts)
        if cut is None:
            return None
        if open_before - cut.undecided <= _WORTH_REPEATING * open_before:
            return cut
        signs, within, known = dict(enumerate(cut.signs)), cut, False


def children(program: Program, bounds: Bounds, parent: Node) -> list[Node]:
    """Both sides of the branching neuron; none when every sign is decided."""
    chosen = branching_neuron(program, bounds)
    return [] if chosen is None else [_child(bounds, parent, *chosen, side) for side in (-1, 1)]


def _child(bounds: Bounds, parent: Node, pre: int, neuron: int, side: int) -> Node:
    signs = dict(enumerate(bounds.signs))
    signs[pre] = signs[pre].copy()
    signs[pre][neuron] = side
    return Node(signs, bounds, parent.depth + 1, parent.rows)


def _forward_and_back(query: Query, signs: dict[int, Signs], within: Bounds, known: bool) -> Bounds | None:
    """Repeats both passes while they decide enough; `known`: the first forward pass is already done."""
    program = query.program
    while True:
        box = (within.input_lower, within.input_upper)
        bounds = within
        if not known:
            bounds = propagate(program, *box, fixed=signs, within=within, outputs=False)
        known = False
        if bounds.infeasible:
            return None
        low, high = bound_affine(program, bounds, program.output, method="interval")
        low, high = np.maximum(low, within.output_lower), np.minimum(high, within.output_upper)
        bounds = replace(bounds, output_lower=low, output_upper=high)
        open_before = bounds.undecided
        bounds = tighten_backwards(program, query.prop, bounds)
        if bounds.infeasible:
            return None
        if open_before - bounds.undecided <= _WORTH_REPEATING * open_before:
            return bounds
        signs, within = dict(enumerate(bounds.signs)), bounds


def _class_cuts(program: Program, prop: Property, bounds: Bounds) -> list[Halfspaces] | None:
    """Halfspaces from comparisons of outputs with one conjunction left; None when a clause has none.

    Ranges of single outputs are the business of the backward pass.
    """
    atoms = [atom for clause in prop.comparisons for conjunction in clause for atom in conjunction]
    if not atoms:
        return [] if all(prop.comparisons) else None
    majorant = _majorant(program, bounds, slack_rows(program.output, atoms))
    possible = _can_hold(majorant, bounds)
    cuts, numbers = [], iter(range(len(atoms)))
    for clause in prop.comparisons:
        rows = [np.array([next(numbers) for _ in part], dtype=np.intp) for part in clause]
        live = [part for part in rows if possible[part].all()]
        if not live:
            return None
        if len(live) == 1:
            cuts.append(Halfspaces(majorant.matrix[live[0]], majorant.constant[live[0]]))
    return cuts


def _can_hold(majorant: Halfspaces, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Which halfspaces [k] meet the box."""
    nothing = Halfspaces(np.zeros((0, majorant.matrix.shape[1])), np.zeros(0))
    box = (bounds.input_lower, bounds.input_upper)
    return np.asarray(lower_bounds(-majorant.matrix, -majorant.constant, nothing, *box) <= 0)


def _majorant(program: Program, bounds: Bounds, rows: Affine) -> Halfspaces:
    """Halfspaces that contain every x of the box where the rows are >= 0."""
    matrix, constant = linear_lower(program, bounds, picked(rows, np.arange(rows.size), -1.0))
    return Halfspaces(-matrix, -constant)


def _cut(program: Program, bounds: Bounds, class_cuts: list[Halfspaces]) -> Bounds | None:
    """Bounds of the open pre-activations over the box cut by decided signs and class conditions."""
    box = (bounds.input_lower, bounds.input_upper)
    cuts = cutting(stack([*_sign_cuts(program, bounds), *class_cuts], program.input_size), *box)
    if not cuts.count:
        return bounds
    lows, highs, signs = list(bounds.pre_lower), list(bounds.pre_upper), list(bounds.signs)
    for number, pre in enumerate(program.pre):
        open_ = np.flatnonzero(bounds.signs[number] == 0)
        if not len(open_):
            continue
        minorants = [linear_lower(program, bounds, picked(pre.affine, open_, sign)) for sign in (1.0, -1.0)]
        rows, constants = (np.concatenate(parts) for parts in zip(*minorants, strict=True))
        found = lower_bounds(rows, constants, cuts, *box)
        low, high = lows[number].copy(), highs[number].copy()
        low[open_] = np.maximum(low[open_], found[: len(open_)])
        high[open_] = np.minimum(high[open_], -found[len(open_) :])
        if (low > high).any():
            return None
        decided = np.where(low > 0, 1, np.where(high <= 0, -1, 0))
        signs[number] = np.where(signs[number] != 0, signs[number], decided).astype(np.int8)
        lows[number], highs[number] = low, high
    return replace(bounds, pre_lower=lows, pre_upper=highs, signs=signs)


def _sign_cuts(program: Program, bounds: Bounds) -> list[Halfspaces]:
    """Decided signs that the box alone does not imply."""
    parts = []
    for number, pre in enumerate(program.pre):
        signs = bounds.signs[number]
        for side, unclear in ((1, bounds.pre_lower[number] <= 0), (-1, bounds.pre_upper[number] >= 0)):
            rows = np.flatnonzero((signs == side) & unclear)
            if len(rows):
                parts.append(_majorant(program, bounds, picked(pre.affine, rows, float(side))))
    return parts


def picked(affine: Affine, rows: npt.NDArray[np.intp], sign: float) -> Affine:
    """Chosen rows times a sign."""
    terms = {
        block: sign * (matrix[rows] if not sparse.issparse(matrix) else sparse.csr_array(matrix)[rows])
        for block, matrix in affine.terms.items()
    }
    return Affine(terms, sign * affine.constant[rows])
