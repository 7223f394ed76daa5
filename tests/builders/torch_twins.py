"""ONNX operators held against the PyTorch functions that are exported to them, at kinks and ties too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper, shape_inference

from salver.explain.autograd import gradient_by_autograd
from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import unroll
from salver.nets.network import Network, evaluate, lower, single
from salver.nets.onnx.reader import from_model
from salver.nets.onnx.writer import to_model
from salver.nets.operators import Node, Relu
from salver.oracle.exact import exact_outputs

Array = npt.NDArray[np.float64]
Step = tuple[str, str, str, dict[str, Any]]
"""Operator, inputs and outputs by name (in one string each, `-` for none), attributes."""
GRID = np.array([-7, -6, -3, -1, -0.5, 0, 0.5, 1, 3, 6, 7])
"""Values on and beside the kinks of the usual operators."""
POINTS = 24
MOST_IN_FRACTIONS = 600
"""Entries of a graph that is evaluated in exact fractions too."""


def model_of_steps(
    steps: list[Step], shape: tuple[int, ...], constants: dict[str, Any] | None = None, opset: int = 13
) -> onnx.ModelProto:
    """X of this shape -> Y; constants that are lists are in single precision."""
    nodes = [
        helper.make_node(kind, [n.replace("-", "") for n in given.split()], made.split(), **attributes)
        for kind, given, made, attributes in steps
    ]
    values = {
        name: np.asarray(value, np.float32) if isinstance(value, list | float) else value
        for name, value in (constants or {}).items()
    }
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("Y")],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def grid_points(shape: tuple[int, ...], seed: int = 0, points: int = POINTS) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).choice(GRID, (points, *shape[1:])).astype(np.float32)


def runtime_outputs(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> Array:
    """Flat outputs [batch, m] of ONNX Runtime, point by point."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.stack([session.run(None, {"X": row[None]})[0].ravel() for row in x]).astype(np.float64)


def read_as_the_runtime(model: onnx.ModelProto, shape: tuple[int, ...]) -> Network:
    """The network of a model, whose values are those of ONNX Runtime."""
    network, x = single(from_model(model)), grid_points(shape)
    expected = runtime_outputs(model, x)
    found = evaluate(network, x.reshape(len(x), -1).astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
    return network


def bending(network: Network) -> Network:
    """The network with a ReLU at its end where it is linear: its gradient is no constant then."""
    if any(node.operator.kinked for node in network.nodes):
        return network
    end = Node("bend", Relu(), (network.output,), (network.output_size,))
    return replace(network, nodes=(*network.nodes, end), output="bend")


def check_twin(
    model: onnx.ModelProto, twin: Callable[[Any], Any], shape: tuple[int, ...], on_kinks: bool = True
) -> None:
    """Values are those of ONNX Runtime and of PyTorch; the gradient, in all its forms, is that of PyTorch.

    Args:
        on_kinks: points on kinks and ties count; without it they may differ, where sums round.
    """
    network = read_as_the_runtime(model, shape)
    bent = bending(network)
    x = grid_points(shape, 1)
    flat = x.reshape(len(x), -1)
    if not on_kinks:
        flat = flat + np.random.default_rng(2).uniform(0.01, 0.02, flat.shape).astype(np.float32)
    points = torch.tensor(flat.reshape(x.shape), dtype=torch.float64, requires_grad=True)
    outputs = twin(points).reshape(len(x), -1)
    outputs = outputs if bent is network else outputs.relu()
    combination = np.random.default_rng(3).integers(1, 4, outputs.shape[1]).astype(float)
    (outputs @ torch.tensor(combination)).sum().backward()
    assert points.grad is not None
    expected = np.hstack([outputs.detach().numpy(), points.grad.numpy().reshape(len(x), -1)])
    graph, logits = unroll(bent, combination), outputs.shape[1]
    exact = flat.astype(np.float64)
    room = 1e-5 * max(1.0, float(np.abs(expected).max()))
    for found in (
        np.hstack([expected[:, :logits], gradient_by_autograd(bent, combination, flat)]),
        evaluate(graph, exact),
        runtime_outputs(to_model(graph), flat),
        np.hstack(logits_and_gradient(lower(bent), exact, combination)),
        lower(graph).evaluate(exact)[0],
    ):
        np.testing.assert_allclose(found, expected, atol=room)
    if sum(map(math.prod, graph.shapes.values())) < MOST_IN_FRACTIONS:
        np.testing.assert_allclose([float(v) for v in exact_outputs(graph, exact[0])], expected[0], atol=room)
