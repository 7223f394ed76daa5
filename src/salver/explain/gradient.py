"""The input gradient of a classifier by reverse accumulation, without unrolling it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.nets.program import Program, ReluBlock

Array = npt.NDArray[np.float64]


def logits_and_gradient(classifier: Program, x: Array, coefficients: Array) -> tuple[Array, Array]:
    """Logits [batch, m] and d(coefficients . logits)/dx [batch, n] with ReLU'(0) = 0, in float64.

    Args:
        classifier: program of ReLU blocks only.
        x: [batch, n].
        coefficients: [m], or [batch, m] for one combination per point.
    """
    logits, zs, values = classifier.evaluate(x)
    seed = np.broadcast_to(coefficients, logits.shape)
    adjoint: dict[int, Array] = {b: np.zeros_like(v) for b, v in values.items()}
    for block, matrix in classifier.output.terms.items():
        adjoint[block] += (matrix.T @ seed.T).T
    for number in reversed(range(len(classifier.blocks))):
        block_ = classifier.blocks[number]
        if not isinstance(block_, ReluBlock):
            raise TypeError(f"a classifier has ReLU blocks only, not {type(block_).__name__}")
        gated = adjoint[number] * (zs[block_.pre] > 0)
        for source, matrix in classifier.pre[block_.pre].affine.terms.items():
            adjoint[source] += (matrix.T @ gated.T).T
    return logits, adjoint[-1]
