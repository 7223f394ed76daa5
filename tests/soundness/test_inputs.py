"""What `hybrid` takes, from the file to the printed verdict, and that it refuses the rest in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from experiments.soundness.queries import Array
from salver.explain.unroll import logit_combination, unroll
from salver.families import conditions
from salver.judge.witness import parse_witness
from salver.nets.network import Network, lower
from salver.nets.onnx.reader import read_onnx
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.torch_bridge import from_torch
from salver.oracle.enumerate import enumerate_query
from salver.solvers import boxes
from salver.solvers.__main__ import main
from salver.solvers.query import read_query
from salver.spec import Atom, Clause, Property, box_clauses, float32_down, float32_up, to_vnnlib1, to_vnnlib2


def conv_classifier() -> Network:
    """Conv-ReLU-average pooling-Linear over a 1 x 3 x 3 image, 3 classes; through an ONNX file."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = nn.Sequential(
            nn.Unflatten(1, (1, 3, 3)), nn.Conv2d(1, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3),
        )  # fmt: skip
    return from_torch(module, 9)


CENTRE = np.linspace(-0.5, 0.75, 9)


def conditions_of(kind: str, reference: Array, label: int) -> tuple[Clause, ...]:
    others = [k for k in range(3) if k != label]
    wins = conditions.some_class_beats(label, others)
    match kind:
        case "box":
            return (*conditions.saliency_box(3, reference, 0.6 * float(np.abs(reference).max())), *wins)
        case "tight box":
            return (*conditions.saliency_box(3, reference, 1e-3), *wins)
        case "signs":
            return (*conditions.same_signs(3, reference, 0.002), *wins)
        case "one target":
            return (
                *conditions.same_signs(3, reference, 0.002),
                *conditions.some_class_beats(label, others[:1]),
            )
        case "top-k":
            return (*conditions.same_top_k(3, reference, 2), *wins)
        case "logits only":
            return wins
        case "saliency only":
            return conditions.saliency_box(3, reference + 0.2, 0.1)
    raise AssertionError(kind)


