"""Random graphs of the operators that pick, add up, compare and choose, against ONNX Runtime."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from salver.core.errors import SalverError
from salver.explain.autograd import gradient_by_autograd
from salver.explain.unroll import logit_combination, unroll
from salver.nets.network import Network, evaluate
from salver.nets.onnx.reader import from_model, read_for_query, read_onnx
from salver.nets.torch_bridge import to_torch
from tests.builders.onnx_models import chain, constant, made
from tests.builders.torch_twins import bending


class PaddingAloneError(Exception):
    pass


def read(model: onnx.ModelProto) -> Network:
    try:
        return read_for_query(model, [model.graph.output[0].name], "m.onnx")
    except SalverError as error:
        raise PaddingAloneError if "the padding alone" in str(error) else error from None


def assert_as_the_runtime(model: onnx.ModelProto, points: int = 3, whole: bool = True) -> None:
    network = read(model) if whole else from_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    shape = session.get_inputs()[0].shape
    draw = np.random.default_rng(0)
    for _ in range(points):
        x = draw.choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], size=shape).astype(np.float32)
        (expected,) = session.run(None, {"X": x})
        for kind in (np.float32, np.float64):
            found = evaluate(network, np.ravel(x).astype(kind)[None])[0]
            np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 32),
    length=st.integers(1, 5),
)
def test_chains_of_operators_are_read_as_the_runtime_means_them(shape, seed, length):
    assert_as_the_runtime(chain(shape, seed, length))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 32),
    length=st.integers(1, 5),
)
def test_chains_of_operators_are_unrolled_to_their_gradients(shape, seed, length):
    """Backwards in numpy as automatic differentiation in torch does it, on kinks too."""
    network = bending(read(chain(shape, seed, length)))
    combination = np.random.default_rng(seed).integers(1, 4, network.output_size).astype(float)
    graph = network
    with suppress(SalverError):  # nothing may be left that depends on the input
        graph = unroll(network, combination)
    x = np.random.default_rng(1).choice([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], (6, network.input_size))
    if graph is not network:
        found = evaluate(graph, x)[:, network.output_size :]
        np.testing.assert_allclose(found, gradient_by_autograd(network, combination, x), atol=1e-6)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(
    axes=st.integers(1, 2),
    seed=st.integers(0, 1 << 32),
    ceil=st.integers(0, 1),
    images=st.sampled_from([1, 1, 2]),
)
def test_maximum_pooling_is_that_of_the_runtime(axes, seed, ceil, images):
    draw = random.Random(seed)
    size = [draw.randint(2, 6) for _ in range(axes)]
    kernel = [draw.randint(1, min(3, n)) for n in size]
    dilations = [draw.randint(1, 2) if d * 2 - 1 <= n else 1 for d, n in zip(kernel, size, strict=True)]
    pads = [draw.randint(0, k - 1) if draw.random() < 0.4 else 0 for k in kernel * 2]
    strides = [draw.randint(1, 3) for _ in kernel]
    options = {"strides": strides, "pads": pads, "dilations": dilations, "ceil_mode": ceil}
    node = helper.make_node("MaxPool", ["X"], ["Y"], kernel_shape=kernel, **options)
    model = made([node], [images, 2, *size])
    with suppress(PaddingAloneError):  # the runtime itself answers the least number there
        assert_as_the_runtime(model)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), automatic=st.sampled_from([None, None, "SAME_UPPER", "SAME_LOWER"]))
def test_convolutions_of_signals_are_those_of_the_runtime(seed, automatic):
    draw = random.Random(seed)
    groups, length, width = draw.choice([1, 2]), draw.randint(5, 8), draw.randint(1, 3)
    drawn = np.random.default_rng(seed)
    nodes = [
        constant("W", drawn.normal(size=(2 * groups, 2, width))),
        constant("b", drawn.normal(size=2 * groups)),
    ]
    options = {"strides": [draw.randint(1, 2)], "dilations": [1 if automatic else draw.randint(1, 2)]}
    options |= {"auto_pad": automatic} if automatic else {"pads": [draw.randint(0, 2), draw.randint(0, 2)]}
    nodes.append(helper.make_node("Conv", ["X", "W", "b"], ["C"], group=groups, **options))
    nodes.append(helper.make_node("Relu", ["C"], ["Y"]))
    assert_as_the_runtime(made(nodes, [1, 2 * groups, length]), whole=False)


def attributed(kind: str, shape: list[int], opset: int, **attributes: Any) -> onnx.ModelProto:
    """One operator of an older set, which had as attributes what are inputs now."""
    count = 2 if kind == "Split" else 1
    outputs = ["Y", "Z"][:count]
    return made([helper.make_node(kind, ["X"], outputs, **attributes)], shape, opset)


@pytest.mark.parametrize(
    "model",
    [
        attributed("Slice", [1, 4], 9, axes=[1], starts=[1], ends=[-1]),
        attributed("Split", [1, 5], 11, axis=1, split=[2, 3]),
        attributed("Split", [1, 4], 11, axis=-1),
        attributed("Squeeze", [1, 2, 1, 3], 11, axes=[2]),
        attributed("Unsqueeze", [1, 2], 11, axes=[2]),
        attributed("ReduceSum", [1, 2, 3], 11, axes=[1], keepdims=0),
        attributed("ReduceSum", [1, 2, 3], 11),
        attributed("ReduceMean", [1, 2, 3], 13, axes=[-1]),
        attributed("Split", [1, 5], 18, axis=1, num_outputs=2),
    ],
)
def test_older_forms_are_those_of_the_runtime(model):
    assert_as_the_runtime(model, whole=False)


def test_a_batch_of_unknown_size_counts_as_one():
    """As exporters write a flattening: the shape asked for at run time."""
    nodes = [
        helper.make_node("Shape", ["X"], ["s"]),
        constant("zero", 0, np.int64),
        helper.make_node("Gather", ["s", "zero"], ["batch"]),
        constant("axes", [0], np.int64),
        helper.make_node("Unsqueeze", ["batch", "axes"], ["b"]),
        constant("rest", [-1], np.int64),
        helper.make_node("Concat", ["b", "rest"], ["to"], axis=0),
        helper.make_node("Reshape", ["X", "to"], ["f"]),
        helper.make_node("Relu", ["f"], ["Y"]),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["batch", 2, 3])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("Y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert evaluate(from_model(model), np.arange(-3.0, 3.0)[None]).tolist() == [[0.0] * 3 + [0.0, 1.0, 2.0]]


def test_a_size_that_is_worked_out_in_the_file(tmp_path):
    """As TorchScript writes an Unflatten: a Mod, and a Reshape whose result inference does not find."""
    nodes = [
        constant("minus", -1, np.int64),
        constant("rank", 2, np.int64),
        helper.make_node("Mod", ["minus", "rank"], ["axis"]),
        helper.make_node("Shape", ["X"], ["s"]),
        constant("one", [1], np.int64),
        helper.make_node("Reshape", ["axis", "one"], ["end"]),
        constant("zero", [0], np.int64),
        helper.make_node("Slice", ["s", "zero", "end"], ["before"]),
        constant("image", [1, 2, 3], np.int64),
        helper.make_node("Concat", ["before", "image"], ["to"], axis=0),
        helper.make_node("Reshape", ["X", "to"], ["i"]),
        constant("W", np.ones((2, 1, 2, 2))),
        helper.make_node("Conv", ["i", "W"], ["Y"]),
    ]
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 6])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info("Y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    assert evaluate(read_onnx(path), np.arange(6.0)[None]).tolist() == [[8.0, 12.0] * 2]


REFUSED: list[tuple[str, list[onnx.NodeProto], list[int]]] = [
    ("by variable indices", [helper.make_node("Expand", ["X", "v"], ["Y"])], [1, 2]),
    ("over variable axes", [helper.make_node("ReduceSum", ["X", "v"], ["Y"])], [1, 2]),
    ("by a variable", [helper.make_node("Div", ["X", "X"], ["Y"])], [1, 2]),
    ("to another type", [helper.make_node("Cast", ["X"], ["Y"], to=TensorProto.INT64)], [1, 2]),
    ("to another type", [helper.make_node("Cast", ["X"], ["Y"], to=TensorProto.FLOAT16)], [1, 2]),
    ("boolean where", [helper.make_node("Greater", ["X", "c"], ["Y"])], [1, 2]),
    ("indices", [helper.make_node("MaxPool", ["X"], ["Y"], kernel_shape=[2], storage_order=1)], [1, 1, 3]),
    ("windows of 400", [helper.make_node("MaxPool", ["X"], ["Y"], kernel_shape=[400])], [1, 1, 500]),
    ("named twice", [helper.make_node("Split", ["X", "two"], ["Y", "Y"])], [2, 1]),
    ("entries to write", [helper.make_node("MatMul", ["X", "cube"], ["Y"])], [1, 2, 80, 80]),
    ("too large", [helper.make_node("ConstantOfShape", ["huge"], ["Y"])], [1, 2]),
    ("by zero", [helper.make_node("Div", ["two", "zeros"], ["Y"])], [1, 2]),
    ("these constants", [helper.make_node("Div", ["c", "z"], ["Y"])], [1, 2]),
    ("out of range", [helper.make_node("Cast", ["big"], ["Y"], to=TensorProto.INT32)], [1, 2]),
    ("Pow", [helper.make_node("Pow", ["X", "c"], ["Y"])], [1, 2]),
]
VALUES = {
    "c": np.float32([1.5]),
    "z": np.float32([0.0]),
    "two": np.array([1, 1]),
    "zeros": np.array([0, 0]),
    "huge": np.array([1 << 20, 1 << 20]),
    "big": np.float32([3e9]),
    "tenth": np.float64([0.1]),
    "cube": np.ones((2, 80, 80), np.float32),
}


@pytest.mark.parametrize(("what", "nodes", "shape"), REFUSED)
def test_what_is_not_understood_is_refused(what, nodes, shape):
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)]
    before = [
        helper.make_node("Cast", ["X"], ["D"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["X"], ["v"], to=TensorProto.FLOAT),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in VALUES.items()]
    outputs = [helper.make_empty_tensor_value_info("Y")]
    graph = helper.make_graph([*before, *nodes], "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(SalverError) as error:
        read(model)
    assert what in error.value.what


def test_a_batch_is_no_axis_of_a_classifier():
    model = made([helper.make_node("Relu", ["X"], ["Y"])], [2, 3])
    assert_as_the_runtime(model)
    with pytest.raises(SalverError, match="batch size 1"):
        from_model(model)


def test_gradients_go_through_what_picks_and_adds_up():
    draw = np.random.default_rng(3)
    nodes = [
        constant("to", [1, 1, 4, 4], np.int64),
        helper.make_node("Reshape", ["X", "to"], ["i"]),
        helper.make_node("MaxPool", ["i"], ["p"], kernel_shape=[2, 2], strides=[1, 1], pads=[1, 0, 0, 1]),
        helper.make_node("Transpose", ["p"], ["t"], perm=[0, 3, 1, 2]),
        constant("from", [1], np.int64),
        constant("end", [9], np.int64),
        constant("axis", [1], np.int64),
        helper.make_node("Slice", ["t", "from", "end", "axis"], ["s"]),
        helper.make_node("ReduceSum", ["s", "axis"], ["r"], keepdims=0),
        helper.make_node("Flatten", ["r"], ["f"]),
        constant("W", draw.normal(size=(4, 3))),
        helper.make_node("MatMul", ["f", "W"], ["m"]),
        helper.make_node("Relu", ["m"], ["Y"]),
    ]
    network = from_model(made(nodes, [1, 16]))
    gradient = unroll(network, logit_combination(3, 1))
    for _ in range(5):
        x = torch.tensor(draw.normal(size=(1, 16)), requires_grad=True)
        to_torch(network, torch.float64)(x)[0, 1].backward()
        found = evaluate(gradient, x.detach().numpy())[0, 3:]
        np.testing.assert_allclose(found, x.grad[0].numpy(), atol=1e-9)


def test_a_product_of_variables_has_no_unrolled_gradient():
    nodes = [helper.make_node("Relu", ["X"], ["r"]), helper.make_node("Mul", ["X", "r"], ["Y"])]
    with pytest.raises(SalverError, match="Mul has no unrolled gradient"):
        unroll(from_model(made(nodes, [1, 2])), logit_combination(2, 0))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), kind=st.sampled_from([TensorProto.INT64, TensorProto.INT32]))
def test_whole_numbers_are_those_of_the_runtime_on_the_box(seed, kind):
    draw = random.Random(seed)
    low = np.array([draw.choice([-3.0, -2.5, -1.0, 0.0, 0.5, 2.0]) for _ in range(2)])
    high = low + [draw.choice([0.0, 0.25, 1.0, 3.5]) for _ in range(2)]
    nodes = [
        constant("c", [draw.choice([1.0, -2.0]), 0.5]),
        helper.make_node("Mul", ["X", "c"], ["s"]),
        helper.make_node("Cast", ["s"], ["i"], to=kind),
        constant("k", [3, -1], np.int64),
        helper.make_node("Add", ["i", "k"] if kind == TensorProto.INT64 else ["i", "i32"], ["j"]),
        helper.make_node("Cast", ["j"], ["Y"], to=TensorProto.FLOAT),
    ]
    if kind == TensorProto.INT32:
        nodes[4:5] = [helper.make_node("Transpose", ["i"], ["j"], perm=[0])]
    model = made(nodes, [2])
    network = read_for_query(model, ["Y"], "m.onnx", (low, high))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    points = np.linspace(low, high, 9)
    points = np.clip(np.concatenate([points, np.round(points), np.trunc(points * 2) / 2]), low, high)
    for x in points.astype(np.float32):
        (expected,) = session.run(None, {"X": x})
        assert evaluate(network, x[None].astype(np.float64))[0].tolist() == expected.tolist()


WHOLE: list[tuple[str, list[onnx.NodeProto]]] = [
    ("of whole numbers", [helper.make_node("Mul", ["i", "two"], ["Y"])]),
    ("of whole numbers", [helper.make_node("Div", ["i", "two"], ["Y"])]),
    ("of whole numbers", [helper.make_node("ReduceMean", ["i"], ["Y"])]),
    ("of whole numbers", [helper.make_node("Add", ["i", "many"], ["Y"])]),
    ("of whole numbers", [helper.make_node("Greater", ["i", "two"], ["t"])]),
    ("not real", [helper.make_node("Cast", ["i"], ["Y"], to=TensorProto.INT8)]),
    ("a range from", [helper.make_node("Cast", ["far"], ["Y"], to=TensorProto.INT64)]),
]


@pytest.mark.parametrize(("what", "nodes"), WHOLE)
def test_whole_numbers_are_moved_and_added_alone(what, nodes):
    before = [
        constant("million", [1e6]),
        helper.make_node("Mul", ["X", "million"], ["far"]),
        constant("two", [2], np.int64),
        constant("many", [1 << 40], np.int64),
        helper.make_node("Cast", ["X"], ["i"], to=TensorProto.INT64),
    ]
    model = made([*before, *nodes], [2], output=nodes[-1].output[0])
    with pytest.raises(SalverError) as error:
        read_for_query(model, ["Y"], "m.onnx", (-np.ones(2), np.ones(2)))
    assert what in error.value.what
