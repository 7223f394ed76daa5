"""Activation maps from their definition, by automatic differentiation on the original network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from salver.nets.network import Network
from salver.nets.operators import Relu
from salver.nets.torch_bridge import to_torch

ACTIVATION_MAPS = ("cam", "grad-cam", "grad-cam-relu")


def logits_and_map(network: Network, label: int, x: np.ndarray[Any, Any], kind: str) -> np.ndarray[Any, Any]:
    """Logits and map [batch, m + pixels] in float64 at inputs x [batch, n], without the graph's own nodes.

    Grad-CAM is the sum over channels of mean(d z_label / dA) * A, with A the last ReLU over an image
    (Selvaraju et al., 2017, eq. 1 and 2); CAM is that sum times the number of pixels.

    Args:
        kind: one of `ACTIVATION_MAPS`.
    """
    import torch

    last = [node for node in network.nodes if isinstance(node.operator, Relu) and len(node.shape) == 3][-1]
    head = replace(network, input=last.name, nodes=network.nodes[network.nodes.index(last) + 1 :])
    points = torch.tensor(x, dtype=torch.float64)
    activations = to_torch(replace(network, output=last.name), torch.float64)(points).requires_grad_()
    logits = to_torch(head, torch.float64)(activations)
    (gradient,) = torch.autograd.grad(logits[:, label].sum(), activations)
    alpha = gradient.mean(dim=(2, 3), keepdim=True)
    cam = (alpha * activations).sum(dim=1).flatten(1)
    if kind == "cam":
        cam = cam * activations.shape[2] * activations.shape[3]
    if kind == "grad-cam-relu":
        cam = cam.relu()
    joined: np.ndarray[Any, Any] = torch.cat([logits, cam], dim=1).detach().numpy()
    return joined
