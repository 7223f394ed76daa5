"""Small networks of the kinds that methods explain: nine inputs, an image of 3 by 3, and three classes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from salver.explain.checked import classifier_of
from salver.explain.explanation import Explanation
from salver.nets.network import Network, lower
from salver.nets.program import Program

INPUTS, IMAGE, LABELS = 9, (1, 3, 3), 3
KINDS = ("dense", "pooled", "dense head", "residual")


class Residual(nn.Module):
    """A convolution whose output goes around two others; ReLUs are functions, as one often writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(a, 2, 3, 1, 1) for a in (1, 2, 2))
        self.norm, self.head = nn.BatchNorm2d(2, eps=0.0), nn.Linear(2, LABELS)

    def forward(self, x: Any) -> Any:
        shortcut = torch.relu(self.norm(self.first(x.unflatten(1, IMAGE))))
        inner = self.third(torch.relu(self.second(shortcut)))
        return self.head(torch.relu(inner + shortcut).mean(dim=(2, 3)))


@cache
def module(kind: str) -> nn.Module:
    """A module of a kind, whose weights are whole numbers: whole inputs meet kinks and ties exactly."""
    rng, made = np.random.default_rng(len(kind)), _built(kind)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.tensor(rng.integers(-2, 3, parameter.shape), dtype=torch.float32))
    return made.eval()


@cache
def network(kind: str) -> Network:
    """The same as it is read."""
    return classifier_of(module(kind), torch.zeros(1, INPUTS)).network


@cache
def program_of(explanation: Explanation, kind: str) -> Program:
    """A map of the same over data in [-2, 2], unrolled and lowered."""
    explained = explanation.for_data(IMAGE, np.full(INPUTS, -2.0), np.full(INPUTS, 2.0))
    return lower(explained.graph(network(kind)))


def _built(kind: str) -> nn.Module:
    image, flat = nn.Unflatten(1, IMAGE), nn.Flatten()
    if kind == "dense":
        return nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, LABELS))
    if kind == "pooled":
        return nn.Sequential(
            image, nn.Conv2d(1, 2, 3, 1, 1), nn.BatchNorm2d(2, eps=0.0), nn.ReLU(), nn.MaxPool2d(2, 1),
            nn.Conv2d(2, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), flat, nn.Linear(3, LABELS),
        )  # fmt: skip
    if kind == "dense head":
        head = (nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, LABELS))
        return nn.Sequential(image, nn.Conv2d(1, 2, 2), nn.ReLU(), flat, *head)
    return Residual()
