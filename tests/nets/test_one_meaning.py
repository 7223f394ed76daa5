"""A file has one meaning: names, constants, precision, options, bounds and line ends are as they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from salver.cli.app import app
from salver.core.errors import SalverError
from salver.explain.unroll import logit_combination, unroll
from salver.nets.affine import UnsupportedQueryError
from salver.nets.classifier import read_classifier
from salver.nets.keras.file import read_keras
from salver.nets.network import evaluate, lower, single
from salver.nets.onnx.reader import from_model, read_onnx
from salver.nets.runtime import Runtime
from salver.solvers.__main__ import main
from salver.solvers.query import read_query
from salver.spec import parse_vnnlib
from tests.builders.keras_files import dense, write_keras

N = helper.make_node


def model_of(nodes, shape, constants, out=None, kind=TensorProto.FLOAT, end=TensorProto.FLOAT):
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("X", kind, shape)
    y = helper.make_tensor_value_info("Y", end, out)
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def agrees(model: onnx.ModelProto, size: int) -> bool:
    x = np.random.default_rng(0).uniform(-2, 2, (9, size)).astype(np.float32)
    runtime = Runtime(model.SerializeToString())
    run = np.stack([runtime.outputs(row) for row in x])
    return bool(np.allclose(run, evaluate(from_model(model), x.astype(np.float64)), rtol=1e-5, atol=1e-6))


def f32(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    "mine", ["g/above/mask", "g/above", "g/above/sign", "X/spread[1, 1][1, 3]", "X/flat"]
)
def test_a_tensor_may_have_any_name(mine):
    nodes = [
        N("Sub", ["X", "one"], [mine]), N("Greater", ["X", "half"], ["g"]), N("Cast", ["g"], ["m"], to=1),
        N("Add", ["X", "zeros"], ["wide"]), N("Concat", ["m", mine, "wide"], ["Y"], axis=1),
    ]  # fmt: skip
    model = model_of(nodes, [1, 1], {"one": f32(1), "half": f32(0.5), "zeros": np.zeros((1, 3), np.float32)})
    assert agrees(model, 1)


def test_names_of_the_unrolled_graph_are_apart_from_the_files():
    nodes = [
        N("MatMul", ["X", "w"], ["grad3"]),
        N("Relu", ["grad3"], ["grad4"]),
        N("MatMul", ["grad4", "v"], ["Y"]),
    ]
    model = model_of(nodes, [1, 2], {"w": f32([1, -2], [3, 1]), "v": f32([1, 2], [-1, 1])}, [1, 2])
    classifier = from_model(model)
    y = evaluate(unroll(classifier, logit_combination(2, 0)), f32([1.0, 0.5]))[0]
    assert y.tolist() == [2.5, 5.0, 1.0, 3.0]


@pytest.mark.parametrize(("factor", "back"), [(1e30, 1e-30), (1e-30, 1e30)])
def test_products_that_leave_single_precision_are_not_folded_in_it(factor, back):
    nodes = [N("Mul", ["X", "a"], ["h"]), N("Mul", ["h", "a"], ["i"]), N("Mul", ["i", "b"], ["Y"])]
    model = model_of(nodes, [1, 1], {"a": f32(factor), "b": f32(back)}, [1, 1])
    assert lower(from_model(model)).evaluate(np.array([[2.0]]))[0][0, 0] == pytest.approx(
        2 * factor, rel=1e-6
    )


def test_products_that_leave_double_precision_are_not_supported():
    nodes = [N("Mul", ["X", "a"], ["h0"])]
    nodes += [N("Mul", [f"h{i}", "a"], [f"h{i + 1}"]) for i in range(9)] + [N("Relu", ["h9"], ["Y"])]
    with pytest.raises(UnsupportedQueryError):
        lower(from_model(model_of(nodes, [1, 1], {"a": f32(1e-37)}, [1, 1])))


def test_constants_that_underflow_are_refused():
    nodes = [N("Mul", ["a", "a"], ["c"]), N("Mul", ["X", "c"], ["Y"])]
    with pytest.raises(SalverError, match="constants"):
        from_model(model_of(nodes, [1, 1], {"a": f32(1e-30)}, [1, 1]))


CANCELS = np.array([[1e8 + 1, 0], [-1e8, 1]])
QUERY = "".join(f"(declare-const {v}_{i} Real)" for v in "XY" for i in (0, 1)) + "".join(
    f"(assert (>= X_{i} 1.0))(assert (<= X_{i} 1.0))" for i in (0, 1)
)


def _doubles(section: bool) -> onnx.ModelProto:
    if section:
        nodes = [
            N("Cast", ["X"], ["d"], to=11),
            N("MatMul", ["d", "w"], ["e"]),
            N("Cast", ["e"], ["h"], to=1),
        ]
        nodes += [N("Relu", ["h"], ["Y"])]
        return model_of(nodes, [1, 2], {"w": CANCELS}, [1, 2])
    nodes = [N("MatMul", ["X", "w"], ["h"]), N("Relu", ["h"], ["Y"])]
    return model_of(nodes, [1, 2], {"w": CANCELS}, [1, 2], TensorProto.DOUBLE, TensorProto.DOUBLE)


@pytest.mark.parametrize("section", [True, False])
def test_double_precision_is_read_as_such_and_not_written_in_single(section, tmp_path: Path, capsys):
    path, query = tmp_path / "m.onnx", tmp_path / "q.vnnlib"
    onnx.save(_doubles(section), path)
    query.write_text(QUERY + "(assert (>= Y_0 0.5))")
    assert main(["hybrid", "verify", str(query), "--network", f"N={path}", "--timeout", "20"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "sat"
    done = CliRunner().invoke(app, ["unroll", str(path), "-o", str(tmp_path / "g.onnx"), "--label", "0"])
    assert isinstance(done.exception, SalverError)
    assert "single precision" in str(done.exception)
    assert not (tmp_path / "g.onnx").exists()


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
def test_pads_beside_auto_pad_do_not_count(kind):
    window = {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 1, 1, 1], "auto_pad": "VALID"}
    nodes = [N(kind, ["X"], ["p"], **window), N("Flatten", ["p"], ["Y"])]
    model = model_of(nodes, [1, 1, 3, 3], {})
    assert agrees(model, 9)


def test_a_convolution_with_pads_and_auto_pad_is_refused():
    nodes = [N("Conv", ["X", "w"], ["c"], pads=[1, 1, 1, 1], auto_pad="VALID"), N("Flatten", ["c"], ["Y"])]
    with pytest.raises(SalverError, match="both auto_pad and pads"):
        from_model(model_of(nodes, [1, 1, 3, 3], {"w": np.ones((1, 1, 2, 2), np.float32)}))


def test_a_sign_of_a_sign_is_not_supported_by_programs():
    nodes = [N("Sign", ["X"], ["a"]), N("Sign", ["a"], ["b"]), N("Relu", ["b"], ["Y"])]
    with pytest.raises(UnsupportedQueryError):
        lower(from_model(model_of(nodes, [1, 1], {}, [1, 1])))


def test_a_weight_outside_single_precision_is_not_written():
    nodes = [N("Mul", ["X", "a"], ["h"]), N("Mul", ["h", "a"], ["Y"])]
    with pytest.raises(SalverError, match="range of single precision"):
        single(from_model(model_of(nodes, [1, 1], {"a": f32(1e30)}, [1, 1])))


def test_keras_normalises_over_the_axis_of_the_file(tmp_path: Path):
    rng = np.random.default_rng(1)
    state = {"gamma": rng.normal(size=2), "beta": rng.normal(size=2), "moving_mean": rng.normal(size=2)}
    state["moving_variance"] = rng.uniform(0.5, 2.0, 2)
    state = {name: value.astype(np.float32) for name, value in state.items()}
    layers = [
        ("BatchNormalization", {"axis": 1, "epsilon": 0.0}, state),
        ("Flatten", {}, {}),
        dense(rng, 8, 3),
    ]
    network = read_classifier(write_keras(tmp_path / "m.h5", (2, 2, 2), layers)).network
    x = rng.normal(size=(2, 2, 2)).astype(np.float32)  # row, column, channel
    rows = (slice(None), None, None)
    scale = state["gamma"] / np.sqrt(state["moving_variance"])
    normal = (x - state["moving_mean"][rows]) * scale[rows] + state["beta"][rows]
    wanted = normal.ravel() @ layers[-1][2]["kernel"] + layers[-1][2]["bias"]
    assert np.allclose(evaluate(network, x.transpose(2, 0, 1).reshape(1, -1))[0], wanted, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", {"class_name": "Policy", "config": {"name": "float64"}}])
def test_keras_layers_of_another_precision_are_refused(policy, tmp_path: Path):
    layers = [dense(np.random.default_rng(0), 3, 2, dtype=policy)]
    with pytest.raises(SalverError, match="precision"):
        read_keras(write_keras(tmp_path / "m.h5", (3,), layers))


HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 0.3))(assert (>= X_0 0.1))"


def test_lone_carriage_returns_end_lines_and_a_byte_order_mark_is_no_text():
    found = parse_vnnlib("\ufeff" + HEAD + "; comment\r(assert (>= Y_0 1.0))\r")
    assert len(found.clauses) == 1


@pytest.mark.parametrize("empty", ["(assert (or))", "(assert (>= X_0 2))"])
def test_an_empty_box_or_choice_is_satisfied_by_nothing(empty):
    assert not parse_vnnlib(HEAD + empty).outputs_satisfied(np.zeros(1))


def test_decimal_bounds_are_widened_in_the_box_and_narrowed_for_witnesses(tmp_path: Path):
    path, text = tmp_path / "m.onnx", tmp_path / "q.vnnlib"
    onnx.save(model_of([N("Relu", ["X"], ["Y"])], [1, 1], {}, [1, 1]), path)
    text.write_text(HEAD + "(assert (>= Y_0 0.29))")
    query = read_query(path, text)
    low, high = query.prop.input_lower[0], query.prop.input_upper[0]
    assert low < 0.1  # which here is the nearest double
    assert 0.0 < high - 0.3 < 1e-16
    assert query.clip(np.array([1.0])) == np.nextafter(np.float32(0.3), np.float32(0))
    assert query.clip(np.array([0.0])) == np.float32(0.1)


@pytest.mark.parametrize("declared", ["float64 [1,1]", "float32 [1]", "real [1,1,1]"])
def test_declarations_that_contradict_the_network_are_errors(declared, tmp_path: Path):
    path, text = tmp_path / "m.onnx", tmp_path / "q.vnnlib"
    onnx.save(model_of([N("Relu", ["X"], ["Y"])], [1, 1], {}, [1, 1]), path)
    index = ",".join("0" for _ in declared.split("[")[1].split(","))
    text.write_text(
        f"(vnnlib-version <2.0>)(declare-network N (declare-input X {declared})(declare-output Y real [1,1]))"
        f"(assert (and (<= X[{index}] 1.0) (>= X[{index}] 0.0) (>= Y[0,0] 0.5)))"
    )
    with pytest.raises(SalverError, match="declares X"):
        read_query(path, text)


def test_what_is_read_again_is_what_was_written(tmp_path: Path):
    nodes = [N("MatMul", ["X", "w"], ["h"]), N("Relu", ["h"], ["r"]), N("MatMul", ["r", "w"], ["Y"])]
    path = tmp_path / "m.onnx"
    onnx.save(model_of(nodes, [1, 2], {"w": f32([1, -2], [3, 1])}, [1, 2]), path)
    done = CliRunner().invoke(app, ["unroll", str(path), "-o", str(tmp_path / "g.onnx"), "--label", "1"])
    assert done.exit_code == 0
    assert read_onnx(tmp_path / "g.onnx").output_size == 4
