"""The relaxation lines of a block for many parts, on a device, without the neurons that have none.

A pass backward multiplies coefficients w >= 0 by the lower line and w < 0 by the upper one. Lines that are
zero in every part contribute nothing; the others are the *columns* of an edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.program import AbsBlock, Block, FactorBlock, GateBlock, ProductBlock, ReluBlock
from salver.solvers.bounding.batched_maps import DeviceAffine, Factor, Tensor, on_device
from salver.solvers.bounding.bounds import Array, Signs
from salver.solvers.bounding.relaxation import (
    Lines,
    abs_lines,
    gate_lines,
    mask_lines,
    product_lines,
    relu_lines,
    square_lines,
)

_WORTH_PICKING = 0.8
"""Largest share of a block's entries that are picked rather than taking all."""


class Edge:
    """Coefficients of lines [parts, columns], by which weights on a block [parts, k, size] are multiplied."""

    def __init__(self, lower: Array, upper: Array, alive: npt.NDArray[np.bool_], device: str) -> None:
        """Args: lower, upper: [parts, size]; alive: the parts that count."""
        import torch

        self.size = lower.shape[1]
        used = ((lower != 0) | (upper != 0))[alive].any(axis=0)
        self.numbers = np.flatnonzero(used) if used.mean() <= _WORTH_PICKING else None
        """Columns, or None where all of them are kept."""
        self.any = bool(used.any())
        if self.numbers is not None:
            lower, upper = lower[:, self.numbers], upper[:, self.numbers]
            self._columns = torch.as_tensor(self.numbers, device=device)
        self._one_line = bool((lower == upper)[alive].all())
        self._lower, self._upper = on_device(lower, device), on_device(upper, device)

    def of(self, vector: Tensor) -> Tensor:
        """The columns of [..., size]."""
        return vector if self.numbers is None else vector.index_select(-1, self._columns)

    def slopes(self, weights: Tensor, batch: Tensor) -> Tensor:
        """Weights times lines, [parts, k, columns]; `batch` are the parts' numbers, None for all."""
        weights, (lower, upper) = self.of(weights), self._lines(batch)
        if self._one_line:
            return weights * lower[:, None]
        return (weights.clamp(min=0) * lower[:, None]).addcmul_(weights.clamp(max=0), upper[:, None])

    def spread(self, weights: Tensor, batch: Tensor) -> Tensor:
        """The same in all entries of the block, [parts, k, size]."""
        slopes = self.slopes(weights, batch)
        if self.numbers is None:
            return slopes
        return weights.new_zeros(weights.shape).index_copy_(2, self._columns, slopes)

    def total(self, weights: Tensor, batch: Tensor) -> Tensor:
        """The sums over the columns, [parts, k]."""
        if not self.any:
            return weights.new_zeros(weights.shape[:2])
        weights, (lower, upper) = self.of(weights), self._lines(batch)
        if self._one_line:
            return (weights @ lower[:, :, None])[:, :, 0]
        below, above = weights.clamp(min=0) @ lower[:, :, None], weights.clamp(max=0) @ upper[:, :, None]
        return (below + above)[:, :, 0]

    def _lines(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        if batch is None:
            return self._lower, self._upper
        return self._lower.index_select(0, batch), self._upper.index_select(0, batch)


@dataclass(frozen=True, eq=False)
class Edges:
    """Where the coefficients of a block go.

    Attributes:
        source: to the affine map that the block reads; factors: its matrices, the edge's columns as rows.
        offset: to the constant.
        size: sums of absolute values [parts, columns] that the map's values were added up from.
        reach: bounds [parts, block size] on what lines may be off by, times the precision.
        mask: to the mask or factor `mask_block`, of a gate or product.
    """

    affine: DeviceAffine
    source: Edge
    factors: dict[int, Factor]
    offset: Edge
    size: Tensor
    reach: Tensor
    mask: Edge | None = None
    mask_block: int = -1


def block_edges(
    block: Block,
    affine: DeviceAffine,
    known: tuple[Signs, Array, Array, Array],
    alive: npt.NDArray[np.bool_],
    pairing: bool,
    factor: tuple[Array, Array] | None = None,
) -> Edges:
    """The relaxation of a block for all parts.

    Args:
        affine: the pre-activation of a ReLU or mask, the argument of all others.
        known: signs of the ReLU, the mask or the gate's mask, bounds of `affine`, and the sums of absolute
            values it was added up from, [parts, size].
        alive: the parts that count.
        pairing: which side of the McCormick envelope is used (see `gate_lines`, `product_lines`).
        factor: bounds [parts, size] of the mask of a gate or the factor of a product.
    """
    signs, low, high, size = known
    device = affine.device
    reach = on_device(np.maximum(np.abs(low), np.abs(high)), device)
    if isinstance(block, GateBlock | ProductBlock):
        assert factor is not None
        largest = on_device(np.maximum(np.abs(factor[0]), np.abs(factor[1])), device)
        if isinstance(block, GateBlock):
            gate, other = gate_lines(signs, low, high, pairing), block.mask
        elif block.square:
            gate, other, reach = square_lines(*factor, pairing), block.factor, largest
        else:
            gate, other = product_lines(factor, (low, high), pairing), block.factor
        reach = reach * largest
        source = Edge(gate.lower_value, gate.upper_value, alive, device)
        offset = Edge(gate.lower_offset, gate.upper_offset, alive, device)
        mask = Edge(gate.lower_mask, gate.upper_mask, alive, device)
        sizes = source.of(on_device(size, device))
        return Edges(affine, source, affine.factors(source.numbers), offset, sizes, reach, mask, other)
    match block:
        case AbsBlock():
            lines = abs_lines(low, high)
        case ReluBlock():
            lines = relu_lines(signs, low, high)
        case FactorBlock():
            one, zero = np.ones_like(low), np.zeros_like(low)
            lines = Lines(one, zero, one, zero)
        case _:
            lines, reach = mask_lines(signs, low, high, size), reach.new_ones(reach.shape)
    source = Edge(lines.lower_slope, lines.upper_slope, alive, device)
    offset = Edge(lines.lower_offset, lines.upper_offset, alive, device)
    sizes = source.of(on_device(size, device))
    return Edges(affine, source, affine.factors(source.numbers), offset, sizes, reach)
