"""A query as one Marabou problem: equations, ReLUs, and one disjunction per undecided masked neuron.

The disjunction of a neuron decides its mask, its ReLU and everything the mask gates together:
(z <= 0, a = 0, m = 0, p = 0) or (z >= 0, a = z, m = 1, p = v). Masks are closed, so `unsat` covers
the strict mask 1[z > 0] (Le et al., "Towards Robust Saliency Maps", ACML 2024, section 4).
Every disjunct holds bounds of single variables alone: differences get variables of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.marabou.child import Bound, LinearQuery
from salver.solvers.marabou.rows import Entries, Row, blocks_read, minus, row_of
from salver.spec import Atom, Clause, Property

Array = npt.NDArray[np.float64]

SLACK = 1e-7
"""Outward slack of an atom relative to the numbers it compares: above the tolerances of Marabou."""


@dataclass(frozen=True)
class Margin:
    """A stronger query, whose points tend to survive strict replay in float32.

    Attributes:
        pre: |z| >= pre at every undecided masked neuron.
        output: every atom holds by so much, unless its outputs are constant between sign changes.
    """

    pre: float
    output: float


def encode(
    program: Program, prop: Property, bounds: Bounds, margin: Margin | None = None, workers: int = 1
) -> LinearQuery | None:
    """The Marabou problem of a program without `AbsBlock`, or None when the bounds alone refute a clause.

    Without a margin the problem is a relaxation of the query (closed masks, output condition loosened by
    `SLACK`), so its `unsat` is the query's. With one it is a restriction, and `unsat` says nothing.

    Args:
        bounds: over the property's box; the encoding adds none of its own.
        workers: see `LinearQuery`.
    """
    encoder = _Encoder(program, bounds, margin)
    encoder.network()
    if not all(encoder.clause(clause) for clause in prop.clauses):
        return None
    inputs = [(1.0, shift) for shift in encoder.blocks[-1].shift.tolist()]
    sides = encoder.lower, encoder.upper
    return LinearQuery(inputs, *sides, encoder.equations, encoder.relus, encoder.disjunctions, workers)


Entry = tuple[int, float]
"""A value as variable + shift; the variable is -1 for a constant."""


@dataclass
class _Encoder:
    program: Program
    bounds: Bounds
    margin: Margin | None
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    equations: list[tuple[list[float], list[int], float]] = field(default_factory=list)
    relus: list[tuple[int, int]] = field(default_factory=list)
    disjunctions: list[list[list[Bound]]] = field(default_factory=list)
    blocks: dict[int, Entries] = field(default_factory=dict)
    pre: dict[int, Entries] = field(default_factory=dict)
    cases: dict[tuple[int, int], tuple[list[Bound], list[Bound]]] = field(default_factory=dict)
    outputs: dict[tuple[int, int | None], Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        blocks, pre = self.program.blocks, self.program.pre
        self.masked = {block.pre for block in blocks if isinstance(block, MaskBlock)}
        values = [block.value for block in blocks if isinstance(block, GateBlock)]
        readers = [*(point.affine for point in pre), *values, self.program.output]
        self.read = {block for affine in readers for block in affine.terms}
        self.native, self.steps = {-1}, set[int]()
        for number, block in enumerate(blocks):
            match block:
                case MaskBlock():
                    self.steps.add(number)
                case GateBlock() if self.steps >= set(block.value.terms):
                    self.steps.add(number)
                case ReluBlock() if self.steps >= set(pre[block.pre].affine.terms):
                    self.steps.add(number)
                # Marabou ends with "unknown error" when a native ReLU reads what a disjunction defines.
                case ReluBlock() if self.native >= set(pre[block.pre].affine.terms):
                    self.native.add(number)

    def network(self) -> None:
        """Variables, equations, ReLUs and neuron disjunctions of the whole program."""
        box = zip(self.bounds.input_lower.tolist(), self.bounds.input_upper.tolist(), strict=True)
        entries = [(self._fresh(low, high), low < high) for low, high in box]
        self.blocks[-1] = _collect([entry if is_free else (-1, entry[1]) for entry, is_free in entries])
        for number, block in enumerate(self.program.blocks):
            assert not isinstance(block, FactorBlock | ProductBlock), "see `Query.program_without_products`"
            self.blocks[number] = self._block(number, block)
        self.disjunctions += [[off, on] for off, on in self.cases.values()]

    def clause(self, clause: Clause) -> bool:
        """Adds one clause of the output condition; False when the bounds refute it."""
        disjuncts = [part for conjunction in clause if (part := self._conjunction(conjunction)) is not None]
        if not disjuncts:
            return False
        if not all(disjuncts):
            return True
        if len(disjuncts) == 1:
            return all(self._tighten(*bound) for bound in disjuncts[0])
        self.disjunctions.append(disjuncts)
        return True

    def _conjunction(self, atoms: tuple[Atom, ...]) -> list[Bound] | None:
        """Its atoms as bounds, without those that always hold; None when one cannot hold."""
        bounds: list[Bound] = []
        for atom in atoms:
            variable, shift = self._output(atom.left, atom.other)
            low, high = self._range((variable, shift))
            ease = self._ease(atom, max(abs(low), abs(high)))
            at_least = atom.relation == ">="
            constant = atom.constant - ease if at_least else atom.constant + ease
            if (high < constant) if at_least else (low > constant):
                return None
            if (low < constant) if at_least else (high > constant):
                bounds.append((variable, atom.relation, constant - shift))
        return bounds

    def _ease(self, atom: Atom, size: float) -> float:
        """By how much an atom is loosened; negative when it is strengthened."""
        if self.margin is None:
            return SLACK * (size + abs(atom.constant))
        is_step = all(blocks_read(self.program.output, row) <= self.steps for row in atom.outputs)
        return 0.0 if is_step else -self.margin.output

    def _output(self, left: int, other: int | None) -> Entry:
        """Y[left], or Y[left] - Y[other]."""
        if (left, other) not in self.outputs:
            lower, upper = self.bounds.output_lower, self.bounds.output_upper
            row, low, high = row_of(self.program.output, left, self.blocks), lower[left], upper[left]
            if other is not None:
                row = minus(row, row_of(self.program.output, other, self.blocks))
                low, high = low - upper[other], high - lower[other]
            self.outputs[left, other] = self._value(row, float(low), float(high))
        return self.outputs[left, other]

    def _block(self, number: int, block: ReluBlock | MaskBlock | GateBlock | AbsBlock) -> Entries:
        match block:
            case ReluBlock() | MaskBlock() if block.pre not in self.pre:
                lower, upper = self.bounds.pre_lower[block.pre], self.bounds.pre_upper[block.pre]
                self.pre[block.pre] = self._affine(self.program.pre[block.pre].affine, lower, upper)
                return self._block(number, block)
            case ReluBlock():
                return self._by_sign(
                    block.pre, lambda i: self._relu(number, block.pre, i), self.pre[block.pre]
                )
            case MaskBlock():
                ones = Entries(np.full(block.size, -1), np.ones(block.size))
                return self._by_sign(block.pre, lambda i: self._mask(number, block.pre, i), ones)
            case GateBlock():
                lower, upper = self.bounds.value_lower[number], self.bounds.value_upper[number]
                value, mask = self._affine(block.value, lower, upper), self.program.blocks[block.mask]
                assert isinstance(mask, MaskBlock)
                return self._by_sign(mask.pre, lambda i: self._gate(mask.pre, value[i], i), value)
        raise ValueError("absolute values must be rewritten with `without_abs`")

    def _by_sign(self, pre: int, undecided: Callable[[int], Entry], on: Entries) -> Entries:
        """Zero where a neuron is off, the entry of `on` where it is on."""
        signs = self.bounds.signs[pre].tolist()
        return _collect(
            [undecided(i) if sign == 0 else on[i] if sign > 0 else (-1, 0.0) for i, sign in enumerate(signs)]
        )

    def _relu(self, number: int, pre: int, i: int) -> Entry:
        low, high = self._range(self.pre[pre][i])
        a, z = self._variable(0.0, max(high, 0.0)), self._unshifted(pre, i)
        if z < 0:
            return a, 0.0
        gap = self._variable(0.0, max(-low, 0.0))
        self.equations.append(([1.0, -1.0, -1.0], [a, z, gap], 0.0))
        off, on = self._case(pre, i)
        off.append((a, "<=", 0.0))
        on.append((gap, "<=", 0.0))
        if number in self.native:
            self.relus.append((z, a))
        return a, 0.0

    def _mask(self, number: int, pre: int, i: int) -> Entry:
        if number not in self.read:
            return -1, 0.0
        m = self._variable(0.0, 1.0)
        off, on = self._case(pre, i)
        off.append((m, "<=", 0.0))
        on.append((m, ">=", 1.0))
        return m, 0.0

    def _gate(self, pre: int, value: Entry, i: int) -> Entry:
        """p in (v = p + rest) with p = 0 or rest = 0."""
        (v, shift), (low, high) = value, self._range(value)
        p = self._variable(min(low, 0.0), max(high, 0.0))
        off, on = self._case(pre, i)
        off += [(p, "<=", 0.0), (p, ">=", 0.0)]
        if v < 0:
            on += [(p, "<=", shift), (p, ">=", shift)]
            return p, 0.0
        rest = self._variable(min(low, 0.0), max(high, 0.0))
        self.equations.append(([1.0, -1.0, -1.0], [v, p, rest], -shift))
        on += [(rest, "<=", 0.0), (rest, ">=", 0.0)]
        return p, 0.0

    def _case(self, pre: int, i: int) -> tuple[list[Bound], list[Bound]]:
        """The two disjuncts of an undecided neuron, to be added to; a constant z at 0 leaves both open."""
        if (pre, i) not in self.cases:
            z = self._unshifted(pre, i)
            margin = self.margin.pre if self.margin is not None and pre in self.masked else 0.0
            self.cases[pre, i] = ([(z, "<=", -margin)], [(z, ">=", margin)]) if z >= 0 else ([], [])
        return self.cases[pre, i]

    def _unshifted(self, pre: int, i: int) -> int:
        """The variable equal to an undecided pre-activation, -1 if that is constant."""
        z, shift = self.pre[pre][i]
        if z >= 0 and shift != 0.0:
            plain = self._variable(*self._range((z, shift)))
            self.equations.append(([1.0, -1.0], [z, plain], -shift))
            self.pre[pre].variable[i], self.pre[pre].shift[i] = plain, 0.0
            z = plain
        return z

    def _affine(self, affine: Affine, lower: Array, upper: Array) -> Entries:
        sides = zip(lower.tolist(), upper.tolist(), strict=True)
        rows = (row_of(affine, i, self.blocks) for i in range(affine.size))
        return _collect([self._value(row, *side) for row, side in zip(rows, sides, strict=True)])

    def _value(self, row: Row, low: float, high: float) -> Entry:
        """The value of a row, known to lie between low and high."""
        if not len(row.variables):
            return -1, row.constant
        if len(row.variables) == 1 and row.coefficients[0] == 1.0:
            known = int(row.variables[0])
            self._tighten(known, ">=", low - row.constant)
            self._tighten(known, "<=", high - row.constant)
            return known, row.constant
        variable, shift = self._fresh(low, high)
        variables = [*row.variables.tolist(), variable]
        self.equations.append(([*row.coefficients.tolist(), -1.0], variables, shift - row.constant))
        return variable, shift

    def _fresh(self, low: float, high: float) -> Entry:
        """A new value; one away from 0 is shifted there, so that its variable is as large as its range."""
        shift = low if low > 0 else min(high, 0.0)
        return self._variable(low - shift, high - shift), shift

    def _variable(self, low: float, high: float) -> int:
        self.lower.append(low)
        self.upper.append(high)
        return len(self.lower) - 1

    def _range(self, entry: Entry) -> tuple[float, float]:
        variable, shift = entry
        if variable < 0:
            return shift, shift
        return self.lower[variable] + shift, self.upper[variable] + shift

    def _tighten(self, variable: int, relation: str, constant: float) -> bool:
        """Adds a bound to a variable; False, with the variable unchanged, when it leaves nothing."""
        low, high = self.lower[variable], self.upper[variable]
        if (constant > high) if relation == ">=" else (constant < low):
            return False
        if relation == ">=":
            self.lower[variable] = max(low, constant)
        else:
            self.upper[variable] = min(high, constant)
        return True


def _collect(entries: list[Entry]) -> Entries:
    return Entries(np.array([v for v, _ in entries], np.int64), np.array([shift for _, shift in entries]))
