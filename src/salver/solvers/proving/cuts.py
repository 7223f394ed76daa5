"""Bounds of open neurons over the box cut by decided signs and class conditions, as steps of a proof.

The multipliers are those of `bounding.halfspaces`, found for all open neurons at once: z - sum of multiplier
* cut is minimised by one backward pass, and the proof adds up its rows and the cuts'. A linear program for
every neuron says the same in twenty times the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine, dense
from salver.nets.program import Program
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.halfspaces import Halfspaces, with_multipliers
from salver.solvers.bounding.linear_bounds import linear_lower
from salver.solvers.journal import Fact
from salver.solvers.proving.rows import Places, Rows
from salver.solvers.slack import slack_rows

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Cuts:
    """What is known to be >= 0 and cuts something off the box.

    Attributes:
        affine: the rows [count].
        signs: of each row that says a decided sign, pre-activation, neuron and sign; None for an atom.
        atoms: of each other row, its number among the atoms of `Places.comparisons`; -1 for one that is none.
        halfspaces: the rows' majorants over the box.
    """

    affine: Affine
    signs: list[tuple[int, int, int] | None]
    atoms: list[int]
    halfspaces: Halfspaces

    def add_rows(self, rows: Rows, multipliers: Array, places: Places) -> None:
        """Adds the cuts with their multipliers [deductions, cuts] to the rows of deductions from 0 on."""
        groups: dict[tuple[int, int], list[int]] = {}
        for number, sign in enumerate(self.signs):
            if sign is not None:
                groups.setdefault((sign[0], sign[2]), []).append(number)
                continue
            if self.atoms[number] < 0:
                continue
            lemmas = np.flatnonzero(multipliers[:, number])
            if len(lemmas):  # an atom that is not certain here has no place
                rows.add_atom(lemmas, places.comparisons[self.atoms[number]], multipliers[lemmas, number])
        for (pre, side), numbers in groups.items():
            lemmas, columns = np.nonzero(multipliers[:, numbers])
            neurons = np.array([sign[1] for sign in map(self.signs.__getitem__, numbers) if sign is not None])
            values = multipliers[:, numbers][lemmas, columns]
            rows.add("low" if side > 0 else "high", pre, lemmas, neurons[columns], values)


def known_cuts(program: Program, bounds: Bounds, places: Places) -> Cuts | None:
    """The cuts of a context; None where there are none."""
    found: list[tuple[Affine, list[tuple[int, int, int] | None], list[int]]] = []
    for pre, activation in enumerate(program.pre):
        for side, unclear in ((1, bounds.pre_lower[pre] <= 0), (-1, bounds.pre_upper[pre] >= 0)):
            # A sign that the box alone implies cuts nothing off it.
            at = np.flatnonzero((bounds.signs[pre] == side) & unclear)
            if len(at):
                signs: list[tuple[int, int, int] | None] = [(pre, int(neuron), side) for neuron in at]
                found.append((activation.affine.rows(at, float(side)), signs, [-1] * len(at)))
    atoms = [atom for clause in places.prop.comparisons for atom in clause[0]]
    if atoms:
        found.append((slack_rows(program.output, atoms), [None] * len(atoms), list(range(len(atoms)))))
    if not found:
        return None
    affine = stacked([part[0] for part in found])
    matrix, constant = linear_lower(program, bounds, affine.rows(np.arange(affine.size), -1.0))
    cuts = Halfspaces(-matrix, -constant)
    middle = (bounds.input_lower + bounds.input_upper) / 2
    least = cuts.matrix @ middle + cuts.constant
    least -= np.abs(cuts.matrix) @ (bounds.input_upper - middle)
    keep = np.flatnonzero(least < 0)
    signs = [sign for part in found for sign in part[1]]
    numbers = [number for part in found for number in part[2]]
    return Cuts(
        affine.rows(keep),
        [signs[k] for k in keep],
        [numbers[k] for k in keep],
        Halfspaces(cuts.matrix[keep], cuts.constant[keep]),
    )


@dataclass(frozen=True, eq=False)
class Sharpened:
    """Bounds that cuts give of entries of a pre-activation.

    Attributes:
        entries, lower: the neurons [k], and whether it is their lower bound.
        affine: z (or -z) less the cuts times their multipliers, rows [k].
        multipliers: [k, cuts].
    """

    entries: Indices
    lower: Flags
    affine: Affine
    multipliers: Array


def recorded_cuts(program: Program, facts: Sequence[Fact], places: Places) -> Cuts:
    """The cuts of a journal; an atom that is not certain here is left out (number -1)."""
    signs = [fact if isinstance(fact, tuple) else None for fact in facts]
    number = {atom: k for k, atom in enumerate(places.atoms)}
    atoms = [-1 if isinstance(fact, tuple) else number.get(fact, -1) for fact in facts]
    rows = [
        program.pre[fact[0]].affine.rows(np.array([fact[1]]), float(fact[2]))
        if isinstance(fact, tuple)
        else slack_rows(program.output, [fact])
        for fact in facts
    ]
    nothing = Halfspaces(np.zeros((0, program.input_size)), np.zeros(0))
    return Cuts(stacked(rows), signs, atoms, nothing)


def sharpened(program: Program, bounds: Bounds, pre: int, cuts: Cuts, worth: float) -> Sharpened | None:
    """The bounds of open neurons that decide a sign, or leave at most the share `worth` of a range.

    Args:
        bounds: of the context.
    """
    open_ = np.flatnonzero(bounds.signs[pre] == 0)
    if not len(open_) or not cuts.halfspaces.count:
        return None
    affine = program.pre[pre].affine
    both = stacked([affine.rows(open_), affine.rows(open_, -1.0)])
    matrix, constant = linear_lower(program, bounds, both)
    box = (bounds.input_lower, bounds.input_upper)
    least, multipliers = with_multipliers(matrix, constant, cuts.halfspaces, *box, ball=bounds.ball)
    low, high = bounds.pre_lower[pre][open_], bounds.pre_upper[pre][open_]
    new_low, new_high = np.maximum(low, least[: len(open_)]), np.minimum(high, -least[len(open_) :])
    narrower = new_high - new_low <= worth * (high - low)
    better = np.concatenate(
        [(new_low > 0) | (narrower & (new_low > low)), (new_high <= 0) | (narrower & (new_high < high))]
    )
    chosen = np.flatnonzero(better & multipliers.any(axis=1))
    if not len(chosen):
        return None
    entries = np.concatenate([open_, open_])[chosen]
    return without_cuts(affine, entries, chosen < len(open_), cuts, multipliers[chosen])


def without_cuts(affine: Affine, entries: Indices, lower: Flags, cuts: Cuts, multipliers: Array) -> Sharpened:
    """Ends of an affine tensor, lower ones first, with cuts taken off by their multipliers [k, cuts]."""
    combined = stacked([affine.rows(entries[lower]), affine.rows(entries[~lower], -1.0)])
    terms = dict(combined.terms)
    for block, term in cuts.affine.terms.items():
        moved = multipliers @ term
        terms[block] = terms[block] - moved if block in terms else -moved
    constant = combined.constant - multipliers @ cuts.affine.constant
    return Sharpened(entries, lower, Affine(terms, constant), multipliers)


def stacked(parts: list[Affine]) -> Affine:
    """The rows of all parts, dense; what was rounded in them matters to no proof."""
    blocks = sorted({block for part in parts for block in part.terms})
    terms = {}
    for block in blocks:
        columns = next(part.terms[block].shape[1] for part in parts if block in part.terms)
        terms[block] = np.vstack(
            [
                dense(part.terms[block]) if block in part.terms else np.zeros((part.size, columns))
                for part in parts
            ]
        )
    return Affine(terms, np.concatenate([part.constant for part in parts]))
