"""Bounds of a batch of subproblems, layer by layer: CROWN intersected with intervals, cut by the splits.

A subproblem is a box, a sign per decided pre-activation, and the bounds of its parent. Each layer's linear
bounds turn its decided signs into half-spaces over the input, and so do the atoms that must hold; all
half-spaces tighten the box (Clip-and-Verify, Zhou et al., NeurIPS 2025), and a combination of them that no
point of the box satisfies refutes the subproblem - the multipliers play the part of beta-CROWN's betas.

Rounding: all is float64, and every bound is moved outwards by `ROUNDING` times the sum of the absolute values
that it was added up from, whatever cancels (`_rounding`; `bounding.bounds` has the argument). auto_LiRPA does
the sums, but the coefficients that pass through each nonlinear operator are seen there, so they are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from salver.nets.affine import ROUNDING
from salver.nets.program import FactorBlock, GateBlock, MaskBlock, ProductBlock, ReluBlock
from salver.solvers.bounding.relaxation import TINY
from salver.solvers.crown.bounds import Bounder, BoundStage, Boxes
from salver.solvers.crown.branching import branching_scores
from salver.solvers.crown.halfspaces import refute_together, tightened
from salver.solvers.crown.lirpa import linear_bounds
from salver.solvers.query import Budget

MOST_ATOMS = 256
"""Atoms taken together per subproblem; any subset is sound."""
DUAL_STEPS = 20
"""Steps towards a joint refutation: measured, 10 leave up to 30 % more subproblems and 60 save 5-20 %."""
ACTIVE = TINY
"""Lower bound given to auto_LiRPA for an active neuron, so that ReLU and step are exact."""


@dataclass(frozen=True, eq=False)
class Bounded:
    """What bounding made of a batch.

    Attributes:
        boxes: with tightened boxes and bounds.
        refuted: bool [batch].
        alive: bool [batch, conjunctions], which conjunctions of the property are not refuted.
        scores: branching scores [batch, columns]; zero where there is nothing to decide.
        points: input points [batch, n] at which the half-spaces are hardest to satisfy together.
        progress: [batch], how far the half-spaces are from refuting it; smaller is closer.
    """

    boxes: Boxes
    refuted: Any
    alive: Any
    scores: Any
    points: Any
    progress: Any


class OutOfTimeError(Exception):
    """The budget ended inside a pass."""


def bound(bounder: Bounder, boxes: Boxes, budget: Budget) -> Bounded:
    """Bounds every stage of a batch of subproblems.

    Raises:
        OutOfTimeError: the budget ended between two stages.
    """
    import torch

    with torch.no_grad():
        return _CrownPass(bounder, boxes).run(budget)


@dataclass(frozen=True, eq=False)
class _Planes:
    """below x + below_shift <= entry <= above x + above_shift for the entries `rows` [k] of a stage.

    Slopes are [batch, k, n], shifts [batch, k].
    """

    rows: Any
    below: Any
    below_shift: Any
    above: Any
    above_shift: Any


def unbounded(bounder: Bounder, boxes: Boxes) -> Bounded:
    """A batch as it is, when bounding it has failed: nothing is refuted; what is undecided is split on."""
    import torch

    batch, width = boxes.low.shape
    scores = torch.zeros(batch, width, dtype=torch.float64, device=boxes.low.device)
    for stage in bounder.pre.values():
        scores[:, stage.columns] = 1.0
    open_ = ~(boxes.low > 0) & ~(boxes.high <= 0) & (boxes.signs == 0)
    alive = torch.ones(batch, len(bounder.membership), dtype=torch.bool, device=boxes.low.device)
    refuted, progress = torch.zeros_like(alive[:, 0]), torch.zeros_like(scores[:, 0])
    return Bounded(boxes, refuted, alive, scores * open_, (boxes.lower + boxes.upper) / 2, progress)


class _CrownPass:
    """One bounding pass over a batch."""

    def __init__(self, bounder: Bounder, boxes: Boxes) -> None:
        import torch

        self.bounder = bounder
        self.lower, self.upper = boxes.lower.clone(), boxes.upper.clone()
        self.low, self.high, self.signs = boxes.low.clone(), boxes.high.clone(), boxes.signs
        self.refuted = torch.zeros(len(self.lower), dtype=torch.bool, device=self.lower.device)
        self.known: dict[str, tuple[Any, Any]] = {}
        self.values: dict[int, tuple[Any, Any]] = {}
        self.half_spaces: list[tuple[Any, Any]] = []
        self.sizes: dict[tuple[str, int], Any] = {}

    def run(self, budget: Budget) -> Bounded:
        """Bounds stage after stage, then takes all half-spaces together."""
        import torch

        bounder = self.bounder
        for stage in bounder.stages:
            if budget.over:
                raise OutOfTimeError
            self._values_before(stage)
            bounder.graph.forget_coefficients()
            planes = self._bound(stage)
            if stage.kind == "pre":
                self._split(stage, planes)
            elif stage.kind == "value":
                self.known[stage.node] = (self.low[:, stage.columns], self.high[:, stage.columns])
        alive, needed, ceiling = self._atoms(bounder.stages[-1])
        chosen = self._demand(needed, ceiling, planes)
        normal, shift = (torch.cat(parts, 1) for parts in zip(*self.half_spaces, strict=True))
        progress, multipliers, points = refute_together(normal, shift, self.lower, self.upper, DUAL_STEPS)
        self.refuted |= progress < 0
        boxes = Boxes(self.lower, self.upper, self.low, self.high, self.signs)
        multiplier = torch.zeros_like(ceiling).scatter_(1, chosen, multipliers[:, -chosen.shape[1] :])
        scores = self._scores(planes.rows, needed, ceiling, multiplier)
        return Bounded(boxes, self.refuted, alive, scores, points, progress)

    def _values_before(self, stage: BoundStage) -> None:
        """Interval values of the blocks this stage reads; all their own stages are already bounded."""
        import torch

        self.values[-1] = (self.lower, self.upper)
        bounder = self.bounder
        for number in stage.weights:
            block = bounder.program.blocks[number] if number >= 0 else None
            if block is None or number in self.values:
                continue
            if isinstance(block, GateBlock):
                mask_low, mask_high = self._mask(block.mask)
                low, high = self.known[bounder.values[number].node]
                below = torch.where(mask_low > 0, low, torch.where(mask_high > 0, low.clamp(max=0), 0.0))
                above = torch.where(mask_low > 0, high, torch.where(mask_high > 0, high.clamp(min=0), 0.0))
                self.values[number] = (below, above)
            elif isinstance(block, FactorBlock):
                self.values[number] = self.known[bounder.values[number].node]
            elif isinstance(block, ProductBlock):
                self.values[number] = self._product(number, block)
            elif isinstance(block, ReluBlock):
                columns = bounder.pre[block.pre].columns
                self.values[number] = (self.low[:, columns].clamp(min=0), self.high[:, columns].clamp(min=0))
            else:
                self.values[number] = self._mask(number)

    def _product(self, number: int, block: ProductBlock) -> tuple[Any, Any]:
        """The range of a product by those of its factor and value, moved outwards by what rounding may do."""
        import torch

        factor, value = (self.known[self.bounder.values[n].node] for n in (block.factor, number))
        ends = torch.stack([one * other for one in factor for other in value])
        low, high = ends.amin(0), ends.amax(0)
        low, high = low - ROUNDING * low.abs() - TINY, high + ROUNDING * high.abs() + TINY
        return (low.clamp(min=0.0) if block.square else low), high

    def _mask(self, number: int) -> tuple[Any, Any]:
        bounds: tuple[Any, Any] = self.known[self.bounder.graph.mask[number]]
        return bounds

    def _bound(self, stage: BoundStage) -> _Planes:
        """Tightens the bounds of a stage; returns the planes of its entries that may still matter."""
        import torch

        low, high, size = stage.constant, stage.constant, stage.constant_size
        reads = self.lower.new_zeros(len(self.lower), len(size))
        for block, weight in stage.weights.items():
            below, above = self.values[block]
            plus, minus = weight.clamp(min=0).T, weight.clamp(max=0).T
            low = low + below @ plus + above @ minus
            high = high + above @ plus + below @ minus
            largest, absolute = torch.maximum(below.abs(), above.abs()), stage.absolute[block].T
            size = size + largest @ absolute
            reads = reads + (largest > 0).to(size.dtype) @ (absolute > 0).to(size.dtype)
        size = size.expand(len(self.lower), -1)
        self.sizes[stage.kind, stage.number] = size
        # What reads zeros alone is its constant exactly.
        slack = ROUNDING * size * (reads > 0) + TINY * (reads > 0)
        self._narrow(stage, slice(None), low - slack, high + slack)
        if stage.exact:
            weight = stage.weights.get(-1, self.lower.new_zeros(len(stage.constant), self.lower.shape[1]))
            normal = weight.expand(len(self.lower), *weight.shape)
            shift = stage.constant.expand(normal.shape[:2])
            rows = torch.arange(len(weight), device=weight.device)
            return _Planes(rows, normal, shift - slack, normal, shift + slack)
        rows = self._open_rows(stage)
        identity = torch.eye(len(stage.constant), dtype=slack.dtype, device=slack.device)[rows]
        low, high, lA, lb, uA, ub = linear_bounds(
            self.bounder.graph.module, self.lower, self.upper, stage.node, identity, self.known
        )
        slack = self._rounding(size[:, rows])
        self._narrow(stage, rows, low - slack, high + slack)
        return _Planes(rows, lA, lb - slack, uA, ub + slack)

    def _rounding(self, size: Any) -> Any:
        """What the last backward pass may be off by, [batch, rows].

        Args:
            size: sums of absolute values that its rows add up themselves.
        """
        import torch

        total, bounder = size, self.bounder
        for number, operator in bounder.graph.operators.items():
            if operator.coefficients[0] is None:
                continue
            block, slope = bounder.program.blocks[number], operator.slope
            if isinstance(block, GateBlock | ProductBlock):
                stage = bounder.values[number]
            else:
                assert isinstance(block, ReluBlock | MaskBlock)
                stage = bounder.pre[block.pre]
            reach = self._largest(stage)
            reach = torch.ones_like(reach) if isinstance(block, MaskBlock) else reach
            lA, uA = (part.abs() for part in operator.coefficients)
            weights = torch.maximum(lA, uA)
            if isinstance(block, ProductBlock):
                # The factor's affine map is no operator: what its slope multiplies is counted here.
                factor = bounder.values[block.factor]
                total = total + torch.einsum(
                    "rbk,bk->br", weights, reach * self.sizes[factor.kind, factor.number]
                )
                slope = self._largest(factor)
                reach = reach * slope
            # A plane may be off by a few roundings of the value it bounds and of what it is added up from.
            source = self.sizes[stage.kind, stage.number]
            total = total + torch.einsum("rbk,bk->br", weights, 4.0 * reach + slope * source)
        return ROUNDING * total + TINY

    def _largest(self, stage: BoundStage) -> Any:
        """Largest absolute values of a stage [batch, size]."""
        import torch

        return torch.maximum(self.low[:, stage.columns].abs(), self.high[:, stage.columns].abs())

    def _open_rows(self, stage: BoundStage) -> Any:
        """Entries whose planes or tighter bounds can change anything, in any subproblem of the batch."""
        low, high = self.low[:, stage.columns], self.high[:, stage.columns]
        bounder = self.bounder
        if stage.kind == "pre":
            matters = (low <= 0) & (high > 0) | (self.signs[:, stage.columns] != 0)
        elif stage.kind == "value":
            block = bounder.program.blocks[stage.number]
            if isinstance(block, GateBlock):
                mask_low, mask_high = self._mask(block.mask)
                matters = mask_low != mask_high
            else:
                matters = low < high
        else:
            row, positive = bounder.row, bounder.sign > 0
            floor = low[:, row].where(positive, -high[:, row]) - bounder.offset
            matters = low.new_zeros(low.shape).index_add(1, row, (floor < 0).to(low.dtype)) > 0
        rows = matters.any(0).nonzero().ravel()
        return rows if len(rows) else low.new_zeros(1, dtype=rows.dtype)

    def _narrow(self, stage: BoundStage, rows: Any, low: Any, high: Any) -> None:
        """Intersects the bounds of entries `rows` of a stage."""
        import torch

        columns = torch.arange(stage.start, stage.stop, device=low.device)[rows]
        # What is not a number bounds nothing.
        self.low[:, columns] = torch.fmax(self.low[:, columns], low)
        self.high[:, columns] = torch.fmin(self.high[:, columns], high)
        self._drop_contradictions(stage.columns)

    def _drop_contradictions(self, columns: slice) -> None:
        """An empty interval refutes its subproblem; it is made a point so that the pass can go on."""
        import torch

        empty = self.low[:, columns] > self.high[:, columns]
        self.refuted |= empty.any(1)
        middle = (self.low[:, columns] + self.high[:, columns]) / 2
        self.low[:, columns] = torch.where(empty, middle, self.low[:, columns])
        self.high[:, columns] = torch.where(empty, middle, self.high[:, columns])

    def _split(self, stage: BoundStage, planes: _Planes) -> None:
        """Imposes the decided signs on a pre-activation and on the input box."""
        import torch

        columns, signs = stage.columns, self.signs[:, stage.columns]
        on, off = signs > 0, signs < 0
        self.low[:, columns] = torch.where(on, self.low[:, columns].clamp(min=0), self.low[:, columns])
        self.high[:, columns] = torch.where(off, self.high[:, columns].clamp(max=0), self.high[:, columns])
        self._drop_contradictions(columns)
        decided = (signs != 0).any(0)[planes.rows]
        if bool(decided.any()):
            on, off = on[:, planes.rows][:, decided], off[:, planes.rows][:, decided]
            above, below = planes.above[:, decided], planes.below[:, decided]
            normal = torch.where(on[..., None], above, torch.where(off[..., None], -below, 0.0))
            above, below = planes.above_shift[:, decided], planes.below_shift[:, decided]
            self._cut(normal, torch.where(on, above, torch.where(off, -below, 0.0)))
        self._tell(stage)

    def _tell(self, stage: BoundStage) -> None:
        """Hands the bounds of a pre-activation and of its mask to auto_LiRPA."""
        import torch

        low, high = self.low[:, stage.columns], self.high[:, stage.columns]
        active = (low > 0) | (self.signs[:, stage.columns] > 0)
        # Of an active neuron ReLU and step read the sign of these bounds only, so they stay exact at z = 0.
        given = (
            torch.where(active, low.clamp(min=ACTIVE), low),
            torch.where(active, high.clamp(min=ACTIVE), high),
        )
        self.known[stage.node] = given
        for number, node in self.bounder.graph.mask.items():
            block = self.bounder.program.blocks[number]
            if isinstance(block, MaskBlock) and block.pre == stage.number:
                self.known[node] = (active.to(low.dtype), ((high > 0) | active).to(low.dtype))
                self.bounder.graph.operators[number].size = self.sizes["pre", stage.number]

    def _cut(self, normal: Any, shift: Any) -> None:
        """Keeps half-spaces normal x + shift >= 0, [batch, k, n] and [batch, k], and tightens the box."""
        self.half_spaces.append((normal, shift))
        self.lower, self.upper, empty = tightened(normal, shift, self.lower, self.upper)
        self.refuted |= empty

    def _atoms(self, stage: BoundStage) -> tuple[Any, Any, Any]:
        """Alive conjunctions, atoms that must hold, and each atom's greatest slack."""
        import torch

        bounder = self.bounder
        low, high = self.low[:, stage.columns], self.high[:, stage.columns]
        positive = bounder.sign > 0
        ceiling = torch.where(positive, high[:, bounder.row], -low[:, bounder.row]) - bounder.offset
        dead = (ceiling < 0).to(torch.float64)
        alive = dead @ bounder.membership.to(torch.float64).T == 0
        counts = torch.zeros(len(alive), len(bounder.rows.clauses), dtype=torch.int64, device=alive.device)
        counts.index_add_(1, bounder.clause_of, alive.to(torch.int64))
        self.refuted |= (counts == 0).any(1)
        single = alive & (counts[:, bounder.clause_of] == 1)
        needed = single.to(torch.float64) @ bounder.membership.to(torch.float64) > 0
        return alive, needed, ceiling

    def _demand(self, needed: Any, ceiling: Any, planes: _Planes) -> Any:
        """Half-spaces of the atoms that must hold and are closest to failing; returns their numbers."""
        import torch

        bounder = self.bounder
        position = torch.full((self._width().shape[1],), -1, device=ceiling.device)
        position[planes.rows] = torch.arange(len(planes.rows), device=ceiling.device)
        needed = needed & (position[bounder.row] >= 0)
        width = self._width()[:, bounder.row]
        closeness = torch.where(needed, ceiling / width.clamp(min=TINY), torch.inf)
        chosen = closeness.topk(min(MOST_ATOMS, closeness.shape[1]), dim=1, largest=False).indices
        row = position[bounder.row[chosen]].clamp(min=0)
        positive, kept = bounder.sign[chosen] > 0, needed.gather(1, chosen)
        across = row[..., None].expand(*row.shape, planes.below.shape[2])
        above, below = planes.above.gather(1, across), planes.below.gather(1, across)
        normal = torch.where(positive[..., None], above, -below)
        shift = torch.where(positive, planes.above_shift.gather(1, row), -planes.below_shift.gather(1, row))
        shift = shift - bounder.offset[chosen]
        self._cut(torch.where(kept[..., None], normal, 0.0), torch.where(kept, shift, 0.0))
        return chosen

    def _width(self) -> Any:
        """Distance between the bounds of every row of the property, [batch, rows]."""
        columns = self.bounder.stages[-1].columns
        return self.high[:, columns] - self.low[:, columns]

    def _scores(self, rows: Any, needed: Any, ceiling: Any, multipliers: Any) -> Any:
        """Branching scores, with each atom weighted by its multiplier or by how close it is to failing."""
        width = self._width()[:, self.bounder.row]
        width = width.clamp(min=TINY)
        closeness = (1.0 - ceiling / width).clamp(0.0, 1.0) ** 2
        weights = (multipliers + 1e-3 * closeness * (needed | (ceiling > 0))) / width
        return branching_scores(self.bounder, self.low, self.high, self.signs, rows, weights)
