"""Bounds of many boxes at once: the same as `propagate`, where that spends its time on calls.

Intervals come first, and linear bounds carried forward (`forward`), for all rows of all boxes by one product
with each matrix. What they leave open gets backward passes, as in `bounds`, of which every row is about a box
of its own; these may be on a device (`arrays`). Every array of a `Bounds` has one more axis here, the last,
which counts the boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, dense
from salver.nets.program import MaskBlock, Program, ReluBlock
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.arrays import HOST, Arrays
from salver.solvers.bounding.block_lines import Relaxed, relaxed
from salver.solvers.bounding.bounds import Bounds, Signs, interval
from salver.solvers.bounding.forward import Form, ForwardForms
from salver.solvers.bounding.linear_bounds import carried_back, pairings
from salver.solvers.bounding.ranges import Flags, Range, block_range, decided, worth_refining
from salver.solvers.bounding.relaxation import TINY

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class BoundedBoxes:
    """What was found of boxes.

    Attributes:
        bounds: with arrays [size, boxes] in place of [size]. Its `infeasible` says nothing.
        empty: boxes [boxes] in which the known signs or ranges leave no x.
        effect: input and box -> how much of the ranges of open neurons the input alone accounts for, each
            in shares of its own range, added up [n, boxes]; zeros without forms.
        forms: of the blocks, if they were carried forward; and backward: what goes back through them.
    """

    bounds: Bounds
    empty: Flags
    effect: Array
    forms: ForwardForms | None

    backward: BackwardPasses

    @property
    def open(self) -> Indices:
        """Open neurons of each box [boxes]."""
        none = np.zeros(len(self.empty), np.intp)
        return sum(((signs == 0).sum(axis=0) for signs in self.bounds.signs), none)

    def range(self, affine: Affine) -> Range:
        """Bounds [rows, boxes] of affine rows over the blocks."""
        low, high, size = interval(affine, self.bounds)
        if self.forms is not None:
            least, most = self.forms.range(self.forms.of(affine))
            low, high = np.fmax(low, least), np.fmin(high, most)
        wanted = np.broadcast_to(~self.empty, low.shape)
        return self.backward.tightened(affine, low, high, size, wanted)

    def with_outputs(self, output: Affine, within: Bounds) -> BoundedBoxes:
        """The same with bounds of the outputs, which may leave no x either."""
        low, high = self.range(output)
        if len(within.output_lower):
            low, high = _within((low, high), (within.output_lower, within.output_upper))
        bounds = replace(self.bounds, output_lower=low, output_upper=high)
        return replace(self, bounds=bounds, empty=self.empty | (low > high).any(axis=0))

    def of(self, box: int) -> Bounds:
        """Copies of the bounds of one box, outputs left out; of an empty one no more than that it is."""
        low, high = self.bounds.input_lower[:, box].copy(), self.bounds.input_upper[:, box].copy()
        if self.empty[box]:
            return Bounds(low, high, infeasible=True)
        return _merged([self.bounds], lambda sides: sides[0][..., box].copy())


def bound_boxes(
    program: Program,
    low: Array,
    high: Array,
    within: Bounds,
    signs: Sequence[Signs],
    arrays: Arrays = HOST,
    forward: bool = True,
    outputs: bool = True,
) -> BoundedBoxes:
    """Bounds of boxes `low`, `high` [n, boxes].

    Args:
        within: known bounds and signs of a part of the query that holds all boxes, or of one for each.
        signs: per pre-activation int8 [size, boxes] what is known in each box, with what `within` knows.
        arrays: where the backward passes run.
        forward: carry linear bounds forward, too; worth it for few inputs.
        outputs: also bound the outputs.
    """
    found = _Pass(program, low, high, within, signs, arrays, forward).run()
    return found.with_outputs(program.output, within) if outputs else found


def side_by_side(bounds: Sequence[Bounds]) -> Bounds:
    """Bounds of parts of a query as one, in whose arrays [size, parts] each has a column; without outputs."""
    return _merged(bounds, lambda sides: np.stack(sides, axis=1))


def _merged(bounds: Sequence[Bounds], merge: Callable[[Sequence[npt.NDArray[Any]]], Any]) -> Bounds:
    """Bounds of which every array, but for the outputs', is made of those that stand in its place."""

    def by_number(sides: Sequence[Mapping[int, Array]]) -> dict[int, Array]:
        return {number: merge([side[number] for side in sides]) for number in sides[0]}

    def in_order(sides: Sequence[list[npt.NDArray[Any]]]) -> list[npt.NDArray[Any]]:
        return [merge(each) for each in zip(*sides, strict=True)]

    return Bounds(
        merge([part.input_lower for part in bounds]),
        merge([part.input_upper for part in bounds]),
        in_order([part.pre_lower for part in bounds]),
        in_order([part.pre_upper for part in bounds]),
        in_order([part.signs for part in bounds]),
        by_number([part.block_lower for part in bounds]),
        by_number([part.block_upper for part in bounds]),
        by_number([part.value_lower for part in bounds]),
        by_number([part.value_upper for part in bounds]),
        in_order([part.pre_size for part in bounds]),
        by_number([part.value_size for part in bounds]),
    )


