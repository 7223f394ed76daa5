"""Reads a saliency condition backwards: output ranges -> gated values -> masks -> earlier gates.

The premise |E(x) - E(xhat)| <= delta is a strong constraint on the masks. With E = A u over the entries u
that are still open (gated values or masks), any matrix P gives u = P y + (I - P A) u, hence bounds on u from
the ranges of y and of u itself. The identity holds for every P, so rounding in P costs tightness, never
soundness; that of I - P A is bounded by |P| (|A| max|u|). A gate whose value cannot be 0 is on; one whose
argument cannot reach the value's range is off; the arguments of gates that are on are rows of known range for
the blocks before them.

With w the widths of y and W those of u, the new width of u_j is sum_i |P_ji| w_i + sum_l |(I - P A)_jl| W_l.
P is chosen to make the same sum of squares least: least squares with these widths as weights, from the Gram
matrix of the chosen columns. For every P the new width is at least the least of W_j and all w_i / |A_ij|, so
entries for which that is W_j are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, Matrix, dense
from salver.nets.program import FactorBlock, GateBlock, MaskBlock, ProductBlock, Program, ReluBlock
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW
from salver.spec import Property

Array = npt.NDArray[np.float64]
_Part = tuple[int, npt.NDArray[np.intp], Array]
"""A block, its open entries, and their columns of the rows."""
_ROUNDS = 3
_FINEST = 1e-5
"""Share of a row's reach below which its range counts as this wide for the choice of P."""


def tighten_backwards(program: Program, prop: Property, bounds: Bounds) -> Bounds:
    """`bounds` with block and value ranges narrowed by the property, and more signs decided.

    Signs it decides are closed on their side, like branching. Output ranges stay those of the network:
    an exact leaf must still impose the property's own. `infeasible` when no value is left: then no x of
    the box with these signs satisfies the property.
    """
    if bounds.infeasible:
        return bounds
    return _Backward(program, prop, bounds).run()


