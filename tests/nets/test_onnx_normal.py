"""Files of odd exporters mean what ONNX Runtime computes, whatever their order, functions and dead parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

from salver.core.errors import SalverError
from salver.nets.classifier import read_classifier
from salver.nets.network import evaluate
from salver.nets.onnx.file import files_of, load_model, self_contained
from salver.solvers.__main__ import main as solve

Nodes = list[onnx.NodeProto]
Change = Callable[[onnx.ModelProto], None]
RNG = np.random.default_rng(0)
W1, W2 = (RNG.normal(size=size).astype(np.float32) for size in ((3, 4), (4, 2)))


def mlp(shape: list[int | str] | None = None, opset: int = 13) -> onnx.ModelProto:
    """X [1, 3] -> MatMul -> Relu -> MatMul -> Y [1, 2]."""
    nodes = [
        helper.make_node("MatMul", ["X", "W1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="gate"),
        helper.make_node("MatMul", ["b", "W2"], ["Y"], name="last"),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, shape or [1, 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(W1, "W1"), numpy_helper.from_array(W2, "W2")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def stored(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def assert_read_as_the_runtime_does(path: Path, output: str = "Y") -> None:
    network = read_classifier(path, None if output == "Y" else output).network
    session = onnxruntime.InferenceSession(self_contained(path), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    for row in x:
        feeds = {
            i.name: row[None] if i.name == "X" else np.ones((1, 2), np.float32) for i in session.get_inputs()
        }
        (expected,) = session.run([output], feeds)
        assert np.allclose(evaluate(network, row), expected.reshape(1, -1), atol=1e-5)


def unsorted(model: onnx.ModelProto) -> None:
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def dead_branch(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Foo", ["a"], ["dead"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def unused_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1, 2]))


def alias(model: onnx.ModelProto) -> None:
    model.opset_import[0].domain = "ai.onnx"
    model.graph.node[1].domain = "ai.onnx"


def sparse(model: onnx.ModelProto) -> None:
    places = np.flatnonzero(W1)
    values = numpy_helper.from_array(W1.ravel()[places], "W1")
    indices = numpy_helper.from_array(places.astype(np.int64), "W1i")
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, W1.shape))


def sparse_pairs(model: onnx.ModelProto) -> None:
    sparse(model)
    pairs = np.argwhere(W1).astype(np.int64)
    model.graph.sparse_initializer[0].indices.CopyFrom(numpy_helper.from_array(pairs, "W1i"))


def false_shapes(model: onnx.ModelProto) -> None:
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("Y", TensorProto.FLOAT, [7, 9]))
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [5, 5, 5]))


def weights_as_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("W1", TensorProto.FLOAT, [3, 4]))


def functions(model: onnx.ModelProto) -> None:
    """The gate as a function of a function, called under a name that the graph uses too."""
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    inner = helper.make_function(
        "own", "Inner", ["u"], ["a"], [helper.make_node("Relu", ["u"], ["a"])], opset
    )
    outer = helper.make_function(
        "own", "Outer", ["v"], ["w"], [helper.make_node("Inner", ["v"], ["w"], domain="own")], opset
    )
    model.functions.extend([inner, outer])
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[1].CopyFrom(helper.make_node("Outer", ["a"], ["b"], domain="own"))


def constant_if(model: onnx.ModelProto, condition: bool = True) -> None:
    value = helper.make_tensor_value_info
    right = helper.make_graph([helper.make_node("Relu", ["a"], ["r"])], "t", [], [value("r", 1, None)])
    wrong = helper.make_graph([helper.make_node("Sigmoid", ["a"], ["s"])], "e", [], [value("s", 1, None)])
    branches = {"then_branch": right, "else_branch": wrong} if condition else \
               {"then_branch": wrong, "else_branch": right}  # fmt: skip
    model.graph.initializer.append(numpy_helper.from_array(np.array(condition), "c"))
    model.graph.node[1].CopyFrom(helper.make_node("If", ["c"], ["b"], **branches))


def two_ifs(model: onnx.ModelProto) -> None:
    """Two branches whose inner tensors have the same names, one of them a tensor of the other's."""
    constant_if(model)
    again = onnx.NodeProto.FromString(model.graph.node[1].SerializeToString())
    again.output[0] = "b2"
    again.attribute[0].g.node[0].input[0] = "b"
    model.graph.node.insert(2, again)
    model.graph.node[3].input[0] = "b2"


def negative_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1


def casts(model: onnx.ModelProto) -> None:
    chain = [("a", "d", TensorProto.DOUBLE), ("d", "f", TensorProto.FLOAT)]
    for number, (source, made, kind) in enumerate(chain):
        model.graph.node.insert(1 + number, helper.make_node("Cast", [source], [made], to=kind))
    model.graph.node[3].input[0] = "f"