class _Pass:
    def __init__(
        self,
        program: Program,
        low: Array,
        high: Array,
        within: Bounds,
        signs: Sequence[Signs],
        arrays: Arrays,
        forward: bool,
    ) -> None:
        self.program, self.within, self.signs = program, within, signs
        self.found = Bounds(low, high)
        self.found.block_lower[-1], self.found.block_upper[-1] = low, high
        self.empty: Flags = np.asarray((low > high).any(axis=0))
        self.effect = np.zeros_like(low)
        self.forms = ForwardForms(low, high) if forward else None
        self.arguments: dict[int, Form] = {}
        """Forms of pre-activations."""
        self.backward = BackwardPasses(program, self.found, arrays)

    def run(self) -> BoundedBoxes:
        for number in range(len(self.program.blocks)):
            self._block(number)
        return BoundedBoxes(self.found, self.empty, self.effect, self.forms, self.backward)

    def _block(self, number: int) -> None:
        block, found = self.program.blocks[number], self.found
        if isinstance(block, ReluBlock | MaskBlock):
            if block.pre == len(found.signs):
                self._pre(block.pre)
            form = self.arguments.get(block.pre)
            argument = found.pre_lower[block.pre], found.pre_upper[block.pre]
        else:
            wanted = worth_refining(self.program, block, found)
            argument, form = self._value(number, block.value, wanted)
        known = (self.within.block_lower[number], self.within.block_upper[number])
        low, high = _within(block_range(block, found, argument), known)
        found.block_lower[number], found.block_upper[number] = low, high
        self._require(low, high)
        if self.forms is not None:
            step = relaxed(self.program, found, number, pairing=False)
            self.forms.blocks[number] = self.forms.through(step, form)

    def _require(self, low: Array, high: Array) -> None:
        self.empty |= (low > high).any(axis=0)

    def _pre(self, number: int) -> None:
        known, found = self.within, self.found
        affine = self.program.pre[number].affine
        low, high, size, form = self._ranges(affine, (known.pre_lower[number], known.pre_upper[number]))
        low, high = self._backward(affine, low, high, size, (low <= 0) & (high > 0))
        low, high, signs = decided(low, high, self.signs[number])
        found.pre_size.append(size)
        found.pre_lower.append(low)
        found.pre_upper.append(high)
        found.signs.append(signs)
        self._require(low, high)
        if form is None:
            return
        self.arguments[number] = form
        share = (signs == 0) / np.where(high > low, high - low, np.inf)
        slopes = np.abs(form.lower[:, :-1]) + np.abs(form.upper[:, :-1])
        self.effect += np.einsum("knb,kb->nb", slopes, share) * (found.input_upper - found.input_lower) / 2

    def _value(self, number: int, affine: Affine, wanted: Flags) -> tuple[Range, Form | None]:
        known = (self.within.value_lower[number], self.within.value_upper[number])
        low, high, size, form = self._ranges(affine, known)
        low, high = self._backward(affine, low, high, size, wanted & (low < high))
        self.found.value_size[number] = size
        self.found.value_lower[number], self.found.value_upper[number] = low, high
        self._require(low, high)
        return (low, high), form

    def _backward(
        self, affine: Affine, low: Array, high: Array, size: Array, wanted: Flags
    ) -> tuple[Array, Array]:
        if set(affine.terms) <= {-1}:
            return low, high
        return self.backward.tightened(affine, low, high, size, wanted & ~self.empty)

    def _ranges(self, affine: Affine, known: Range) -> tuple[Array, Array, Array, Form | None]:
        low, high, size = interval(affine, self.found)
        low, high = _within((low, high), known)
        if self.forms is None:
            return low, high, size, None
        form = self.forms.of(affine)
        least, most = self.forms.range(form)
        return np.fmax(low, least), np.fmin(high, most), size, form


