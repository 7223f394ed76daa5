"""Bounds on windows against samples, exact rational arithmetic, and the bounds of the solvers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from experiments.cam_radii.image_bounds import Box, ConvBounder
from experiments.cam_radii.slopes import improved
from salver.core.errors import SalverError
from salver.nets.affine import Affine
from salver.nets.network import Network, lower
from salver.nets.operators import Conv, Node, Relu, Reshape
from salver.nets.torch_bridge import from_torch, to_torch
from salver.solvers.bounding.linear_bounds import bound_affine
from salver.solvers.bounding.propagation import propagate

SHAPE = (2, 6, 6)


def random_net(seed: int, pool: bool) -> tuple[Network, str]:
    """conv-ReLU-(maximum pooling)-conv-ReLU-1x1, random strides and padding, flat output."""
    from tests.builders.pools import max_pool_nodes

    rng = np.random.default_rng(seed)
    nodes = [Node("image", Reshape(), ("X",), SHAPE)]

    def add(name: str, filters: int, size: int, stride: int, pad: int) -> None:
        before = nodes[-1].shape
        weight = rng.normal(size=(filters, before[0], size, size)) / size
        bias = rng.normal(size=filters) / 3
        pads = (pad, pad, pad, 0)
        operator = Conv(weight.astype(np.float32), bias.astype(np.float32), (1, stride), pads)
        nodes.append(Node(name, operator, (nodes[-1].name,), operator.output_shape(before)))

    add("a", 3, 3, 1, 1)
    nodes.append(Node("a_on", Relu(), ("a",), nodes[-1].shape))
    if pool:
        nodes += max_pool_nodes("pool", "a_on", nodes[-1].shape, (2, 2))
    add("b", 3, 2, 1 if pool else 2, 1)
    nodes.append(Node("b_on", Relu(), ("b",), nodes[-1].shape))
    add("map", 1, 1, 1, 0)
    nodes.append(Node("Y", Reshape(), ("map",), (int(np.prod(nodes[-1].shape)),)))
    return Network("X", int(np.prod(SHAPE)), tuple(nodes), "Y"), "map"


def everywhere(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.ones(shape).nonzero()


@pytest.mark.slow
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_bounds_hold_at_samples_and_agree_with_the_solvers(seed: int, pool: bool) -> None:
    network, last = random_net(seed, pool)
    rng = np.random.default_rng(seed)
    x, epsilon = rng.uniform(0, 1, network.input_size), float(rng.choice([0.01, 0.1, 0.5]))
    bounder = ConvBounder(network, last)
    box = (x - epsilon, x + epsilon)
    found = bounder.ranges(Box(*map(torch.as_tensor, box)))
    at = everywhere(bounder.shapes[last])
    low, high = (part.numpy() for part in bounder.tightened(found, last, at))
    corners = x + epsilon * rng.choice([-1.0, 1.0, 0.3], (300, len(x)))
    values = to_torch(network, torch.float64)(torch.as_tensor(corners)).numpy()
    assert (low <= values.min(0)).all()
    assert (high >= values.max(0)).all()
    other = propagate(lower(network), *box)
    np.testing.assert_allclose(low, other.output_lower, atol=1e-6)
    np.testing.assert_allclose(high, other.output_upper, atol=1e-6)
    smaller = Box(*(torch.as_tensor(x + sign * epsilon / 3) for sign in (-1, 1)))
    alone, inside = bounder.ranges(smaller), bounder.ranges(smaller, found)
    for name in (last, "a", "b"):
        inner, outer = inside.values[name], found.values[name]
        assert (inner[0] >= outer[0]).all()
        assert (inner[1] <= outer[1]).all()
        assert (alone.values[name][0] <= inner[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_combinations_hold_at_samples_whatever_the_slopes(seed: int) -> None:
    network, last = random_net(seed, pool=bool(seed % 2))
    rng = np.random.default_rng(seed)
    x, epsilon = rng.uniform(0, 1, network.input_size), 0.2
    bounder = ConvBounder(network, last)
    found = bounder.ranges(Box(torch.as_tensor(x - epsilon), torch.as_tensor(x + epsilon)))
    _, height, width = bounder.shapes[last]
    at = torch.as_tensor(np.column_stack([rng.integers(0, height - 1, 9), rng.integers(0, width - 1, 9)]))
    rows = torch.as_tensor(rng.normal(size=(1, 9, 2, 2)))
    plain = bounder.lower(found, last, rows, at)
    better = improved(bounder, found, last, rows, at, 8)
    corners = x + epsilon * rng.choice([-1.0, 1.0], (400, len(x)))
    maps = to_torch(network, torch.float64)(torch.as_tensor(corners)).reshape(-1, height, width)
    for number, (top, left) in enumerate(at.tolist()):
        values = (maps[:, top : top + 2, left : left + 2] * rows[0, number]).sum((1, 2))
        assert plain[number] <= better[number] <= values.min()
    program = lower(network)
    matrix = np.zeros((9, height * width))
    for number, (top, left) in enumerate(at.tolist()):
        for i in range(2):
            for j in range(2):
                matrix[number, (top + i) * width + left + j] = float(rows[0, number, i, j])
    terms = {block: matrix @ term for block, term in program.output.terms.items()}
    affine = Affine(terms, matrix @ program.output.constant)
    reference = bound_affine(program, propagate(program, x - epsilon, x + epsilon, outputs=False), affine)[0]
    assert (reference >= plain.numpy() - 1e-6).all()


def test_rounding_is_covered_where_everything_cancels() -> None:
    """At a point box the exact value, in rationals, lies within the bounds though float64 is off."""
    rng = np.random.default_rng(5)
    first = (rng.normal(size=(4, 1, 1, 3)) * 1e6).astype(np.float32)
    second = np.concatenate([first[:, 0, 0, :1].T, -first[:, 0, 0, 1:2].T]).reshape(2, 4, 1, 1) * 1e6
    signs = np.array([1, -1], np.float32).reshape(1, 2, 1, 1)
    nodes = (
        Node("image", Reshape(), ("X",), (1, 1, 5)),
        Node("a", Conv(first, rng.normal(size=4).astype(np.float32)), ("image",), (4, 1, 3)),
        Node("r", Relu(), ("a",), (4, 1, 3)),
        Node("b", Conv(second.astype(np.float32), np.full(2, 1e-3, np.float32)), ("r",), (2, 1, 3)),
        Node("s", Relu(), ("b",), (2, 1, 3)),
        Node("m", Conv(signs, np.zeros(1, np.float32)), ("s",), (1, 1, 3)),
        Node("Y", Reshape(), ("m",), (3,)),
    )  # fmt: skip
    network, x = Network("X", 5, nodes, "Y"), rng.normal(size=5)
    values = {"image": [[Fraction(float(v)) for v in x]]}
    for node in nodes[1:-1]:
        source = values[node.inputs[0]]
        if isinstance(node.operator, Relu):
            values[node.name] = [[max(v, Fraction(0)) for v in row] for row in source]
            continue
        weight, bias = node.operator.weight[:, :, 0], node.operator.bias
        values[node.name] = [
            [
                Fraction(float(bias[o]))
                + sum(
                    Fraction(float(weight[o, c, k])) * source[c][p + k]
                    for c in range(weight.shape[1])
                    for k in range(weight.shape[2])
                )
                for p in range(len(source[0]) - weight.shape[2] + 1)
            ]
            for o in range(len(weight))
        ]
    bounder = ConvBounder(network, "m")
    found = bounder.ranges(Box(torch.as_tensor(x), torch.as_tensor(x)))
    for name in ("a", "b", "m"):
        at = everywhere(bounder.shapes[name])
        low, high = bounder.tightened(found, name, at)
        for place, (c, _, p) in enumerate(at.tolist()):
            assert Fraction(float(low[place])) <= values[name][c][p] <= Fraction(float(high[place]))
        assert float((high - low).max()) <= 1e-9 * float(found.sizes[name].max()) + 1e-9


def test_other_operators_are_refused() -> None:
    from torch import nn

    dense = from_torch(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Unflatten(1, (1, 2, 2))), 4)
    last = [node.name for node in dense.nodes if len(node.shape) == 3][-1]
    with pytest.raises(SalverError, match="before the last activations"):
        ConvBounder(dense, last)


def test_bounds_of_a_wide_convolution_hold_its_values() -> None:
    """Its coefficients are sparse, and after a product in no order."""
    torch.manual_seed(0)
    layers = [nn.Unflatten(1, (1, 32, 32)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()]
    layers += [nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1352, 3)]
    program, rng = lower(from_torch(nn.Sequential(*layers), 1024)), np.random.default_rng(0)
    x = rng.uniform(0.0, 1.0, 1024)
    bounds = propagate(program, x - 0.05, x + 0.05)
    assert not bounds.infeasible
    _, zs, _ = program.evaluate(rng.uniform(x - 0.05, x + 0.05, (20, 1024)))
    for z, low, high in zip(zs, bounds.pre_lower, bounds.pre_upper, strict=True):
        assert ((z >= low) & (z <= high)).all()
