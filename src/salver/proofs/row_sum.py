"""Sums of rows with multipliers, and what they are at least; the argument is in `checker`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from salver.proofs.context import Context
from salver.proofs.exact import Digits, Ints, Unit, plus, scattered, zeros
from salver.proofs.graph import STEP, Abs, Affine, Form, Gate, Graph, Relu, Times
from salver.proofs.vnnlib_file import ExactProperty

MOST_AT_ONCE = 4096
"""Deductions in one step; a bound on memory."""
CELLS = 1 << 17
"""Coefficients of one tensor that are worked on at once: more of them leave the processor's cache."""


class RejectedError(Exception):
    """The proof does not show what it claims; the message says where and why."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """The atoms of a property in a row, in the order of its text.

    Attributes:
        first_part: of each clause the number of its first conjunction among all [clauses + 1].
        first_atom: of each conjunction the number of its first atom [conjunctions + 1].
        left, other: outputs of each atom [atoms]; -1 where it has a constant instead of another one.
        signs: 1 of >=, -1 of <= [atoms].
        constants: as they stand in the file, 0 beside another output.
    """

    first_part: Any
    first_atom: Any
    left: Any
    other: Any
    signs: Any
    constants: list[Fraction]
    _limits: dict[int, Ints] = field(default_factory=dict)

    @staticmethod
    def of(prop: ExactProperty) -> Atoms:
        """Those of a property."""
        parts = [part for clause in prop.clauses for part in clause]
        atoms = [atom for part in parts for atom in part]
        return Atoms(
            np.cumsum([0, *(len(clause) for clause in prop.clauses)]),
            np.cumsum([0, *(len(part) for part in parts)]),
            np.array([atom.left for atom in atoms], np.intp),
            np.array([-1 if atom.other is None else atom.other for atom in atoms], np.intp),
            np.array([1 if atom.relation == ">=" else -1 for atom in atoms], np.int64),
            [Fraction(0) if atom.other is not None else atom.constant for atom in atoms],
        )

    def numbers(self, clauses: Any, parts: Any, atoms: Any) -> Any:
        """Where atoms [k] stand in the row. Raises: RejectedError: there is no such one."""
        if not (clauses < len(self.first_part) - 1).all():
            raise RejectedError("no clause of such a number")
        conjunctions = self.first_part[clauses] + parts
        if not (conjunctions < self.first_part[clauses + 1]).all():
            raise RejectedError("no conjunction of such a number")
        found = self.first_atom[conjunctions] + atoms
        if not (found < self.first_atom[conjunctions + 1]).all():
            raise RejectedError("no atom of such a number")
        return found

    def only(self, alternatives: list[set[int]]) -> Any:
        """Of each clause [clauses] its conjunction where one may still hold, else -1."""
        left = np.zeros(len(alternatives), np.intp)
        for clause in self._choices:
            left[clause] = min(alternatives[clause]) if len(alternatives[clause]) == 1 else -1
        return left

    @cached_property
    def _choices(self) -> list[int]:
        return [int(clause) for clause in np.flatnonzero(np.diff(self.first_part) != 1)]

    def limits(self, unit: Unit) -> Ints:
        """The constants [atoms] as Python integers, rounded to the side where the atom says less."""
        if unit.places not in self._limits:
            down, up = (rounded(self.constants) for rounded in (unit.ints, unit.ints_up))
            self._limits[unit.places] = np.where(self.signs > 0, down, up).astype(object)
        return self._limits[unit.places]


@dataclass(eq=False)
class RowSum:
    """A batch of affine functions of the tensors: per tensor coefficients [count, size], and constants."""

    graph: Graph
    atoms: Atoms
    context: Context
    count: int
    clause: int = -1
    parts: list[int] = field(default_factory=list)
    terms: dict[str, Ints] = field(default_factory=dict)
    added: dict[str, list[tuple[Any, Any, Ints]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.count <= MOST_AT_ONCE:
            raise RejectedError(f"{self.count} deductions in one step")
        self.constant = zeros(self.count)

    def add(self, name: str, lemmas: Any, entries: Any, values: Ints) -> None:
        """Adds values to the coefficients of chosen entries in chosen lemmas."""
        size = self.graph.sizes[name]
        for places, most in ((lemmas, self.count), (entries, size)):
            if ((places < 0) | (places >= most)).any():
                raise RejectedError("no deduction or entry of such a number")
        self.added.setdefault(name, []).append((lemmas, entries, values))

    def subtract_rows(self, by: Any) -> None:
        """Subtracts multiplier * row for every group [kind, tensor, lemmas, entries, multipliers].

        Raises:
            RejectedError: a negative multiplier, no such row, or one that may not be used.
        """
        for kind, name, lemmas, entries, multipliers in by:
            weights = self.context.unit.ints(multipliers)
            if weights.shape != (len(lemmas),) or len(entries) != len(lemmas) or (weights < 0).any():
                raise RejectedError("multipliers must be one number >= 0 per row")
            where = whole_numbers(lemmas)
            if kind == "atom":
                self._atoms(where, weights, entries)
                continue
            at = whole_numbers(entries)
            terms, constant = self.row_of(kind, name, at)
            for tensor, coefficient in terms:
                self.add(tensor, where, at, self._times(-weights, coefficient))
                if not isinstance(coefficient, int):
                    # Digits dropped from a coefficient weigh on what may be negative: less than a unit each.
                    below = np.minimum(self.context.low[tensor][at], 0)
                    np.add.at(self.constant, where, below >> self.context.unit.places)
            if constant is not None:
                np.add.at(self.constant, where, self._times(-weights, constant))

    def least(self, assumed: dict[int, tuple[str, int, int]]) -> Ints:
        """Lower bounds [count] over everything that the context allows.

        Args:
            assumed: lemma -> switch, entry and side (0 or 1) that its step is assumed to have.
        """
        most = max(1, CELLS // max(self.graph.sizes.values()))
        if self.count <= most:
            return self._least(assumed)
        found = []
        for first in range(0, self.count, most):
            end = min(first + most, self.count)
            own = {lemma - first: side for lemma, side in assumed.items() if first <= lemma < end}
            found.append(self._part(first, end)._least(own))
        return np.concatenate(found)

    def _part(self, first: int, end: int) -> RowSum:
        """The functions from number `first` on to before `end`, as they stand before any is evaluated."""
        added: dict[str, list[tuple[Any, Any, Ints]]] = {}
        for name, parts in self.added.items():
            for lemmas, entries, values in parts:
                chosen = np.flatnonzero((lemmas >= first) & (lemmas < end))
                if len(chosen):
                    own = (lemmas[chosen] - first, entries[chosen], values[chosen])
                    added.setdefault(name, []).append(own)
        part = RowSum(self.graph, self.atoms, self.context, end - first, added=added)
        part.constant = self.constant[first:end]
        return part

    def _least(self, assumed: dict[int, tuple[str, int, int]]) -> Ints:
        for name, form in reversed(self.graph.forms.items()):
            if name in self.terms or name in self.added:
                self._substitute(name, form, self._taken(name))
        for lemma, (switch, entry, side) in assumed.items():
            coefficients = self._taken(STEP + switch)
            self.terms[STEP + switch] = coefficients
            self.constant[lemma] += int(coefficients[lemma, entry]) * side
            coefficients[lemma, entry] = 0
        for name in [*self.terms, *(name for name in self.added if name not in self.terms)]:
            self._absorb(name, self._taken(name))
        return self.constant

    def _taken(self, name: str) -> Ints:
        """The coefficients [count, size] of a tensor, which is left without any."""
        size, parts = self.graph.sizes[name], self.added.pop(name, [])
        found = self.terms.pop(name, None)
        if not parts:
            return np.zeros((self.count, size), np.int64) if found is None else found
        lemmas, entries, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        total = scattered(self.count * size, lemmas * size + entries, values).reshape(self.count, size)
        return total if found is None else plus(found, total)

    def _times(self, weights: Ints, coefficient: Ints | int) -> Ints:
        """Multipliers [k] times coefficients [k], or times 1 or -1, rounded down."""
        if isinstance(coefficient, int):
            return coefficient * weights
        return self.context.unit.floor(weights.astype(object) * coefficient)

    def _substitute(self, name: str, form: Form, coefficients: Ints) -> None:
        context = self.context
        if not coefficients.any():
            return
        if isinstance(form, Times):
            self._absorb(name, coefficients)
            return
        if isinstance(form, Affine):
            digits = Digits(coefficients)
            self.constant = self.constant + form.bias.after(digits)[:, 0]
            for source, matrix in form.terms:
                self._pass_on(source, matrix.after(digits))
                below = np.maximum(-context.low[source], 0).sum()
                self.constant = self.constant + ((-below) >> self.context.unit.places)
            return
        match form:
            case Relu(source):
                on, off = context.low[STEP + source] > 0, context.high[STEP + source] == 0
                signed = on.astype(np.int64)
            case Gate(switch, source):
                on, off = context.low[STEP + switch] > 0, context.high[STEP + switch] == 0
                signed = on.astype(np.int64)
            case Abs(source):
                on, off = context.low[source] >= 0, context.high[source] <= 0
                on, off, signed = on | off, np.zeros_like(off), np.where(on, 1, -1) * (on | off)
        if on.any():
            self._pass_on(source, coefficients * signed)
        self._absorb(name, coefficients * ~(on | off).astype(bool))

    def _pass_on(self, name: str, coefficients: Ints) -> None:
        self.terms[name] = plus(self.terms[name], coefficients) if name in self.terms else coefficients

    def _absorb(self, name: str, coefficients: Ints) -> None:
        if not coefficients.any():
            return
        positive, negative = np.maximum(coefficients, 0), np.minimum(coefficients, 0)
        pairs = ((positive, self.context.low[name]), (negative, self.context.high[name]))
        least = self.context.unit.dot(pairs)
        if self.context.ball is not None and name == self.graph.network.input:
            least = np.maximum(least, self.context.ball.least(coefficients))
        self.constant = self.constant + least

    def _atoms(self, lemmas: Any, weights: Ints, entries: Any) -> None:
        """Subtracts atoms, each given by clause, conjunction and number in it."""
        if set(map(type, entries)) - {list} or set(map(len, entries)) - {3}:
            raise RejectedError("an atom is not given by three numbers")
        places = whole_numbers(list(itertools.chain.from_iterable(entries))).reshape(-1, 3)
        clauses, parts, _ = places.T
        atoms = self.atoms
        numbers = atoms.numbers(*places.T)
        only = atoms.only(self.context.alternatives)
        assumed = (clauses == self.clause) & (self._assumed[lemmas] == parts)
        if not (assumed | (only[clauses] == parts)).all():
            raise RejectedError("a conjunction is neither certain nor assumed")
        output, signed = self.graph.network.output, -weights * atoms.signs[numbers]
        self.add(output, lemmas, atoms.left[numbers], signed)
        other = atoms.other[numbers]
        pair, single = np.flatnonzero(other >= 0), np.flatnonzero(other < 0)
        self.add(output, lemmas[pair], other[pair], -signed[pair])
        limits = atoms.limits(self.context.unit)[numbers[single]]
        np.add.at(self.constant, lemmas[single], self._times(-signed[single], limits))

    @cached_property
    def _assumed(self) -> Any:
        """The conjunction that each deduction assumes [count], -1 for none."""
        return np.array(self.parts or [-1] * self.count, np.intp)

    def row_of(self, kind: str, name: str, at: Any) -> tuple[list[Coefficient], Ints | None]:
        """Coefficients of a row's tensors at `at`, and its constant where that is not 0."""
        form, low, high = self.graph.forms.get(name), self.context.low, self.context.high
        if name in self.graph.sizes and (at >= self.graph.sizes[name]).any():
            raise RejectedError(f"{name!r:.40} has no such entry")
        if kind in ("low", "high") and name in self.graph.sizes:
            return ([(name, 1)], -low[name][at]) if kind == "low" else ([(name, -1)], high[name][at])
        if kind.startswith("product_") and isinstance(form, Times):
            return self._product_row(kind, name, form, at)
        if kind.startswith("step_") and name in self.graph.switches:
            z, switch, form_rows = name, name, STEP_ROWS
        elif kind.startswith("gate_") and isinstance(form, Gate):
            z, switch, form_rows = form.value, form.switch, GATE_ROWS
        elif kind.startswith("relu_") and isinstance(form, Relu):
            z, switch, form_rows = form.source, form.source, RELU_ROWS
        elif kind.startswith("abs_") and isinstance(form, Abs):
            z, switch, form_rows = form.source, form.source, ABS_ROWS
        else:
            raise RejectedError(f"no row {kind!r:.40} at {name!r:.40}")
        return form_rows[kind](name, z, STEP + switch, low[z][at], high[z][at])

    def _product_row(
        self, kind: str, name: str, form: Times, at: Any
    ) -> tuple[list[Coefficient], Ints | None]:
        """McCormick's planes of p = f v, and the tangent of p = f f in the middle of its range."""
        f, v, unit = form.left, form.right, self.context.unit
        ends = (self.context.low, self.context.high)
        if kind == "product_middle":
            if f != v:
                raise RejectedError(f"{name!r:.40} is no square")
            both = ends[0][f][at] + ends[1][f][at]
            return [(name, 1), (f, -both)], -(-(both**2) >> (unit.places + 2))
        sign, of_f, of_v = PRODUCT_ROWS[kind]
        by_v, by_f = ends[of_f][f][at], ends[of_v][v][at]
        # Rounded up: a row stays >= 0 when something is added to it.
        constant = -unit.floor(-(sign * by_v * by_f))
        return [(name, sign), (v, -sign * by_v), (f, -sign * by_f)], constant


