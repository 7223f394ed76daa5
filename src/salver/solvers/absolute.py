"""Absolute values of a program, rewritten with ReLUs for solvers that split on signs of pre-activations."""

from __future__ import annotations

from dataclasses import replace

from scipy import sparse

from salver.nets.affine import Affine, add, apply, identity, substituted
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


def without_abs(program: Program) -> Program:
    """The same function with |v| = 2 max(v, 0) - v, so every case split is the sign of a z."""
    pre, blocks = list(program.pre), list[Block]()
    values: dict[int, Affine] = {}

    def rewrite(affine: Affine) -> Affine:
        return substituted(affine, values)

    rewritten: set[int] = set()
    for number, block in enumerate(program.blocks):
        match block:
            case AbsBlock():
                value = rewrite(block.value)
                pre.append(PreActivation(value))
                rewritten.add(len(pre) - 1)
                blocks.append(ReluBlock(len(pre) - 1, block.size))
                twice = apply(
                    2.0 * sparse.eye_array(block.size, format="csr"), identity(number, block.size), 0.0
                )
                values[number] = add(twice, value, -1.0)
            case GateBlock() | FactorBlock() | ProductBlock():
                blocks.append(replace(block, value=rewrite(block.value)))
            case _:
                blocks.append(block)
    pre = [p if k in rewritten else PreActivation(rewrite(p.affine)) for k, p in enumerate(pre)]
    return _in_order(Program(program.input_size, tuple(pre), tuple(blocks), rewrite(program.output)))


def _in_order(program: Program) -> Program:
    """The same program, its pre-activations numbered as its blocks meet them."""
    order: dict[int, int] = {}
    blocks: list[Block] = []
    for block in program.blocks:
        if isinstance(block, ReluBlock | MaskBlock):
            blocks.append(replace(block, pre=order.setdefault(block.pre, len(order))))
        else:
            blocks.append(block)
    return replace(program, pre=tuple(program.pre[number] for number in order), blocks=tuple(blocks))
