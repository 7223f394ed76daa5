"""Bounds of many parts of one query at once, in float64 with torch, on the CPU or on CUDA.

The same bounds as `propagate` gives part by part: intervals intersected with backward linear bound
propagation (CROWN), the same relaxations, the same rows refined, the same allowance for rounding; only the
order of the sums differs. The bounds and the relaxation lines live on the host, [parts, size]; the
backward passes, where the time goes, run on the device over all parts together.

Two things make a pass cheaper than the plain matrix products, and change no value:

* A neuron whose lines are zero in every part (a mask that is decided, a ReLU that is off) takes no part
  in the product. Parts of one search have most of their decided neurons in common.
* The second side of McCormick's envelope is tried only where a pass met a product, or a gate with an open
  mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)
from salver.solvers.bounding.batched_lines import Edges, block_edges
from salver.solvers.bounding.batched_maps import DeviceAffine, Indices, Tensor, checked_device, on_device
from salver.solvers.bounding.bounds import Array, Bounds, Signs, neuron_range
from salver.solvers.bounding.relaxation import TINY, UNDERFLOW, is_point, product_range

CELLS = {"cpu": 2**19, "cuda": 2**25}
"""Entries of the coefficients of one backward pass; more rows go in several passes."""


@dataclass(frozen=True, eq=False)
class BatchPart:
    """A part of a query: a box and signs.

    Attributes:
        lower, upper: input box [n].
        fixed: pre-activation number -> int8 [size] of -1 (off), 0 (undecided), +1 (on).
        within: known bounds over a box and signs that contain these.
    """

    lower: Array
    upper: Array
    fixed: Mapping[int, Signs] = field(default_factory=dict)
    within: Bounds | None = None


class BatchBounder:
    """A program whose matrices are on a device, to bound parts of it."""

    def __init__(self, program: Program, device: str = "cpu") -> None:
        """Args: device: `cpu` or `cuda`.

        Raises:
            SalverError: another device, or no CUDA device.
        """
        self.program, self.device = program, checked_device(device)
        self.pre = [DeviceAffine(pre.affine, device) for pre in program.pre]
        self.values = {
            number: DeviceAffine(block.value, device)
            for number, block in enumerate(program.blocks)
            if not isinstance(block, ReluBlock | MaskBlock)
        }
        self.widest = max([program.input_size, *(block.size for block in program.blocks)])

    def propagate(self, parts: Sequence[BatchPart]) -> list[Bounds]:
        """Bounds of all pre-activations and gated values of each part, in the given order.

        Returns:
            For each part what `propagate(..., outputs=False)` returns, up to rounding. Where the
            fixed signs cannot be met, `infeasible` and nothing else.
        """
        if not parts:
            return []
        return _BatchedPass(self, parts).run()


class _BatchedPass:
    """One pass over a batch. Bounds are float64 [parts, size], signs int8."""

    def __init__(self, bounder: BatchBounder, parts: Sequence[BatchPart]) -> None:
        self.bounder, self.parts = bounder, parts
        lower = np.stack([part.lower for part in parts]).astype(np.float64)
        upper = np.stack([part.upper for part in parts]).astype(np.float64)
        self.block_lower, self.block_upper = {-1: lower}, {-1: upper}
        self.alive = np.ones(len(parts), bool)
        self._require(lower, upper)
        self.pre_lower: list[Array] = []
        self.pre_upper: list[Array] = []
        self.signs: list[Signs] = []
        self.value_lower: dict[int, Array] = {}
        self.value_upper: dict[int, Array] = {}
        self.pre_size: list[Array] = []
        self.value_size: dict[int, Array] = {}
        self.edges: dict[tuple[int, bool], Edges] = {}
        self.middle = on_device((lower + upper) / 2, bounder.device)
        reach = (upper - lower) / 2 + ROUNDING * np.maximum(np.abs(lower), np.abs(upper))
        self.reach = on_device(reach, bounder.device)
        """Radii of the boxes, with the margin for rounding per unit of coefficient."""

    def run(self) -> list[Bounds]:
        for number in range(len(self.bounder.program.blocks)):
            if not self.alive.any():
                break
            self._block(number)
        return [self._bounds(i) if self.alive[i] else _infeasible(part) for i, part in enumerate(self.parts)]

    def _bounds(self, i: int) -> Bounds:
        part = self.parts[i]
        return Bounds(
            part.lower,
            part.upper,
            pre_lower=[low[i].copy() for low in self.pre_lower],
            pre_upper=[high[i].copy() for high in self.pre_upper],
            signs=[signs[i].copy() for signs in self.signs],
            block_lower=_of_part(self.block_lower, i),
            block_upper=_of_part(self.block_upper, i),
            value_lower=_of_part(self.value_lower, i),
            value_upper=_of_part(self.value_upper, i),
            pre_size=[size[i].copy() for size in self.pre_size],
            value_size=_of_part(self.value_size, i),
        )

    def _block(self, number: int) -> None:
        """Bounds one block; a part in which it cannot have any value is dead from there on."""
        block = self.bounder.program.blocks[number]
        match block:
            case ReluBlock() | MaskBlock():
                if block.pre == len(self.signs):
                    self._pre(block.pre)
                signs = self.signs[block.pre]
                low, high = self.pre_lower[block.pre], self.pre_upper[block.pre]
                low, high = neuron_range(block, signs, low, high)
            case GateBlock():
                low, high = self._value(number, self._mask_signs(block) == 0)
                masks = (self.block_lower[block.mask], self.block_upper[block.mask])
                products = [mask * value for mask in masks for value in (low, high)]
                low, high = np.minimum.reduce(products), np.maximum.reduce(products)
            case AbsBlock():
                low, high = self._value(number, np.ones((len(self.parts), block.size), bool))
                low, high = np.maximum(np.maximum(low, -high), 0.0), np.maximum(-low, high)
            case FactorBlock():
                low, high = self._value(number, np.ones((len(self.parts), block.size), bool))
            case ProductBlock():
                factor = self._range(block.factor)
                value = self._value(number, ~is_point(*factor, self.value_size[block.factor]))
                low, high = product_range(factor, value, block.square)
        self.block_lower[number], self.block_upper[number] = low, high
        self._require(low, high)

    def _range(self, number: int) -> tuple[Array, Array]:
        return self.block_lower[number], self.block_upper[number]

    def _require(self, low: Array, high: Array) -> None:
        """A NaN, as an unbounded box gives, refutes nothing."""
        self.alive &= ~np.asarray((low > high).any(axis=1))

    def _mask_signs(self, block: GateBlock) -> Signs:
        mask = self.bounder.program.blocks[block.mask]
        assert isinstance(mask, MaskBlock)
        return self.signs[mask.pre]

    def _pre(self, number: int) -> None:
        """Bounds one pre-activation and decides its neurons."""
        affine = self.bounder.pre[number]
        low, high, size = affine.interval(self.block_lower, self.block_upper)
        self.pre_size.append(size)
        affine.sharpen_constant_rows(low, high)
        for i, part in enumerate(self.parts):
            if part.within is not None:
                np.maximum(low[i], part.within.pre_lower[number], out=low[i])
                np.minimum(high[i], part.within.pre_upper[number], out=high[i])
        self._tighten(affine, (low, high, size), (low <= 0) & (high > 0))
        fixed = np.stack([_fixed(part, number, affine.size) for part in self.parts])
        low = np.where(fixed > 0, np.maximum(low, 0.0), low)
        high = np.where(fixed < 0, np.minimum(high, 0.0), high)
        free = np.where(low > 0, 1, np.where(high <= 0, -1, 0))
        self.pre_lower.append(low)
        self.pre_upper.append(high)
        self.signs.append(np.where(fixed != 0, fixed, free).astype(np.int8))
        self._require(low, high)

    def _value(self, number: int, wanted: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Bounds the argument of a block that is no ReLU or mask; `wanted` rows are worth a backward pass."""
        affine = self.bounder.values[number]
        low, high, size = affine.interval(self.block_lower, self.block_upper)
        self.value_size[number] = size
        for i, part in enumerate(self.parts):
            if part.within is not None:
                np.maximum(low[i], part.within.value_lower[number], out=low[i])
                np.minimum(high[i], part.within.value_upper[number], out=high[i])
        self._tighten(affine, (low, high, size), wanted & (low < high))
        self.value_lower[number], self.value_upper[number] = low, high
        self._require(low, high)
        return low, high

    def _tighten(
        self, affine: DeviceAffine, known: tuple[Array, Array, Array], wanted: npt.NDArray[np.bool_]
    ) -> None:
        """Intersects the bounds, in place, with backward passes over the wanted rows of each part.

        Args:
            known: bounds of the map and the sums of absolute values it was added up from, [parts, size].
        """
        low, high, size = known
        wanted = wanted & self.alive[:, None]
        counts = wanted.sum(axis=1)
        if affine.exact or not counts.any():
            return
        parts = np.flatnonzero(counts)
        rows, real = _padded(wanted[parts])
        step = max(1, CELLS[self.bounder.device] // (2 * len(parts) * self.bounder.widest))
        for start in range(0, rows.shape[1], step):
            chosen, kept = rows[:, start : start + step], real[:, start : start + step]
            where = (np.broadcast_to(parts[:, None], chosen.shape)[kept], chosen[kept])
            for pairing in (False, True):
                least, met_open_gate = self._least(
                    affine, chosen, size[parts[:, None], chosen], parts, pairing
                )
                below, above = np.split(least, 2, axis=1)
                low[where] = np.fmax(low[where], below[kept])
                high[where] = np.fmin(high[where], -above[kept])
                if not met_open_gate:
                    break

    def _least(
        self, affine: DeviceAffine, rows: Indices, size: Array, parts: Indices, pairing: bool
    ) -> tuple[Array, bool]:
        """Least values over the boxes of rows [parts, k] and of their negatives: [parts, 2k].

        Also whether a product or a gate with an open mask was met, so that the other pairing may differ.
        """
        import torch

        device = self.bounder.device
        every = len(parts) == len(self.parts)
        batch = None if every else torch.as_tensor(parts, device=device)
        weights = {block: _both(matrix.rows(rows)) for block, matrix in affine.terms.items()}
        constant = _both(affine.constant[torch.as_tensor(rows, device=device)])
        scale, met_open_gate = on_device(np.concatenate([size, size], axis=1), device), False
        for number in reversed(range(len(self.block_lower) - 1)):
            weight = weights.pop(number, None)
            if weight is None:
                continue
            edges = self._edges(number, pairing)
            if edges.mask is not None and edges.mask.any:
                met_open_gate = True
                _add(weights, edges.mask_block, edges.mask.spread(weight, batch))
            offset = edges.offset.total(weight, batch)
            constant = constant + offset
            scale = scale + 4.0 * _dot(weight.abs().add_(UNDERFLOW), _taken(edges.reach, batch))
            if not edges.source.any:
                continue
            slope = edges.source.slopes(weight, batch)
            if not edges.affine.plain:
                constant = constant + slope @ edges.source.of(edges.affine.constant)
            scale = scale + _dot(slope.abs().add_(UNDERFLOW), _taken(edges.size, batch))
            for target, factor in edges.factors.items():
                _add(weights, target, factor.after(slope))
        least = constant - ROUNDING * scale - TINY
        if -1 in weights:
            matrix = weights[-1]
            least += _dot(matrix, _taken(self.middle, batch))
            least -= _dot(matrix.abs_().add_(UNDERFLOW), _taken(self.reach, batch))
        return least.cpu().numpy(), met_open_gate

    def _edges(self, number: int, pairing: bool) -> Edges:
        """The relaxation of a block, made when a pass first meets it: its bounds are final by then."""
        block = self.bounder.program.blocks[number]
        key = (number, pairing and isinstance(block, GateBlock | ProductBlock))
        if key not in self.edges:
            if isinstance(block, ReluBlock | MaskBlock):
                affine, signs = self.bounder.pre[block.pre], self.signs[block.pre]
                low, high, size = (
                    self.pre_lower[block.pre],
                    self.pre_upper[block.pre],
                    self.pre_size[block.pre],
                )
            else:
                affine = self.bounder.values[number]
                low, high, size = self.value_lower[number], self.value_upper[number], self.value_size[number]
                signs = (
                    self._mask_signs(block) if isinstance(block, GateBlock) else np.zeros_like(low, np.int8)
                )
            factor = None
            if isinstance(block, GateBlock | ProductBlock):
                factor = self._range(block.mask if isinstance(block, GateBlock) else block.factor)
            known = (signs, low, high, size)
            self.edges[key] = block_edges(block, affine, known, self.alive, pairing, factor)
        return self.edges[key]


def _of_part(sides: dict[int, Array], i: int) -> dict[int, Array]:
    """Copies, so that a part that is kept does not keep the batch."""
    return {number: side[i].copy() for number, side in sides.items()}


def _infeasible(part: BatchPart) -> Bounds:
    return Bounds(part.lower, part.upper, infeasible=True)


def _fixed(part: BatchPart, number: int, size: int) -> Signs:
    known = np.zeros(size, np.int8) if part.within is None else part.within.signs[number]
    asked = part.fixed.get(number)
    return known if asked is None else np.where(asked != 0, asked, known).astype(np.int8)


def _padded(wanted: npt.NDArray[np.bool_]) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Numbers of the wanted entries of each row, padded to a common count, and which of them are real."""
    counts = wanted.sum(axis=1)
    rows = np.argsort(~wanted, axis=1, kind="stable")[:, : counts.max()]
    return rows, np.arange(counts.max()) < counts[:, None]


def _both(rows: Tensor) -> Tensor:
    """The rows [parts, k, ...] and their negatives, [parts, 2k, ...]."""
    import torch

    return torch.cat([rows, -rows], 1)


def _add(weights: dict[int, Tensor], target: int, product: Tensor) -> None:
    weights[target] = weights[target] + product if target in weights else product


def _taken(vectors: Tensor, batch: Tensor) -> Tensor:
    return vectors if batch is None else vectors.index_select(0, batch)


def _dot(matrix: Tensor, vectors: Tensor) -> Tensor:
    """[parts, k, n] times [parts, n]: [parts, k]."""
    return (matrix @ vectors[:, :, None])[:, :, 0]
