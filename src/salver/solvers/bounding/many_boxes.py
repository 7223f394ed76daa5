"""Bounds of many boxes at once, with numpy: the same as `propagate`, where that spends its time on calls.

Intervals and linear bounds carried forward (`forward`) come first, for all rows of all boxes by one product
with each matrix. What they leave open gets backward passes, as in `bounds`, of which every row is about a box
of its own. Every array of a `Bounds` has one more axis here, the last, which counts the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, dense
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding import coefficients
from salver.solvers.bounding.bounds import (
    Bounds,
    Relaxed,
    Signs,
    carried_back,
    interval,
    neuron_range,
    relaxed,
)
from salver.solvers.bounding.forward import Form, ForwardForms
from salver.solvers.bounding.relaxation import TINY, is_point, product_range

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class BoundedBoxes:
    """What was found of boxes.

    Attributes:
        bounds: with arrays [size, boxes] in place of [size]; outputs included. Its `infeasible` says nothing.
        empty: boxes [boxes] in which the known signs or ranges leave no x.
        effect: input and box -> how much of the ranges of open neurons the input alone accounts for, each
            in shares of its own range, added up [n, boxes].
        forms: of the blocks, and backward: what goes back through them.
    """

    bounds: Bounds
    empty: Flags
    effect: Array
    forms: ForwardForms

    backward: BackwardPasses

    @property
    def open(self) -> Indices:
        """Open neurons of each box [boxes]."""
        none = np.zeros(len(self.empty), np.intp)
        return sum(((signs == 0).sum(axis=0) for signs in self.bounds.signs), none)

    def range(self, affine: Affine) -> tuple[Array, Array]:
        """Bounds [rows, boxes] of affine rows over the blocks."""
        low, high, size = interval(affine, self.bounds)
        least, most = self.forms.range(self.forms.of(affine))
        low, high = np.fmax(low, least), np.fmin(high, most)
        wanted = np.broadcast_to(~self.empty, low.shape)
        return self.backward.tightened(affine, low, high, size, wanted)


def bound_boxes(
    program: Program, low: Array, high: Array, within: Bounds, signs: Sequence[Signs]
) -> BoundedBoxes:
    """Bounds of boxes `low`, `high` [n, boxes].

    Args:
        within: known bounds and signs of a part of the query that holds all boxes.
        signs: per pre-activation int8 [size, boxes] what is known in each box, with what `within` knows.
    """
    return _Pass(program, low, high, within, signs).run()


class _Pass:
    def __init__(
        self, program: Program, low: Array, high: Array, within: Bounds, signs: Sequence[Signs]
    ) -> None:
        self.program, self.within, self.signs = program, within, signs
        self.found = Bounds(low, high)
        self.found.block_lower[-1], self.found.block_upper[-1] = low, high
        self.empty = np.zeros(low.shape[1], bool)
        self.effect = np.zeros_like(low)
        self.forms = ForwardForms(low, high)
        self.arguments: dict[int, Form] = {}
        """Forms of pre-activations."""
        self.backward = BackwardPasses(program, self.found)

    def run(self) -> BoundedBoxes:
        for number in range(len(self.program.blocks)):
            self._block(number)
        boxes = BoundedBoxes(self.found, self.empty, self.effect, self.forms, self.backward)
        low, high = boxes.range(self.program.output)
        known = self.within
        if len(known.output_lower):
            low, high = np.fmax(low, known.output_lower[:, None]), np.fmin(high, known.output_upper[:, None])
        self._require(low, high)
        return replace(boxes, bounds=replace(self.found, output_lower=low, output_upper=high))

    def _block(self, number: int) -> None:
        block, found, form = self.program.blocks[number], self.found, None
        match block:
            case ReluBlock() | MaskBlock():
                if block.pre == len(found.signs):
                    self._pre(block.pre)
                form = self.arguments[block.pre]
                signs = found.signs[block.pre]
                low, high = neuron_range(block, signs, found.pre_lower[block.pre], found.pre_upper[block.pre])
            case GateBlock():
                mask = self.program.blocks[block.mask]
                assert isinstance(mask, MaskBlock)
                (low, high), form = self._value(number, block.value, found.signs[mask.pre] == 0)
                masks = (found.block_lower[block.mask], found.block_upper[block.mask])
                products = [mask * value for mask in masks for value in (low, high)]
                low, high = np.minimum.reduce(products), np.maximum.reduce(products)
            case AbsBlock():
                (low, high), form = self._value(number, block.value)
                low, high = np.maximum(np.maximum(low, -high), 0.0), np.maximum(-low, high)
            case FactorBlock():
                (low, high), form = self._value(number, block.value)
            case ProductBlock():
                factor = (found.block_lower[block.factor], found.block_upper[block.factor])
                exact = is_point(*factor, found.value_size[block.factor])
                value, form = self._value(number, block.value, ~exact)
                low, high = product_range(factor, value, block.square)
        known = self.within
        low = np.fmax(low, known.block_lower[number][:, None])
        high = np.fmin(high, known.block_upper[number][:, None])
        found.block_lower[number], found.block_upper[number] = low, high
        self._require(low, high)
        step = relaxed(self.program, found, number, pairing=False)
        self.forms.blocks[number] = self.forms.through(step, form)

    def _require(self, low: Array, high: Array) -> None:
        self.empty |= (low > high).any(axis=0)

    def _pre(self, number: int) -> None:
        known, found = self.within, self.found
        affine = self.program.pre[number].affine
        low, high, size, form = self._ranges(affine, (known.pre_lower[number], known.pre_upper[number]))
        self.arguments[number] = form
        low, high = self._backward(affine, low, high, size, (low <= 0) & (high > 0))
        fixed = self.signs[number]
        low = np.where(fixed > 0, np.maximum(low, 0.0), low)
        high = np.where(fixed < 0, np.minimum(high, 0.0), high)
        free = np.where(low > 0, 1, np.where(high <= 0, -1, 0))
        signs = np.where(fixed != 0, fixed, free).astype(np.int8)
        found.pre_size.append(size)
        found.pre_lower.append(low)
        found.pre_upper.append(high)
        found.signs.append(signs)
        self._require(low, high)
        share = (signs == 0) / np.where(high > low, high - low, np.inf)
        slopes = np.abs(form.lower[:, :-1]) + np.abs(form.upper[:, :-1])
        self.effect += np.einsum("knb,kb->nb", slopes, share) * (found.input_upper - found.input_lower) / 2

    def _value(
        self, number: int, affine: Affine, wanted: Flags | bool = True
    ) -> tuple[tuple[Array, Array], Form]:
        known = (self.within.value_lower[number], self.within.value_upper[number])
        low, high, size, form = self._ranges(affine, known)
        wanted = np.asarray(wanted & (low < high))
        low, high = self._backward(affine, low, high, size, wanted)
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

    def _ranges(self, affine: Affine, known: tuple[Array, Array]) -> tuple[Array, Array, Array, Form]:
        low, high, size = interval(affine, self.found)
        form = self.forms.of(affine)
        least, most = self.forms.range(form)
        low = np.fmax(np.fmax(low, least), known[0][:, None])
        high = np.fmin(np.fmin(high, most), known[1][:, None])
        return low, high, size, form


_CELLS = 1 << 21
"""Entries of the coefficients of one backward pass; more rows go in several."""


class BackwardPasses:
    """Backward passes through blocks of known bounds, of rows that are each about one box."""

    def __init__(self, program: Program, bounds: Bounds) -> None:
        self.program, self.bounds = program, bounds
        self.middle = ((bounds.input_lower + bounds.input_upper) / 2).T
        self.radius = ((bounds.input_upper - bounds.input_lower) / 2).T
        self.largest = np.maximum(np.abs(bounds.input_lower), np.abs(bounds.input_upper)).T
        self.steps: dict[tuple[int, bool], Relaxed] = {}
        self.widest = max([program.input_size, *(block.size for block in program.blocks)])

    def tightened(
        self, affine: Affine, low: Array, high: Array, size: Array, wanted: Flags
    ) -> tuple[Array, Array]:
        """The bounds [rows, boxes] intersected with backward passes over what is wanted of them."""
        low, high = low.copy(), high.copy()
        rows, boxes = np.nonzero(wanted)
        count = max(1, _CELLS // (2 * self.widest))
        gates = any(isinstance(b, GateBlock | ProductBlock) for b in self.program.blocks)
        for start in range(0, len(rows), count):
            at = (rows[start : start + count], boxes[start : start + count])
            chosen = affine.rows(at[0])
            for pairing in (False, True) if gates else (False,):
                least = self._least(chosen, size[at], at[1], pairing)
                low[at] = np.fmax(low[at], least[: len(at[0])])
                high[at] = np.fmin(high[at], -least[len(at[0]) :])
        return low, high

    def _least(self, affine: Affine, size: Array, boxes: Indices, pairing: bool) -> Array:
        """Least values of affine rows, each over the box of its number, and of their negatives after them."""
        rows = {block: coefficients.with_negative(dense(matrix)) for block, matrix in affine.terms.items()}
        constant, scale = np.concatenate([affine.constant, -affine.constant]), np.tile(size, 2)
        boxes = np.tile(boxes, 2)
        matrix, constant, scale = carried_back(
            self.program, rows, constant, scale, lambda number: self._step(number, pairing).for_rows(boxes)
        )
        if matrix is not None:
            constant = constant + np.einsum("rn,rn->r", matrix, self.middle[boxes])
            constant -= np.einsum("rn,rn->r", np.abs(matrix), self.radius[boxes])
            scale = scale + coefficients.size(matrix, self.largest[boxes])
        return np.asarray(constant - ROUNDING * scale - TINY)

    def _step(self, number: int, pairing: bool) -> Relaxed:
        """The lines of a block, whose bounds are final when a pass first meets it."""
        if (number, pairing) not in self.steps:
            self.steps[number, pairing] = relaxed(self.program, self.bounds, number, pairing)
        return self.steps[number, pairing]
