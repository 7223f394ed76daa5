"""A query's program over a box without the neurons that the box decides.

Over the box of a query most signs of a trained network are known. A ReLU that is off is 0, and one that is on
is its argument; the same holds of masks, gates and absolute values. Composed into what reads them, they leave
a program of the open neurons alone, with the same values at every x of the box. Every pass of a search is as
small as what is open then, however large the network: 45 of `cifar_base_kw`'s 3,172 neurons on a small box.

The program is made from the input on, together with its bounds, so that the backward passes of one layer
(`bounds`) run over the reduced layers before it. What composing rounds is recorded as in `affine.apply`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets.affine import Affine, Matrix, UnsupportedQueryError, dense, identity, refuse_range
from salver.nets.program import (
    AbsBlock,
    Block,
    FactorBlock,
    GateBlock,
    MaskBlock,
    PreActivation,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.block_lines import relaxed
from salver.solvers.bounding.bounds import Bounds, constant_rows, interval
from salver.solvers.bounding.forward import MOST_INPUTS, ForwardForms
from salver.solvers.bounding.linear_bounds import tightened
from salver.solvers.bounding.ranges import block_range
from salver.solvers.bounding.relaxation import is_point
from salver.spec import Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
MOST_CELLS = 100_000_000
"""Entries of the largest matrix that is composed; a program that needs larger ones is left as it is."""


@dataclass(frozen=True, eq=False)
class _Part:
    """Entries of a block of the whole program, as a map over the reduced one; those in no part are 0."""

    entries: Indices
    affine: Affine


class TooLargeError(Exception):
    """Composing takes more memory than it saves."""


def reduce_to_open(
    program: Program, lower: Array, upper: Array, wanted: Indices, ball: Ball | None = None
) -> tuple[Program, Bounds] | None:
    """The program of the neurons that are open over a box, and its bounds there, outputs included.

    Args:
        program: of a query.
        lower, upper: the box [n]; outside it the reduced program means nothing.
        wanted: outputs that are worth a backward pass.
        ball: in which x lies besides.

    Returns:
        None where the box is empty, or composing would lose digits or take too much memory.
    """
    reduction = Reduction.begun(program, lower, upper, ball)
    return None if reduction is None else reduction.whole(wanted)


@dataclass(eq=False)
class Reduction:
    """The same under way, block by block.

    Attributes:
        ranges: of the blocks of the whole program, for interval arithmetic.
        found: bounds of the reduced program so far.
        numbers: pre-activation of the whole program -> its number in the reduced one, where some are open.
        arguments: pre-activation -> its entries that are not off, as a map over the reduced program.
        kept: mask or factor of the whole program -> the block of the reduced one.
        forward: linear bounds of the reduced program's blocks, where there are few inputs.
        done: blocks that are reduced; failed: the next one cannot be.
    """

    program: Program
    ranges: Bounds
    found: Bounds
    pre: list[PreActivation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    values: dict[int, list[_Part]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    arguments: dict[int, _Part] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)
    forward: ForwardForms | None = None
    done: int = 0
    failed: bool = False

    @classmethod
    def begun(
        cls, program: Program, lower: Array, upper: Array, ball: Ball | None = None
    ) -> Reduction | None:
        """None where the box is empty."""
        if (lower > upper).any():
            return None
        return cls(program, Bounds(lower, upper, ball=ball), Bounds(lower, upper, ball=ball))

    def __post_init__(self) -> None:
        size = self.program.input_size
        if size <= MOST_INPUTS:
            self.forward = ForwardForms(self.found.input_lower, self.found.input_upper)
        self.values[-1] = [_Part(np.arange(size), identity(-1, size))]
        for bounds in (self.ranges, self.found):
            bounds.block_lower[-1], bounds.block_upper[-1] = bounds.input_lower, bounds.input_upper

    def whole(self, wanted: Indices) -> tuple[Program, Bounds] | None:
        """The reduced program and its bounds, as of `reduce_to_open`."""
        if not self.upto(len(self.program.blocks)):
            return None
        try:
            return self.with_outputs(self.program.output, wanted)
        except (TooLargeError, UnsupportedQueryError):
            return None

    def upto(self, count: int) -> bool:
        """Reduces the blocks before number `count`; whether all of them can be."""
        try:
            while self.done < count and not self.failed:
                self._block(self.done, self.program.blocks[self.done])
                self.done += 1
        except (TooLargeError, UnsupportedQueryError):
            self.failed = True
        return not self.failed

    def with_outputs(self, outputs: Affine, wanted: Indices) -> tuple[Program, Bounds]:
        """The program so far with outputs that read no more than it, and its bounds.

        Raises:
            TooLargeError, UnsupportedQueryError: composing takes too much memory, or would lose digits.
        """
        output = self._composed(outputs, np.arange(outputs.size))
        program = self._so_far(output)
        low, high, _ = interval(outputs, self.ranges)
        backward = np.zeros(output.size, bool)
        backward[wanted] = True
        low, high = self._bounded(output, low, high, backward)
        return program, replace(self.found.copied(), output_lower=low, output_upper=high)

    def _block(self, number: int, block: Block) -> None:
        match block:
            case ReluBlock() | MaskBlock():
                self._neurons(number, block)
            case GateBlock():
                self._gate(number, block)
            case AbsBlock():
                self._abs(number, block)
            case FactorBlock() | ProductBlock():
                self._kept(number, block)

    def _so_far(self, output: Affine | None = None) -> Program:
        empty = Affine({}, np.zeros(0))
        return Program(self.program.input_size, tuple(self.pre), tuple(self.blocks), output or empty)

    def _append(self, block: Block, low: Array, high: Array) -> _Part:
        """Adds a block to the reduced program; its entries in order."""
        number = len(self.blocks)
        self.blocks.append(block)
        self.found.block_lower[number], self.found.block_upper[number] = low, high
        return _Part(np.arange(block.size), identity(number, block.size))

    def _neurons(self, number: int, block: ReluBlock | MaskBlock) -> None:
        if block.pre == len(self.ranges.signs):
            self._pre(block.pre)
        signs, argument = self.ranges.signs[block.pre], self.arguments[block.pre]
        range_ = self.ranges.pre_lower[block.pre], self.ranges.pre_upper[block.pre]
        low, high = block_range(block, self.ranges, range_)
        self.ranges.block_lower[number], self.ranges.block_upper[number] = low, high
        on, open_ = np.flatnonzero(signs > 0), np.flatnonzero(signs == 0)
        parts = []
        if len(on):
            ones = Affine({}, np.ones(len(on)))
            is_mask = isinstance(block, MaskBlock)
            parts.append(
                _Part(on, ones if is_mask else argument.affine.rows(np.searchsorted(argument.entries, on)))
            )
        if len(open_):
            if isinstance(block, MaskBlock):
                self.kept[number] = len(self.blocks)
            small = replace(block, pre=self.numbers[block.pre], size=len(open_), entries=open_)
            parts.append(_Part(open_, self._append(small, low[open_], high[open_]).affine))
            self._carry()
        self.values[number] = parts

    def _carry(self) -> None:
        """Carries the linear bounds on to the last block of the reduced program."""
        if self.forward is not None:
            number = len(self.blocks) - 1
            step = relaxed(self._so_far(), self.found, number, pairing=False)
            self.forward.blocks[number] = self.forward.through(step)

    def _pre(self, number: int) -> None:
        affine = self.program.pre[number].affine
        low, high, _ = interval(affine, self.ranges)
        fixed = constant_rows(affine, self.ranges)
        low[fixed] = high[fixed] = affine.constant[fixed]
        rows = np.flatnonzero(high > 0)
        argument = self._composed(affine, rows)
        low[rows], high[rows] = self._bounded(argument, low[rows], high[rows], (low <= 0)[rows])
        signs = np.where(low > 0, 1, np.where(high <= 0, -1, 0)).astype(np.int8)
        self.ranges.pre_lower.append(low)
        self.ranges.pre_upper.append(high)
        self.ranges.signs.append(signs)
        self.arguments[number] = _Part(rows, argument)
        open_ = np.flatnonzero(signs == 0)
        if len(open_):
            z = argument.rows(np.searchsorted(rows, open_))
            self.numbers[number] = len(self.pre)
            self.pre.append(PreActivation(z, self.program.pre[number].name, entries=open_))
            self.found.pre_lower.append(low[open_])
            self.found.pre_upper.append(high[open_])
            self.found.pre_size.append(z.magnitude(self.found.largest))
            self.found.signs.append(np.zeros(len(open_), np.int8))

    def _gate(self, number: int, block: GateBlock) -> None:
        mask = self.program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        signs = self.ranges.signs[mask.pre]
        rows = np.flatnonzero(signs >= 0)
        low, high, _ = interval(block.value, self.ranges)
        value = self._composed(block.value, rows)
        low[rows], high[rows] = self._bounded(value, low[rows], high[rows], signs[rows] == 0)
        least, most = block_range(block, self.ranges, (low, high))
        self.ranges.block_lower[number], self.ranges.block_upper[number] = least, most
        on, open_ = np.flatnonzero(signs > 0), np.flatnonzero(signs == 0)
        parts = [_Part(on, value.rows(np.searchsorted(rows, on)))] if len(on) else []
        if len(open_):
            gated = value.rows(np.searchsorted(rows, open_))
            at = len(self.blocks)
            small = replace(block, mask=self.kept[block.mask], value=gated, size=len(open_), entries=open_)
            parts.append(_Part(open_, self._append(small, least[open_], most[open_]).affine))
            self._argument(at, gated, low[open_], high[open_])
        self.values[number] = parts

    def _abs(self, number: int, block: AbsBlock) -> None:
        low, high, _ = interval(block.value, self.ranges)
        rows = np.arange(block.size)
        value = self._composed(block.value, rows)
        low, high = self._bounded(value, low, high, np.ones(block.size, bool))
        least, most = block_range(block, self.ranges, (low, high))
        self.ranges.block_lower[number], self.ranges.block_upper[number] = least, most
        signs = np.where(low >= 0, 1, np.where(high <= 0, -1, 0))
        parts = [
            _Part(np.flatnonzero(signs == sign), value.rows(np.flatnonzero(signs == sign), float(sign)))
            for sign in (1, -1)
            if (signs == sign).any()
        ]
        open_ = np.flatnonzero(signs == 0)
        if len(open_):
            at, inner = len(self.blocks), value.rows(open_)
            small = replace(block, value=inner, size=len(open_), entries=open_)
            parts.append(_Part(open_, self._append(small, least[open_], most[open_]).affine))
            self._argument(at, inner, low[open_], high[open_])
        self.values[number] = parts

    def _kept(self, number: int, block: FactorBlock | ProductBlock) -> None:
        """A factor or product with all its entries: what is exact in them the bounds find out themselves."""
        everything = np.arange(block.size)
        value = self._composed(block.value, everything)
        low, high, _ = interval(block.value, self.ranges)
        at, wanted = len(self.blocks), np.ones(block.size, bool)
        small: Block = replace(block, value=value)
        if isinstance(small, ProductBlock):
            small = replace(small, factor=self.kept[small.factor])
            factor = self.found.block_lower[small.factor], self.found.block_upper[small.factor]
            wanted = ~is_point(*factor, self.found.value_size[small.factor])
        else:
            self.kept[number] = at
        low, high = self._bounded(value, low, high, wanted)
        least, most = block_range(block, self.ranges, (low, high))
        self.ranges.block_lower[number], self.ranges.block_upper[number] = least, most
        self.values[number] = [self._append(small, least, most)]
        self._argument(at, value, low, high)

    def _argument(self, number: int, value: Affine, low: Array, high: Array) -> None:
        self.found.value_lower[number], self.found.value_upper[number] = low, high
        self.found.value_size[number] = value.magnitude(self.found.largest)
        self._carry()

    def _bounded(
        self, affine: Affine, low: Array, high: Array, wanted: npt.NDArray[np.bool_]
    ) -> tuple[Array, Array]:
        """Bounds of rows over the reduced program; those wanted are worth a backward pass."""
        least, most, _ = interval(affine, self.found)
        low, high = np.fmax(low, least), np.fmin(high, most)
        if self.forward is not None:
            least, most = self.forward.range(self.forward.of(affine))
            low, high = np.fmax(low, least), np.fmin(high, most)
        rows = np.flatnonzero(wanted & (low < high))
        if not len(rows) or set(affine.terms) <= {-1}:
            return low, high
        return tightened(self._so_far(), self.found, affine, low, high, rows)

    def _composed(self, affine: Affine, rows: Indices) -> Affine:
        """Rows of a map over the whole program, over the reduced one."""
        picked = affine.rows(rows)
        total = _Sum(len(rows), picked.constant, picked.constant_absolute)
        for block, matrix in picked.terms.items():
            for part in self.values[block]:
                total.add(
                    _columns(matrix, part.entries),
                    _columns(picked.absolute[block], part.entries),
                    part.affine,
                )
        return total.affine()


@dataclass(eq=False)
class _Sum:
    """A sum of products of matrices with affine maps, with the absolute values that it was added up from."""

    size: int
    constant: Array
    constant_size: Array
    terms: dict[int, Matrix] = field(default_factory=dict)
    sizes: dict[int, Matrix] = field(default_factory=dict)

    def add(self, matrix: Matrix, absolute: Matrix, source: Affine) -> None:
        # What underflows here would be lost in the sums of absolute values, too.
        refuse_range(matrix, [*source.terms.values(), source.constant])
        self.constant = self.constant + matrix @ source.constant
        self.constant_size = self.constant_size + absolute @ source.constant_absolute
        for block, term in source.terms.items():
            if self.size * term.shape[1] > MOST_CELLS:
                raise TooLargeError
            product, size = matrix @ term, absolute @ source.absolute[block]
            self.terms[block] = self.terms[block] + product if block in self.terms else product
            self.sizes[block] = self.sizes[block] + size if block in self.sizes else size

    def affine(self) -> Affine:
        return Affine(
            {block: _compact(matrix) for block, matrix in self.terms.items()},
            self.constant,
            {block: _compact(matrix) for block, matrix in self.sizes.items()},
            self.constant_size,
        )


def _columns(matrix: Matrix, entries: Indices) -> Matrix:
    if len(entries) == matrix.shape[1]:
        return matrix
    return sparse.csr_array(matrix)[:, entries] if sparse.issparse(matrix) else matrix[:, entries]


def _compact(matrix: Matrix) -> Matrix:
    """Dense above one entry in five: of outputs, ten logits read all of x and 3,072 map entries none."""
    entries = matrix.nnz if sparse.issparse(matrix) else np.count_nonzero(matrix)
    full = entries > 0.2 * matrix.shape[0] * matrix.shape[1]
    return dense(matrix) if full else sparse.csr_array(matrix)
