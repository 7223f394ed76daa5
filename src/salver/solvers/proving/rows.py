"""Multipliers of linear programs and of backward passes as the rows of a proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.program import AbsBlock, FactorBlock, GateBlock, ProductBlock, Program
from salver.proofs.graph import Graph, Times
from salver.solvers.journal import Refutation, Weighted
from salver.spec import Atom, Property

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Lemmas = int | Indices
_LARGEST = 1e12
"""Rows with larger multipliers come from ranges that are hardly any; without them a deduction is weaker."""
_OF_NEURONS = ("step_on", "step_off", "low", "high", "pre")
"""Kinds of rows whose number is that of a pre-activation."""
_EXACT = 22
"""Powers of ten up to this one are floats, so a whole number over one is as short as its decimals."""


@dataclass(eq=False)
class Rows:
    """The `by` of one proof step: groups of rows with multipliers, over several deductions.

    A method takes one deduction, or one for each of the entries. Entries are those of the program; the groups
    name the network's.
    """

    program: Program
    graph: Graph
    groups: dict[tuple[str, str], list[tuple[Indices, Indices, Array]]] = field(default_factory=dict)

    def add(self, kind: str, number: int, lemmas: Lemmas, entries: Indices, multipliers: Array) -> None:
        """Adds rows of one kind at a pre-activation (`step_*`, `low`, `high`) or block."""
        if kind.startswith("product_"):
            kind = self._product_kind(kind, number)
        self._put_at(kind, kind, number, lemmas, entries, multipliers)

    def _product_kind(self, kind: str, number: int) -> str:
        """A row of a product in the checker's words, whose factor is the one on the left."""
        block = self.program.blocks[number]
        assert isinstance(block, ProductBlock)
        factor, form = self.program.blocks[block.factor], self.graph.forms[block.name]
        assert isinstance(factor, FactorBlock)
        assert isinstance(form, Times)
        if self.graph.root(factor.source) == form.left:
            return kind
        return {"product_over_low": "product_over_high", "product_over_high": "product_over_low"}.get(
            kind, kind
        )

    def name(self, kind: str, number: int) -> str:
        """The tensor of a kind of rows in the checker's words."""
        if kind in _OF_NEURONS:
            return self.graph.root(self.program.pre[number].name)
        block = self.program.blocks[number]
        if kind == "value":
            assert isinstance(block, GateBlock | AbsBlock | ProductBlock)
            return self.graph.root(block.source)
        return self.graph.root(block.name) if isinstance(block, FactorBlock) else block.name

    def _put_at(
        self, kind: str, of: str, number: int, lemmas: Lemmas, entries: Indices, multipliers: Array
    ) -> None:
        """Adds rows at entries of what `number` counts (see `Weighted.of`)."""
        part = self.program.pre[number] if of in _OF_NEURONS else self.program.blocks[number]
        self._put(kind, self.name(of, number), lemmas, part.in_network(entries), multipliers)

    def add_atom(self, lemmas: Lemmas, place: tuple[int, int, int], multipliers: Array | float) -> None:
        """Adds an atom (clause, conjunction, number)."""
        values = np.atleast_1d(multipliers)
        self._put("atom", "", lemmas, np.tile(np.array(place, np.intp), (len(values), 1)), values)

    def add_atoms(self, lemmas: Lemmas, places: Indices, multipliers: Array) -> None:
        """Adds atoms, each as clause, conjunction and number [k, 3]."""
        self._put("atom", "", lemmas, places, multipliers)

    def add_range(self, kind: str, number: int, lemmas: Lemmas, entries: Indices, multipliers: Array) -> None:
        """Adds ranges, `low` or `high`, of the argument of a gate or Abs."""
        self._put_at(kind, "value", number, lemmas, entries, multipliers)

    def add_block(self, kind: str, number: int, lemmas: Lemmas, entries: Indices) -> None:
        """Adds ranges, `low` or `high`, of the values of a block, once each."""
        self._put_at(kind, "block", number, lemmas, entries, np.ones(len(entries)))

    def add_output(self, kind: str, lemma: int, entry: int) -> None:
        """Adds the range of an output, `low` or `high`, once."""
        self._put(kind, self.graph.network.output, lemma, np.array([entry], np.intp), np.ones(1))

    def add_refutation(self, lemma: int, refutation: Refutation, places: Places) -> None:
        """Adds a refutation, as far as what it rests on is certain."""
        for part in refutation.parts:
            if part.kind == "range":
                self._ranges(lemma, part, places)
            elif part.kind == "product_point":
                # Where the factor is a point, all planes of one side say the same.
                for kind, sign in (("product_under_low", 1.0), ("product_over_low", -1.0)):
                    self.add(kind, part.number, lemma, part.entries, sign * part.multipliers)
            elif part.kind.startswith("product_"):
                self.add(part.kind, part.number, lemma, part.entries, part.multipliers)
            else:
                self._put_at(part.kind, part.of, part.number, lemma, part.entries, part.multipliers)
        for atom, multiplier in refutation.atoms:
            if atom in places.of_atom:
                self.add_atom(lemma, places.of_atom[atom], multiplier)

    def pick(self, keep: Any) -> list[Any]:
        """The groups of the deductions kept [count], numbered anew; of arrays (see `listed`)."""
        keep = np.asarray(keep, bool)
        number = np.cumsum(keep) - 1
        groups = []
        for (kind, name), parts in sorted(self.groups.items()):
            lemmas, entries, multipliers = (np.concatenate(part) for part in zip(*parts, strict=True))
            chosen = keep[lemmas]
            if chosen.any():
                columns = (number[lemmas[chosen]], entries[chosen], shortened(multipliers[chosen]))
                groups.append([kind, name, *columns])
        return groups

    def _ranges(self, lemma: int, part: Weighted, places: Places) -> None:
        for output, value in zip(part.entries.tolist(), part.multipliers.tolist(), strict=True):
            side = places.low if value > 0 else places.high
            if output in side:
                self.add_atom(lemma, side[output], abs(value))

    def _put(self, kind: str, name: str, lemmas: Lemmas, entries: Indices, multipliers: Array) -> None:
        if not isinstance(lemmas, np.ndarray):
            lemmas = np.full(len(entries), lemmas, np.intp)
        usable = (multipliers > 0) & (multipliers < _LARGEST)
        if usable.any():
            found = (lemmas[usable], entries[usable], multipliers[usable])
            self.groups.setdefault((kind, name), []).append(found)


