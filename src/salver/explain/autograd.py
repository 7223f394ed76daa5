"""Maps from their definition, by automatic differentiation on the original network in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.network import Network
from salver.nets.torch_bridge import tensors_in_torch, to_torch

Array = npt.NDArray[np.float64]


def gradient_by_autograd(classifier: Network, coefficients: npt.ArrayLike, x: npt.NDArray[Any]) -> Array:
    """Gradient [batch, n] of a combination [m] of the logits at x [batch, n]."""
    import torch

    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = to_torch(classifier, torch.float64)(points)
    (logits @ torch.tensor(coefficients, dtype=torch.float64)).sum().backward()
    assert points.grad is not None
    return np.asarray(points.grad.numpy())


def tensor_and_gradient(
    classifier: Network, coefficients: npt.ArrayLike, tensor: str, x: npt.NDArray[Any]
) -> tuple[Array, Array]:
    """A tensor [batch, ...] at x [batch, n], and the gradient of a combination [m] of the logits there."""
    import torch

    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values = tensors_in_torch(classifier, torch.float64)(points)
    score = values[classifier.output] @ torch.tensor(coefficients, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(score.sum(), values[tensor])
    return values[tensor].detach().numpy(), gradient.numpy()
