"""Linear bounds in terms of x, carried forward block by block, for programs of few inputs.

Every block keeps two affine maps of x, one below and one above each entry over the box. What reads it gets
its own by one product with its matrix, so all rows together cost what one interval pass costs, times the
inputs. Backward passes (`bounds`) are tighter and cost that much for every row; they are for what stays open.

Many boxes go together: every array then has one more axis, the last, and a matrix is multiplied once.

Rounding: a form may be off by `ROUNDING` times `size`, the sum of absolute values of all that it was added
up from. That of a row is the magnitude of the row over the forms it reads, and over the sizes of those.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine, Matrix
from salver.solvers.bounding.block_lines import Relaxed
from salver.solvers.bounding.bounds import in_every_box
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW

Array = npt.NDArray[np.float64]

MOST_INPUTS = 64
"""More columns than these make a form cost more than the backward passes that it saves."""


@dataclass(frozen=True, eq=False)
class Form:
    """lower @ (x, 1) <= values [k] <= upper @ (x, 1) up to `ROUNDING` * size; matrices [k, n + 1].

    Of many boxes: matrices [k, n + 1, boxes] and sizes [k, boxes].
    """

    lower: Array
    upper: Array
    size: Array


@dataclass(eq=False)
class ForwardForms:
    """The forms of the blocks of a program over a box `low`, `high` [n], or over many [n, boxes], as they
    become known.

    Attributes:
        blocks: block -> its form. Block -1 is the input.
    """

    low: Array
    high: Array
    blocks: dict[int, Form] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inputs, boxes = len(self.low), self.low.shape[1:]
        one = np.eye(inputs, inputs + 1).reshape(inputs, inputs + 1, *(1 for _ in boxes))
        one = np.broadcast_to(one, (inputs, inputs + 1, *boxes))
        self.blocks[-1] = Form(one, one, np.zeros((inputs, *boxes)))
        last = np.ones((1, *boxes))
        self.middle = np.concatenate([(self.low + self.high) / 2, last])
        self.radius = np.concatenate([(self.high - self.low) / 2, 0.0 * last])
        self.largest = np.concatenate([np.maximum(np.abs(self.low), np.abs(self.high)), last])

    def of(self, affine: Affine) -> Form:
        """The form of an affine map over blocks that have one."""
        boxes = self.low.shape[1:]
        centre = np.zeros((affine.size, *self.largest.shape))
        centre[:, -1] = in_every_box(affine.constant, boxes)
        spread = np.zeros_like(centre)
        size = in_every_box(affine.constant_absolute, boxes)
        for block, matrix in affine.terms.items():
            form = self.blocks[block]
            size += affine.absolute[block] @ (form.size + self._reach(form))
            if form.lower is form.upper:
                centre += product(matrix, form.lower)
                continue
            centre += product(matrix, (form.lower + form.upper) / 2)
            spread += product(affine.unsigned[block], (form.upper - form.lower) / 2)
        return Form(centre - spread, centre + spread, size)

    def through(self, step: Relaxed, value: Form | None = None) -> Form:
        """The form of a block with these lines.

        Args:
            value: the form of what the block is applied to, where it is known already.
        """
        value = self.of(step.source) if value is None else value
        lower = _signed(step.slope[0], value.lower, value.upper)
        upper = _signed(step.slope[1], value.upper, value.lower)
        size = 4.0 * step.reach + _steepest(step.slope) * (value.size + self._reach(value))
        if step.mask is not None:
            mask = self.blocks[step.other]
            lower += _signed(step.mask[0], mask.lower, mask.upper)
            upper += _signed(step.mask[1], mask.upper, mask.lower)
            size = size + _steepest(step.mask) * (mask.size + self._reach(mask))
        lower[:, -1] += step.offset[0]
        upper[:, -1] += step.offset[1]
        return Form(lower, upper, size + _steepest(step.offset))

    def range(self, form: Form) -> tuple[Array, Array]:
        """Least and largest values [k], or [k, boxes], over the box, moved outwards by what rounds."""
        slop = ROUNDING * (form.size + self._reach(form)) + TINY
        low = _dot(form.lower, self.middle) - _dot(np.abs(form.lower), self.radius) - slop
        high = _dot(form.upper, self.middle) + _dot(np.abs(form.upper), self.radius) + slop
        return low, high

    def _reach(self, form: Form) -> Array:
        sizes = np.maximum(np.abs(form.lower), np.abs(form.upper)) + UNDERFLOW
        return _dot(sizes, self.largest)


def product(matrix: Matrix, values: Array) -> Array:
    """matrix [k, m] @ values [m, ...]: [k, ...]."""
    return np.asarray(matrix @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])


def _dot(matrix: Array, vector: Array) -> Array:
    """Products [k, ...] of rows [k, n + 1, ...] with a vector [n + 1, ...] of each box."""
    if vector.ndim == 1:
        return np.asarray(matrix @ vector)
    return np.asarray(np.einsum("ij...,j...->i...", matrix, vector))


def _steepest(sides: tuple[Array, Array]) -> Array:
    return np.maximum(np.abs(sides[0]), np.abs(sides[1]))


def _signed(slope: Array, positive: Array, negative: Array) -> Array:
    """Rows of `positive` or `negative` by the sign of the slope, times it."""
    return slope[:, None] * np.where((slope >= 0.0)[:, None], positive, negative)
