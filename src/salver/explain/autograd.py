"""Maps from their definition, by automatic differentiation on the original network in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.activations import activations
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


def rectified_by_autograd(
    classifier: Network, coefficients: npt.ArrayLike, x: npt.NDArray[Any], *, masked: bool
) -> Array:
    """The same where signals are rectified on their way back through every activation [batch, n].

    Args:
        masked: whether they also pass where its argument is positive alone, as a derivative does.

    Raises:
        SalverError: a ReLU of which `activations` cannot say whether it is one.
    """
    import torch

    class Rectified(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, z: Any) -> Any:
            context.save_for_backward(z)
            return z.relu()

        @staticmethod
        def backward(context: Any, *signals: Any) -> Any:
            (z,) = context.saved_tensors
            return signals[0].relu() * (z > 0) if masked else signals[0].relu()

    rectified = dict.fromkeys(activations(classifier), Rectified.apply)
    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = tensors_in_torch(classifier, torch.float64, instead=rectified)(points)[classifier.output]
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