def _within(found: Range, known: Range) -> Range:
    """What both ranges have in common; what is known may be the same for all boxes, without their axis."""
    low, high = (side if side.ndim == found[0].ndim else side[:, None] for side in known)
    return np.fmax(found[0], low), np.fmin(found[1], high)


class BackwardPasses:
    """Backward passes through blocks of known bounds, of rows that are each about one box."""

    def __init__(self, program: Program, bounds: Bounds, arrays: Arrays) -> None:
        self.program, self.bounds, self.arrays = program, bounds, arrays
        low, high = bounds.input_lower, bounds.input_upper
        self.middle, self.radius = arrays.put(((low + high) / 2).T), arrays.put(((high - low) / 2).T)
        self.largest = arrays.put(np.maximum(np.abs(low), np.abs(high)).T)
        self.steps: dict[tuple[int, bool], Relaxed] = {}
        self.widest = max([program.input_size, *(block.size for block in program.blocks)])

    def tightened(
        self, affine: Affine, low: Array, high: Array, size: Array, wanted: Flags
    ) -> tuple[Array, Array]:
        """The bounds [rows, boxes] intersected with backward passes over what is wanted of them."""
        low, high = low.copy(), high.copy()
        boxes = np.flatnonzero(wanted.any(axis=0))
        rows, real = _padded(wanted[:, boxes].T)
        count = max(1, self.arrays.cells // (2 * self.widest * max(1, len(boxes))))
        for start in range(0, rows.shape[1], count):
            chosen, kept = rows[:, start : start + count], real[:, start : start + count]
            at = (chosen[kept], np.broadcast_to(boxes[:, None], chosen.shape)[kept])
            sizes = size[chosen, boxes[:, None]]
            for pairing in pairings(self.program, self.bounds):
                least = self._least(affine, chosen, sizes, boxes, pairing)
                below, above = np.split(least, 2, axis=1)
                low[at] = np.fmax(low[at], below[kept])
                high[at] = np.fmin(high[at], -above[kept])
        return low, high

    def _least(self, affine: Affine, rows: Indices, size: Array, boxes: Indices, pairing: bool) -> Array:
        """Least values [boxes, 2 k] of affine rows [boxes, k], each over its box, and of their negatives."""
        put = self.arrays.put
        chosen = affine.rows(rows.ravel())
        weights = {
            block: coefficients.with_negative(put(dense(matrix).reshape(*rows.shape, -1)))
            for block, matrix in chosen.terms.items()
        }
        start = chosen.constant.reshape(rows.shape)
        constant, scale = put(np.concatenate([start, -start], axis=1)), put(np.tile(size, 2))
        boxes = put(boxes)
        matrix, constant, scale = carried_back(
            self.program, weights, constant, scale, lambda number: self._step(number, pairing).of(boxes)
        )
        if matrix is not None:
            constant = constant + coefficients.dot(matrix, self.middle[boxes][:, None])
            constant -= coefficients.dot(abs(matrix), self.radius[boxes][:, None])
            scale = scale + coefficients.size(matrix, self.largest[boxes][:, None])
        return self.arrays.get(constant - ROUNDING * scale - TINY)

    def _step(self, number: int, pairing: bool) -> Relaxed:
        """The lines of a block, whose bounds are final when a pass first meets it."""
        if (number, pairing) not in self.steps:
            lines = relaxed(self.program, self.bounds, number, pairing)
            self.steps[number, pairing] = lines.on(self.arrays)
        return self.steps[number, pairing]


def _padded(wanted: Flags) -> tuple[Indices, Flags]:
    """Numbers [boxes, k] of the wanted rows of each box, others after them, and which of them are wanted."""
    counts = wanted.sum(axis=1)
    most = int(counts.max(initial=0))
    first = np.argsort(~wanted, axis=1, kind="stable")[:, :most]
    return first, np.arange(most) < counts[:, None]
