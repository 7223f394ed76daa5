"""Bounds of a whole program over a box, one block after the other; `bounds` says why they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.nets.program import MaskBlock, Program, ReluBlock
from salver.solvers.bounding.bounds import Array, Bounds, Method, constant_rows, interval
from salver.solvers.bounding.linear_bounds import bound_affine, tightened
from salver.solvers.bounding.ranges import block_range, decided, worth_refining
from salver.spec import Ball


def propagate(
    program: Program,
    lower: Array,
    upper: Array,
    fixed: Mapping[int, npt.NDArray[np.integer]] | None = None,
    method: Method = "crown",
    within: Bounds | None = None,
    outputs: bool = True,
    ball: Ball | None = None,
) -> Bounds:
    """Bounds of all pre-activations, gated values and outputs over a box, and over a ball in it.

    Args:
        program: the lowered network.
        lower, upper: input box [n].
        fixed: pre-activation number -> array [size] of -1 (off), 0 (undecided), +1 (on).
        method: `crown`, or `interval` alone (faster and looser).
        within: known bounds over a box and signs that contain these; the results never exceed them.
        outputs: also bound the outputs (with `crown`, the most expensive pass).
        ball: in which the input lies besides; that of `within` where none is given.

    Returns:
        Bounds; `infeasible` where the fixed signs cannot be met.
    """
    ball = within.ball if ball is None and within is not None else ball
    found = Bounds(lower, upper, ball=ball)
    return _IntervalPass(program, dict(fixed or {}), method, within, found).run(outputs)


@dataclass
class _IntervalPass:
    program: Program
    fixed: dict[int, npt.NDArray[np.integer]]
    method: Method
    within: Bounds | None
    found: Bounds

    def run(self, outputs: bool) -> Bounds:
        found = self.found
        found.block_lower[-1], found.block_upper[-1] = found.input_lower, found.input_upper
        feasible = not (found.input_lower > found.input_upper).any()
        for number in range(len(self.program.blocks)):
            feasible = feasible and self._block(number)
        if not feasible:
            return replace(found, infeasible=True)
        if not outputs:
            return found
        low, high = bound_affine(self.program, found, self.program.output, self.method)
        return replace(found, output_lower=low, output_upper=high, infeasible=bool((low > high).any()))

    def _block(self, number: int) -> bool:
        """Bounds one block; False when it cannot have any value."""
        block, found = self.program.blocks[number], self.found
        if isinstance(block, ReluBlock | MaskBlock):
            if block.pre == len(found.signs) and not self._pre(block.pre):
                return False
            argument = found.pre_lower[block.pre], found.pre_upper[block.pre]
        else:
            argument = self._value(number, block.value, worth_refining(self.program, block, found))
            if (argument[0] > argument[1]).any():
                return False
        low, high = block_range(block, found, argument)
        found.block_lower[number], found.block_upper[number] = low, high
        return not (low > high).any()

    def _pre(self, number: int) -> bool:
        """Bounds one pre-activation and decides its neurons."""
        affine, found = self.program.pre[number].affine, self.found
        low, high, size = interval(affine, found)
        found.pre_size.append(size)
        fixed_rows = constant_rows(affine, found)
        low[fixed_rows] = high[fixed_rows] = affine.constant[fixed_rows]
        if self.within is not None:
            low = np.maximum(low, self.within.pre_lower[number])
            high = np.minimum(high, self.within.pre_upper[number])
        low, high = self._crown(affine, low, high, np.flatnonzero((low <= 0) & (high > 0)))
        low, high, signs = decided(low, high, self._fixed(number, affine.size))
        found.pre_lower.append(low)
        found.pre_upper.append(high)
        found.signs.append(signs)
        return not (low > high).any()

    def _fixed(self, number: int, size: int) -> npt.NDArray[np.integer]:
        known = np.zeros(size, np.int8) if self.within is None else self.within.signs[number]
        asked = self.fixed.get(number)
        return known if asked is None else np.where(asked != 0, asked, known)

    def _value(self, number: int, affine: Affine, wanted: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Bounds the argument of a gate, Abs, factor or product; `wanted` rows are worth a backward pass."""
        low, high, self.found.value_size[number] = interval(affine, self.found)
        if self.within is not None:
            low = np.maximum(low, self.within.value_lower[number])
            high = np.minimum(high, self.within.value_upper[number])
        low, high = self._crown(affine, low, high, np.flatnonzero(wanted & (low < high)))
        self.found.value_lower[number], self.found.value_upper[number] = low, high
        return low, high

    def _crown(
        self, affine: Affine, low: Array, high: Array, rows: npt.NDArray[np.intp]
    ) -> tuple[Array, Array]:
        over_input_only = set(affine.terms) <= {-1}
        if self.method == "interval" or not len(rows) or over_input_only:
            return low, high
        return tightened(self.program, self.found, affine, low, high, rows)