def with_shape_subgraph(model: onnx.ModelProto) -> None:
    """A reshape to sizes worked out from the input's shape, with allowzero as torch writes it."""
    model.opset_import[0].version = 18
    made = [
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n", "zeros"], ["n1"]),
        helper.make_node("Concat", ["n1", "minus"], ["to"], axis=0),
        helper.make_node("Reshape", ["a", "to"], ["reshaped"], allowzero=1),
    ]
    for number, node in enumerate(made):
        model.graph.node.insert(1 + number, node)
    model.graph.node[6].input[0] = "reshaped"
    for name, value in (("zero", 0), ("zeros", [0]), ("minus", [-1])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))


@pytest.mark.parametrize(
    "change",
    [unsorted, dead_branch, unused_input, alias, sparse, sparse_pairs, false_shapes, weights_as_inputs,
     functions, constant_if, two_ifs, lambda model: constant_if(model, False), negative_batch, casts,
     with_shape_subgraph],
)  # fmt: skip
def test_an_odd_file_is_read_as_the_runtime_runs_it(change: Change, tmp_path: Path) -> None:
    model = mlp()
    change(model)
    path = stored(model, tmp_path)
    if change is dead_branch:
        assert [node.op_type for node in load_model(path).graph.node] == ["MatMul", "Relu", "MatMul"]
        del model.graph.node[-1]  # which the runtime refuses
        stored(model, tmp_path)
    assert_read_as_the_runtime_does(path)


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_operator_set_is_read(opset: int, tmp_path: Path) -> None:
    path = stored(mlp(opset=opset), tmp_path)
    assert np.allclose(
        evaluate(read_classifier(path).network, np.ones(3)), np.maximum(np.ones(3) @ W1, 0) @ W2, atol=1e-5
    )


def convolutional(opset: int) -> onnx.ModelProto:
    """Operators whose options moved from attributes to inputs, in the form of the set."""
    rng, make = np.random.default_rng(7), helper.make_node
    weights: dict[str, np.ndarray] = {
        "K": rng.normal(size=(2, 1, 3, 3)), "k": rng.normal(size=2), "m": rng.normal(size=2),
        "v": rng.uniform(0.5, 2, 2), "D": rng.normal(size=(8, 3)), "d": rng.normal(size=3),
    }  # fmt: skip
    constants = {name: value.astype(np.float32) for name, value in weights.items()}

    def held(since: int, kind: str, inputs: list[str], output: str, **options: Any) -> onnx.NodeProto:
        """Options as attributes before a set, as inputs in their order from then on."""
        if opset < since:
            return make(kind, inputs, [output], **{k: np.asarray(v).tolist() for k, v in options.items()})
        names = [f"{output}_{name}" for name in options]
        constants.update(zip(names, map(np.asarray, options.values()), strict=True))
        return make(kind, [*inputs, *names], [output])

    nodes = [
        held(11, "Pad", ["X"], "p", pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), value=np.float32(0)),
        make("Conv", ["p", "K", "k"], ["c"]),
        make("BatchNormalization", ["c", "v", "k", "m", "v"], ["n"]),
        held(11, "Clip", ["n"], "g", min=np.float32(0), max=np.float32(2)),
        make("Dropout", ["g"], ["o"]),
        make("MaxPool", ["o"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        held(10, "Slice", ["q"], "s", starts=np.array([0]), ends=np.array([2]), axes=np.array([1])),
        held(13, "Unsqueeze", ["s"], "u", axes=np.array([1])),
        held(13, "Squeeze", ["u"], "w", axes=np.array([1])),
        make("Reshape", ["w", "to"], ["f"]),
        make("Gemm", ["f", "D", "d"], ["z"]),
        make("Add", ["z", "z_sum"], ["Y"]),
        held(13, "ReduceSum", ["z"], "z_sum", axes=np.array([1])),
    ]
    constants["to"] = np.array([0, -1])
    given = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 1, 4, 4])]
    ends = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)]
    nodes[-2:] = reversed(nodes[-2:])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "set", given, ends, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 15, 18, 21, 23])
def test_options_are_read_wherever_a_set_has_them(opset: int, tmp_path: Path) -> None:
    path = stored(convolutional(opset), tmp_path)
    network = read_classifier(path).network
    session = onnxruntime.InferenceSession(self_contained(path), providers=["CPUExecutionProvider"])
    for row in np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32):
        (expected,) = session.run(None, {"X": row.reshape(1, 1, 4, 4)})
        assert np.allclose(evaluate(network, row), expected, atol=1e-5)


