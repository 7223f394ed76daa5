"""A smooth stand-in for a query's network with exact derivatives, for attacks on flat gradients.

The mask 1[z > 0] has derivative 0 almost everywhere. Replacing every ReLU by T softplus(z / T) and its
mask by sigmoid(z / T) keeps the pair consistent: the surrogate's saliency is the gradient of the softplus
network (Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019,
sec. 4). T -> 0 gives the network back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.affine import Affine
from salver.nets.program import (
    AbsBlock,
    FactorBlock,
    GateBlock,
    MaskBlock,
    ProductBlock,
    Program,
    ReluBlock,
)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trace:
    """Values of one forward pass over a batch [b, .]; what the backward pass needs."""

    outputs: Array
    zs: dict[int, Array]
    values: dict[int, Array]
    gated: dict[int, Array]


@dataclass(frozen=True, eq=False)
class Surrogate:
    """The network with softplus neurons.

    Attributes:
        program: the exact network.
        temperatures: per pre-activation, T > 0 as an array broadcastable to [size], in units of z.
    """

    program: Program
    temperatures: tuple[Array, ...]

    def forward(self, x: Array) -> Trace:
        """Surrogate outputs [b, outputs] at `x` [b, n], with all intermediate values."""
        values: dict[int, Array] = {-1: x}
        zs: dict[int, Array] = {}
        gated: dict[int, Array] = {}
        for number, block in enumerate(self.program.blocks):
            if isinstance(block, ReluBlock | MaskBlock) and block.pre not in zs:
                zs[block.pre] = self.program.pre[block.pre].affine.evaluate(values)
            match block:
                case ReluBlock():
                    scale = self.temperatures[block.pre]
                    values[number] = scale * np.logaddexp(0.0, zs[block.pre] / scale)
                case MaskBlock():
                    values[number] = sigmoid(zs[block.pre] / self.temperatures[block.pre])
                case GateBlock():
                    gated[number] = block.value.evaluate(values)
                    values[number] = values[block.mask] * gated[number]
                case AbsBlock():
                    gated[number] = block.value.evaluate(values)
                    values[number] = np.abs(gated[number])
                case FactorBlock():
                    values[number] = block.value.evaluate(values)
                case ProductBlock():
                    gated[number] = block.value.evaluate(values)
                    values[number] = values[block.factor] * gated[number]
        return Trace(self.program.output.evaluate(values), zs, values, gated)

    def backward(self, trace: Trace, cotangent: Array) -> Array:
        """Gradient [b, n] of sum(cotangent * outputs) with respect to x; cotangent [b, outputs]."""
        adjoints: dict[int, Array] = {}
        _push(adjoints, self.program.output, cotangent)
        for number in reversed(range(len(self.program.blocks))):
            adjoint = adjoints.pop(number, None)
            if adjoint is None:
                continue
            block = self.program.blocks[number]
            match block:
                case ReluBlock():
                    slope = sigmoid(trace.zs[block.pre] / self.temperatures[block.pre])
                case MaskBlock():
                    mask = trace.values[number]
                    slope = mask * (1.0 - mask) / self.temperatures[block.pre]
                case GateBlock():
                    _add(adjoints, block.mask, adjoint * trace.gated[number])
                    slope = trace.values[block.mask]
                case AbsBlock():
                    slope = np.sign(trace.gated[number])
                case FactorBlock():
                    slope = np.ones_like(adjoint)
                case ProductBlock():
                    _add(adjoints, block.factor, adjoint * trace.gated[number])
                    slope = trace.values[block.factor]
            _push(adjoints, self.program.argument(block), adjoint * slope)
        return adjoints.get(-1, np.zeros_like(trace.values[-1]))


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), exact to rounding on both sides; `scipy.special` takes long to import."""
    tail = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, tail) / (1.0 + tail)


def _push(adjoints: dict[int, Array], affine: Affine, adjoint: Array) -> None:
    for block, matrix in affine.terms.items():
        _add(adjoints, block, np.asarray(adjoint @ matrix))


def _add(adjoints: dict[int, Array], block: int, adjoint: Array) -> None:
    adjoints[block] = adjoints[block] + adjoint if block in adjoints else adjoint
