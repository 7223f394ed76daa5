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
from onnx import TensorProto, helper, numpy_helper, shape_inference

from salver.core.errors import SalverError
from salver.explain.unroll import logit_combination, unroll
from salver.nets.evaluate import evaluate
from salver.nets.network import Network
from salver.nets.onnx.reader import from_model, read_for_query
from salver.nets.torch_bridge import to_torch

Nodes = list[onnx.NodeProto]


def made(nodes: Nodes, shape: list[int], opset: int = 18, output: str = "Y") -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_empty_tensor_value_info(output)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred)
    return inferred


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


def constant(name: str, value: Any, kind: Any = np.float32) -> onnx.NodeProto:
    return helper.make_node(
        "Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, kind), name)
    )


class Chain:
    """Operators one after the other, each drawn for the shape that the last one left."""

    def __init__(self, shape: list[int], seed: int) -> None:
        self.random, self.shape, self.first = random.Random(seed), list(shape), list(shape)
        self.nodes: Nodes = []
        self.name = "X"

    def fresh(self) -> str:
        return f"t{len(self.nodes)}"

    def const(self, value: Any, kind: Any = np.int64) -> str:
        name = self.fresh()
        self.nodes.append(constant(name, value, kind))
        return name

    def weights(self, shape: list[int]) -> str:
        count = int(np.prod(shape))
        values = [self.random.choice([-2.0, -1.0, 0.0, 0.5, 1.0]) for _ in range(count)]
        return self.const(np.reshape(values, shape), np.float32)

    def apply(self, kind: str, inputs: list[str], count: int = 1, **attributes: Any) -> list[str]:
        outputs = [f"{self.fresh()}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs

    def take(self, name: str) -> None:
        model = made(self.nodes, self.first, output=name)
        tensor = model.graph.output[0].type.tensor_type
        self.shape = [axis.dim_value for axis in tensor.shape.dim]
        self.name = name

    def step(self) -> None:
        if not self.shape:
            self.take(self.apply("Unsqueeze", [self.name, self.const([0])])[0])
        if np.prod(self.shape) > 60:
            return
        getattr(self, self.random.choice([n for n in dir(self) if n.startswith("on_")]))()

    def axis(self) -> int:
        axis = self.random.randrange(len(self.shape))
        return axis - self.random.choice([0, len(self.shape)])

    def on_transpose(self) -> None:
        axes = list(range(len(self.shape)))
        self.random.shuffle(axes)
        self.take(self.apply("Transpose", [self.name], perm=axes)[0])

    def on_slice(self) -> None:
        axis = self.axis()
        size, step = self.shape[axis], self.random.choice([1, 1, 2, -1, -2])
        start = self.random.randrange(size) - self.random.choice([0, size])
        end = self.random.choice([1000, size]) if step > 0 else self.random.choice([-1000, -size - 1])
        pieces = [self.const([value]) for value in (start, end, axis, step)]
        self.take(self.apply("Slice", [self.name, *pieces])[0])

    def on_gather(self) -> None:
        axis = self.axis()
        size = self.shape[axis]
        shape = self.random.choice([[], [1], [2], [2, 2]])
        places = [self.random.randrange(-size, size) for _ in range(int(np.prod(shape)))]
        where = self.const(np.reshape(places, shape))
        self.take(self.apply("Gather", [self.name, where], axis=axis)[0])

    def on_split(self) -> None:
        axis = self.axis()
        first = self.random.randint(1, self.shape[axis])
        sizes = [first] + ([self.shape[axis] - first] if first < self.shape[axis] else [])
        parts = self.apply("Split", [self.name, self.const(sizes)], len(sizes), axis=axis)
        self.take(self.random.choice(parts))

    def on_expand(self) -> None:
        target = [2 if size == 1 and self.random.random() < 0.5 else size for size in self.shape]
        target = [self.random.choice([1, 2]), *target] if self.random.random() < 0.3 else target
        self.take(self.apply("Expand", [self.name, self.const(target)])[0])

    def on_reduce(self) -> None:
        axes = self.random.sample(range(len(self.shape)), self.random.randint(1, len(self.shape)))
        axes = self.random.choice([axes, [self.axis()], []])
        keep = self.random.choice([0, 1])
        options = {"noop_with_empty_axes": self.random.choice([0, 1])} if not axes else {}
        count = int(np.prod([self.shape[axis] for axis in axes or range(len(self.shape))]))
        # A mean of three is no number of single precision, and a comparison may follow.
        kind = self.random.choice(["ReduceSum", "ReduceMean"]) if count in (1, 2, 4, 8) else "ReduceSum"
        given = [self.const(axes)] if axes else []
        self.take(self.apply(kind, [self.name, *given], keepdims=keep, **options)[0])

    def on_layout(self) -> None:
        kind = self.random.choice(["Flatten", "Unsqueeze", "Reshape", "Neg", "Relu", "Abs"])
        inputs = [self.name]
        inputs += [self.const([self.random.choice([0, -1])])] if kind == "Unsqueeze" else []
        inputs += [self.const([-1, self.random.choice([1, self.shape[-1]])])] if kind == "Reshape" else []
        options = {"axis": self.random.randint(0, len(self.shape))} if kind == "Flatten" else {}
        self.take(self.apply(kind, inputs, **options)[0])

    def on_constant(self) -> None:
        shape = [self.random.choice([1, size]) for size in self.shape][self.random.choice([0, -1]) :]
        shape = [2, *shape] if len(shape) == len(self.shape) and self.random.random() < 0.3 else shape
        operands = [self.name, self.weights(shape)]
        self.random.shuffle(operands)
        self.take(self.apply(self.random.choice(["Add", "Sub", "Mul"]), operands)[0])

    def on_sum(self) -> None:
        other = self.apply("ReduceSum", [self.name, self.const([self.axis()])], keepdims=1)[0]
        self.take(self.apply(self.random.choice(["Add", "Sub"]), [other, self.name])[0])

    def on_concat(self) -> None:
        parts = self.random.choice(
            [[self.name, self.weights(self.shape)], [self.weights(self.shape), self.name, self.name]]
        )
        self.take(self.apply("Concat", parts, axis=self.axis())[0])

    def on_matmul(self) -> None:
        factors = [self.name, self.weights([self.shape[-1], 2])]
        if len(self.shape) > 1 and self.random.random() < 0.3:
            factors = [self.weights([2, self.shape[-2]]), self.name]
        if len(self.shape) > 2 and factors[1] == self.name:
            return
        self.take(self.apply("MatMul", factors)[0])

    def comparison(self) -> str:
        kind = self.random.choice(["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"])
        other = self.random.choice(
            [self.weights([1]), self.weights(self.shape[-1:]), self.apply("Neg", [self.name])[0]]
        )
        operands = [self.name, other]
        self.random.shuffle(operands)
        truth = self.apply(kind, operands)[0]
        return self.apply("Not", [truth])[0] if self.random.random() < 0.3 else truth

    def on_truth(self) -> None:
        truth = self.comparison()
        if self.random.random() < 0.3:
            truth = self.apply("Cast", [self.name], to=TensorProto.BOOL)[0]
        self.take(self.apply("Cast", [truth], to=TensorProto.FLOAT)[0])

    def on_choice(self) -> None:
        other = self.random.choice([self.weights(self.shape), self.weights([1]), self.name])
        operands = [self.name, other]
        self.random.shuffle(operands)
        condition = self.comparison()
        if self.random.random() < 0.2:
            condition = self.const([self.random.random() < 0.5 for _ in range(self.shape[-1])], np.bool_)
        elif self.random.random() < 0.3:
            operands[operands.index(self.name)] = self.apply("Neg", [self.name])[0]
        self.take(self.apply("Where", [condition, *operands])[0])

    def on_shape(self) -> None:
        size = self.apply("Shape", [self.name])[0]
        value = numpy_helper.from_array(np.array([1.5], np.float32))
        filled = self.apply("ConstantOfShape", [size], value=value)[0]
        self.take(self.apply("Mul", [self.name, filled])[0])


def chain(shape: list[int], seed: int, length: int) -> onnx.ModelProto:
    drawn = Chain(shape, seed)
    for _ in range(length):
        drawn.step()
    end = drawn.apply("Neg", [drawn.name])[0]
    return made(drawn.nodes, shape, output=end)


@settings(max_examples=250, deadline=None)
@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    seed=st.integers(0, 1 << 32),
    length=st.integers(1, 5),
)
def test_chains_of_operators_are_read_as_the_runtime_means_them(shape, seed, length):
    assert_as_the_runtime(chain(shape, seed, length))


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


