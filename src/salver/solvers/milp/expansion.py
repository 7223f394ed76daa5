"""Products as sums of gates, which a mixed-integer program states exactly.

A factor f = c + sum w_j m_j over masks makes f v = c v + sum w_j (m_j v), and each m_j v is a gate. What else
a factor may be made of is brought to masks: a gate m u of it gives m (u v), a ReLU max(z, 0) the gate of its
own mask 1[z > 0] with the value z v. One value takes as many gates as there are neurons behind its factor, so
this is for small queries. `hybrid` does better with McCormick's planes (docs/solving.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from salver.nets.affine import Affine, apply, compact, concat, identity, substituted
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

MOST_GATES = 4000
"""Gated values above which the products are left as they are."""
_VALUE = -2
"""Stands for the value that a factor is multiplied with, as a block."""


def with_gates(program: Program, most: int = MOST_GATES) -> Program | None:
    """The same function without factors and products; None where that takes more than `most` gated values.

    Args:
        program: without `AbsBlock`.
    """
    try:
        return _Expansion(program, most).run()
    except _TooManyError:
        return None


class _TooManyError(Exception):
    pass


@dataclass
class _Expansion:
    program: Program
    most: int
    pre: list[PreActivation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    values: dict[int, Affine] = field(default_factory=dict)
    pre_of: dict[int, int] = field(default_factory=dict)
    mask_of: dict[int, int] = field(default_factory=dict)
    gates: int = 0

    def run(self) -> Program:
        for number, block in enumerate(self.program.blocks):
            self.values[number] = self._block(block)
        output = compact(self._rewritten(self.program.output))
        return Program(self.program.input_size, tuple(self.pre), tuple(self.blocks), output)

    def _block(self, block: Block) -> Affine:
        match block:
            case ReluBlock():
                return self._append(replace(block, pre=self._pre(block.pre)))
            case MaskBlock():
                return identity(self._mask(self._pre(block.pre)), block.size)
            case GateBlock():
                (mask,) = self.values[block.mask].terms
                return self._append(replace(block, mask=mask, value=self._rewritten(block.value)))
            case FactorBlock():
                return self._rewritten(block.value)
            case ProductBlock():
                return self._product(self.values[block.factor], self._rewritten(block.value))
            case AbsBlock():
                raise TypeError("a program with absolute values")

    def _product(self, factor: Affine, value: Affine) -> Affine:
        rows = [np.array([row]) for row in range(value.size)]
        return compact(concat([self._times(factor.rows(row), value.rows(row), {}) for row in rows]))

    def _times(self, factor: Affine, value: Affine, known: dict[int, Affine]) -> Affine:
        """factor [size] times one value [1]; `known`: blocks times it."""
        size = {} if factor.constant_size is None else {_VALUE: factor.constant_size[:, None]}
        terms = {_VALUE: factor.constant[:, None], **factor.terms}
        for block in factor.terms:
            if block not in known:
                known[block] = self._block_times(block, value, known)
        whole = Affine(terms, np.zeros(factor.size), {**size, **factor.sizes})
        return substituted(whole, {_VALUE: value, **known})

    def _block_times(self, number: int, value: Affine, known: dict[int, Affine]) -> Affine:
        block = self.blocks[number]
        match block:
            case MaskBlock():
                mask, gated = number, apply(np.ones((block.size, 1)), value, 0.0)
            case GateBlock():
                mask, gated = block.mask, self._times(block.value, value, known)
            case ReluBlock():
                mask = self._mask(block.pre)
                gated = self._times(self.pre[block.pre].affine, value, known)
            case _:
                raise TypeError("a factor of other blocks")
        self.gates += block.size
        if self.gates > self.most:
            raise _TooManyError
        return self._append(GateBlock(mask, compact(gated), block.size))

    def _pre(self, number: int) -> int:
        if number not in self.pre_of:
            self.pre_of[number] = len(self.pre)
            point = self.program.pre[number]
            self.pre.append(replace(point, affine=self._rewritten(point.affine)))
        return self.pre_of[number]

    def _mask(self, pre: int) -> int:
        if pre not in self.mask_of:
            self.mask_of[pre] = len(self.blocks)
            self.blocks.append(MaskBlock(pre, self.pre[pre].affine.size))
        return self.mask_of[pre]

    def _append(self, block: Block) -> Affine:
        self.blocks.append(block)
        return identity(len(self.blocks) - 1, block.size)

    def _rewritten(self, affine: Affine) -> Affine:
        return compact(substituted(affine, self.values))
