"""Queries beyond the plain form through the command, with answers that follow from the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.nets.network import evaluate
from salver.solvers.__main__ import main
from salver.solvers.lifted import read_queries
from salver.solvers.query import Budget, Options
from salver.solvers.registry import SOLVERS
from salver.spec import float32_down, float32_up
from tests.builders.onnx_models import chain

Shapes = dict[str, list[int]]


def stored(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Shapes,
    outputs: Shapes,
    constants: dict[str, object] | None = None,
    kind: int = TensorProto.FLOAT,
) -> Path:
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    results = [helper.make_tensor_value_info(n, kind, s) for n, s in outputs.items()]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", ends, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def doubled(folder: Path) -> Path:
    """h = 2 x, y = relu(h), over two numbers."""
    nodes = [helper.make_node("Mul", ["x", "two"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return stored(folder / "d.onnx", nodes, {"x": [2]}, {"y": [2]}, {"two": np.float32(2)})


def declared(*tensors: str, name: str = "N", extra: str = "") -> str:
    return f"(declare-network {name} {extra} {' '.join(f'(declare-{tensor})' for tensor in tensors)})"


def box(name: str, low: float, high: float, *indices: str) -> str:
    return "".join(f"(assert (>= {name}[{i}] {low}))(assert (<= {name}[{i}] {high}))" for i in indices)


def answer(
    folder: Path, text: str, networks: list[str], capsys: pytest.CaptureFixture[str], solver: str = "hybrid"
) -> list[str]:
    query = folder / "q.vnnlib"
    query.write_text("(vnnlib-version <2.0>)" + text)
    named = [word for network in networks for word in ("--network", network)]
    assert main([solver, "verify", str(query), *named, "--timeout", "30"]) == 0
    return capsys.readouterr().out.splitlines()


PLAIN = declared("input X float32 [2]", "output Y float32 [2]")
HIDDEN = declared("input X float32 [2]", 'hidden H float32 [2] "h"', "output Y float32 [2]")
LINEAR = [
    (PLAIN, "(assert (>= (+ (* 0.5 X[0]) (* 0.75 X[1])) 1.26))", "unsat"),
    (PLAIN, "(assert (>= (+ (* 0.5 X[0]) (* 0.75 X[1])) 1.24))", "sat"),
    (PLAIN, "(assert (>= (+ (* 0.1 Y[0]) (* -0.3 Y[1])) 0.21))", "unsat"),
    (PLAIN, "(assert (>= (+ (* 0.1 Y[0]) (* -0.3 Y[1])) 0.19))", "sat"),
    (PLAIN, "(assert (>= Y[0] (+ X[0] 1.01)))", "unsat"),
    (PLAIN, "(assert (>= Y[0] (+ X[0] 0.99)))", "sat"),
    (PLAIN, "(assert (or (>= X[0] 1.5) (>= (- Y[0]) 0.5) (<= (* 2 Y[1]) -0.1)))", "unsat"),
    (PLAIN, "(assert (or (>= X[0] 1.5) (and (<= X[0] -0.5) (<= Y[0] 0.1))))", "sat"),
    (PLAIN, "(assert (>= (* X[0] X[1]) 1.01))", "unsat"),
    (PLAIN, "(assert (>= (* X[0] X[1]) 1.0))", "sat"),
    (PLAIN, "(assert (<= (+ (* Y[0] X[0] X[0]) (* 0.5 X[1])) -0.51))", "unsat"),
    (PLAIN, "(assert (<= (+ (* Y[0] X[0] X[0]) (* 0.5 X[1])) -0.49))", "sat"),
    (PLAIN, "(assert (or (<= (* X[1] X[1]) -0.01) (>= (* Y[0] Y[0]) 4.1)))", "unsat"),
    (HIDDEN, "(assert (<= H[0] -2.1))", "unsat"),
    (HIDDEN, "(assert (<= H[0] -1.9))", "sat"),
    (HIDDEN, "(assert (and (<= H[1] -1.0) (>= Y[1] 0.5)))", "unsat"),
    (HIDDEN, "(assert (and (>= H[1] 1.0) (>= Y[1] H[1])))", "sat"),
]


@pytest.mark.parametrize("solver", ["hybrid", "milp"])
@pytest.mark.parametrize(("network", "condition", "verdict"), LINEAR)
def test_terms_and_inner_tensors(network, condition, verdict, solver, tmp_path, capsys):
    text = network + box("X", -1.0, 1.0, "0", "1") + condition
    lines = answer(tmp_path, text, [f"N={doubled(tmp_path)}"], capsys, solver)
    assert lines[0] == verdict
    if verdict == "sat":
        heads = [line for line in lines if "[" in line]
        assert heads == [f"{name} float32 [2]" for name in ("X", "H", "Y") if f" {name} " in network]


def test_a_witness_is_checked_on_the_query_itself(tmp_path):
    """The terms are sums of what ONNX Runtime computes, correctly rounded."""
    query = tmp_path / "q.vnnlib"
    condition = "(assert (>= (+ (* 0.1 Y[0]) (* 0.3 X[1])) 0.1))"
    query.write_text(HIDDEN + box("X", -1.0, 1.0, "0", "1") + condition)
    asked = read_queries({"N": doubled(tmp_path)}, query)
    x = np.array([0.3, -0.7], np.float32).astype(np.float64)
    h = (np.float32(2) * x.astype(np.float32)).astype(np.float64)
    y = np.maximum(h, 0.0)
    assert asked.replay(x).tolist() == [*h, *y, y[0] + 3 * x[1]]
    np.testing.assert_allclose(asked.program.evaluate(x[None])[0][0], asked.replay(x), rtol=1e-12)
    (clause,) = asked.prop.clauses
    assert clause[0][0].constant == 1.0


def test_several_inputs_and_outputs(tmp_path, capsys):
    nodes = [helper.make_node("Sub", ["a", "b"], ["c"]), helper.make_node("Relu", ["b"], ["d"])]
    path = stored(tmp_path / "m.onnx", nodes, {"a": [2], "b": [2]}, {"c": [2], "d": [2]})
    tensors = [f"input {n} float32 [2]" for n in ("A", "B")] + [f"output {n} float32 [2]" for n in ("C", "D")]
    head = declared(*tensors) + box("A", 0.0, 1.0, "0", "1") + box("B", 10.0, 11.0, "0", "1")
    for bound, verdict in (("-8.9", "unsat"), ("-9.1", "sat")):
        lines = answer(tmp_path, f"{head}(assert (>= C[1] {bound}))", [f"N={path}"], capsys)
        assert lines[0] == verdict
    assert [line for line in lines if "[" in line] == [f"{n} float32 [2]" for n in "ABCD"]
    assert answer(tmp_path, f"{head}(assert (<= D[0] C[0]))", [f"N={path}"], capsys)[0] == "unsat"


@pytest.mark.parametrize("relation", ["", "(equal-to N)", "(isomorphic-to N)"])
def test_several_networks(relation, tmp_path, capsys):
    path = doubled(tmp_path)
    second = declared("input Z float32 [2]", "output W float32 [2]", name="M", extra=relation)
    head = PLAIN + second + box("X", 0.0, 1.0, "0", "1") + box("Z", 0.5, 2.0, "0", "1")
    named = [f"N={path}"] if "equal" in relation else [f"N={path}", f"M={path}"]
    assert answer(tmp_path, f"{head}(assert (>= (- Y[0] W[0]) 1.1))", named, capsys)[0] == "unsat"
    lines = answer(tmp_path, f"{head}(assert (>= (- Y[0] W[0]) 0.9))", named, capsys)
    assert lines[0] == "sat"
    assert [line for line in lines if "[" in line] == [f"{n} float32 [2]" for n in "XYZW"]


def test_a_network_without_its_file_is_an_error(tmp_path, capsys):
    second = declared("input Z float32 [2]", "output W float32 [2]", name="M")
    query = tmp_path / "q.vnnlib"
    query.write_text(PLAIN + second + box("X", 0.0, 1.0, "0", "1") + box("Z", 0.5, 2.0, "0", "1"))
    named = ["--network", f"N={doubled(tmp_path)}", "--network", f"K={doubled(tmp_path)}"]
    assert main(["hybrid", "verify", str(query), *named]) == 2
    assert "--network M=FILE" in capsys.readouterr().err


def test_unbounded_inputs_never_prove_anything_they_take_part_in(tmp_path, capsys):
    path = doubled(tmp_path)
    half = PLAIN + box("X", -1.0, 1.0, "0") + "(assert (<= X[1] 3))"
    for condition, verdict in (
        ("(assert (>= Y[0] 1.5))", "sat"),
        ("(assert (>= Y[0] 2.5))", "unknown"),
        ("(assert (>= Y[1] 7))", "unknown"),
        ("(assert (>= Y[1] 5))", "sat"),
    ):
        assert answer(tmp_path, half + condition, [f"N={path}"], capsys)[0] == verdict
    nodes = [helper.make_node("Slice", ["x", "from", "to"], ["y"])]
    ends = {"from": np.array([0]), "to": np.array([1])}
    first = stored(tmp_path / "s.onnx", nodes, {"x": [2]}, {"y": [1]}, ends)
    text = declared("input X float32 [2]", "output Y float32 [1]") + box("X", -1.0, 1.0, "0")
    assert answer(tmp_path, f"{text}(assert (>= Y[0] 1.5))", [f"N={first}"], capsys)[0] == "unsat"


def test_constant_integers_may_be_the_output(tmp_path, capsys):
    nodes = [helper.make_node("Shape", ["x"], ["y"])]
    path = stored(tmp_path / "i.onnx", nodes, {"x": [2, 3]}, {"y": [2]}, kind=TensorProto.INT64)
    text = declared("input X float32 [2,3]", "output Y int64 [2]")
    text += box("X", 0.0, 1.0, *(f"{i},{j}" for i in range(2) for j in range(3)))
    assert answer(tmp_path, f"{text}(assert (>= Y[1] 4))", [f"N={path}"], capsys)[0] == "unsat"
    lines = answer(tmp_path, f"{text}(assert (>= Y[1] 3))", [f"N={path}"], capsys)
    assert (lines[0], lines[-3:]) == ("sat", ["Y int64 [2]", "2", "3"])


COMPARE = [helper.make_node("Greater", ["x", "c"], ["t"]), helper.make_node("Where", ["t", "x", "d"], ["y"])]
EQUAL = [helper.make_node("Equal", ["x", "c"], ["t"]), helper.make_node("Cast", ["t"], ["y"], to=1)]
POOL = [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])]
WHOLE = [helper.make_node("Cast", ["x"], ["i"], to=7), helper.make_node("Cast", ["i"], ["y"], to=1)]
SMALL: list[tuple[list[onnx.NodeProto], list[int], list[int], str, str]] = [
    (COMPARE, [2], [2], "(assert (>= Y[0] 0.3))(assert (<= Y[0] 0.49))", "unsat"),
    (COMPARE, [2], [2], "(assert (>= Y[0] 0.51))", "sat"),
    (COMPARE, [2], [2], "(assert (<= Y[0] -1.5))", "sat"),
    (EQUAL, [2], [2], "(assert (<= Y[0] 0.5))", "sat"),
    (EQUAL, [2], [2], "(assert (>= Y[0] 0.1))(assert (<= Y[0] 0.9))", "unsat"),
    (WHOLE, [2], [2], "(assert (>= Y[0] 0.1))(assert (<= Y[0] 0.9))", "unsat"),
    (WHOLE, [2], [2], "(assert (>= X[0] 0.1))(assert (<= Y[0] 0.0))", "sat"),
    (WHOLE, [2], [2], "(assert (<= X[0] 0.9))(assert (>= Y[0] 0.5))", "unsat"),
    (POOL, [1, 1, 4], [1, 1, 3], "(assert (<= Y[0,0,1] 0.3))(assert (>= X[0,0,2] 0.4))", "unsat"),
    (POOL, [1, 1, 4], [1, 1, 3], "(assert (>= Y[0,0,1] 0.9))(assert (<= Y[0,0,0] 0.1))", "sat"),
]


@pytest.mark.parametrize("solver", ["hybrid", "crown"])
@pytest.mark.parametrize(("nodes", "shape", "target", "condition", "verdict"), SMALL)
def test_comparisons_and_maxima(nodes, shape, target, condition, verdict, solver, tmp_path, capsys):
    used = {name for node in nodes for name in node.input}
    values = {"c": np.float32([0.5]), "d": np.float32([-2.0])}
    constants = {name: value for name, value in values.items() if name in used}
    path = stored(tmp_path / "n.onnx", nodes, {"x": shape}, {"y": target}, constants)
    places = [",".join(map(str, place)) for place in np.ndindex(*shape)]
    sizes = (",".join(map(str, size)) for size in (shape, target))
    text = declared(*(f"{k} float32 [{s}]" for k, s in zip(("input X", "output Y"), sizes, strict=True)))
    lines = answer(tmp_path, text + box("X", 0.0, 1.0, *places) + condition, [f"N={path}"], capsys, solver)
    assert lines[0] == verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_solvers_agree_on_random_graphs_and_with_their_points(seed, tmp_path):
    draw = np.random.default_rng(seed)
    shape = [int(size) for size in draw.integers(1, 4, draw.integers(1, 3))]
    model = chain(shape, seed, 4)
    target = [axis.dim_value for axis in model.graph.output[0].type.tensor_type.shape.dim]
    onnx.save(model, tmp_path / "m.onnx")
    sizes = (",".join(map(str, size)) for size in (shape, target))
    text = declared(*(f"{k} real [{s}]" for k, s in zip(("input X", "output Y"), sizes, strict=True)))
    text += box("X", -1.0, 1.0, *(",".join(map(str, place)) for place in np.ndindex(*shape)))
    query = tmp_path / "q.vnnlib"
    query.write_text(text)
    asked = read_queries({"N": tmp_path / "m.onnx"}, query)
    points = draw.choice([-1.0, -0.5, 0.0, 0.5, 1.0], (500, asked.network.input_size))
    first = f"Y[{','.join('0' * len(target))}]"
    most = float((values := evaluate(asked.network, points)[:, 0] + 0.5 * points[:, 0]).max())
    for bound in (most - 0.01, most + 0.3 * float(np.ptp(values)) + 0.01):
        query.write_text(
            f"{text}(assert (>= (+ {first} (* 0.5 X[{','.join('0' * len(shape))}])) {bound:.4f}))"
        )
        again = read_queries({"N": tmp_path / "m.onnx"}, query)
        found = {
            name: SOLVERS[name].load()(again, Budget(20.0), Options())
            for name in ("hybrid", "milp", "marabou")
        }
        verdicts = {result.verdict.value for result in found.values()} - {"unknown", "timed-out"}
        assert len(verdicts) <= 1
        assert bound > most or "unsat" not in verdicts
        for result in found.values():
            assert result.witness is None or again.prop.outputs_satisfied(again.replay(result.witness))


def test_a_corner_may_be_the_one_solution(tmp_path):
    query = tmp_path / "q.vnnlib"
    query.write_text(PLAIN + box("X", 0.0, 2.0, "0", "1") + LINEAR[0][1].replace("1.26", "2.5"))
    asked = read_queries({"N": doubled(tmp_path)}, query)
    for name in ("hybrid", "marabou", "crown"):
        assert SOLVERS[name].load()(asked, Budget(20.0), Options()).verdict.value == "sat"


def assert_largest_between(path: Path, reached: str, beyond: str) -> None:
    """Every complete solver finds Y[0] >= `reached` and refutes Y[0] >= `beyond` on [-1, 1]^2."""
    query = path.with_suffix(".vnnlib")
    for bound, verdict in ((beyond, "unsat"), (reached, "sat")):
        query.write_text(PLAIN + box("X", -1.0, 1.0, "0", "1") + f"(assert (>= Y[0] {bound}))")
        asked = read_queries({"N": path}, query)
        for name in ("hybrid", "milp", "marabou", "crown"):
            assert SOLVERS[name].load()(asked, Budget(20.0), Options()).verdict.value == verdict


@pytest.mark.slow
def test_absolute_values_before_other_neurons(tmp_path):
    """Marabou and CROWN write |v| as 2 relu(v) - v, and number the neurons as they meet them."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Sub", ["a", "half"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
    ]
    path = stored(tmp_path / "a.onnx", nodes, {"x": [2]}, {"y": [2]}, {"half": np.float32([0.5])})
    assert_largest_between(path, "0.4", "0.6")