@pytest.mark.parametrize("form", [to_vnnlib1, to_vnnlib2])
@pytest.mark.parametrize(
    "kind", ["box", "tight box", "signs", "one target", "top-k", "logits only", "saliency only"]
)
def test_a_conv_network_from_its_files(
    kind: str, form: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classifier is read from ONNX, unrolled, written, and asked about on the command line."""
    (tmp_path / "classifier.onnx").write_bytes(to_bytes(to_model(conv_classifier())))
    classifier = read_onnx(tmp_path / "classifier.onnx")
    label = int(lower(classifier).evaluate(CENTRE)[0][0].argmax())
    network = unroll(classifier, logit_combination(3, label), "abs" if kind == "top-k" else "raw")
    reference = lower(network).evaluate(CENTRE)[0][0][3:]
    if kind == "top-k":  # a symmetric reference would tie
        reference = reference + 1e-6 * np.arange(9)
    prop = Property(
        float32_down(CENTRE - 0.3),
        float32_up(CENTRE + 0.3),
        conditions_of(kind, reference, label),
        network.output_size,
    )
    model, text = tmp_path / "m.onnx", tmp_path / "q.vnnlib"
    model.write_bytes(to_bytes(to_model(network)))
    text.write_text(form(prop))  # type: ignore[operator]
    assert main(["hybrid", "verify", str(text), "--network", f"N={model}", "--timeout", "20"]) == 0
    printed = capsys.readouterr().out
    query = read_query(model, text)
    truth = enumerate_query(query.network, query.prop)
    verdict = printed.split()[0]
    assert verdict in ("sat", "unsat", "unknown")
    if truth.clear:
        assert verdict == truth.truth.value
    if verdict == "sat":
        assert query.confirm(parse_witness(printed, 9)) is not None


def written(folder: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]) -> Path:
    """An ONNX file from X [1, 4] to Y [1, 2]."""
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, s]) for n, s in (("X", 4), ("Y", 2))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path = folder / "outside.onnx"
    onnx.save(model, path)
    return path


WEIGHT = {"W": np.eye(4, 2, dtype=np.float32), "half": np.full((1, 2), 0.5, np.float32)}
OUTSIDE = {
    "Sigmoid": [
        helper.make_node("MatMul", ["X", "W"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["Y"]),
    ],
    "Tanh": [helper.make_node("Tanh", ["X"], ["a"]), helper.make_node("MatMul", ["a", "W"], ["Y"])],
    "Elu": [helper.make_node("MatMul", ["X", "W"], ["a"]), helper.make_node("Elu", ["a"], ["Y"])],
    "Softmax": [helper.make_node("MatMul", ["X", "W"], ["a"]), helper.make_node("Softmax", ["a"], ["Y"])],
    "MaxPool in columns": [
        helper.make_node("Reshape", ["X", "image"], ["i"]),
        helper.make_node("MaxPool", ["i"], ["p"], kernel_shape=[1, 2], strides=[1, 2], storage_order=1),
        helper.make_node("Flatten", ["p"], ["Y"]),
    ],
    "Sign": [helper.make_node("MatMul", ["X", "W"], ["a"]), helper.make_node("Sign", ["a"], ["Y"])],
    "Sign that is not": [
        helper.make_node("MatMul", ["X", "W"], ["a"]),
        helper.make_node("Sign", ["a"], ["s"]),
        helper.make_node("Mul", ["s", "half"], ["Y"]),
    ],
    "product": [
        helper.make_node("MatMul", ["X", "W"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["Y"]),
    ],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_operator_outside_is_unknown_with_the_reason(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = {"image": np.array([1, 1, 1, 4])} if name.startswith("MaxPool") else WEIGHT
    used = {source for node in OUTSIDE[name] for source in node.input}
    model = written(tmp_path, OUTSIDE[name], {k: v for k, v in constants.items() if k in used})
    query = tmp_path / "q.vnnlib"
    query.write_text(to_vnnlib1(Property(-np.ones(4), np.ones(4), (((Atom(0, ">=", other=1),),),), 2)))
    # What only `Program` is too small for is left to boxes, which take few inputs.
    monkeypatch.setattr(boxes, "MOST_INPUTS", 3)
    assert main(["hybrid", "verify", str(query), "--network", f"N={model}", "--timeout", "5"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "unknown\n"
    assert "not supported" in printed.err
    assert name.split(maxsplit=1)[0] in printed.err


def test_the_command_prints_no_traceback(tmp_path: Path) -> None:
    model = written(tmp_path, OUTSIDE["Sigmoid"], {"W": WEIGHT["W"]})
    query = tmp_path / "q.vnnlib"
    query.write_text(to_vnnlib1(Property(-np.ones(4), np.ones(4), (((Atom(0, ">=", other=1),),),), 2)))
    command = [sys.executable, "-m", "salver.solvers", "hybrid", "verify", str(query)]
    done = subprocess.run([*command, "--network", f"N={model}"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "unknown\n")
    assert "Sigmoid" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("clauses", "verdict"),
    [
        ((), "sat"),
        ((((Atom(0, ">=", other=0),),),), "sat"),
        ((((Atom(0, ">=", constant=1e6),),), ((Atom(1, ">=", constant=0.0),),)), "unsat"),
        ((((Atom(0, ">=", constant=1e6),), (Atom(0, "<=", constant=1e6),)),), "sat"),
        ((((Atom(0, ">=", constant=1e6), Atom(1, "<=", constant=1e6)),),), "unsat"),
        (box_clauses(0, np.array([3.0, -9.0]), np.array([2.0, 9.0])), "unsat"),
    ],
)
def test_conditions_that_are_settled_at_once(
    clauses: tuple[Clause, ...], verdict: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [helper.make_node("MatMul", ["X", "W"], ["a"]), helper.make_node("Relu", ["a"], ["Y"])]
    model = written(tmp_path, nodes, {"W": WEIGHT["W"]})
    query = tmp_path / "q.vnnlib"
    query.write_text(to_vnnlib1(Property(-np.ones(4), np.ones(4), clauses, 2)))
    assert main(["hybrid", "verify", str(query), "--network", f"N={model}", "--timeout", "5"]) == 0
    assert capsys.readouterr().out.split()[0] == verdict
