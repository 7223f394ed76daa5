"""PyTorch modules over an image [1, 4, 4] with three logits, in which every `nn.ReLU` is an activation.

All else that bends is read with ReLUs too, which are none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from salver.nets.classifier import Classifier
from salver.nets.torch_export import read_module

Function = Callable[[Any], Any]


class Residual(nn.Module):
    """A convolution and a ReLU beside a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(2, 2, 3, 1, 1), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.inner(x) + x


class Dense(nn.Module):
    """Two dense layers with a ReLU between them, then a function, then the logits.

    The function is of the ReLU itself with `direct`, else of what the second layer makes of it.
    """

    def __init__(self, function: Function, direct: bool = False) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU())
        self.second = nn.Identity() if direct else nn.Linear(6, 6)
        self.last, self.function = nn.Linear(6, 3), function

    def forward(self, x: Any) -> Any:
        return self.last(self.function(self.second(self.first(x))))


def convolutions(*layers: nn.Module, entries: int = 32) -> nn.Module:
    """A convolution to two channels, these layers, and a dense layer from so many entries."""
    return nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), *layers, nn.Flatten(), nn.Linear(entries, 3))


def _between(bend: nn.Module) -> nn.Module:
    return convolutions(nn.ReLU(), nn.Conv2d(2, 2, 3, 1, 1), bend, nn.BatchNorm2d(2))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: Dense(nn.Sequential(nn.ReLU(), nn.Linear(6, 6), nn.ReLU())),
    "normed-and-pooled": lambda: convolutions(
        nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 2), nn.ReLU(), entries=3
    ),
    "pooled-before": lambda: convolutions(
        nn.MaxPool2d(3, 1, 1), nn.ReLU(), nn.Conv2d(2, 2, 3, 1, 1), nn.ReLU()
    ),
    "pooled-with-padding": lambda: convolutions(
        nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(2, 2, 2), nn.ReLU(), entries=2
    ),
    "pooled-by-rows": lambda: convolutions(nn.ReLU(), nn.MaxPool2d(5, 2, 2), entries=8),
    "pooled-with-gaps": lambda: convolutions(nn.ReLU(), nn.MaxPool2d(2, 1, dilation=2), entries=8),
    "pooled-in-a-row": lambda: convolutions(
        nn.ReLU(), nn.Flatten(2), nn.MaxPool1d(3, 2, 1), nn.Conv1d(2, 2, 1), nn.ReLU(), entries=16
    ),
    "pooled-in-space": lambda: convolutions(
        nn.ReLU(), nn.Unflatten(1, (1, 2)), nn.MaxPool3d(2), nn.Flatten(2), nn.Conv1d(1, 2, 1), nn.ReLU(),
        entries=8,
    ),
    "averaged": lambda: convolutions(
        nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 2, 2), nn.ReLU(), entries=2
    ),
    "residual": lambda: convolutions(nn.ReLU(), Residual(), nn.ReLU()),
    "largest-of-all": lambda: convolutions(nn.ReLU(), nn.AdaptiveMaxPool2d(1), entries=2),
    "leaky": lambda: _between(nn.LeakyReLU(0.2)),
    "half-leaky": lambda: _between(nn.LeakyReLU(0.5)),
    "steep": lambda: _between(nn.LeakyReLU(33.3)),
    "straight": lambda: _between(nn.LeakyReLU(1.0)),
    "sloped": lambda: _between(nn.PReLU(2)),
    "relu6": lambda: _between(nn.ReLU6()),
    "hardtanh": lambda: _between(nn.Hardtanh()),
    "hard-sigmoid": lambda: _between(nn.Hardsigmoid()),
    "at-least": lambda: Dense(lambda z: z.clamp(min=-0.1)),
    "at-most": lambda: Dense(lambda z: z.clamp(max=0.1)),
    "absolute": lambda: Dense(torch.abs),
    "largest": lambda: Dense(lambda z: z.reshape(-1, 2, 3).amax(2).repeat(1, 3)),
    "smallest": lambda: Dense(lambda z: z.reshape(-1, 2, 3).amin(2).repeat(1, 3)),
    "between-far": lambda: Dense(lambda z: (z * 1e3).clamp(-200.0, 300.0)),
    "larger-than-each": lambda: Dense(lambda z: torch.maximum(z, torch.arange(6) / 16 - 0.125)),
    "largest-of-three": lambda: Dense(lambda z: torch.maximum(torch.maximum(z, z.flip(1)), z.roll(1, 1))),
    "larger": lambda: Dense(lambda z: torch.maximum(z, z.flip(1))),
    "smaller": lambda: Dense(lambda z: torch.minimum(z, z.flip(1))),
    "relu-at-least": lambda: Dense(lambda z: z.clamp(min=0.5), direct=True),
    "relu-at-most": lambda: Dense(lambda z: z.clamp(max=0.3), direct=True),
    "relu-between": lambda: Dense(lambda z: z.clamp(0.1, 0.5), direct=True),
    "relu-larger": lambda: Dense(lambda z: torch.maximum(z, z.flip(1)), direct=True),
    "relu-relu6": lambda: Dense(functional.relu6, direct=True),
    "relu-leaky": lambda: Dense(functional.leaky_relu, direct=True),
    "leaky-and-relu6": lambda: Dense(lambda z: functional.leaky_relu(z) + functional.relu6(z)),
    "leaky-and-relu": lambda: Dense(TwoOfOne()),
}  # fmt: skip


class TwoOfOne(nn.Module):
    """A ReLU and a leaky ReLU of the same values.

    Without the copy Captum's hook at the ReLU's input would catch the signals of both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, z: Any) -> Any:
        return self.relu(z.clone()) + functional.leaky_relu(z, 0.25)


def seeded(name: str, seed: int = 3) -> nn.Module:
    """One of the modules with random weights, in double precision numbers that single precision holds."""
    torch.manual_seed(seed)
    module = MODULES[name]().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return module.double()


def with_whole_weights(name: str) -> nn.Module:
    """The same with weights in -1, 0 and 1 and no biases, so dyadic inputs meet kinks and ties exactly."""
    module, rng = seeded(name), np.random.default_rng(0)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear):
                part.weight.copy_(torch.tensor(rng.integers(-1, 2, part.weight.shape)))
                part.bias.zero_()
            elif isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
                part.weight.fill_(1.0)
                part.bias.zero_()
    return module


@cache
def read(name: str) -> Classifier:
    """The same as it is read, with the ONNX model that it was exported to."""
    return read_module(seeded(name).float(), torch.zeros(1, 1, 4, 4))
