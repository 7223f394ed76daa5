"""Forms of operators that exporters write and our own writer does not, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from salver.nets.network import evaluate
from salver.nets.onnx.reader import from_model


def model(nodes: list[onnx.NodeProto], shape: list[int]) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None] * len(shape))]
    graph = helper.make_graph(nodes, "g", infos, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def constant(name: str, value: object) -> onnx.NodeProto:
    tensor = numpy_helper.from_array(np.asarray(value, np.float32), name)
    return helper.make_node("Constant", [], [name], value=tensor)


def assert_read_as_meant(made: onnx.ModelProto, shape: list[int]) -> None:
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (expected,) = session.run(None, {"X": x})
    found = evaluate(from_model(made), np.ravel(x).astype(np.float64)[None])
    np.testing.assert_allclose(np.ravel(found), np.ravel(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [[2], [1, 2]])
def test_weights_may_come_from_constant_operators(shape):
    nodes = [constant("C", [1.0, -2.0]), helper.make_node("Add", ["X", "C"], ["Y"])]
    assert_read_as_meant(model(nodes, shape), shape)


@pytest.mark.parametrize(("shape", "axis", "value"), [([2], 0, [3.0, 4.0, 5.0]), ([1, 2], 1, [[3.0, 4.0]])])
@pytest.mark.parametrize("first", [True, False])
def test_a_constant_may_be_concatenated(shape, axis, value, first):
    order = ["C", "X"] if first else ["X", "C"]
    nodes = [
        constant("C", value),
        helper.make_node("Concat", order, ["T"], axis=axis),
        helper.make_node("Relu", ["T"], ["Y"]),
    ]
    assert_read_as_meant(model(nodes, shape), shape)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    automatic=st.sampled_from(["SAME_UPPER", "SAME_LOWER"]),
)
def test_automatic_padding_is_that_of_the_runtime(size, kernel, strides, automatic):
    weight = np.random.default_rng(1).normal(size=(2, 1, *kernel))
    nodes = [
        constant("W", weight),
        helper.make_node("Conv", ["X", "W"], ["Y"], auto_pad=automatic, strides=strides),
    ]
    assert_read_as_meant(model(nodes, [1, 1, *size]), [1, 1, *size])
