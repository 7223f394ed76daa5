"""The saliency condition read backwards, as steps of a proof (see `bounding.backward`).

With y = A u over open gated values or masks u, any matrix P gives u = P y + (I - P A) u. As a deduction: u_i
less the limits of y, each times its entry of P, is u_i less P y plus constants; what is left of u takes the
worst of its range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine, dense
from salver.nets.program import GateBlock, MaskBlock, ProductBlock
from salver.proofs.context import Context
from salver.proofs.row_sum import MOST_AT_ONCE
from salver.solvers.bounding.backward import Estimates, estimates, interval_product
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.proving.rows import Places, Rows

if TYPE_CHECKING:
    from salver.solvers.proving.deductions import Deductions

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
AddBoth = Callable[[Rows, tuple[Array, Array]], None]
AddLimits = Callable[[Rows, Array], None]
"""Adds to deductions from 0 on the limits of all y, each times its (signed) multiplier [deductions, k]."""
OpenParts = list[tuple[int, Indices]]
"""Blocks and their entries, which together are u."""

WORTH_BOUNDING = 0.5
"""A range of a gated value is proven when it leaves at most this share of the one before, or excludes 0."""


def read_backwards(deductions: Deductions, context: Context, worth: float | None = None) -> bool:
    """Narrows gated values by the limits of the outputs and decides masks; whether a mask was decided."""
    return _ReadBack(deductions, context, worth).run()


@dataclass(frozen=True, eq=False)
class EstimatedRanges:
    """Ranges of some entries of u [c], and the rows P [c, k] that show either end.

    Attributes:
        low, high: the ranges.
        below, above: what shows them.
        rests: what is left of every entry of u at the lower ends and at the upper ones, each [c, m].
    """

    low: Array
    high: Array
    below: Array
    above: Array
    rests: tuple[Array, Array]

    def part(self, at: Indices) -> EstimatedRanges:
        sides = (self.low[at], self.high[at], self.below[at], self.above[at])
        return EstimatedRanges(*sides, (self.rests[0][at], self.rests[1][at]))

    def multipliers(self, entries: Indices, lower: Flags) -> tuple[Array, Array]:
        """Signed multipliers [c, k] of the limits of y that bound entries, or minus them, from below; and the
        coefficients [c, m] of u that are left."""
        pick = lower[:, None]
        limits = np.where(pick, self.below[entries], -self.above[entries])
        return limits, np.where(pick, self.rests[0][entries], -self.rests[1][entries])


def best_of(
    how: Estimates, matrix: Array, limits: tuple[Array, Array], known: tuple[Array, Array]
) -> EstimatedRanges:
    """The better of both estimates for every end, by limits alone that say more than `known` does."""
    each, rows = np.arange(len(how.chosen)), matrix[how.kept]
    low, high = (side[how.kept] for side in limits)
    single = np.zeros_like(how.sums)
    single[each, how.rows] = 1.0 / rows[how.rows, how.chosen]
    tight = low >= how.ranges[0], high <= how.ranges[1]
    ends: list[tuple[Array, Array, Array]] = []
    for sign, (near, far) in ((1.0, tight), (-1.0, tight[::-1])):
        values, chosen, rests = [], [], []
        for weights in (single, how.sums):
            used = np.where(weights > 0.0, weights * near, weights * far)
            rest = -used @ rows
            rest[each, how.chosen] += 1.0
            side = 0 if sign > 0 else 1
            values.append(interval_product(used, low, high)[side] + interval_product(rest, *known)[side])
            chosen.append(used)
            rests.append(rest)
        better = sign * values[1] > sign * values[0]
        pick = better[:, None]
        value = np.where(better, values[1], values[0])
        ends.append((value, np.where(pick, *chosen[::-1]), np.where(pick, *rests[::-1])))
    (least, below, low_rest), (most, above, high_rest) = ends
    whole = [np.zeros((len(each), len(matrix))) for _ in ends]
    for full, part in zip(whole, (below, above), strict=True):
        full[:, how.kept] = part
    old_low, old_high = (side[how.chosen] for side in known)
    ranges = np.fmax(old_low, least), np.fmin(old_high, most)
    return EstimatedRanges(*ranges, whole[0], whole[1], (low_rest, high_rest))


@dataclass(eq=False)
class _ReadBack:
    deductions: Deductions
    context: Context
    worth: float | None = None

    def __post_init__(self) -> None:
        self.program, self.graph = self.deductions.program, self.deductions.graph
        self.where: Places = self.deductions.places(self.context)

    @property
    def bounds(self) -> Bounds:
        return self.deductions.bounds(self.context)

    def run(self) -> bool:
        before = self.bounds.undecided
        at = np.array(sorted(set(self.where.low) & set(self.where.high)), np.intp)
        if len(at):
            self._narrow(self.program.output, at, *self._limits(at), self._output_limits(at))
        for number in reversed(range(len(self.program.blocks))):
            block = self.program.blocks[number]
            if isinstance(block, GateBlock) and not self.context.closed:
                self._gate(number, block)
        return self.context.closed or self.bounds.undecided < before

    def _limits(self, at: Indices) -> tuple[Array, Array]:
        low, high = self.where.prop.ranges
        return low[at], high[at]

    def _output_limits(self, at: Indices) -> AddLimits:
        below, above = (
            np.array([side[entry] for entry in at.tolist()], np.intp)
            for side in (self.where.low, self.where.high)
        )

        def add(rows: Rows, multipliers: Array) -> None:
            for sides, signed in ((below, multipliers), (above, -multipliers)):
                lemmas, used = np.nonzero(signed > 0)
                rows.add_atoms(lemmas, sides[used], signed[lemmas, used])

        return add

    def _value_limits(self, number: int, at: Indices) -> AddLimits:
        def add(rows: Rows, multipliers: Array) -> None:
            for kind, signed in (("low", multipliers), ("high", -multipliers)):
                lemmas, used = np.nonzero(signed > 0)
                rows.add_range(kind, number, lemmas, at[used], signed[lemmas, used])

        return add

    def _narrow(self, affine: Affine, at: Indices, low: Array, high: Array, limits: AddLimits) -> None:
        """Ranges of the open entries of the gates and masks that rows `at` of an affine map read."""
        bounds, read = self.bounds, affine.rows(at)
        parts: OpenParts = []
        for block, matrix in read.terms.items():
            kind = self.program.blocks[block] if block >= 0 else None
            open_ = np.zeros(0, np.intp)
            if isinstance(kind, GateBlock | MaskBlock | ProductBlock):
                open_ = np.flatnonzero(bounds.block_lower[block] < bounds.block_upper[block])
                parts += [(block, open_)] if len(open_) else []
            closed = np.setdiff1d(np.arange(matrix.shape[1]), open_)
            picked = dense(matrix)[:, closed]
            least, most = interval_product(
                picked, bounds.block_lower[block][closed], bounds.block_upper[block][closed]
            )
            low, high = low - most, high - least
        if not parts:
            return
        low, high = low - read.constant, high - read.constant
        matrix = np.hstack([dense(read.terms[block])[:, open_] for block, open_ in parts])
        old_low = np.concatenate([bounds.block_lower[block][open_] for block, open_ in parts])
        old_high = np.concatenate([bounds.block_upper[block][open_] for block, open_ in parts])
        how = estimates(matrix, low, high, old_low, old_high)
        if isinstance(how, int):
            self._close(how, matrix[how], (low[how], old_low, old_high), limits, len(at), parts)
            return
        if how is None:
            return
        found = best_of(how, matrix, (low, high), (old_low, old_high))
        start = 0
        for block, open_ in parts:
            part = np.flatnonzero((how.chosen >= start) & (how.chosen < start + len(open_)))
            if len(part):
                at_ = open_[how.chosen[part] - start]
                self._claim(bounds, block, at_, found.part(part), self._with_rest(limits, parts, bounds))
            start += len(open_)
            if self.context.closed:
                return

    def _with_rest(self, limits: AddLimits, parts: OpenParts, bounds: Bounds) -> AddBoth:
        """Adds the limits, and the ranges of gates that are on times what is left of them.

        A gate that is on would be replaced by what it reads, whose range may say more.
        """

        def add(rows: Rows, multipliers: tuple[Array, Array]) -> None:
            limits(rows, multipliers[0])
            start = 0
            for block, open_ in parts:
                rest, start = multipliers[1][:, start : start + len(open_)], start + len(open_)
                gate = self.program.blocks[block]
                if not isinstance(gate, GateBlock):
                    continue
                mask = self.program.blocks[gate.mask]
                assert isinstance(mask, MaskBlock)
                on = bounds.signs[mask.pre][open_] > 0
                for kind, signed in (("low", rest * on), ("high", -rest * on)):
                    lemmas, used = np.nonzero(signed > 0)
                    rows.add_range(kind, block, lemmas, open_[used], signed[lemmas, used])

        return add

    def _close(
        self,
        row: int,
        weights: Array,
        ranges: tuple[float, Array, Array],
        limits: AddLimits,
        count: int,
        parts: OpenParts,
    ) -> None:
        """Closes the context by the limit of one row that nothing reaches."""
        least, *known = ranges
        multipliers = np.zeros((1, count))
        multipliers[0, row] = 1.0 if interval_product(weights[None], *known)[1][0] < least else -1.0
        rows = self.deductions.rows()
        both = multipliers, -multipliers[0, row] * weights[None]
        self._with_rest(limits, parts, self.bounds)(rows, both)
        self.deductions.conclude(self.context, {"do": "close"}, {}, rows, np.ones(1, bool))

    def _claim(
        self, bounds: Bounds, block: int, at: Indices, found: EstimatedRanges, limits: AddBoth
    ) -> None:
        """Bounds of a gate's values, or decisions of masks, where they say much more than before."""
        low, high = found.low, found.high
        old_low, old_high = bounds.block_lower[block][at], bounds.block_upper[block][at]
        kind = self.program.blocks[block]
        if isinstance(kind, MaskBlock):
            self._decide_masks(kind, at, found, limits)
            return
        width = old_high - old_low
        if self.worth is None:
            much = high - low <= WORTH_BOUNDING * width
            lower = np.flatnonzero((low > old_low) & (much | (low > 0)))
            upper = np.flatnonzero((high < old_high) & (much | (high < 0)))
        else:
            lower = np.flatnonzero((low - old_low > self.worth * width) | ((low > 0) & (old_low <= 0)))
            upper = np.flatnonzero((old_high - high > self.worth * width) | ((high < 0) & (old_high >= 0)))
        entries, sides = np.concatenate([lower, upper]), np.arange(len(lower) + len(upper)) < len(lower)
        for part in _pieces(len(entries)):
            rows = self.deductions.rows()
            limits(rows, found.multipliers(entries[part], sides[part]))
            step = {
                "do": "bound",
                "tensor": rows.name("block", block),
                "at": kind.in_network(at[entries[part]]).tolist(),
                "lower": sides[part].astype(int).tolist(),
                "by": rows.pick(np.ones(len(part), bool)),
            }
            self.deductions.apply(self.context, step)

    def _decide_masks(self, block: MaskBlock, at: Indices, found: EstimatedRanges, limits: AddBoth) -> None:
        on, off = np.flatnonzero(found.low > 0), np.flatnonzero(found.high < 1)
        rows, entries = self.deductions.rows(), np.concatenate([on, off])[:MOST_AT_ONCE]
        if not len(entries):
            return
        limits(rows, found.multipliers(entries, np.arange(len(entries)) < len(on)))
        refuted = [0 if lemma < len(on) else 1 for lemma in range(len(entries))]
        self._conclude(block.pre, at[entries], refuted, rows)

    def _conclude(self, pre: int, at: Indices, refuted: list[int], rows: Rows) -> None:
        neurons = self.program.pre[pre]
        step = {"do": "decide", "switch": self.graph.root(neurons.name)}
        lists: dict[str, list[Any]] = {"at": neurons.in_network(at).tolist(), "side": refuted}
        self.deductions.conclude(self.context, step, lists, rows, np.ones(len(refuted), bool))

    def _gate(self, number: int, block: GateBlock) -> None:
        """p = m v: decides m from the ranges of p and v, then reads the range of p on where m = 1."""
        mask = self.program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        bounds = self.bounds
        low, high = bounds.block_lower[number], bounds.block_upper[number]
        least, most = bounds.value_lower[number], bounds.value_upper[number]
        open_ = bounds.signs[mask.pre] == 0
        rows = self.deductions.rows()
        entries: list[int] = []
        sides: list[int] = []
        for kind, side, found in (
            ("gate_high", 0, low > 0),
            ("gate_low", 0, high < 0),
            ("gate_on", 1, least > high),
            ("gate_off", 1, most < low),
        ):
            for entry in np.flatnonzero(open_ & found).tolist():
                if entry not in entries:
                    rows.add(kind, number, len(entries), np.array([entry]), np.ones(1))
                    entries.append(entry)
                    sides.append(side)
        if entries:
            self._conclude(mask.pre, np.array(entries), sides, rows)
        if self.context.closed:
            return
        bounds = self.bounds
        on = bounds.signs[mask.pre] > 0
        low, high = bounds.block_lower[number], bounds.block_upper[number]
        least, most = bounds.value_lower[number], bounds.value_upper[number]
        self._hand_on(number, block, np.flatnonzero(on & (low > least)), np.flatnonzero(on & (high < most)))
        bounds = self.bounds
        at = np.flatnonzero(on & (bounds.value_lower[number] < bounds.value_upper[number]))
        if len(at) and not self.context.closed:
            sides_ = (bounds.value_lower[number][at], bounds.value_upper[number][at])
            self._narrow(block.value, at, *sides_, self._value_limits(number, at))

    def _hand_on(self, number: int, block: GateBlock, lower: Indices, upper: Indices) -> None:
        """Where the mask is on, v is p. The range of p has to be said: p itself would be replaced by v."""
        entries = np.concatenate([lower, upper])
        for part in _pieces(len(entries)):
            rows = self.deductions.rows()
            for kind, side, lemmas in (
                ("gate_off", "low", np.flatnonzero(part < len(lower))),
                ("gate_on", "high", np.flatnonzero(part >= len(lower))),
            ):
                at = entries[part[lemmas]]
                rows.add(kind, number, lemmas, at, np.ones(len(at)))
                rows.add_block(side, number, lemmas, at)
            step = {
                "do": "bound",
                "tensor": rows.name("value", number),
                "at": block.in_network(entries[part]).tolist(),
                "lower": (part < len(lower)).astype(int).tolist(),
                "by": rows.pick(np.ones(len(part), bool)),
            }
            self.deductions.apply(self.context, step)


def _pieces(count: int) -> list[Indices]:
    return np.array_split(np.arange(count), -(-count // MOST_AT_ONCE)) if count else []
