"""`Network` -> the canonical ONNX: opset 13, IR 8, input X [1, n], output Y [1, outputs].

One row is declared, as VNN-COMP's tools and both VNN-LIB versions want it, but no node fixes that number:
verifiers evaluate many subproblems as one batch. Nodes are written in order with names that depend on their
position only, so the same network gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from salver.nets.network import Network, single, with_plain_windows

OPSET, IR_VERSION = 13, 8


class _GraphWriter:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.names: dict[tuple[Any, ...], str] = {}

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        """Name of an initializer with this content; equal tensors are stored once."""
        content = np.ascontiguousarray(value)
        key = (value.shape, str(value.dtype), hashlib.blake2b(content.data).digest())
        if key not in self.names:
            self.names[key] = f"c{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(value, self.names[key]))
        return self.names[key]

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))


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
    graph = _GraphWriter()
    network = network if as_it_is else with_plain_windows(network)
    names = {network.input: "X"}
    for number, node in enumerate(network.nodes):
        names[node.name] = "Y" if node.name == network.output else f"t{number}"
        inputs = [names[name] for name in node.inputs]
        node.operator.write(graph, inputs, names[node.name], node.shape)
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
