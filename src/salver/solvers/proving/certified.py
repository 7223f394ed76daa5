"""The checker's facts as bounds that the solvers understand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import FactorBlock, Indices, MaskBlock, Program, ReluBlock
from salver.proofs.context import Context
from salver.proofs.graph import STEP
from salver.solvers.bounding.bounds import Bounds

Array = npt.NDArray[np.float64]


def certified(program: Program, context: Context) -> Bounds:
    """Bounds that a proof may use: nothing tighter than what `context` says, to the nearest float."""
    root, network = context.graph.root, context.graph.network
    bounds = Bounds(*range_of(context, network.input))
    bounds.block_lower[-1], bounds.block_upper[-1] = bounds.input_lower, bounds.input_upper
    for pre in program.pre:
        name = root(pre.name)
        low, high = range_of(context, name, pre.entries)
        bounds.pre_lower.append(low)
        bounds.pre_upper.append(high)
        least, most = range_of(context, STEP + name, pre.entries)
        bounds.signs.append((least > 0).astype(np.int8) - (most == 0).astype(np.int8))
    for number, block in enumerate(program.blocks):
        name = STEP + root(program.pre[block.pre].name) if isinstance(block, MaskBlock) else block.name
        name = root(name) if isinstance(block, FactorBlock) else name
        bounds.block_lower[number], bounds.block_upper[number] = range_of(context, name, block.entries)
        if not isinstance(block, ReluBlock | MaskBlock):
            source = range_of(context, root(block.source), block.entries)
            bounds.value_lower[number], bounds.value_upper[number] = source
    # Sizes rest on the ranges of all blocks above.
    bounds.pre_size.extend(pre.affine.magnitude(bounds.largest) for pre in program.pre)
    for number, block in enumerate(program.blocks):
        if not isinstance(block, ReluBlock | MaskBlock):
            bounds.value_size[number] = block.value.magnitude(bounds.largest)
    low, high = range_of(context, network.output)
    return Bounds(**{**vars(bounds), "output_lower": low, "output_upper": high, "infeasible": context.closed})


def range_of(context: Context, name: str, entries: Indices | None = None) -> tuple[Array, Array]:
    """The range of a tensor, or of entries of it, to the nearest floats."""
    low, high = context.low[name], context.high[name]
    if entries is not None:
        low, high = low[entries], high[entries]
    return context.unit.floats(low), context.unit.floats(high)