def test_a_network_that_ignores_its_input(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "zero"], ["y"])]
    path = stored(tmp_path / "z.onnx", nodes, {"x": [2]}, {"y": [2]}, {"zero": np.float32([0.0])})
    assert_largest_between(path, "-0.1", "0.1")


FLAT = "".join(f"(declare-const {name}_{i} Real)" for name in "XY" for i in (0, 1))
SIDES = "".join(f"(assert (>= X_{i} -1.0))(assert (<= X_{i} 1.0))" for i in (0, 1))
BOXES = "(assert (or (and (>= X_0 0.5) (<= X_0 0.6) (>= Y_0 {})) (and (<= X_0 -0.5) (>= Y_0 {}))))"
# y = relu(2 x): Y_i runs from 0 to 2.
VERSION_1 = [
    ("(assert (> Y_0 1.9))", "sat"),
    ("(assert (> Y_0 2.1))", "unsat"),
    ("(assert (> Y_0 2.0))", "unknown"),
    ("(assert (> X_0 1.0))", "unknown"),
    ("(assert (and (> X_0 0.999999) (< X_0 1.0)))", "sat"),
    ("(assert (and (>= Y_0 2.0) (!= Y_0 2.0)))", "unknown"),
    ("(assert (and (>= Y_0 1.9) (!= Y_0 2.0)))", "sat"),
    ("(assert (> Y_0 Y_1))", "sat"),
    ("(assert (not (<= Y_0 2.1)))", "unsat"),
    (BOXES.format(1.3, 0.1), "unsat"),
    (BOXES.format(1.1, 0.1), "sat"),
    (BOXES.format(1.3, -0.1), "sat"),
    ("(assert (or (and (>= X_0 0.5) (<= X_0 0.6) (>= Y_0 1.3))))", "unsat"),
    ("(assert (>= (+ Y_0 (* 0.5 Y_1)) 3.1))", "unsat"),
    ("(assert (>= (+ Y_0 (* 0.5 Y_1)) 2.9))", "sat"),
    ("(assert (<= (* 3.0 X_0) 1.0))(assert (>= Y_0 0.6667))", "unsat"),
    ("(assert (<= (* 3.0 X_0) 1.0))(assert (>= Y_0 0.6666))", "sat"),
    ("(assert (<= X_0 X_1))(assert (>= Y_0 1.0))(assert (<= Y_1 0.9))", "unsat"),
    ("(assert (>= X_0 1.5))", "unsat"),
    ("(assert (or))", "unsat"),
    ("(assert false)", "unsat"),
    ("(assert true)", "sat"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "verdict", "solver"),
    [(*case, ("hybrid", "milp")[number % 2]) for number, case in enumerate(VERSION_1)],
)
def test_version_1_says_as_much_as_version_2(condition, verdict, solver, tmp_path, capsys):
    query = tmp_path / "q.vnnlib"
    query.write_text(FLAT + SIDES + condition)
    named = ["--network", f"N={doubled(tmp_path)}"]
    assert main([solver, "verify", str(query), *named, "--timeout", "30"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == verdict
    if verdict == "sat":
        assert [line.strip("( ").partition(" ")[0] for line in lines[1:]] == ["X_0", "X_1", "Y_0", "Y_1"]


def test_an_incomplete_solver_proves_nothing_of_an_empty_box_either(tmp_path, capsys):
    query = tmp_path / "q.vnnlib"
    query.write_text(FLAT + SIDES + "(assert (>= X_0 1.5))")
    assert main(["falsify", "verify", str(query), "--network", f"N={doubled(tmp_path)}"]) == 0
    assert capsys.readouterr().out == "unknown\n"


def test_what_alternatives_imply_of_inputs_is_a_box(tmp_path):
    query = tmp_path / "q.vnnlib"
    text = "(assert (or (and (>= X_0 0.1) (<= X_0 0.3)) (and (>= X_0 0.2) (<= X_0 0.7) (<= X_1 0))))"
    query.write_text(FLAT + SIDES + text)
    asked = read_queries({"N": doubled(tmp_path)}, query)
    low, high = asked.prop.input_lower, asked.prop.input_upper
    assert (low[0], high[0]) == (float32_down(0.1), float32_up(0.7))
    assert low[0] < 0.1
    assert high[0] > 0.7
    assert (low[1], high[1]) == (-1.0, 1.0)


def test_what_is_not_supported_is_said_without_blame(tmp_path, capsys):
    query = tmp_path / "q.vnnlib"
    query.write_text(FLAT + SIDES + "(assert (>= (exp X_0) 1))")
    assert main(["hybrid", "verify", str(query), "--network", f"N={doubled(tmp_path)}"]) == 2
    err = capsys.readouterr().err
    assert "line 1: operator 'exp' in a term is not supported by salver; state it with" in err
    assert "correct" not in err
    assert err.count("\n") == 1