REFUSED: list[tuple[str, list[onnx.NodeProto], list[int]]] = [
    ("by variable indices", [helper.make_node("Expand", ["X", "v"], ["Y"])], [1, 2]),
    ("over variable axes", [helper.make_node("ReduceSum", ["X", "v"], ["Y"])], [1, 2]),
    ("by a variable", [helper.make_node("Div", ["X", "X"], ["Y"])], [1, 2]),
    ("to another type", [helper.make_node("Cast", ["X"], ["Y"], to=TensorProto.INT64)], [1, 2]),
    ("to another type", [helper.make_node("Cast", ["X"], ["Y"], to=TensorProto.FLOAT16)], [1, 2]),
    ("boolean where", [helper.make_node("Greater", ["X", "c"], ["Y"])], [1, 2]),
    ("with indices", [helper.make_node("MaxPool", ["X"], ["Y", "i"], kernel_shape=[2])], [1, 1, 3]),
    ("windows of 400", [helper.make_node("MaxPool", ["X"], ["Y"], kernel_shape=[20, 20])], [1, 1, 30, 30]),
    ("named twice", [helper.make_node("Split", ["X", "two"], ["Y", "Y"])], [2, 1]),
    ("entries to write", [helper.make_node("Transpose", ["X"], ["Y"], perm=[0, 2, 1])], [1, 80, 80]),
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


def test_a_comparison_has_no_unrolled_gradient():
    nodes = [
        constant("c", [0.5]),
        helper.make_node("Greater", ["X", "c"], ["t"]),
        helper.make_node("Where", ["t", "X", "c"], ["Y"]),
    ]
    with pytest.raises(SalverError, match="no unrolled gradient"):
        unroll(from_model(made(nodes, [1, 2])), logit_combination(2, 0))


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