@dataclass(eq=False)
class _Backward:
    program: Program
    prop: Property
    bounds: Bounds

    def __post_init__(self) -> None:
        b = self.bounds
        self.low = {k: v.copy() for k, v in b.block_lower.items()}
        self.high = {k: v.copy() for k, v in b.block_upper.items()}
        self.value_low = {k: v.copy() for k, v in b.value_lower.items()}
        self.value_high = {k: v.copy() for k, v in b.value_upper.items()}
        self.signs = [s.copy() for s in b.signs]
        low, high = self.prop.ranges
        self.output_low = np.maximum(low, b.output_lower)
        self.output_high = np.minimum(high, b.output_upper)
        self.feasible = not (self.output_low > self.output_high).any()

    def run(self) -> Bounds:
        for _ in range(_ROUNDS):
            before = sum(int((s == 0).sum()) for s in self.signs)
            self._pass()
            if not self.feasible:
                return replace(self.bounds, infeasible=True)
            if sum(int((s == 0).sum()) for s in self.signs) == before:
                break
        b = self.bounds
        pre_low = [
            np.where(s > 0, np.maximum(v, 0.0), v) for s, v in zip(self.signs, b.pre_lower, strict=True)
        ]
        pre_high = [
            np.where(s < 0, np.minimum(v, 0.0), v) for s, v in zip(self.signs, b.pre_upper, strict=True)
        ]
        feasible = not any((lo > hi).any() for lo, hi in zip(pre_low, pre_high, strict=True))
        return replace(
            b,
            pre_lower=pre_low,
            pre_upper=pre_high,
            signs=self.signs,
            block_lower=self.low,
            block_upper=self.high,
            value_lower=self.value_low,
            value_upper=self.value_high,
            infeasible=not feasible,
        )

    def _pass(self) -> None:
        output = self.program.output
        rows = np.flatnonzero(np.isfinite(self.prop.ranges[0]) | np.isfinite(self.prop.ranges[1]))
        self._rows(output, rows, self.output_low, self.output_high)
        for number in reversed(range(len(self.program.blocks))):
            block = self.program.blocks[number]
            if not self.feasible:
                return
            match block:
                case GateBlock():
                    self._gate(number, block)
                case MaskBlock():
                    self._mask(number, block)
                case ProductBlock():
                    self._product(number, block)
                case FactorBlock():
                    self._hand_on(number, block.value, self.low[number], self.high[number])
                case ReluBlock() if number in self.program.piecewise_constant:
                    self._relu(number, block)

    def _rows(self, affine: Affine, rows: npt.NDArray[np.intp], low: Array, high: Array) -> None:
        """Narrows the open entries of every saliency block that the rows read."""
        if not len(rows):
            return
        open_ = {block: self._open(block) for block in affine.terms}
        if not any(len(entries) for entries in open_.values()):
            return
        # Picking rows copies them; of a map that is used nearly whole no copy is made.
        read, at = (affine, rows) if 2 * len(rows) > affine.size else (affine.rows(rows), slice(None))
        closed, reach = self._closed(read, open_)
        size = read.magnitude({b: np.maximum(np.abs(self.low[b]), np.abs(self.high[b])) for b in read.terms})
        rest = (read.constant + closed)[at]
        # The limits' own rounding from decimals, and all sums so far; both sides open count for nothing.
        slop = ROUNDING * (size[at] + np.fmax(_finite(low[rows]), _finite(high[rows]))) + TINY + reach[at]
        parts = [
            (block, entries, dense(_columns(read.terms[block], entries)[at]))
            for block, entries in open_.items()
            if len(entries)
        ]
        self._solve(parts, low[rows] - rest - slop, high[rows] - rest + slop)

    def _closed(self, affine: Affine, open_: dict[int, npt.NDArray[np.intp]]) -> tuple[Array, Array]:
        """Middle and radius [rows] of what the rows add up besides the open entries."""
        middle, radius = np.zeros(affine.size), np.zeros(affine.size)
        for block, matrix in affine.terms.items():
            low, high = self.low[block].copy(), self.high[block].copy()
            low[open_[block]] = high[open_[block]] = 0.0
            middle += matrix @ ((low + high) / 2)
            radius += affine.unsigned[block] @ ((high - low) / 2)
        return middle, radius

    def _open(self, block: int) -> npt.NDArray[np.intp]:
        """Entries worth narrowing: masks, gated values and products that may take several values."""
        kind = self.program.blocks[block] if block >= 0 else None
        step = isinstance(kind, ReluBlock) and block in self.program.piecewise_constant
        if not step and not isinstance(kind, GateBlock | MaskBlock | ProductBlock):
            return np.zeros(0, np.intp)
        return np.flatnonzero(self.low[block] < self.high[block])

    def _solve(self, parts: list[_Part], low: Array, high: Array) -> None:
        matrix = np.hstack([part[2] for part in parts]) if len(parts) > 1 else parts[0][2]
        known = (
            np.concatenate([self.low[block][open_] for block, open_, _ in parts]),
            np.concatenate([self.high[block][open_] for block, open_, _ in parts]),
        )
        found = narrowed(matrix, low, high, *known)
        if found is None or (found[0] > found[1]).any():
            self.feasible = False
            return
        start = 0
        for block, open_, _ in parts:
            end = start + len(open_)
            self.low[block][open_], self.high[block][open_] = found[0][start:end], found[1][start:end]
            start = end

    def _gate(self, number: int, block: GateBlock) -> None:
        """p = m v: decide m from the ranges of p and v, then hand the range of p on to v where m = 1."""
        mask = self.program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        signs = self.signs[mask.pre]
        low, high = self.low[number], self.high[number]
        least, most = self.value_low[number], self.value_high[number]
        must_be_on = (low > 0) | (high < 0)
        cannot_be_on = (np.maximum(low, least) > np.minimum(high, most)) & ~must_be_on
        self._decide(
            mask.pre,
            must_be_on,
            cannot_be_on | (must_be_on & (np.maximum(low, least) > np.minimum(high, most))),
        )
        if not self.feasible:
            return
        on = signs > 0
        self.value_low[number] = np.where(on, np.maximum(low, least), least)
        self.value_high[number] = np.where(on, np.minimum(high, most), most)
        off = signs < 0
        self.low[number], self.high[number] = np.where(off, 0.0, low), np.where(off, 0.0, high)
        if (self.low[number] > self.high[number]).any():
            self.feasible = False
            return
        self.low[block.mask] = np.where(on, 1.0, self.low[block.mask])
        self.high[block.mask] = np.where(off, 0.0, self.high[block.mask])
        rows = np.flatnonzero(on & (low < high))
        self._rows(block.value, rows, self.value_low[number], self.value_high[number])

    def _product(self, number: int, block: ProductBlock) -> None:
        """p = f v: narrows f and v by the ranges of p and of each other, and hands that of v on."""
        product = (self.low[number], self.high[number])
        factor = (self.low[block.factor], self.high[block.factor])
        value = (self.value_low[number], self.value_high[number])
        if block.square:
            root = np.sqrt(np.maximum(product[1], 0.0)) * (1.0 + ROUNDING)
            by_factor = by_value = (-root, root)
        else:
            by_factor, by_value = quotient(product, factor), quotient(product, value)
        low, high = np.fmax(factor[0], by_value[0]), np.fmin(factor[1], by_value[1])
        self._require(low, high)
        self.low[block.factor], self.high[block.factor] = low, high
        low, high = np.fmax(value[0], by_factor[0]), np.fmin(value[1], by_factor[1])
        self._hand_on(number, block.value, low, high)

    def _relu(self, number: int, block: ReluBlock) -> None:
        """Of a piecewise constant: its range decides the sign, and is that of z where it is on."""
        low, high = self.low[number], self.high[number]
        self._decide(block.pre, low > 0, high <= 0)
        if not self.feasible:
            return
        on = self.signs[block.pre] > 0
        rows = np.flatnonzero(on & (low < high))
        self._rows(self.program.pre[block.pre].affine, rows, low, high)

    def _hand_on(self, number: int, affine: Affine, low: Array, high: Array) -> None:
        """Takes a narrower range of what a block reads, and narrows what that is added up from."""
        rows = np.flatnonzero((low > self.value_low[number]) | (high < self.value_high[number]))
        self.value_low[number], self.value_high[number] = low, high
        self._require(low, high)
        if self.feasible:
            self._rows(affine, rows, low, high)

    def _require(self, low: Array, high: Array) -> None:
        if (low > high).any():
            self.feasible = False

    def _mask(self, number: int, block: MaskBlock) -> None:
        on, off = self.low[number] > 0, self.high[number] < 1
        self._decide(block.pre, on, off)
        signs = self.signs[block.pre]
        self.low[number] = (signs > 0).astype(np.float64)
        self.high[number] = (signs >= 0).astype(np.float64)

    def _decide(self, pre: int, on: npt.NDArray[np.bool_], off: npt.NDArray[np.bool_]) -> None:
        signs = self.signs[pre]
        if (on & off).any() or (on & (signs < 0)).any() or (off & (signs > 0)).any():
            self.feasible = False
            return
        signs[on], signs[off] = 1, -1


