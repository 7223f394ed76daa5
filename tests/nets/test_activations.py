"""Which ReLUs of a network are activations, however it was read or written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from salver.core.errors import SalverError
from salver.nets.activations import activations
from salver.nets.onnx import max_pools, piecewise
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_model
from salver.nets.operators import Relu
from salver.nets.torch_export import read_module
from tests.builders.activations import MODULES, Dense, read
from tests.builders.onnx_models import model_of


@pytest.mark.parametrize("name", MODULES)
def test_every_relu_module_is_an_activation_and_nothing_else(name: str) -> None:
    network = read(name).network
    wanted = sum(isinstance(part, nn.ReLU) for part in MODULES[name]().modules())
    found = activations(network)
    assert len(found) == wanted
    assert all(isinstance(node.operator, Relu) for node in network.nodes if node.name in found)
    for as_it_is in (True, False):
        assert len(activations(from_model(to_model(network, as_it_is=as_it_is)))) == wanted


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda z: z + torch.relu(z), 2),
        (lambda z: z / 2 + torch.relu(z), 2),
        (lambda z: torch.relu(z) - torch.relu(0.5 - z), 3),
        (lambda z: torch.relu(0.5 + torch.relu(z)), 3),
        (lambda z: torch.relu(0.5 - z / 2), 2),
        (lambda z: torch.relu(z) + torch.relu(0.5 - z), 3),
        (lambda z: z - torch.relu(z - z.flip(1)), 1),
        (lambda z: z.flip(1) + torch.relu(z - z.flip(1)), 1),
    ],
)
def test_a_sum_with_a_relu_is_a_maximum_only_where_it_computes_one(function: Any, count: int) -> None:
    network = read_module(Dense(function).eval(), torch.zeros(1, 1, 4, 4)).network
    assert len(activations(network)) == count


def test_a_relu_that_is_both_is_refused() -> None:
    def both(z: Any) -> Any:
        excess = torch.relu(0.5 - z)
        return (z + excess) * 2 + excess.flip(1)

    network = read_module(Dense(both).eval(), torch.zeros(1, 1, 4, 4)).network
    with pytest.raises(SalverError, match="is an activation and also a part of another operator; write the"):
        activations(network)


def test_pools_over_all_and_thresholds_of_zero() -> None:
    pooled = model_of(("GlobalMaxPool", ["X"], {}), ("Flatten", ["t0"], {}), shape=(1, 2, 3, 3))
    assert activations(from_model(pooled)) == frozenset()
    assert activations(from_model(model_of(("ThresholdedRelu", ["X"], {"alpha": 0.0})))) == {"Y"}


def test_every_operator_that_is_read_with_relus_is_tried() -> None:
    tried = {node.op_type for name in MODULES for node in read(name).model.graph.node}
    tried |= {"GlobalMaxPool", "ThresholdedRelu", "Sum", "Mean"}
    assert set(piecewise.RULES) | set(max_pools.RULES) <= tried