def listed(step: dict[str, Any]) -> dict[str, Any]:
    """A step as a file has it, with lists in the place of arrays."""
    if "by" not in step:
        return step
    by = [[kind, name, *(np.asarray(column).tolist() for column in rest)] for kind, name, *rest in step["by"]]
    return {**step, "by": by}


def shortened(values: Array) -> Array:
    """Multipliers > 0 to nine decimal digits, which is all that a file then has to hold."""
    shift = 8 - np.floor(np.log10(values))
    if np.abs(shift).max() > _EXACT:
        return np.array([float(f"{value:.9g}") for value in values.tolist()])
    up, down = 10.0 ** np.maximum(shift, 0), 10.0 ** np.maximum(-shift, 0)
    return np.asarray(np.round(values * up / down) / up * down)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the atoms of the conjunctions that must hold stand in the property.

    Attributes:
        prop: the property with those clauses alone.
        comparisons: of every atom of `prop.comparisons` its clause, conjunction and number in the query.
        low, high: output -> the atom that limits it most on that side.
        of_atom: atom -> where it stands.
    """

    prop: Property
    comparisons: list[tuple[int, int, int]]
    low: dict[int, tuple[int, int, int]]
    high: dict[int, tuple[int, int, int]]
    of_atom: dict[Atom, tuple[int, int, int]]

    @cached_property
    def atoms(self) -> list[Atom]:
        """The atoms of `comparisons`."""
        return [atom for clause in self.prop.comparisons for part in clause for atom in part]


def places(prop: Property, alternatives: list[set[int]]) -> Places:
    """The certain part of a property: clauses with one conjunction left."""
    kept = [(clause, min(left)) for clause, left in enumerate(alternatives) if len(left) == 1]
    clauses = tuple((prop.clauses[clause][part],) for clause, part in kept)
    certain = replace(prop, clauses=clauses)
    comparisons: list[tuple[int, int, int]] = []
    low: dict[int, tuple[float, tuple[int, int, int]]] = {}
    high: dict[int, tuple[float, tuple[int, int, int]]] = {}
    of_atom: dict[Atom, tuple[int, int, int]] = {}
    for clause, part in kept:
        atoms = prop.clauses[clause][part]
        if any(atom.other is not None for atom in atoms):
            comparisons += [(clause, part, number) for number in range(len(atoms))]
            of_atom |= {atom: (clause, part, number) for number, atom in enumerate(atoms)}
        for number, atom in enumerate(atoms):
            _tightest(atom, (clause, part, number), low, high)
    least, most = ({output: place for output, (_, place) in side.items()} for side in (low, high))
    return Places(certain, comparisons, least, most, of_atom)


def without_comparisons(prop: Property) -> Property:
    """The clauses that limit single outputs alone."""
    clauses = tuple(
        clause for clause in prop.clauses if len(clause) == 1 and all(a.other is None for a in clause[0])
    )
    return replace(prop, clauses=clauses)


def _tightest(atom: Atom, place: tuple[int, int, int], low: dict[int, Any], high: dict[int, Any]) -> None:
    if atom.other is not None:
        return
    side, better = (low, _greater) if atom.relation == ">=" else (high, _less)
    if atom.left not in side or better(atom.constant, side[atom.left][0]):
        side[atom.left] = (atom.constant, place)


_greater: Callable[[float, float], bool] = float.__gt__
_less: Callable[[float, float], bool] = float.__lt__