@dataclass(frozen=True, eq=False)
class Estimates:
    """How entries of u follow from rows of known range: u_j = P y + (I - P A)_j u, for any row P.

    Attributes:
        chosen: entries of u [c] whose ranges can become narrower.
        kept: the rows that say something, as an index of all.
        rows: of each chosen entry the number among the kept rows of the one that reads it best [c].
        sums: P [c, kept] that estimates the chosen entries from all of them.
        ranges: of the kept rows, met with what they can reach.
        sizes: of what each kept row adds up, for its rounding.
    """

    chosen: npt.NDArray[np.intp]
    kept: Any
    rows: npt.NDArray[np.intp]
    sums: Array
    ranges: tuple[Array, Array]
    sizes: Array


def estimates(matrix: Array, low: Array, high: Array, least: Array, most: Array) -> Estimates | int | None:
    """How ranges of u in [least, most] may become narrower where matrix [k, m] @ u is in [low, high] [k].

    Returns:
        The number of a row that no such u reaches, and None where no range can become narrower.
    """
    middle, radius, largest = (least + most) / 2, (most - least) / 2, np.maximum(np.abs(least), np.abs(most))
    unsigned = np.abs(matrix)
    size = unsigned @ largest
    centre, reach = matrix @ middle, unsigned @ radius + ROUNDING * size + TINY
    low, high = np.fmax(low, centre - reach), np.fmin(high, centre + reach)
    if (low > high).any():
        return int(np.argmax(low > high))
    # By no P is the new range of u_j narrower than the least (high_i - low_i) / |A_ij|.
    width = np.maximum(high - low, _FINEST * reach)
    weight = unsigned * (2.0 * radius / np.where(width > 0.0, width, np.inf)[:, None])
    kept: Any = slice(None)
    finite = np.isfinite(weight).all(axis=1)
    if not finite.all():
        kept = np.flatnonzero(finite)
        matrix, weight, width, size = matrix[kept], weight[kept], width[kept], size[kept]
        low, high = low[kept], high[kept]
    chosen = np.flatnonzero((weight > 1.0).any(axis=0))
    if not len(chosen):
        return None
    sums = _estimator(matrix, weight, chosen) * (2.0 * radius[chosen, None] / width)
    return Estimates(chosen, kept, weight[:, chosen].argmax(axis=0), sums, (low, high), size)


