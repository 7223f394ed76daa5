"""Maps from their definition, by automatic differentiation on the original network in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Node, Relu
from salver.nets.torch_bridge import to_torch

Array = npt.NDArray[np.float64]


def gradient_by_autograd(classifier: Network, coefficients: npt.ArrayLike, x: npt.NDArray[Any]) -> Array:
    """Gradient [batch, n] of a combination [m] of the logits at x [batch, n]."""
    import torch

    points = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    logits = to_torch(classifier, torch.float64)(points)
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
