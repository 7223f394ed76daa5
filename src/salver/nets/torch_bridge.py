"""torch <-> `Network`: import of plain sequential modules, and evaluation with automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from salver.core.errors import SalverError
from salver.nets.max_pool import max_of, picks
from salver.nets.network import Network, fold_scales, single
from salver.nets.operators import OPERATORS, Conv, Linear, Node, Operator, Reshape, Scale, Shape

if TYPE_CHECKING:
    import torch


def from_torch(module: torch.nn.Module, input_size: int) -> Network:
    """Converts a (nested) `torch.nn.Sequential` over flat inputs [batch, n] into a network.

    Raises:
        SalverError: a layer that is not supported is named.
    """
    nodes: list[Node] = []
    name = "X"
    shape: Shape = (input_size,)
    for number, layer in enumerate(_layers(module)):
        if _is_plain_pool(layer):
            nodes += _max_pool(layer, f"n{number}_{len(nodes)}", name, shape)
            name, shape = nodes[-1].name, nodes[-1].shape
            continue
        for operator, new_shape in _convert(layer, shape):
            node = Node(f"n{number}_{len(nodes)}", operator, (name,), new_shape)
            nodes.append(node)
            name, shape = node.name, new_shape
    if len(shape) > 1:
        nodes.append(Node("flat", Reshape(), (name,), (math.prod(shape),)))
    return single(fold_scales(Network("X", input_size, tuple(nodes), nodes[-1].name)), "torch module")


def _layers(module: torch.nn.Module) -> list[torch.nn.Module]:
    import torch

    if isinstance(module, torch.nn.Sequential):
        return [layer for child in module for layer in _layers(child)]
    return [module]


def _convert(layer: Any, shape: Shape) -> list[tuple[Operator, Shape]]:
    from torch import nn

    for kind in OPERATORS.values():
        if kind.torch is not None and isinstance(layer, getattr(nn, kind.torch)):
            operator = kind.from_torch(layer)
            return [(operator, operator.output_shape(shape))]
    match layer:
        case nn.Linear() if shape == (layer.in_features,):
            bias = _numpy(layer.bias) if layer.bias is not None else np.zeros(layer.out_features, np.float32)
            return [(Linear(_numpy(layer.weight), bias), (layer.out_features,))]
        case nn.Flatten():
            return [(Reshape(), (math.prod(shape),))] if len(shape) > 1 else []
        case nn.Unflatten():
            return [(Reshape(), tuple(layer.unflattened_size))]
        case nn.Identity() | nn.Dropout():
            return []
        case nn.BatchNorm1d() | nn.BatchNorm2d():
            return [(_batch_norm(layer, shape), shape)]
        case nn.Conv2d() if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            convolution = _conv2d(layer)
            return [(convolution, convolution.output_shape(shape))]
        case nn.AvgPool2d() if layer.divisor_override is None and not layer.ceil_mode:
            pool = _pool2d(layer, shape[0])
            return [(pool, pool.output_shape(shape))]
        case nn.AdaptiveAvgPool2d() if layer.output_size in (1, (1, 1)):
            weight = np.full((shape[0], 1, *shape[1:]), 1.0 / math.prod(shape[1:]), np.float32)
            return [(Conv(weight, np.zeros(shape[0], np.float32), groups=shape[0]), (shape[0], 1, 1))]
    raise SalverError(
        f"layer {layer} is not supported", "torch module", "see docs/networks.md for the layers that are"
    )


def _numpy(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    array: np.ndarray[Any, np.dtype[np.float32]] = tensor.detach().cpu().float().numpy().copy()
    return array


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _conv2d(layer: Any) -> Conv:
    bias = _numpy(layer.bias) if layer.bias is not None else np.zeros(layer.out_channels, np.float32)
    pad = _pair(layer.padding)
    return Conv(
        _numpy(layer.weight), bias, _pair(layer.stride), (*pad, *pad), _pair(layer.dilation), layer.groups
    )


def _pool2d(layer: Any, channels: int) -> Conv:
    kernel, pad = _pair(layer.kernel_size), _pair(layer.padding)
    if any(pad) and not layer.count_include_pad:
        raise SalverError(
            "AvgPool2d with count_include_pad=False and padding is not supported", "torch module"
        )
    weight = np.full((channels, 1, *kernel), 1.0 / math.prod(kernel), np.float32)
    return Conv(weight, np.zeros(channels, np.float32), _pair(layer.stride), (*pad, *pad), groups=channels)


def _is_plain_pool(layer: Any) -> bool:
    """Whether it is a maximum over windows that see no padding."""
    from torch import nn

    if not isinstance(layer, nn.MaxPool2d) or layer.ceil_mode or layer.return_indices:
        return False
    return _pair(layer.padding) == (0, 0)


def _max_pool(layer: Any, name: str, source: str, shape: Shape) -> list[Node]:
    parts = picks(shape[0], *(_pair(side) for side in (layer.kernel_size, layer.stride, layer.dilation)))
    target = parts[0].output_shape(shape)
    places = [Node(f"{name}_place{n}", part, (source,), target) for n, part in enumerate(parts)]
    return [*places, *max_of(name, [place.name for place in places], target)]


def _batch_norm(layer: Any, shape: Shape) -> Scale:
    variance = layer.running_var.detach().double().numpy()
    scale = 1.0 / np.sqrt(variance + layer.eps)
    shift = -layer.running_mean.detach().double().numpy() * scale
    if layer.affine:
        gain = layer.weight.detach().double().numpy()
        scale, shift = scale * gain, shift * gain + layer.bias.detach().double().numpy()
    spread = (len(scale), *([1] * (len(shape) - 1)))
    full = [np.broadcast_to(part.reshape(spread), shape).astype(np.float32) for part in (scale, shift)]
    return Scale(full[0], full[1])


def to_torch(network: Network, dtype: Any = None) -> Callable[[Any], Any]:
    """A differentiable function X [batch, n] -> Y [batch, outputs] with torch's own derivatives."""
    forward = tensors_in_torch(network, dtype)
    return lambda x: forward(x)[network.output]


def tensors_in_torch(
    network: Network,
    dtype: Any = None,
    instead: Mapping[str, Callable[[Any], Any]] | None = None,
) -> Callable[[Any], dict[str, Any]]:
    """As `to_torch`, with every tensor of the network by its name [batch, ...].

    Args:
        instead: functions in place of operators with one input, by the names of their nodes.
    """
    import torch

    kind = dtype or torch.float32
    # Copies: weights of a file are read-only, and torch warns of sharing such memory.
    weights = {
        node.name: {
            part: torch.tensor(np.array(value), dtype=kind) for part, value in node.operator.arrays().items()
        }
        for node in network.nodes
    }

    def forward(x: torch.Tensor) -> dict[str, torch.Tensor]:
        values = {network.input: x}
        for node in network.nodes:
            given = [values[name] for name in node.inputs]
            if instead and node.name in instead:
                values[node.name] = instead[node.name](*given)
                continue
            values[node.name] = node.operator.in_torch(given, weights[node.name], node.shape)
        return values

    return forward
