"""A query as a mixed-integer linear program, independent of the solver that gets it.

Big-M encoding (Tjeng, Xiao, Tedrake, "Evaluating Robustness of Neural Networks with Mixed Integer
Programming", ICLR 2019, sec. 4) extended to gradients: one binary per undecided neuron drives its ReLU,
its mask and every gate of that mask, the gates by the four McCormick inequalities, which are exact for a
binary mask. Both sides are closed at z = 0, so the program covers the strict mask and more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import ROUNDING, Affine
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.bounds import Bounds, constant_rows
from salver.solvers.bounding.linear_bounds import bound_affine
from salver.solvers.bounding.relaxation import is_point
from salver.solvers.milp.program import Milp
from salver.solvers.milp.rows import BlockEntries, ProgramRows
from salver.solvers.slack import slack_rows
from salver.spec.property import Atom, Property

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

WIDEN = 1e-6
"""Unless asked for exactly, bounds in the program are moved outwards by this share of the larger of the two.
Solvers compare with tolerances near 1e-9; bounds that are attained exactly made SCIP 10.0 call feasible
programs infeasible."""

SLACK = 1e-8
"""Likewise every clause is relaxed by this share of what its sides are added up from."""


def build(
    program: Program,
    prop: Property,
    bounds: Bounds,
    margin: float = 0.0,
    room: float = 0.0,
    prune: bool = True,
    exact: bool = False,
) -> Milp | None:
    """Encodes a query over the box and the fixed signs of `bounds`.

    Args:
        bounds: bounds of the program with its outputs, not infeasible.
        margin: 0 for the closed relaxation, which has a solution wherever the query has one. Above 0, |z| >=
            margin times the largest |z| on both sides of every neuron; only good for finding witnesses.
        room: least slack of every clause, as a share of what its sides are added up from and at most a
        quarter of the distance between two bounds on one output; likewise. prune: whether to look for such a
        clause; a proof rather wants the program that shows it. exact: whether bounds and clauses are taken as
        they are, for multipliers that are evaluated with an allowance for rounding (`Milp.row_size`), rather
        than moved outwards for solvers with tolerances.

    Returns:
        None when the bounds alone leave some clause without a chance.
    """
    builder = _ModelBuilder(
        program=program, bounds=bounds, margin=margin, room=room, prune=prune, exact=exact
    )
    return builder.run(prop)


@dataclass(kw_only=True)
class _ModelBuilder(ProgramRows):
    program: Program
    margin: float
    room: float
    prune: bool
    exact: bool
    neurons: dict[int, tuple[Indices, Indices]] = field(default_factory=dict)
    ranges: Indices = field(default_factory=lambda: np.zeros(0, np.intp))
    products: list[Indices] = field(default_factory=list)

    def run(self, prop: Property) -> Milp | None:
        columns = self.add_columns(self.bounds.input_lower, self.bounds.input_upper)
        self.entries[-1] = BlockEntries(columns, np.zeros(len(columns)))
        for number, block in enumerate(self.program.blocks):
            match block:
                case ReluBlock():
                    self.entries[number] = self._relu(number, block)
                case MaskBlock():
                    self.entries[number] = self._mask(block)
                case GateBlock():
                    self.entries[number] = self._gate(number, block)
                case AbsBlock():
                    self.entries[number] = self._abs(number, block)
                case FactorBlock():
                    self.entries[number] = self._factor(number, block)
                case ProductBlock():
                    self.entries[number] = self._product(number, block)
        return replace(self._finish(), ball=prop.ball) if self._clauses(prop) else None

    def _finish(self) -> Milp:
        nothing = (np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))
        rows, columns, values = (np.concatenate(part) for part in zip(nothing, *self.parts, strict=True))
        matrix = sparse.csr_array((values, (rows, columns)), shape=(self.rows, self.count))
        limits = (
            np.concatenate([nothing[2], *self.row_lower]),
            np.concatenate([nothing[2], *self.row_upper]),
        )
        variables = (np.concatenate(self.lower), np.concatenate(self.upper), np.concatenate(self.integer))
        binaries = {pre: columns for pre, (_, columns) in self.neurons.items()}
        origins = (tuple(self.rows_of), tuple(self.columns_of))
        size = np.concatenate([nothing[2], *self.row_size])
        return Milp(
            *variables,
            matrix,
            *limits,
            self.program.input_size,
            binaries,
            self.ranges,
            *origins,
            row_size=size,
            products=np.concatenate([np.zeros((0, 3), np.intp), *self.products]),
        )

    def _neuron(self, pre: int) -> tuple[Indices, Indices]:
        """Columns of the undecided entries: z, and the binary of its sign."""
        if pre not in self.neurons:
            signs, affine = self.bounds.signs[pre], self.program.pre[pre].affine
            low, high = self._widened(self.bounds.pre_lower[pre], self.bounds.pre_upper[pre])
            pick = np.flatnonzero(signs == 0)
            # A ReLU without a mask may be 0 all over a cell, as one of signals that nothing passes on to.
            share = self.margin if pre in self.program.jumps else 0.0
            margin = share * np.maximum(np.abs(low), np.abs(high))
            self.next_columns("pre", pre, pick)
            z = self.add_columns(low[pick], high[pick])
            on = self.add_binaries(len(pick))
            self.add_affine(affine, pick, 0.0, 0.0, minus=z)
            self.next_rows("step_on", pre, pick)
            self.constrain([(z, 1.0), (on, -high[pick] - margin[pick])], -np.inf, -margin[pick])
            self.next_rows("step_off", pre, pick)
            self.constrain([(z, 1.0), (on, low[pick] - margin[pick])], low[pick], np.inf)
            moves = np.ones(affine.size, bool)
            moves[constant_rows(affine, self.bounds)] = False
            off = np.flatnonzero(moves & (signs < 0) & (high >= -margin))
            self.next_rows("high", pre, off)
            self.add_affine(affine, off, -np.inf, -margin[off])
            sure = np.flatnonzero(moves & (signs > 0) & (low <= margin))
            self.next_rows("low", pre, sure)
            self.add_affine(affine, sure, margin[sure], np.inf)
            self.neurons[pre] = (z, on)
        return self.neurons[pre]

    def _widened(self, low: Array, high: Array) -> tuple[Array, Array]:
        if self.exact:
            return low, high
        room = WIDEN * np.maximum(np.abs(low), np.abs(high))
        return low - room, high + room

    def _relu(self, number: int, block: ReluBlock) -> BlockEntries:
        signs = self.bounds.signs[block.pre]
        low, high = self._widened(self.bounds.pre_lower[block.pre], self.bounds.pre_upper[block.pre])
        z, on = self._neuron(block.pre)
        columns = np.full(block.size, -1)
        pick = np.flatnonzero(signs == 0)
        columns[pick] = value = self.add_columns(np.zeros(len(pick)), high[pick])
        self.next_rows("relu_z", number, pick)
        self.constrain([(value, 1.0), (z, -1.0)], 0.0, np.inf)
        self.next_rows("relu_on", number, pick)
        self.constrain([(value, 1.0), (on, -high[pick])], -np.inf, 0.0)
        self.next_rows("relu_off", number, pick)
        self.constrain([(value, 1.0), (z, -1.0), (on, -low[pick])], -np.inf, -low[pick])
        self.next_columns("block", number, np.flatnonzero(signs > 0))
        self.add_linear(columns, self.program.pre[block.pre].affine, np.flatnonzero(signs > 0), low, high)
        return BlockEntries(columns, np.zeros(block.size))

    def _mask(self, block: MaskBlock) -> BlockEntries:
        signs = self.bounds.signs[block.pre]
        columns = np.full(block.size, -1)
        columns[signs == 0] = self._neuron(block.pre)[1]
        return BlockEntries(columns, (signs > 0).astype(np.float64))

    def _gate(self, number: int, block: GateBlock) -> BlockEntries:
        mask = self.entries[block.mask]
        low, high = self._widened(self.bounds.value_lower[number], self.bounds.value_upper[number])
        columns = np.full(block.size, -1)
        pick = np.flatnonzero(mask.columns >= 0)
        on, least, most = mask.columns[pick], low[pick], high[pick]
        self.next_columns("value", number, pick)
        value = self.add_columns(least, most)
        self.add_affine(block.value, pick, 0.0, 0.0, minus=value)
        floor, ceiling = self._widened(self.bounds.block_lower[number], self.bounds.block_upper[number])
        columns[pick] = gated = self.add_columns(floor[pick], ceiling[pick])
        self.next_rows("gate_high", number, pick)
        self.constrain([(gated, 1.0), (on, -most)], -np.inf, 0.0)
        self.next_rows("gate_low", number, pick)
        self.constrain([(gated, 1.0), (on, -least)], 0.0, np.inf)
        self.next_rows("gate_off", number, pick)
        self.constrain([(gated, 1.0), (value, -1.0), (on, -least)], -np.inf, -least)
        self.next_rows("gate_on", number, pick)
        self.constrain([(gated, 1.0), (value, -1.0), (on, -most)], -most, np.inf)
        self.next_columns("block", number, np.flatnonzero(mask.constants == 1.0))
        self.add_linear(columns, block.value, np.flatnonzero(mask.constants == 1.0), low, high)
        return BlockEntries(columns, np.zeros(block.size))

    def _abs(self, number: int, block: AbsBlock) -> BlockEntries:
        low, high = self._widened(self.bounds.value_lower[number], self.bounds.value_upper[number])
        columns = np.full(block.size, -1)
        positive, negative = np.flatnonzero(low >= 0), np.flatnonzero((low < 0) & (high <= 0))
        self.next_columns("block", number, positive)
        self.add_linear(columns, block.value, positive, low, high)
        self.next_columns("block", number, negative)
        self.add_linear(columns, block.value, negative, -high, -low, sign=-1.0)
        pick = np.flatnonzero((low < 0) & (high > 0))
        least, most = low[pick], high[pick]
        self.next_columns("value", number, pick)
        value = self.add_columns(least, most)
        self.add_affine(block.value, pick, 0.0, 0.0, minus=value)
        columns[pick] = size = self.add_columns(np.zeros(len(pick)), np.maximum(-least, most))
        above = self.add_binaries(len(pick))
        self.next_rows("abs_pos", number, pick)
        self.constrain([(size, 1.0), (value, -1.0)], 0.0, np.inf)
        self.next_rows("abs_neg", number, pick)
        self.constrain([(size, 1.0), (value, 1.0)], 0.0, np.inf)
        self.next_rows("abs_on", number, pick)
        self.constrain([(size, 1.0), (value, -1.0), (above, -2.0 * least)], -np.inf, -2.0 * least)
        self.next_rows("abs_off", number, pick)
        self.constrain([(size, 1.0), (value, 1.0), (above, -2.0 * most)], -np.inf, 0.0)
        return BlockEntries(columns, np.zeros(block.size))

    def _factor(self, number: int, block: FactorBlock) -> BlockEntries:
        columns, pick = np.full(block.size, -1), np.arange(block.size)
        low, high = self._widened(self.bounds.block_lower[number], self.bounds.block_upper[number])
        self.next_columns("block", number, pick)
        self.add_linear(columns, block.value, pick, low, high)
        return BlockEntries(columns, np.zeros(block.size))

    def _product(self, number: int, block: ProductBlock) -> BlockEntries:
        """Columns p of f * v, with f in [a, b] and v in [c, d], and McCormick's four planes as rows.

        Where f is a point up to rounding, one row instead: |p - m v| <= (b - a) / 2 * max|v|, up to the
        rounding of m = (a + b) / 2. So the rows are exact once the signs behind f are decided.

        * product_under_low: p - a v - c f >= -a c
        * product_under_high: p - b v - d f >= -b d
        * product_over_low: p - a v - d f <= -a d
        * product_over_high: p - b v - c f <= -b c
        * product_point: two-sided, as above
        """
        bounds, factor = self.bounds, self.entries[block.factor].columns
        least, most = self._widened(bounds.value_lower[number], bounds.value_upper[number])
        a, b = bounds.block_lower[block.factor], bounds.block_upper[block.factor]
        point = is_point(a, b, bounds.value_size[block.factor])
        floor, ceiling = self._widened(bounds.block_lower[number], bounds.block_upper[number])
        every = np.arange(block.size)
        self.next_columns("value", number, every)
        value = self.add_columns(least, most)
        self.add_affine(block.value, every, 0.0, 0.0, minus=value)
        self.next_columns("block", number, every)
        gated = self.add_columns(floor, ceiling)
        at = np.flatnonzero(point)
        middle, reach = (a + b)[at] / 2, np.maximum(np.abs(least), np.abs(most))[at]
        a, b = self._widened(a, b)
        width = ((b - a)[at] / 2 + ROUNDING * np.abs(middle)) * reach
        self.next_rows("product_point", number, at)
        self.constrain([(gated[at], 1.0), (value[at], -middle)], -width, width)
        self._planes(number, np.flatnonzero(~point), (gated, factor, value), (a, b), (least, most))
        return BlockEntries(gated, np.zeros(block.size))

    def _planes(
        self,
        number: int,
        pick: Indices,
        columns: tuple[Indices, Indices, Indices],
        factor: tuple[Array, Array],
        value: tuple[Array, Array],
    ) -> None:
        """McCormick's planes of the products `pick`, whose columns are those of p, f and v."""
        p, f, v = (part[pick] for part in columns)
        self.products.append(np.column_stack([p, f, v]))
        (a, b), (c, d) = ([side[pick] for side in sides] for sides in (factor, value))
        for kind, by_v, by_f in (("low", a, c), ("high", b, d)):
            self.next_rows(f"product_under_{kind}", number, pick)
            size = ROUNDING * np.abs(by_v * by_f)
            self.constrain([(p, 1.0), (v, -by_v), (f, -by_f)], -by_v * by_f - size, np.inf)
        for kind, by_v, by_f in (("low", a, d), ("high", b, c)):
            self.next_rows(f"product_over_{kind}", number, pick)
            size = ROUNDING * np.abs(by_v * by_f)
            self.constrain([(p, 1.0), (v, -by_v), (f, -by_f)], -np.inf, -by_v * by_f + size)

    def _clauses(self, prop: Property) -> bool:
        """Adds every clause; False when one cannot hold."""
        if not all(prop.comparisons):
            return False
        low, high = (side.copy() for side in prop.ranges)
        if self.prune and ((self.bounds.output_lower > high).any() or (self.bounds.output_upper < low).any()):
            return False
        atoms = [atom for clause in prop.comparisons for conjunction in clause for atom in conjunction]
        if atoms:
            slack = slack_rows(self.program.output, atoms)
            least, most = self._slack_bounds(slack, atoms)
            goal, certain = self._goal(slack), list[int]()
            numbers = iter(range(len(atoms)))
            for clause in prop.comparisons:
                rows = [np.array([next(numbers) for _ in part], dtype=np.intp) for part in clause]
                live = [part for part in rows if not self.prune or not (most[part] < 0).any()]
                if not live:
                    return False
                if len(live) > 1:
                    self._disjunction(slack, least, goal, live)
                    continue
                for atom in (atoms[row] for row in live[0]):
                    if atom.other is None and atom.relation == ">=":
                        low[atom.left] = max(low[atom.left], atom.constant)
                    elif atom.other is None:
                        high[atom.left] = min(high[atom.left], atom.constant)
                certain += [row for row in live[0].tolist() if atoms[row].other is not None]
            # All at once: a ranking has hundreds of clauses.
            pairs = np.array(certain, np.intp)
            self.next_rows("atom", 0, pairs)
            self.add_affine(slack, pairs, goal[pairs], np.inf)
        self._ranges(low, high)
        return True

    def _slack_bounds(self, slack: Affine, atoms: list[Atom]) -> tuple[Array, Array]:
        """Bounds of the atoms' slacks; those of atoms with a constant also by the outputs' own bounds."""
        least, most = bound_affine(self.program, self.bounds, slack)
        for row, atom in enumerate(atoms):
            if atom.other is None:
                low, high = self.bounds.output_lower[atom.left], self.bounds.output_upper[atom.left]
                sides = (low - atom.constant, high - atom.constant)
                below, above = sides if atom.relation == ">=" else (-sides[1], -sides[0])
                least[row], most[row] = max(least[row], below), min(most[row], above)
        return least, most

    def _disjunction(self, slack: Affine, least: Array, goal: Array, parts: list[Indices]) -> None:
        """One binary per conjunction, at least one of them 1; slack >= least * (1 - binary).

        Args:
            goal: the least value of a slack that holds.
        """
        chosen = self.add_binaries(len(parts))
        first, self.rows = self.rows, self.rows + 1
        self.parts.append((np.full(len(chosen), first), chosen, np.ones(len(chosen))))
        self.row_lower.append(np.ones(1))
        self.row_upper.append(np.full(1, np.inf))
        self.row_size.append(np.zeros(1))
        rows = np.concatenate(parts)
        column = np.repeat(chosen, [len(part) for part in parts])
        floor = np.minimum(least[rows], 0.0)
        numbers = np.arange(self.rows, self.rows + len(rows))
        self.add_affine(slack, rows, floor, np.inf)
        self.parts.append((numbers, column, np.minimum(floor - goal[rows], 0.0)))

    @property
    def _slack(self) -> float:
        """By how much clauses are relaxed: not at all for multipliers, and where a witness is looked for."""
        return 0.0 if self.exact or self.margin else SLACK

    def _goal(self, slack: Affine) -> Array:
        """The least value [atoms] that the slack of an atom which holds is asked to have."""
        size = slack.magnitude(self.bounds.largest)
        return np.asarray(self.room * size if self.room else -self._slack * size)

    def _ranges(self, low: Array, high: Array) -> None:
        """Keeps outputs [outputs] within the constants of the property, where their bounds do not."""
        pick = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        low, high = low[pick], high[pick]
        size = self.program.output.magnitude(self.bounds.largest)[pick]
        if self.room:
            inset = np.minimum(self.room * size, np.maximum(high - low, 0.0) / 4)
            low, high = low + inset, high - inset
        elif self._slack:
            slack = [
                self._slack * (size + np.where(np.isfinite(side), np.abs(side), 0.0)) for side in (low, high)
            ]
            low, high = low - slack[0], high + slack[1]
        needed = (self.bounds.output_lower[pick] < low) | (self.bounds.output_upper[pick] > high)
        self.next_rows("range", 0, pick[needed])
        first = self.rows
        self.add_affine(self.program.output, pick[needed], low[needed], high[needed])
        self.ranges = np.arange(first, self.rows)