PRODUCT_ROWS = {
    "product_under_low": (1, 0, 0),
    "product_under_high": (1, 1, 1),
    "product_over_low": (-1, 0, 1),
    "product_over_high": (-1, 1, 0),
}
"""Of each plane of a product its sign, and which ends of the ranges of f and v it touches."""
Coefficient = tuple[str, "Ints | int"]
"""A tensor, and 1, -1 or an array of integers times the unit."""
Row = Callable[[str, str, str, Ints, Ints], tuple[list[Coefficient], Ints | None]]
STEP_ROWS: dict[str, Row] = {
    "step_on": lambda _, z, m, lo, up: ([(m, up), (z, -1)], None),
    "step_off": lambda _, z, m, lo, up: ([(z, 1), (m, lo)], -lo),
}
RELU_ROWS: dict[str, Row] = {
    "relu_z": lambda r, z, m, lo, up: ([(r, 1), (z, -1)], None),
    "relu_on": lambda r, z, m, lo, up: ([(m, up), (r, -1)], None),
    "relu_off": lambda r, z, m, lo, up: ([(z, 1), (m, lo), (r, -1)], -lo),
}
GATE_ROWS: dict[str, Row] = {
    "gate_low": lambda p, v, m, lo, up: ([(p, 1), (m, -lo)], None),
    "gate_high": lambda p, v, m, lo, up: ([(m, up), (p, -1)], None),
    "gate_on": lambda p, v, m, lo, up: ([(p, 1), (v, -1), (m, -up)], up),
    "gate_off": lambda p, v, m, lo, up: ([(v, 1), (p, -1), (m, lo)], -lo),
}
ABS_ROWS: dict[str, Row] = {
    "abs_pos": lambda a, z, m, lo, up: ([(a, 1), (z, -1)], None),
    "abs_neg": lambda a, z, m, lo, up: ([(a, 1), (z, 1)], None),
    "abs_on": lambda a, z, m, lo, up: ([(z, 1), (a, -1), (m, 2 * lo)], -2 * lo),
    "abs_off": lambda a, z, m, lo, up: ([(m, 2 * up), (a, -1), (z, -1)], None),
}


def whole_numbers(values: Any) -> Any:
    """Numbers of entries as an array. Raises: RejectedError: one is no whole number >= 0."""
    if set(map(type, values)) - {int}:
        raise RejectedError("a number of an entry is no whole number")
    found = np.array(values, dtype=np.intp)
    if (found < 0).any():
        raise RejectedError("a number of an entry is negative")
    return found