def narrowed(matrix: Array, low: Array, high: Array, least: Array, most: Array) -> tuple[Array, Array] | None:
    """Ranges [m] of u within `least` and `most`, where matrix [k, m] @ u lies within `low` and `high` [k].

    Returns:
        None where no u has such values.
    """
    how = estimates(matrix, low, high, least, most)
    if not isinstance(how, Estimates):
        return (least, most) if how is None else None
    chosen = how.chosen
    # Met with what the rows can reach, their ranges are no larger than what they add up.
    system = _System(matrix[how.kept], how.ranges, how.sizes, (least, most), chosen)
    found = [system.of_rows(how.rows), system.of_sums(how.sums)]
    least, most = least.copy(), most.copy()
    for below, above in found:
        # What overflows, or is not a number, bounds nothing.
        known = np.isfinite(below) & np.isfinite(above)
        at = chosen[known]
        least[at], most[at] = np.maximum(least[at], below[known]), np.minimum(most[at], above[known])
    return least, most


@dataclass(frozen=True, eq=False)
class _System:
    """matrix [k, m] @ u in `ranges`, u in `known`; `limits` [k] bound all that a row adds up, and its range.

    Attributes:
        chosen: the entries of u [c] whose ranges are wanted.
    """

    matrix: Array
    ranges: tuple[Array, Array]
    limits: Array
    known: tuple[Array, Array]
    chosen: npt.NDArray[np.intp]

    def of_rows(self, rows: npt.NDArray[np.intp]) -> tuple[Array, Array]:
        """Ranges [c] of the chosen entries, each by one of the rows [c] that reads it."""
        each = np.arange(len(rows))
        rest = self.matrix[rows]
        pivot = rest[each, self.chosen].copy()
        rest[each, self.chosen] = 0.0
        least, most = interval_product(rest, *self.known)
        slop = ROUNDING * 2.0 * self.limits[rows] + TINY
        ends = (self.ranges[0][rows] - most - slop) / pivot, (self.ranges[1][rows] - least + slop) / pivot
        # The slop counts what dividing rounds, but for what underflows.
        return np.minimum(*ends) - TINY, np.maximum(*ends) + TINY

    def of_sums(self, inverse: Array) -> tuple[Array, Array]:
        """Ranges [c] of the chosen entries by sums of rows with weights [c, k]."""
        below, above = interval_product(inverse, *self.ranges)
        remainder = -inverse @ self.matrix
        remainder[np.arange(len(self.chosen)), self.chosen] += 1.0
        least, most = interval_product(remainder, *self.known)
        largest = np.maximum(np.abs(self.known[0]), np.abs(self.known[1]))
        lost = UNDERFLOW * largest.sum()
        slop = ROUNDING * (np.abs(inverse) @ self.limits + largest[self.chosen] + lost) + TINY
        return below + least - slop, above + most + slop


def _estimator(matrix: Array, weight: Array, columns: npt.NDArray[np.intp]) -> Array:
    """P [c, k] that estimates the `columns` [c] of u from the rows, with every range taken for 1.

    Args:
        weight: absolute values of the matrix [k, m] in these units; what other columns add is an error.
    """
    chosen = np.sign(matrix[:, columns]) * weight[:, columns]
    others = (weight**2).sum(axis=1) - (chosen**2).sum(axis=1)
    precision = 1.0 / (1.0 + np.maximum(others, 0.0))
    turned = chosen.T * precision
    gram = turned @ chosen
    gram[np.diag_indices_from(gram)] += 1.0
    return np.asarray(np.linalg.solve(gram, turned))


def _columns(matrix: Matrix, entries: npt.NDArray[np.intp]) -> Matrix:
    return matrix if len(entries) == matrix.shape[1] else matrix[:, entries]


def interval_product(matrix: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Interval product of an exact matrix [rows, k] with ranges [k]."""
    positive, negative = np.maximum(matrix, 0.0), np.minimum(matrix, 0.0)
    return positive @ low + negative @ high, positive @ high + negative @ low


def quotient(product: tuple[Array, Array], divisor: tuple[Array, Array]) -> tuple[Array, Array]:
    """Ranges of p / q for p and q in ranges, rounding included; infinite where q may be 0."""
    low, high = divisor
    clear = (low > 0.0) | (high < 0.0)
    sides = [np.where(clear, side, 1.0) for side in divisor]
    ends = [end / side for end in product for side in sides]
    least, most = np.minimum.reduce(ends), np.maximum.reduce(ends)
    least, most = least - ROUNDING * np.abs(least) - TINY, most + ROUNDING * np.abs(most) + TINY
    return np.where(clear, least, -np.inf), np.where(clear, most, np.inf)


def _finite(sides: Array) -> Array:
    return np.where(np.isfinite(sides), np.abs(sides), 0.0)
