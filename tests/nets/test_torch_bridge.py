"""Sequential modules as networks: maximum pools, with ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.explain.autograd import gradient_by_autograd
from salver.nets.network import evaluate
from salver.nets.torch_bridge import from_torch

POOLS = [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 1), nn.MaxPool2d((1, 2), (2, 1)), nn.MaxPool2d(2, 2, dilation=2),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_a_maximum_pool_is_torchs_with_its_gradient_at_ties(pool: nn.MaxPool2d) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Unflatten(1, (2, 5, 6)), pool, nn.Flatten(), nn.LazyLinear(3)).double()
    module(torch.zeros(1, 60, dtype=torch.float64))
    module = module.float()
    x = np.random.default_rng(0).integers(-1, 2, (9, 60)).astype(np.float64)
    network = from_torch(module, 60)
    points = torch.tensor(x, requires_grad=True)
    logits = module.double()(points)
    assert evaluate(network, x) == pytest.approx(logits.detach().numpy(), rel=1e-12)
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), points)
    assert gradient_by_autograd(network, [0.0, 1.0, 0.0], x) == pytest.approx(expected.numpy(), rel=1e-12)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2, padding=1), nn.MaxPool2d(2, ceil_mode=True)], ids=str)
def test_a_pool_over_padding_is_refused_by_name(pool: nn.MaxPool2d) -> None:
    with pytest.raises(SalverError, match=r"layer MaxPool2d.* is not supported"):
        from_torch(nn.Sequential(nn.Unflatten(1, (1, 3, 3)), pool, nn.Flatten()), 9)
