"""Which undecided neuron to split on."""

from __future__ import annotations

from typing import Any

from salver.nets.program import GateBlock, MaskBlock, ProductBlock, ReluBlock
from salver.solvers.bounding.relaxation import TINY
from salver.solvers.crown.bounds import Bounder


def branching_scores(bounder: Bounder, low: Any, high: Any, signs: Any, rows: Any, weights: Any) -> Any:
    """How much slack the relaxation of each undecided neuron puts into the atoms, [batch, columns].

    Coefficients of the output pass (over `rows`) times the height of the relaxation, summed over ReLU,
    mask and gate, weighted by atom [batch, atoms] (after the BaBSR rule of Bunel et al., JMLR 2020).
    """
    import torch

    output = bounder.stages[-1]
    empty = low.new_zeros(len(low), output.stop - output.start)
    upper_weight = empty.index_add(1, bounder.row, weights * (bounder.sign > 0))[:, rows]
    lower_weight = empty.index_add(1, bounder.row, weights * (bounder.sign < 0))[:, rows]
    scores = torch.zeros_like(low)
    for number, operator in bounder.graph.operators.items():
        block = bounder.program.blocks[number]
        lA, uA = operator.coefficients
        if lA is None or isinstance(block, ProductBlock):
            continue
        influence = torch.einsum("br,rbk->bk", upper_weight, uA.abs()) + torch.einsum(
            "br,rbk->bk", lower_weight, lA.abs()
        )
        mask = bounder.program.blocks[block.mask] if isinstance(block, GateBlock) else block
        assert isinstance(mask, ReluBlock | MaskBlock)
        columns = bounder.pre[mask.pre].columns
        z_low, z_high = low[:, columns].clamp(max=0), high[:, columns].clamp(min=0)
        share = z_high / (z_high - z_low).clamp(min=TINY)
        if isinstance(block, GateBlock):
            value = bounder.values[number].columns
            height = (high - low)[:, value] * torch.minimum(share, 1 - share)
        elif isinstance(block, ReluBlock):
            height = -z_low * share
        else:
            height = torch.ones_like(share)
        scores[:, columns] += influence * height
    is_pre = torch.zeros(low.shape[1], dtype=torch.bool, device=low.device)
    for point in bounder.pre.values():
        is_pre[point.columns] = True
    undecided = is_pre & (low <= 0) & (high > 0) & (signs == 0)
    # A neuron without influence still has to be decided before the subproblem is a leaf.
    return torch.where(undecided, torch.nan_to_num(scores) + TINY, 0.0)
