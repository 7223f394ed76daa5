"""Copies of a network side by side: blocks of one kind and depth as one, so one pass bounds them all.

Integrated gradients with 50 steps are 50 copies of a classifier, and a program of 200 blocks of 32 entries. A
backward pass through each costs little but its calls. Stacked, they are four blocks of 1,600 entries whose
maps are sparse, block by block on the diagonal, and one product serves all copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse

from salver.nets.affine import Affine, Matrix
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
from salver.solvers.bounding.reduced import MOST_CELLS

_FEWEST = 4
"""Blocks of one kind and depth below which nothing is gained."""
_DENSE = 0.1
"""Share of entries that are not 0 above which a matrix is dense."""


def stacked(program: Program) -> Program:
    """The same function, with blocks of one kind and depth as one where there are several copies.

    Neurons keep their pre-activation beside their mask and ReLU, and gates their masks. What is stacked has
    no name in the network.

    Returns:
        The program itself where it has no copies, or blocks would be too wide to be composed (`MOST_CELLS`).
    """
    groups = _groups(program)
    widest = max((sum(program.blocks[number].size for number in group) for group in groups), default=0)
    if max(map(len, groups), default=0) < _FEWEST or widest**2 > MOST_CELLS:
        return program
    return _Stacking(program).run(groups)


def _groups(program: Program) -> list[list[int]]:
    """Numbers of blocks that can stand side by side, so that no block reads one of its own group or later."""
    depth: dict[int, int] = {-1: 0}
    for number, block in enumerate(program.blocks):
        depth[number] = 1 + max(depth[source] for source in _read(program, block))
    kinds = [_kind(program, number) for number in range(len(program.blocks))]
    readers: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    own: dict[int, list[tuple[object, ...]]] = defaultdict(list)
    for number, block in enumerate(program.blocks):
        if (partner := _partner(block)) is not None:
            readers[partner].append((depth[number], kinds[number]))
    for number, block in enumerate(program.blocks):
        if isinstance(block, ReluBlock | MaskBlock):
            own[block.pre].append((kinds[number], *readers[number]))
    key: dict[int, tuple[object, ...]] = {}
    met: dict[int, int] = defaultdict(int)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, block in enumerate(program.blocks):
        partner = _partner(block)
        if partner is not None:
            key[number] = (depth[number], kinds[number], met[partner], key[partner])
            met[partner] += 1
        elif isinstance(block, ReluBlock | MaskBlock):
            key[number] = (depth[number], kinds[number], *sorted(own[block.pre]))
        else:
            key[number] = (depth[number], kinds[number], *readers[number])
        groups[key[number]].append(number)
    found = sorted(groups.values(), key=lambda group: depth[group[0]])
    rank: dict[int, int] = {}
    for group in found:
        group.sort(key=lambda number: _order(program.blocks[number], number, rank))
        rank.update({number: place for place, number in enumerate(group)})
    return found


def _order(block: Block, number: int, rank: dict[int, int]) -> int:
    """Neurons stand in the order of their pre-activations, gates and products in that of their partners."""
    if isinstance(block, ReluBlock | MaskBlock):
        return block.pre
    partner = _partner(block)
    return number if partner is None else rank[partner]


def _kind(program: Program, number: int) -> tuple[str, bool, bool]:
    """What must be the same of blocks that become one: a factor must stay piecewise constant, for example."""
    block = program.blocks[number]
    square = isinstance(block, ProductBlock) and block.square
    return type(block).__name__, square, number in program.piecewise_constant


def _partner(block: Block) -> int | None:
    """The block of the mask or factor that a gate or product has."""
    match block:
        case GateBlock():
            return block.mask
        case ProductBlock():
            return block.factor
    return None


def _read(program: Program, block: Block) -> Iterable[int]:
    partner = _partner(block)
    return (-1, *program.argument(block).terms, *(() if partner is None else (partner,)))


@dataclass
class _Stacking:
    """
    Attributes:
        place: block of `program` -> its block in the new program, and the number of its first entry there.
        numbers: pre-activation of `program` -> its number in the new one.
    """

    program: Program
    pre: list[PreActivation] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    place: dict[int, tuple[int, int]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)

    def run(self, groups: Sequence[Sequence[int]]) -> Program:
        size = self.program.input_size
        self.sizes = {-1: size}
        self.place[-1] = (-1, 0)
        for group in groups:
            self._append([self.program.blocks[number] for number in group])
            first = 0
            for number in group:
                self.place[number] = len(self.blocks) - 1, first
                first += self.program.blocks[number].size
            self.sizes[len(self.blocks) - 1] = first
        return Program(size, tuple(self.pre), tuple(self.blocks), self._moved([self.program.output]))

    def _append(self, members: Sequence[Block]) -> None:
        first, size = members[0], sum(block.size for block in members)
        if isinstance(first, ReluBlock | MaskBlock):
            self.blocks.append(replace(first, pre=self._pre(members), size=size, name=""))
            return
        value = self._moved([self.program.argument(block) for block in members])
        partner = _partner(first)
        moved = -1 if partner is None else self.place[partner][0]
        match first:
            case GateBlock():
                new: Block = replace(first, mask=moved, value=value, size=size, name="", source="")
            case ProductBlock():
                new = replace(first, factor=moved, value=value, size=size, name="", source="")
            case AbsBlock() | FactorBlock():
                new = replace(first, value=value, size=size, name="", source="")
        self.blocks.append(new)

    def _pre(self, members: Sequence[Block]) -> int:
        wanted = [block.pre for block in members if isinstance(block, ReluBlock | MaskBlock)]
        if wanted[0] not in self.numbers:
            maps = [self.program.pre[number].affine for number in wanted]
            self.numbers.update(dict.fromkeys(wanted, len(self.pre)))
            self.pre.append(PreActivation(self._moved(maps)))
        return self.numbers[wanted[0]]

    def _moved(self, parts: Sequence[Affine]) -> Affine:
        """The maps above each other, over the new blocks."""
        constant = np.concatenate([part.constant for part in parts])
        terms = self._matrices([part.terms for part in parts], [part.size for part in parts])
        if not any(part.sizes or part.constant_size is not None for part in parts):
            return Affine(terms, constant)
        sizes = self._matrices([part.absolute for part in parts], [part.size for part in parts])
        return Affine(terms, constant, sizes, np.concatenate([part.constant_absolute for part in parts]))

    def _matrices(self, parts: Sequence[dict[int, Matrix]], rows: Sequence[int]) -> dict[int, Matrix]:
        """Block of the new program -> the matrix over it, each part's rows above those of the next."""
        pieces: dict[int, list[tuple[int, int, Matrix]]] = defaultdict(list)
        first = 0
        for part, count in zip(parts, rows, strict=True):
            for block, matrix in part.items():
                target, column = self.place[block]
                pieces[target].append((first, column, matrix))
            first += count
        return {target: _assembled(found, (first, self.sizes[target])) for target, found in pieces.items()}


def _assembled(pieces: Sequence[tuple[int, int, Matrix]], shape: tuple[int, int]) -> Matrix:
    """One matrix of pieces that do not overlap, each with its first row and column."""
    if len(pieces) == 1 and pieces[0][2].shape == shape:
        return pieces[0][2]
    found = [(row, column, sparse.coo_array(matrix)) for row, column, matrix in pieces]
    at = (
        np.concatenate([piece.coords[0] + row for row, _, piece in found]),
        np.concatenate([piece.coords[1] + column for _, column, piece in found]),
    )
    whole = sparse.csr_array((np.concatenate([piece.data for *_, piece in found]), at), shape=shape)
    return whole.toarray() if whole.nnz > _DENSE * shape[0] * shape[1] else whole
