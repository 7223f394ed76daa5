"""ResNet-18 and VGG-11 as they are usually written in PyTorch, of any width and size, with random weights.

After He et al., "Deep Residual Learning" (CVPR 2016), and Simonyan and Zisserman, "Very Deep Convolutional
Networks" (ICLR 2015), with batch normalisation.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

VGG_11 = (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M")
"""Channels of the convolutions in units of 64, and pools."""


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width), nn.BatchNorm2d(width)])
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or before != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Any) -> Any:
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(inner)) + self.shortcut(x))


def resnet_18(width: int = 64, classes: int = 1000) -> nn.Module:
    """A stem with an overlapping maximum, eight blocks, an average and a dense layer."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    before = width
    for stage in range(4):
        for number in range(2):
            now = width << stage
            layers.append(Block(before, now, 2 if stage and not number else 1))
            before = now
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes)]
    return nn.Sequential(*layers)


def vgg_11(width: int = 64, size: int = 224, hidden: int = 4096, classes: int = 1000) -> nn.Module:
    """Eight convolutions with batch normalisation, five maxima and three dense layers."""
    layers: list[nn.Module] = []
    before = 3
    for step in VGG_11:
        if isinstance(step, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(before, step * width, 3, 1, 1), nn.BatchNorm2d(step * width), nn.ReLU()]
            before = step * width
    flat = before * (size // 32) ** 2
    layers += [nn.Flatten(), nn.Linear(flat, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes))


def with_drawn_statistics(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in evaluation mode, with running means and variances that are no zeros and ones."""
    torch.manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(part.weight)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.1, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.0)
            nn.init.uniform_(part.bias, -0.1, 0.1)
    return model.eval()


def exported(model: nn.Module, shape: tuple[int, ...], path: Path) -> Path:
    """The model as an ONNX file."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(shape),), stream, dynamo=False, opset_version=13, input_names=["x"],
            do_constant_folding=False, keep_initializers_as_inputs=False,
        )  # fmt: skip
    path.write_bytes(stream.getvalue())
    return path
