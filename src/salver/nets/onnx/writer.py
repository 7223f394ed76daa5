"""`Network` -> the canonical ONNX: opset 13, IR 8, input X [1, n], output Y [1, outputs].

One row is declared, as VNN-COMP's tools and both VNN-LIB versions want it, but no node fixes that number:
verifiers evaluate many subproblems as one batch. Nodes are written in order with names that depend on their
position only, so the same network gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from salver.nets.network import (
    Abs,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Linear,
    Mul,
    Network,
    Node,
    Relu,
    Reshape,
    Scale,
    Shape,
    Sign,
    Sub,
    single,
)
from salver.nets.plain_windows import with_plain_windows

OPSET, IR_VERSION = 13, 8
_PLAIN: dict[type, str] = {
    Relu: "Relu", Sign: "Sign", Abs: "Abs", Mul: "Mul", Add: "Add", Sub: "Sub",
}  # fmt: skip


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names: dict[tuple[Any, ...], str] = {}

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        """Name of an initializer with this content; equal tensors are stored once."""
        key = (value.shape, str(value.dtype), value.tobytes())
        if key not in self.names:
            self.names[key] = f"c{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(value, self.names[key]))
        return self.names[key]

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))


def to_model(
    network: Network, metadata: Mapping[str, str] | None = None, *, as_it_is: bool = False
) -> onnx.ModelProto:
    """Builds the ONNX model, with weights of binary32.

    Args:
        metadata: becomes the model's metadata properties, sorted by key.
        as_it_is: keeps the form of every convolution, so that the network read again has the same hash;
            otherwise they are written as verifiers of others take them.

    Raises:
        SalverError: a weight leaves the range of binary32.
    """
    network = single(network)
    graph = _Graph()
    network = network if as_it_is else with_plain_windows(network)
    names = {network.input: "X"}
    shapes = network.shapes
    for number, node in enumerate(network.nodes):
        names[node.name] = "Y" if node.name == network.output else f"t{number}"
        _write(graph, node, [names[name] for name in node.inputs], shapes[node.inputs[0]], names[node.name])
    if names[network.output] != "Y":
        raise ValueError("the network's output is its input")
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, network.input_size])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [1, network.output_size])
    proto = helper.make_graph(graph.nodes, "salver", [x], [y], graph.initializers)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(proto, opset_imports=opset, ir_version=IR_VERSION, producer_name="salver")
    if metadata:
        helper.set_model_props(model, dict(sorted(metadata.items())))
    return model


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Serialises deterministically."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _write(graph: _Graph, node: Node, inputs: list[str], shape: Shape, output: str) -> None:
    operator = node.operator
    match operator:
        case Linear():
            if operator.bias.any():
                operands = [*inputs, graph.constant(operator.weight), graph.constant(operator.bias)]
                graph.node("Gemm", operands, output, transB=1)
            else:
                matrix = graph.constant(np.ascontiguousarray(operator.weight.T))
                graph.node("MatMul", [*inputs, matrix], output)
        case Conv():
            operands = [*inputs, graph.constant(operator.weight)]
            if operator.bias.any():
                operands.append(graph.constant(operator.bias))
            graph.node("Conv", operands, output, **_window(operator))
        case ConvTranspose():
            graph.node(
                "ConvTranspose", [*inputs, graph.constant(operator.weight)], output, **_window(operator)
            )
        case Scale():
            _write_scale(graph, operator, inputs[0], output)
        case Concat():
            graph.node("Concat", inputs, output, axis=1)
        case Reshape() if len(node.shape) == 1:
            graph.node("Flatten", inputs, output, axis=1)
        case Reshape():
            target = graph.constant(np.array([-1, *node.shape], np.int64))  # -1: rows are never mixed
            graph.node("Reshape", [*inputs, target], output)
        case _:
            graph.node(_PLAIN[type(operator)], inputs, output)


def _write_scale(graph: _Graph, operator: Scale, source: str, output: str) -> None:
    scaled = bool((operator.scale != 1).any())
    shifted = bool(operator.shift.any()) or not scaled
    if scaled:
        target = f"{output}_scaled" if shifted else output
        graph.node("Mul", [source, graph.constant(operator.scale[None])], target)
        source = target
    if shifted:
        graph.node("Add", [source, graph.constant(operator.shift[None])], output)


def _window(operator: Conv | ConvTranspose) -> dict[str, Any]:
    return {
        "kernel_shape": list(operator.weight.shape[2:]),
        "strides": list(operator.strides),
        "pads": list(operator.pads),
        "dilations": list(operator.dilations),
        "group": operator.groups,
    }
