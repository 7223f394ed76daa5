"""The linear relaxation of a program over a box, written over the inputs and the open neurons alone.

What the signs decide is composed away: a ReLU that is on is its argument, as a row over what is left. Where
few neurons are open, the rows are few and short, however large the program is, and a linear program of them
takes a fraction of a millisecond. The encoding is that of `milp.model`, a column for the sign of an open
neuron, one for its ReLU and one for each of its gates.

Rounding: a row may be off by `ROUNDING` times its `size`, the sum of the absolute values of all that it was
added up from over the ranges of the columns. What a coefficient loses to underflow counts in it as
`UNDERFLOW`, since later weights may be large. Every limit is moved outwards by that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, Affine
from salver.nets.program import GateBlock, MaskBlock, Program, ReluBlock
from salver.solvers.bounding.bounds import Bounds
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


class RoundedRows(NamedTuple):
    """Values weights [k, columns + 1] @ (v, 1) up to `ROUNDING` * size [k]."""

    weights: Array
    size: Array


def can_be_composed(program: Program) -> bool:
    """Whether all blocks are ReLUs, masks and gates."""
    return all(isinstance(block, ReluBlock | MaskBlock | GateBlock) for block in program.blocks)


@dataclass(eq=False)
class Composed:
    """Every x of the box with the signs of `bounds` has values v of the columns for which all rows hold.

    Attributes:
        program: of ReLUs, masks and gates; bounds: over the box.
        low, high: ranges of the columns. The inputs come first.
        signs: pre-activation -> the columns of its open neurons' signs, 0 or 1.
        columns: ReLU or gate -> those of its values there.
        rows: weights [k, columns + 1] with weights @ (v, 1) >= 0.
    """

    program: Program
    bounds: Bounds
    low: Array = field(init=False)
    high: Array = field(init=False)
    signs: dict[int, Indices] = field(default_factory=dict)
    columns: dict[int, Indices] = field(default_factory=dict)
    rows: list[Array] = field(default_factory=list)
    _values: dict[int, RoundedRows] = field(default_factory=dict)
    _arguments: dict[int, RoundedRows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add_columns()
        inputs = self.program.input_size
        self._values[-1] = RoundedRows(np.eye(inputs, len(self._largest)), self._largest[:inputs])
        for number, block in enumerate(self.program.blocks):
            match block:
                case ReluBlock():
                    self._relu(number, block)
                case MaskBlock():
                    self._mask(number, block)
                case GateBlock():
                    self._gate(number, block)

    @property
    def binaries(self) -> Indices:
        """The columns of all signs."""
        return np.concatenate([np.zeros(0, np.intp), *self.signs.values()])

    @property
    def layers(self) -> Indices:
        """Of each of these the pre-activation."""
        return np.repeat(
            np.array(list(self.signs), np.intp), [len(columns) for columns in self.signs.values()]
        )

    def of(self, affine: Affine) -> RoundedRows:
        """An affine map over the blocks, over the columns."""
        weights = np.zeros((affine.size, len(self._largest)))
        weights[:, -1] = affine.constant
        size = affine.constant_absolute + UNDERFLOW * self._largest.sum()
        for block, matrix in affine.terms.items():
            weights += matrix @ self._values[block].weights
            size = size + affine.absolute[block] @ self._values[block].size
        return RoundedRows(weights, np.asarray(size))

    def at_least(self, row: RoundedRows, limits: Array) -> Array:
        """Weights of rows that are >= 0 wherever values are no less than the limits [k]."""
        weights = row.weights.copy()
        weights[:, -1] += ROUNDING * (row.size + np.abs(limits)) + TINY - limits
        return weights

    def _add_columns(self) -> None:
        bounds, program = self.bounds, self.program
        lows, highs = [bounds.input_lower], [bounds.input_upper]
        count = program.input_size
        for number, block in enumerate(program.blocks):
            mask = program.blocks[block.mask] if isinstance(block, GateBlock) else block
            assert isinstance(mask, ReluBlock | MaskBlock)
            open_ = np.flatnonzero(bounds.signs[mask.pre] == 0)
            if mask.pre not in self.signs:
                self.signs[mask.pre] = count + np.arange(len(open_))
                lows.append(np.zeros(len(open_)))
                highs.append(np.ones(len(open_)))
                count += len(open_)
            if not isinstance(block, MaskBlock):
                self.columns[number] = count + np.arange(len(open_))
                lows.append(bounds.block_lower[number][open_])
                highs.append(bounds.block_upper[number][open_])
                count += len(open_)
        self.low, self.high = np.concatenate(lows), np.concatenate(highs)
        self._largest = np.append(np.maximum(np.abs(self.low), np.abs(self.high)), 1.0)

    def _argument(self, number: int) -> RoundedRows:
        """A pre-activation, whose decided signs are rows where the box does not imply them."""
        if number not in self._arguments:
            row = self._arguments[number] = self.of(self.program.pre[number].affine)
            bounds, none = self.bounds, np.zeros(len(row.size))
            signs, low, high = bounds.signs[number], bounds.pre_lower[number], bounds.pre_upper[number]
            for side, unclear in ((1, low <= 0), (-1, high >= 0)):
                at = np.flatnonzero((signs == side) & unclear)
                self.rows.append(self.at_least(RoundedRows(side * row.weights[at], row.size[at]), none[at]))
        return self._arguments[number]

    def _relu(self, number: int, block: ReluBlock) -> None:
        """p = max(z, 0) in [l, h]: p >= z, p <= h m and p <= z - l (1 - m), with p >= 0 as its range."""
        argument = self._argument(block.pre)
        signs = self.bounds.signs[block.pre]
        open_ = np.flatnonzero(signs == 0)
        self._set(number, signs, argument)
        low, high = (side[block.pre][open_] for side in (self.bounds.pre_lower, self.bounds.pre_upper))
        z = RoundedRows(argument.weights[open_], argument.size[open_])
        zero, value, sign = np.zeros(len(open_)), self.columns[number], self.signs[block.pre]
        self._require(None, zero, (value, -1.0), (sign, high))
        self._require(z, low, (value, -1.0), (sign, low))
        self._require(RoundedRows(-z.weights, z.size), zero, (value, 1.0))

    def _mask(self, number: int, block: MaskBlock) -> None:
        """m z >= 0 and (1 - m) z <= 0: z <= h m and z >= l (1 - m)."""
        argument = self._argument(block.pre)
        signs, sign = self.bounds.signs[block.pre], self.signs[block.pre]
        weights = np.zeros_like(argument.weights)
        weights[signs > 0, -1] = 1.0
        weights[np.flatnonzero(signs == 0), sign] = 1.0
        self._values[number] = RoundedRows(weights, np.ones(block.size))
        if any(isinstance(other, ReluBlock) and other.pre == block.pre for other in self.program.blocks):
            return  # the rows of the ReLU imply these
        open_ = np.flatnonzero(signs == 0)
        low, high = (side[block.pre][open_] for side in (self.bounds.pre_lower, self.bounds.pre_upper))
        z = RoundedRows(argument.weights[open_], argument.size[open_])
        self._require(RoundedRows(-z.weights, z.size), np.zeros(len(open_)), (sign, high))
        self._require(z, low, (sign, low))

    def _gate(self, number: int, block: GateBlock) -> None:
        """p = m v for v in [c, d]: c m <= p <= d m and v - d (1 - m) <= p <= v - c (1 - m)."""
        mask = self.program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        signs, sign = self.bounds.signs[mask.pre], self.signs[mask.pre]
        argument = self.of(block.value)
        open_ = np.flatnonzero(signs == 0)
        self._set(number, signs, argument)
        low, high = self.bounds.value_lower[number][open_], self.bounds.value_upper[number][open_]
        v = RoundedRows(argument.weights[open_], argument.size[open_])
        value, zero = self.columns[number], np.zeros(len(open_))
        self._require(None, zero, (value, -1.0), (sign, high))
        self._require(None, zero, (value, 1.0), (sign, -low))
        self._require(v, low, (value, -1.0), (sign, low))
        self._require(RoundedRows(-v.weights, v.size), -high, (value, 1.0), (sign, -high))

    def _set(self, number: int, signs: npt.NDArray[np.int8], argument: RoundedRows) -> None:
        """The values of a ReLU or gate: what it reads, 0, or a column."""
        on, open_ = signs > 0, np.flatnonzero(signs == 0)
        weights = np.where(on[:, None], argument.weights, 0.0)
        weights[open_, self.columns[number]] = 1.0
        self._values[number] = RoundedRows(
            weights, np.where(on, argument.size, 0.0) + np.abs(weights) @ self._largest
        )

    def _require(
        self, row: RoundedRows | None, limits: Array, *columns: tuple[Indices, Array | float]
    ) -> None:
        """Rows [k] with one more coefficient for each of some columns [k], no less than the limits."""
        at = np.arange(len(limits))
        weights = np.zeros((len(at), len(self._largest))) if row is None else row.weights.copy()
        for column, coefficient in columns:
            # Exact where the row does not read the column; else the limit is as large as the coefficient.
            weights[at, column] += coefficient
        size = np.zeros(len(at)) if row is None else row.size
        self.rows.append(self.at_least(RoundedRows(weights, size), limits))
