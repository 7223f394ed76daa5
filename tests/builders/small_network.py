"""A ReLU network of a few weights in a file, for tests that need one of somebody else's."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def classifier(path: Path, inputs: int = 2, seed: int = 0, classes: int = 2) -> Path:
    """A network inputs-3-classes with ReLU, written where `path` says."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (inputs, 3), "b1": (3,), "w2": (3, classes), "b2": (classes,)}
    weights = [
        numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in (("x", inputs), ("y", classes))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data = model.SerializeToString()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path
