"""The proof checker's own convolutions against ONNX Runtime and torch, exactly: small integers everywhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from salver.proofs.context import Context
from salver.proofs.graph import Graph
from salver.proofs.onnx_file import parse_network
from salver.proofs.vnnlib_file import ExactProperty


def _drawn(rng: np.random.Generator, kind: str) -> tuple[onnx.NodeProto, np.ndarray, tuple[int, ...]]:
    """A node with random strides, pads, dilations and groups, its weight and the shape it reads."""
    groups = int(rng.integers(1, 4))
    inner, outer = (int(v) for v in rng.integers(1, 3, 2))
    kernel = [int(v) for v in rng.integers(1, 4, 2)]
    dilations = [int(v) for v in rng.integers(1, 3, 2)]
    strides = [int(v) for v in rng.integers(1, 4, 2)]
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    size = [int(r + rng.integers(0, 4)) for r in reach]
    pads = [int(rng.integers(0, reach[axis % 2])) for axis in range(4)]
    attributes = {"strides": strides, "pads": pads, "group": groups}
    if kind == "AveragePool":
        attributes = {"strides": strides, "pads": [int(rng.integers(0, kernel[a % 2])) for a in range(4)]}
        attributes |= {"kernel_shape": kernel, "count_include_pad": int(rng.integers(2))}
        node = helper.make_node(kind, ["in"], ["out"], **attributes)
        return node, np.zeros(0, np.float32), (groups * inner, *(k + 2 for k in kernel))
    attributes["dilations"] = dilations
    if kind == "Conv":
        weight = rng.integers(-3, 4, (groups * outer, inner, *kernel))
        inputs = ["in", "w", "b"] if rng.random() < 0.5 else ["in", "w"]
    else:
        weight = rng.integers(-3, 4, (groups * inner, outer, *kernel))
        inputs, size = ["in", "w"], [int(v) for v in rng.integers(2, 5, 2)]
        attributes["pads"] = [0, 0, 0, 0] if min(reach) < 2 else [int(v) for v in rng.integers(0, 2, 4)]
    node = helper.make_node(kind, inputs, ["out"], **attributes)
    return node, weight.astype(np.float32), (groups * inner, *size)


def _values(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Output by the checker: the range of the box that is the point `x`."""
    graph, point = (
        Graph(parse_network(model.SerializeToString())),
        tuple(Fraction(float(v)) for v in x.ravel()),
    )
    context = Context.start(graph, ExactProperty(point, point, (), graph.output_size))
    low, high = (context.unit.floats(side[graph.network.output]) for side in (context.low, context.high))
    assert (high - low <= 1e-9).all()
    return low


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose", "AveragePool"])
@pytest.mark.parametrize("seed", range(25))
def test_windows_are_those_of_other_libraries(kind: str, seed: int) -> None:
    rng = np.random.default_rng((seed, len(kind)))
    node, weight, shape = _drawn(rng, kind)
    bias = rng.integers(-3, 4, len(weight)).astype(np.float32)
    constants = {"w": weight, "b": bias}
    graph = helper.make_graph(
        [node, helper.make_node("Flatten", ["out"], ["flat"], axis=1)],
        "windows",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("flat", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(constants[name], name) for name in node.input[1:]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    image = rng.integers(-4, 5, (1, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"in": image})
    found = _values(model, image.ravel())
    tolerance = 1e-4 if kind == "AveragePool" else 1e-9
    np.testing.assert_allclose(found, expected.ravel(), rtol=0, atol=tolerance)
    if kind == "Conv":
        by_torch = _by_torch(node, image, weight, bias if len(node.input) > 2 else None)
        np.testing.assert_allclose(found, by_torch, rtol=0, atol=1e-9)


def _by_torch(
    node: onnx.NodeProto, image: np.ndarray, weight: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    named = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    top, left, bottom, right = named["pads"]
    padded = torch.nn.functional.pad(torch.from_numpy(image), (left, right, top, bottom))
    out = torch.nn.functional.conv2d(
        padded,
        torch.from_numpy(weight),
        None if bias is None else torch.from_numpy(bias),
        stride=named["strides"],
        dilation=named["dilations"],
        groups=named["group"],
    )
    return out.numpy().ravel()


def test_images_that_are_broadcast_are_no_elementwise_sum() -> None:
    shapes = [numpy_helper.from_array(np.array(s), n) for s, n in (((1, 3, 1, 1), "a"), ((1, 1, 3, 1), "b"))]
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["in", "a"], ["left"]),
            helper.make_node("Reshape", ["in", "b"], ["right"]),
            helper.make_node("Add", ["left", "right"], ["out"]),
        ],
        "broadcast",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, (1, 3))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 3, 3, 1))],
        shapes,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    x = np.array([1.0, 2.0, 4.0], np.float32)
    assert _values(model, x).tolist() == (x[:, None] + x[None, :]).ravel().tolist()
