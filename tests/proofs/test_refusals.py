"""What the proof checker's own reader of ONNX refuses, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.proofs.graph import Graph
from salver.proofs.onnx_file import UnsupportedNetworkError, parse_network
from tests.builders.onnx_models import DOUBLE, FLOAT, RELU, Node, model_of


def _f(*shape: int) -> Any:
    return np.ones(shape, np.float32)


IMAGE = {"shape": (1, 2, 4, 4)}
BACK = {name: np.array([value], np.int64) for name, value in {"s": 3, "e": 0, "a": 1, "m": -1}.items()}
SIZES = {"s": np.array([2, 2], np.int64)}


def test_a_plain_network_is_read() -> None:
    assert Graph(parse_network(model_of(RELU).SerializeToString())).output_size == 4


@pytest.mark.parametrize(
    ("node", "constants", "more", "why"),
    [
        (("Gemm", ["X", "w"], {"alpha": 2.0}), {"w": _f(4, 2)}, {}, "alpha"),
        (("Gemm", ["X", "w", "b"], {"beta": 0.5}), {"w": _f(4, 2), "b": _f(2)}, {}, "alpha and beta"),
        (("Gemm", ["X", "w"], {"transA": 1}), {"w": _f(1, 2)}, {}, "transposed"),
        (("Gemm", ["X", "w"], {"transB": 2}), {"w": _f(4, 2)}, {}, "transB is 2"),
        (("Gemm", ["X", "w", "b"], {}), {"w": _f(4, 2), "b": _f(3)}, {}, "do not fit"),
        (("Gemm", ["X", "w", "b"], {}), {"w": _f(4, 2), "b": _f(3, 2)}, {}, "a constant of shape"),
        (("Gemm", ["w", "X"], {}), {"w": _f(2, 1)}, {}, "constant where a variable"),
        (("MatMul", ["X", "w"], {}), {"w": _f(4)}, {}, "factors of shape"),
        (("MatMul", ["X", "w"], {}), {"w": _f(1, 4, 2)}, {}, "factors of shape"),
        (("MatMul", ["X", "X"], {}), {}, {}, "no constant"),
        (("Add", ["X", "w"], {}), {"w": _f(3)}, {}, "do not fit"),
        (("Add", ["X", "w"], {}), {"w": np.ones(4)}, {}, "mixed"),
        (("Add", ["X", "w"], {"axis": 1}), {"w": _f(4)}, {}, "attribute 'axis'"),
        (("Add", ["w", "w"], {}), {"w": _f(4)}, {}, "two constants"),
        (("Concat", ["X", "X"], {}), {}, {}, "no axis"),
        (("Concat", ["X", "w"], {"axis": 1}), {"w": _f(1, 1)}, {}, "constant where a variable"),
        (("Concat", ["X"], {"axis": 2}), {}, {}, "axis 2 of 2"),
        (("Flatten", ["X"], {"axis": 3}), {}, {}, "axis 3"),
        (("Reshape", ["X", "s"], {}), {"s": np.array([3, -1], np.int64)}, {}, "from shape"),
        (("Reshape", ["X", "s"], {}), {"s": np.array([-1, -1], np.int64)}, {}, "to shape"),
        (("Reshape", ["X", "s"], {}), {"s": np.array([-2, 2], np.int64)}, {}, "to shape"),
        (("Reshape", ["X", "s"], {}), {"s": np.array([2, 2, 0], np.int64)}, {}, "size of 0"),
        (("Reshape", ["X", "s"], {"allowzero": 1}), SIZES, {}, "before operator set 14"),
        (
            ("Reshape", ["X", "s"], {"allowzero": 1}),
            {"s": np.array([0, 4], np.int64)},
            {"opset": 14},
            "size of 0",
        ),
        (("Reshape", ["X", "s"], {}), {"s": np.array([2.0, 2.0], np.float32)}, {}, "no constant list"),
        (("Conv", ["X", "w"], {"auto_pad": "VALID"}), {"w": _f(1, 2, 2, 2)}, IMAGE, "auto_pad"),
        (("Conv", ["X", "w"], {"kernel_shape": [3, 3]}), {"w": _f(1, 2, 2, 2)}, IMAGE, "kernel_shape"),
        (("Conv", ["X", "w"], {"pads": [-1, 0, 0, 0]}), {"w": _f(1, 2, 2, 2)}, IMAGE, "out of range"),
        (("Conv", ["X", "w"], {"pads": [0, 0]}), {"w": _f(1, 2, 2, 2)}, IMAGE, "pads has 2"),
        (("Conv", ["X", "w"], {"strides": [0, 1]}), {"w": _f(1, 2, 2, 2)}, IMAGE, "out of range"),
        (("Conv", ["X", "w"], {"group": 2}), {"w": _f(1, 1, 2, 2)}, IMAGE, "groups"),
        (("Conv", ["X", "w"], {}), {"w": _f(1, 2, 5, 5)}, IMAGE, "larger than the image"),
        (("Conv", ["X", "w", "b"], {}), {"w": _f(1, 2, 2, 2), "b": _f(1, 1)}, IMAGE, "bias of shape"),
        (("Conv", ["X", "w"], {}), {"w": _f(1, 2, 2, 2)}, {"shape": (2, 2, 4, 4)}, "not .1, channels"),
        (
            ("ConvTranspose", ["X", "w"], {"output_padding": [1, 1], "strides": [2, 2]}),
            {"w": _f(2, 1, 2, 2)},
            IMAGE,
            "output_padding",
        ),
        (
            ("ConvTranspose", ["X", "w"], {"output_shape": [9, 9]}),
            {"w": _f(2, 1, 2, 2)},
            IMAGE,
            "output_shape",
        ),
        (("AveragePool", ["X"], {"kernel_shape": [2, 2], "ceil_mode": 1}), {}, IMAGE, "ceil_mode"),
        (("AveragePool", ["X"], {"kernel_shape": [2, 2], "auto_pad": "VALID"}), {}, IMAGE, "auto_pad"),
        (("AveragePool", ["X"], {}), {}, IMAGE, "out of range"),
        (
            ("AveragePool", ["X"], {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}),
            {},
            IMAGE,
            "as large as the window",
        ),
        (
            ("AveragePool", ["X"], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
            {},
            {**IMAGE, "opset": 19},
            "dilations",
        ),
        (("ReduceMean", ["X"], {"axes": [1, -1]}), {}, {}, "axis twice"),
        (("ReduceMean", ["X"], {"axes": [2]}), {}, {}, "axis 2"),
        (("ReduceMean", ["X"], {"axes": [1]}), {}, {"opset": 18}, "attribute 'axes'"),
        (("ReduceMean", ["X", "s"], {}), {"s": np.array([1], np.int64)}, {}, "2 inputs"),
        (("ReduceMean", ["X"], {"noop_with_empty_axes": 1}), {}, {"opset": 18}, "noop"),
        (("Transpose", ["X"], {"perm": [0, 0]}), {}, {}, "perm"),
        (("Slice", ["X", "s", "s"], {}), {"s": np.array([1, 1, 1], np.int64)}, {}, "do not fit|axis 2"),
        (("Slice", ["X", "s", "e", "a", "m"], {}), BACK, {}, "step below 1"),
        (("Slice", ["X", "e", "e", "a"], {}), BACK, {}, "has shape"),
        (("Slice", ["X"], {"starts": [0], "ends": [1]}), {}, {"opset": 9}, "1 inputs"),
        (("Gather", ["X", "s"], {"axis": 1}), {"s": np.array([4], np.int64)}, {}, "out of range"),
        (("Gather", ["X", "s"], {"axis": 1}), {"s": np.array([-1], np.int64)}, {"opset": 10}, "out of range"),
        (("Gather", ["X", "s"], {"axis": 1}), {"s": np.array(1, np.int64)}, {}, "no constant list"),
        (("Pad", ["X", "s"], {}), {"s": np.array([0, -1, 0, 0], np.int64)}, {}, "pads"),
        (("Pad", ["X", "s"], {}), {"s": np.array([0, 1], np.int64)}, {}, "pads"),
        (("Pad", ["X", "s"], {"mode": "edge"}), {"s": np.array([0, 1, 0, 0], np.int64)}, {}, "another kind"),
        (("Pad", ["X", "s", "v"], {}), {"s": np.array([0, 1, 0, 0], np.int64), "v": _f(1)}, {}, "3 inputs"),
        (("Sign", ["X"], {}), {}, {}, "output is constant, a Sign"),
        (("Greater", ["X", "w"], {}), {"w": _f(4)}, {}, "'Greater' is not covered"),
        (("MaxPool", ["X"], {"kernel_shape": [2, 2]}), {}, IMAGE, "not covered"),
        (("Cast", ["X"], {"to": DOUBLE}), {}, {}, "not covered"),
        (("If", ["X"], {}), {}, {}, "not covered"),
        (("Relu", ["X"], {"alpha": 0.5}), {}, {}, "attribute 'alpha'"),
        (("Relu", ["X", "X"], {}), {}, {}, "2 inputs"),
        (("Relu", ["nowhere"], {}), {}, {}, "nothing before it makes"),
        (("Relu", ["w"], {}), {"w": _f(4)}, {}, "constant where a variable"),
        (("Gemm", ["X", "w", ""], {}), {"w": np.full((4, 2), np.inf, np.float32)}, {}, "not finite"),
        (("Gemm", ["X", "w"], {}), {"w": np.full((4, 2), np.nan, np.float32)}, {}, "not finite"),
        (("Gemm", ["X", "w"], {}), {"w": np.ones((4, 2), np.float16)}, {}, "neither float32"),
        (RELU, {"X": _f(1, 4)}, {}, "named twice"),
        (RELU, {"Y": _f(1, 4)}, {}, "named twice"),
        (RELU, {}, {"shape": ("batch", "n")}, "not fixed"),
        (RELU, {}, {"shape": (1, 0)}, "not fixed"),
        (RELU, {}, {"kind": TensorProto.INT64}, "no tensor of float32"),
        (RELU, {}, {"opset": 8}, "operator sets"),
        (RELU, {}, {"opset": 22}, "operator sets"),
    ],
)
def test_what_is_not_understood_is_refused(
    node: Node, constants: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    with pytest.raises(UnsupportedNetworkError, match=why) as caught:
        Graph(parse_network(model_of(node, constants=constants, **more).SerializeToString()))
    assert "\n" not in str(caught.value)


def _two_outputs(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("t0", FLOAT, None))


def _initialised_input(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(_f(1, 4), "X"))


def _input_for_a_constant(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, (1, 4)))
    model.graph.initializer.append(numpy_helper.from_array(_f(1, 4), "w"))


def _function(model: onnx.ModelProto) -> None:
    opset = [helper.make_opsetid("", 13)]
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], [], opset))


def _domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def _second_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("", 9))


def _external(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(_f(1, 4), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    model.graph.initializer.append(tensor)


def _stored_twice(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(_f(1, 4), "w")
    tensor.float_data.extend([2.0] * 4)
    model.graph.initializer.append(tensor)


def _too_short(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(_f(1, 4), "w")
    tensor.dims[1] = 5
    model.graph.initializer.append(tensor)


def _other_store(model: onnx.ModelProto) -> None:
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[1], double_data=[1.0])
    model.graph.initializer.append(tensor)


def _sparse(model: onnx.ModelProto) -> None:
    values, places = numpy_helper.from_array(_f(1), "w"), numpy_helper.from_array(np.array([0]), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))


def _shadowing_node(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["X"], ["Y"]))


def _second_result(model: onnx.ModelProto) -> None:
    model.graph.node[0].output.append("more")


def _nameless_result(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = ""


def _out_of_order(model: onnx.ModelProto) -> None:
    model.graph.node.insert(0, helper.make_node("Relu", ["Y"], ["early"]))


def _other_output_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = DOUBLE


def _other_output_shape(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("Y", FLOAT, (1, 5)))


def _attribute_twice(model: onnx.ModelProto) -> None:
    node = helper.make_node("Flatten", ["Y"], ["z"], axis=1)
    node.attribute.append(helper.make_attribute("axis", 0))
    model.graph.node.append(node)


def _attribute_by_reference(model: onnx.ModelProto) -> None:
    node = helper.make_node("Flatten", ["Y"], ["z"], axis=1)
    node.attribute[0].ref_attr_name = "axis"
    model.graph.node.append(node)


def _left_out(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Gemm", ["", "Y"], ["z"]))


def _constant_of_words(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["z"], value_float=1.0))


def _reserved_name(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["X"], ["step:Y"]))


def _sign_of_a_sign(model: onnx.ModelProto) -> None:
    for kind, source, made in (("Sign", "X", "a"), ("Sign", "a", "b"), ("Relu", "b", "c")):
        model.graph.node.append(helper.make_node(kind, [source], [made]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_two_outputs, "2 outputs"),
        (_initialised_input, "named twice"),
        (_input_for_a_constant, "2 inputs"),
        (_function, "functions"),
        (_domain, "another domain"),
        (_second_opset, "operator sets"),
        (_external, "outside the file"),
        (_stored_twice, "stored twice"),
        (_too_short, "more or fewer numbers"),
        (_other_store, "another type"),
        (_sparse, "sparse"),
        (_shadowing_node, "named twice"),
        (_second_result, "2 outputs"),
        (_nameless_result, "named twice or not at all"),
        (_out_of_order, "nothing before it makes"),
        (_other_output_type, "float64"),
        (_other_output_shape, "declared as"),
        (_attribute_twice, "given twice"),
        (_attribute_by_reference, "by reference"),
        (_left_out, "left out"),
        (_constant_of_words, "no stored tensor"),
        (_reserved_name, "begins with"),
        (_sign_of_a_sign, "reads a Sign"),
    ],
)
def test_a_file_with_something_odd_is_refused(change: Callable[[onnx.ModelProto], None], why: str) -> None:
    model = model_of(RELU)
    change(model)
    with pytest.raises(UnsupportedNetworkError, match=why):
        Graph(parse_network(model.SerializeToString()))


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"version https://git-lfs", b"<html>"])
def test_what_is_no_onnx_file_is_refused(content: bytes) -> None:
    with pytest.raises(UnsupportedNetworkError):
        Graph(parse_network(content))


def test_a_batch_axis_that_is_left_open_is_one() -> None:
    network = parse_network(model_of(RELU, shape=("batch", 4)).SerializeToString())
    assert network.input_shape == (1, 4)
