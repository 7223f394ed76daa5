"""Maps from their definition, by automatic differentiation on the original network in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.activations import activations
from salver.nets.network import Network
from salver.nets.operators import Node, Relu
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


def weighted_features(classifier: Network, coefficients: npt.ArrayLike, x: npt.NDArray[Any]) -> Array:
    """Sum over channels of mean(d z / dA) * A [batch, pixels] at x [batch, n].

    A is the last ReLU over an image and z a combination [m] of the logits (Selvaraju et al., "Grad-CAM",
    ICCV 2017, eq. 1 and 2, before their ReLU).
    """
    import torch

    last = last_features(classifier)
    head = replace(classifier, input=last.name, nodes=classifier.nodes[classifier.nodes.index(last) + 1 :])
    points = torch.tensor(x, dtype=torch.float64)
    activations = to_torch(replace(classifier, output=last.name), torch.float64)(points).requires_grad_()
    score = to_torch(head, torch.float64)(activations) @ torch.tensor(coefficients, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(score.sum(), activations)
    weighted = (gradient.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1)
    return np.asarray(weighted.flatten(1).detach().numpy())


def last_features(classifier: Network) -> Node:
    """The last ReLU over an image [channels, height, width].

    Raises:
        SalverError: there is none.
    """
    images = [node for node in classifier.nodes if isinstance(node.operator, Relu) and len(node.shape) == 3]
    if not images:
        hint = "use a classifier convolution - ReLU - flatten - dense - ReLU - dense"
        raise SalverError("no ReLU over an image", "activation map", hint)
    return images[-1]
