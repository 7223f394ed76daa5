"""Damaged ONNX and Keras files; what is accepted must compute what ONNX Runtime computes."""

from __future__ import annotations

import functools
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit, log_softmax, softmax

from experiments.fuzz.mutate import damaged
from experiments.fuzz.queries import refusal
from salver.core.errors import SalverError
from salver.nets.classifier import read_classifier
from salver.nets.network import Network, evaluate
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.runtime import Runtime
from tests.builders.keras_files import gap_layers, write_keras

onnxruntime.set_default_logger_severity(4)


def _model(text: str, rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], **others: Any) -> bytes:
    """A model in onnx's text form, with drawn constants of some shapes and others that are given."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> {text}')
    constants = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, value in (constants | others).items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


DENSE = """dense (float[1,3] X) => (float[1,2] Y) {
    a = MatMul(X, W)
    c = Add(a, b)
    d = Relu(c)
    u = Unsqueeze(d, axis)
    s = Squeeze(u, axis)
    t = Cast<to = 1>(s)
    Y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(t, V, v)
}"""
CONV = """conv (float[1,1,4,3] X) => (float[1,2] Y) {
    a = Conv<pads = [1, 1, 1, 1], kernel_shape = [3, 3], strides = [1, 1]>(X, K, k)
    n = BatchNormalization(a, g, h, m, p)
    r = Relu(n)
    q = AveragePool<kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1]>(r)
    i = Mul(q, f)
    j = Div(i, e)
    w = Reshape(j, to)
    Y = Gemm(w, V, v)
}"""
GRADIENT = """gradient (float[1,2] X) => (float[1,6] Y) {
    a = Gemm(X, W, b)
    s = Sign(a)
    m = Relu(s)
    c = Sub(a, m)
    p = Mul(c, m)
    o = Abs(p)
    r = Add(o, a)
    f = Flatten(r)
    Y = Concat<axis = 1>(f, m)
}"""
POOLED = """pooled (float[1,1,2,4] X) => (float[1,2] Y) {
    x = Transpose<perm = [0, 2, 1, 3]>(X)
    a = Conv<group = 2>(x, K)
    g = GlobalAveragePool(a)
    h = Flatten(g)
    i = Sub(one, h)
    Y = Identity(i)
}"""


@functools.cache
def samples() -> tuple[bytes, ...]:
    """A dense, a convolutional, a residual and a gradient-like network, with most operators that are read."""
    rng = np.random.default_rng(0)
    conv = {"K": (2, 1, 3, 3), "k": (2,), "g": (2,), "h": (2,), "m": (2,), "f": (1, 2, 1, 1), "V": (8, 2)}
    given = {"p": np.float32([0.5, 2.0]), "e": np.float32(0.5), "to": [1, -1]}
    return (
        _model(DENSE, rng, {"W": (3, 4), "b": (4,), "V": (2, 4), "v": (2,)}, axis=[2]),
        _model(CONV, rng, {**conv, "v": (2,)}, **given),
        _model(GRADIENT, rng, {"W": (2, 3), "b": (3,)}),
        _model(POOLED, rng, {"K": (2, 1, 1, 2), "one": (2,)}),
        _exported(rng),
    )


def _exported(rng: np.random.Generator) -> bytes:
    """A network as exporters write some: functions, a branch, a dead end, sparse weights, a softmax."""
    n, value = helper.make_node, helper.make_tensor_value_info
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    gate = helper.make_function("own", "Gate", ["u"], ["v"], [n("Relu", ["u"], ["v"])], opset)
    twice = [n("Gate", ["u"], ["w"], domain="own"), n("Gate", ["w"], ["v"], domain="own")]
    right = helper.make_graph([n("Neg", ["a"], ["r"])], "then", [], [value("r", 1, None)])
    wrong = helper.make_graph([n("Identity", ["a"], ["s"])], "else", [], [value("s", 1, None)])
    weights = numpy_helper.from_array(rng.normal(size=3).astype(np.float32), "W")
    places = numpy_helper.from_array(np.array([0, 4, 5]), "W_places")
    nodes = [
        n("Softmax", ["c"], ["Y"], axis=-1),
        n("MatMul", ["X", "W"], ["a"]),
        n("If", ["yes"], ["b"], then_branch=right, else_branch=wrong),
        n("Twice", ["b"], ["c"], domain="own"),
        n("Exp", ["b"], ["dead"]),
    ]
    graph = helper.make_graph(
        nodes, "exported", [value("X", 1, [2, 2])], [value("Y", 1, [7])],
        [numpy_helper.from_array(np.array(True), "yes")],
        sparse_initializer=[helper.make_sparse_tensor(weights, places, [2, 3])],
    )  # fmt: skip
    functions = [gate, helper.make_function("own", "Twice", ["u"], ["v"], twice, opset)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9, functions=functions)
    data: bytes = model.SerializeToString()
    return data


def damaged_bytes(rng: Random, folder: Path) -> str:
    """Damage to the file as bytes."""
    return _read(damaged(rng.choice(samples()), rng), rng, folder)


def damaged_structure(rng: Random, folder: Path) -> str:
    """A valid file with other names, attributes, operators, types, sizes and weights."""
    model = onnx.load_from_string(rng.choice(samples()))
    for _ in range(rng.randint(1, 3)):
        _change(model, rng)
    return _read(model.SerializeToString(), rng, folder)


ATTRIBUTES = (
    ("axis", 0), ("axis", 2), ("axes", [0]), ("axes", [1]), ("to", 7), ("to", 11), ("perm", [1, 0]),
    ("group", 2), ("strides", [2, 2]), ("pads", [1, 0, 0, 1]), ("dilations", [2, 2]),
    ("auto_pad", "SAME_UPPER"), ("transA", 1), ("count_include_pad", 1), ("ceil_mode", 1), ("allowzero", 1),
    ("training_mode", 1), ("alpha", float("inf")),
)  # fmt: skip
OPERATORS = (
    "Relu Abs Sign Neg Add Sub Mul Div MatMul Gemm Identity Dropout Flatten Squeeze Unsqueeze Cast Reshape "
    "Transpose Conv GlobalAveragePool Exp Loop"
).split()


def _change(model: onnx.ModelProto, rng: Random) -> None:
    graph, node = model.graph, rng.choice(model.graph.node)
    names = [
        *("X", "Y", "X/shaped", "d/flat", "q/sum", "r/flat", ""),
        *(o for n in graph.node for o in n.output),
    ]
    names += [tensor.name for tensor in graph.initializer]
    match rng.randrange(11):
        case 0:
            node.input[rng.randrange(len(node.input))] = rng.choice(names)
        case 1:
            old, new = node.output[0], rng.choice(names)
            for other in graph.node:
                other.input[:] = [new if name == old else name for name in other.input]
            node.output[0] = new
        case 2:
            node.op_type = rng.choice(OPERATORS)
        case 3 if node.attribute:
            attribute = rng.choice(node.attribute)
            if attribute.ints:
                attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(
                    (-1, 0, 1, 2, 3, 2**31, 2**62)
                )
            elif attribute.type == onnx.AttributeProto.INT:
                attribute.i = rng.choice((-1, 0, 1, 2, 6, 7, 11, 2**40))
            else:
                attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), 0.25))
        case 4:
            name, values = rng.choice(ATTRIBUTES)
            node.attribute.append(helper.make_attribute(name, values))
        case 5:
            dims = graph.input[0].type.tensor_type.shape.dim
            rng.choice(dims).dim_value = rng.choice((-1, 0, 1, 2, 3, 5, 2**40))
        case 6:
            graph.input[0].type.tensor_type.elem_type = rng.choice((0, 1, 7, 10, 11, 99))
        case 7:
            tensor = rng.choice(graph.initializer)
            if tensor.dims:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice((-1, 0, 1, 2, 2**40))
        case 8:
            tensor = rng.choice(graph.initializer)
            try:
                value = numpy_helper.to_array(tensor).reshape(-1)
            except Exception:  # an earlier change has broken it
                return
            kind = rng.choice((np.float32, np.float64, np.int64, np.float16))
            special = rng.choice((np.nan, np.inf, 1e300, 0.0, -1.0, 0.1))
            with np.errstate(all="ignore"):
                new = np.where(np.arange(value.size) == 0, special, value).astype(kind)
            shape = rng.choice((value.shape, (1, value.size), (value.size, 1), tuple(tensor.dims)))
            if np.prod(shape) == value.size:
                tensor.CopyFrom(numpy_helper.from_array(new.reshape(shape), tensor.name))
        case 9:
            tensor = rng.choice(graph.initializer)
            if rng.random() < 0.5:
                tensor.data_location = TensorProto.EXTERNAL
                tensor.external_data.add(
                    key="location", value=rng.choice(("../secret", "/etc/passwd", "w.bin"))
                )
            else:
                graph.initializer.add().CopyFrom(tensor)
        case _:
            model.opset_import[0].version = rng.choice((1, 6, 7, 9, 11, 17, 22, 99))


def _read(raw: bytes, rng: Random, folder: Path) -> str:
    path = folder / "damaged.onnx"
    path.write_bytes(raw)
    try:
        found = read_classifier(path)
    except SalverError as error:
        return refusal(error)
    network = found.network
    again = folder / "again.onnx"
    again.write_bytes(to_bytes(to_model(network)))
    points = (
        np.random.default_rng(rng.getrandbits(32)).normal(size=(2, network.input_size)).astype(np.float32)
    )
    ours = [_outputs(network, point) for point in points]
    if all(np.isfinite(o).all() for o in ours):
        back = read_onnx(again)
        for point, expected in zip(points, ours, strict=True):
            np.testing.assert_allclose(_outputs(back, point), expected, rtol=1e-4, atol=1e-5)
    try:
        theirs = _runtime(raw, points)
    except _Refused:
        return "accepted, but ONNX Runtime refuses it"
    ours = [_closed(values, found.closing) for values in ours]
    for expected, found in zip(theirs, ours, strict=True):
        scale = max(1.0, float(np.abs(np.nan_to_num(expected)).max(initial=0.0)))
        assert expected.shape == found.shape, (expected.shape, found.shape)
        if np.isfinite(expected).all():
            assert np.abs(expected - found).max(initial=0.0) <= 1e-3 * scale, (expected, found)
    return "accepted"


class _Refused(Exception):  # noqa: N818
    pass


def _outputs(network: Network, point: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(network, point[None].astype(np.float64)), np.float64).reshape(-1)


def _closed(values: np.ndarray, closing: str | None) -> np.ndarray:
    """What the operator that was left out makes of the logits."""
    with np.errstate(all="ignore"):
        if closing is None:
            return values
        if closing == "Sigmoid":
            return np.asarray(expit(values))
        return np.asarray(softmax(values) if closing != "LogSoftmax" else log_softmax(values))


def _runtime(raw: bytes, points: np.ndarray) -> list[np.ndarray]:
    try:
        return list(Runtime(raw).samples(points))
    except Exception as error:  # ONNX Runtime raises a dozen unrelated types
        raise _Refused from error


@functools.cache
def _keras(folder: Path) -> bytes:
    return write_keras(folder / "valid.h5", (6, 6, 2), gap_layers(0)).read_bytes()


def damaged_keras(rng: Random, folder: Path) -> str:
    """Damage to an HDF5 file of a Keras model, half of it in the part that describes the layers."""
    raw = _keras(folder)
    at = raw.find(b'{"class_name"')
    if rng.random() < 0.5:
        end = raw.find(b"\0", at)
        text = damaged(raw[at:end], rng)[: end - at]
        raw = raw[:at] + text.ljust(end - at) + raw[end:]
    else:
        raw = damaged(raw, rng)
    path = folder / "damaged.h5"
    path.write_bytes(raw)
    try:
        found = read_classifier(path)
        network, shape = found.network, found.shape
    except SalverError as error:
        return refusal(error)
    assert np.prod(shape) == network.input_size
    assert _outputs(network, np.zeros(network.input_size)).shape == (network.output_size,)
    return "accepted"
