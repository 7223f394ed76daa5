"""A suite on a network in a file: one of its outputs, weights beside it, and what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from salver.core.errors import SalverError
from salver.families.generate import drafts
from salver.families.generator import Generator
from salver.families.source import NetworkParameters, classifier_and_data
from salver.families.suite import read_suite
from salver.nets.network import evaluate
from tests.builders.command_line import salver

W = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A network over digits with a label and scores, whose weights lie beside it."""
    nodes = [
        helper.make_node("MatMul", ["X", "W"], ["a"]),
        helper.make_node("Relu", ["a"], ["z"]),
        helper.make_node("Softmax", ["z"], ["scores"], axis=1),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info("label", TensorProto.INT64, None),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, None),
    ]
    given = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 64])]
    graph = helper.make_graph(nodes, "digits", given, ends, [numpy_helper.from_array(W, "W")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(
        model, tmp_path / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0
    )
    return tmp_path / "net.onnx"


def parameters(path: Path, output: str | None = None) -> NetworkParameters:
    return NetworkParameters.model_validate({"network": str(path), "dataset": "digits", "output": output})


def test_a_named_output_is_read_and_what_closes_it_left_out(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier, data = classifier_and_data(parameters(path, "scores"), 0)
    assert "the closing Softmax is left out" in capsys.readouterr().err
    x = data.test_x[:3]
    assert np.allclose(evaluate(classifier, x), np.maximum(x @ W, 0), atol=1e-4)
    with pytest.raises(SalverError, match="has 2 outputs"):
        classifier_and_data(parameters(path), 0)


def test_a_set_depends_on_the_weights_beside_its_network(path: Path) -> None:
    files = list(Generator.files(object(), parameters(path)))  # type: ignore[arg-type]
    assert files == [path, path.parent / "net.onnx.data"]


def test_unroll_takes_the_name_and_says_what_is_left_out(path: Path) -> None:
    graph = path.parent / "g.onnx"
    refused = salver(path.parent, "unroll", str(path), "-o", str(graph), "--label", "3", check=False)
    assert refused.returncode == 2
    assert "`--output-name scores`" in refused.stderr
    done = salver(
        path.parent, "unroll", str(path), "-o", str(graph), "--label", "3", "--output-name", "scores"
    )
    assert done.stderr.count("\n") == 1
    assert "the closing Softmax is left out" in done.stderr
    assert graph.is_file()


@pytest.mark.parametrize(
    ("told", "entries"),
    [
        ("baseline: 7 is outside of the range", 'map = { method = "integrated-gradients", baseline = 7 }'),
        ("window: 9 x 9 is larger|window: 99 is larger", 'map = { method = "occlusion", window = 99 }'),
        ("class activation map: no global average", 'map = { method = "cam" }'),
        ("layer: there is no layer 'nope'", 'map = { method = "grad-cam", layer = "nope" }'),
        ("map.steps: 0 is too small", 'map = { method = "integrated-gradients", steps = 0 }'),
        ("map: LRP-epsilon is not supported", 'map = { method = "lrp" }'),
        ("epsilon -1 is not positive", 'map = { method = "gradient" }, epsilons = [-1]'),
    ],
)
def test_a_map_that_does_not_fit_is_told_with_the_familys_place(
    tmp_path: Path, told: str, entries: str
) -> None:
    radii = "" if "epsilons" in entries else ", epsilons = [0.1]"
    asked = f'network = "bandit-6x6", points = 1, question = {{ kind = "entry-moves", delta = 1 }}{radii}'
    (tmp_path / "s.toml").write_text(
        f'title = "t"\ntimeout = 1\n[[family]]\ngenerator = "saliency"\nparams = {{ {asked}, {entries} }}\n'
    )
    with pytest.raises(SalverError, match=rf"suite s, family 1 \(saliency\): .*({told})"):
        list(drafts(read_suite(str(tmp_path / "s.toml"))))
