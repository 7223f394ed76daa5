"""A program prepared for bounding: its stages, its traced graph and the property, on one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from salver.nets.affine import Affine
from salver.nets.program import FactorBlock, GateBlock, MaskBlock, ProductBlock, Program, ReluBlock
from salver.solvers.crown.graph import AtomRows, BoundedGraph, bounded_graph, live_blocks


@dataclass(frozen=True, eq=False)
class BoundStage:
    """One vector to be bounded: a pre-activation, the value of a gate, factor or product, or the rows of the
    property.

    Its bounds are columns [start, stop) of a subproblem's bounds; `exact` if it reads the input only.
    `absolute` and `constant_size` are what weights and constant were added up from, see `Affine`.
    """

    kind: str
    number: int
    node: str
    start: int
    stop: int
    exact: bool
    weights: dict[int, Any]
    constant: Any
    absolute: dict[int, Any]
    constant_size: Any

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class Boxes:
    """A batch of subproblems.

    Attributes:
        lower, upper: input boxes [batch, n].
        low, high: bounds of all stages [batch, columns].
        signs: int8 [batch, columns], 1 and -1 where z >= 0 and z <= 0 was decided by a split.
    """

    lower: Any
    upper: Any
    low: Any
    high: Any
    signs: Any


class Bounder:
    """What every bounding pass over a program reads.

    Attributes:
        graph: the traced program.
        stages: in the order they are bounded; the rows of the property come last.
        pre, values: stages by number of the pre-activation, and of the gate, factor or product block.
        row, sign, offset: atoms, see `AtomRows`.
        membership: bool [conjunctions, atoms]; clause_of: clause of each conjunction.
    """

    def __init__(self, program: Program, rows: AtomRows, device: str) -> None:
        import torch

        self.program, self.rows, self.device = program, rows, device
        self.graph: BoundedGraph = bounded_graph(program, device)
        self.stages = self._stages()
        self.columns = self.stages[-1].stop
        self.pre = {stage.number: stage for stage in self.stages if stage.kind == "pre"}
        self.values = {stage.number: stage for stage in self.stages if stage.kind == "value"}
        self.row = torch.as_tensor(rows.row, device=device)
        self.sign = torch.as_tensor(rows.sign, device=device)
        self.offset = torch.as_tensor(rows.offset, device=device)
        conjunctions = [conjunction for clause in rows.clauses for conjunction in clause]
        self.membership = torch.zeros(len(conjunctions), len(rows.row), dtype=torch.bool, device=device)
        for number, conjunction in enumerate(conjunctions):
            self.membership[number, list(conjunction)] = True
        sizes = [len(clause) for clause in rows.clauses]
        self.clause_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(device)

    def _stages(self) -> list[BoundStage]:
        stages: list[BoundStage] = []
        live = live_blocks(self.program)
        seen: set[int] = set()

        def add(kind: str, number: int, node: str, affine: Affine) -> None:
            start = stages[-1].stop if stages else 0
            weights = {block: self._tensor(matrix) for block, matrix in affine.terms.items()}
            exact = set(affine.terms) <= {-1}
            absolute = {block: self._tensor(matrix) for block, matrix in affine.absolute.items()}
            size = self._tensor(affine.constant_absolute)
            constants = self._tensor(affine.constant), absolute, size
            stages.append(
                BoundStage(kind, number, node, start, start + affine.size, exact, weights, *constants)
            )

        for number in sorted(live):
            block = self.program.blocks[number]
            if isinstance(block, GateBlock | FactorBlock | ProductBlock):
                add("value", number, self.graph.value[number], block.value)
            elif isinstance(block, ReluBlock | MaskBlock) and block.pre not in seen:
                seen.add(block.pre)
                add("pre", block.pre, self.graph.pre[block.pre], self.program.pre[block.pre].affine)
        add("output", 0, self.graph.output, self.program.output)
        return stages

    def _tensor(self, matrix: Any) -> Any:
        import torch

        dense = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
        return torch.as_tensor(dense, dtype=torch.float64, device=self.device)

    def root(self, lower: Any, upper: Any) -> Boxes:
        """The whole problem as a batch of one."""
        import torch

        low = torch.full((1, self.columns), -torch.inf, dtype=torch.float64, device=self.device)
        signs = torch.zeros(1, self.columns, dtype=torch.int8, device=self.device)
        return Boxes(self._tensor(lower)[None], self._tensor(upper)[None], low, -low, signs)