def test_weights_may_lie_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = mlp()
    convert_model_to_external_data(model, location="net.onnx.data", size_threshold=0)
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    assert not load_model(path).graph.initializer[0].external_data
    assert files_of(path) == [path, tmp_path / "net.onnx.data"]
    assert_read_as_the_runtime_does(path)
    query = tmp_path / "q.vnnlib"
    query.write_text(
        "".join(f"(declare-const X_{i} Real)(assert (= X_{i} 1))" for i in range(3))
        + "(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (>= Y_0 -100))"
    )
    assert solve(["hybrid", "verify", str(query), "--network", f"N={path}", "--timeout", "20"]) == 0
    assert capsys.readouterr().out.startswith("sat")
    (tmp_path / "net.onnx.data").write_bytes(b"short")
    with pytest.raises(SalverError, match=r"goes beyond the end of 'net.onnx.data'; copy both files again"):
        load_model(path)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(SalverError, match=r"'net.onnx.data', which cannot be read .*external_data=False"):
        load_model(path)


def test_a_dead_part_that_the_runtime_refuses_keeps_no_witness_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = mlp()
    dead_branch(model)
    path, query = stored(model, tmp_path), tmp_path / "q.vnnlib"
    text = "".join(f"(declare-const X_{i} Real)(assert (= X_{i} 1))" for i in range(3))
    query.write_text(f"{text}(declare-const Y_0 Real)(declare-const Y_1 Real)(assert (>= Y_0 -100))")
    assert solve(["falsify", "verify", str(query), "--network", f"N={path}", "--timeout", "20"]) == 0
    assert capsys.readouterr().out.startswith("sat")


def circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "b"


def recursive(model: onnx.ModelProto) -> None:
    functions(model)
    model.functions[0].node[0].CopyFrom(helper.make_node("Outer", ["u"], ["a"], domain="own"))


def explosive(model: onnx.ModelProto) -> None:
    """Each function calls the next one four times: 4^20 operators when written out."""
    opset = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
    for level in range(20):
        kind = "Relu" if level == 19 else f"F{level + 1}"
        nodes = [
            helper.make_node(kind, [f"t{i}"], [f"t{i + 1}"], domain="" if level == 19 else "own")
            for i in range(4)
        ]
        model.functions.append(helper.make_function("own", f"F{level}", ["t0"], ["t4"], nodes, opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[1].CopyFrom(helper.make_node("F0", ["a"], ["b"], domain="own"))


def missing(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def two_makers(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "a"


def sigmoid(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Sigmoid"


def foreign(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def quantised(model: onnx.ModelProto) -> None:
    for name, value in (("scale", np.float32(0.1)), ("zero", np.uint8(3))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.node.insert(1, helper.make_node("QuantizeLinear", ["a", "scale", "zero"], ["q"], name="Q"))
    model.graph.node.insert(2, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["r"], name="D"))
    model.graph.node[3].input[0] = "r"


def zero_shape(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18
    model.graph.node.insert(1, helper.make_node("Reshape", ["a", "to"], ["z"], allowzero=1))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 4], np.int64), "to"))
    model.graph.node[2].input[0] = "z"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (circle, "MatMul 'first' waits for itself"),
        (recursive, "function 'Outer' calls itself"),
        (explosive, "more than 20000 operators"),
        (missing, "Relu 'gate' reads a tensor 'nowhere' that nothing makes"),
        (two_makers, "gives two tensors one name"),
        (sigmoid, r"operator Sigmoid 'gate' is not supported by salver; .* piecewise linear .*\('a'\)"),
        (foreign, r"operator com.microsoft::Relu \(node 'gate'\) is not supported by salver"),
        (zero_shape, "not supported"),
        (quantised, "operators QuantizeLinear 'Q' and DequantizeLinear 'D' .* no quantised networks"),
    ],
)
def test_what_is_wrong_is_named(change: Change, told: str, tmp_path: Path) -> None:
    model = mlp()
    change(model)
    with pytest.raises(SalverError, match=told) as caught:
        read_classifier(stored(model, tmp_path))
    assert str(tmp_path) in caught.value.where
    assert "proto" not in str(caught.value).lower()


@pytest.mark.parametrize("kind", ["UINT8", "INT64", "FLOAT16"])
def test_an_input_of_another_type_is_named(kind: str, tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.elem_type = getattr(TensorProto, kind)
    model.graph.node.insert(0, helper.make_node("Cast", ["X"], ["x"], to=TensorProto.FLOAT))
    model.graph.node[1].input[0] = "x"
    with pytest.raises(SalverError, match=f"input 'X' is of type {kind.lower()}, and salver reads float32"):
        read_classifier(stored(model, tmp_path))
