"""`salver methods` and `salver unroll --method`: what there is, what not, and what a file says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from salver.cli.methods import takers
from salver.core.records import parse_record
from salver.explain.explanation import METHODS, Explanation, Form
from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.explain.unsupported import METHODS as UNSUPPORTED
from salver.nets.onnx.reader import read_onnx
from salver.points.entries import all_entries, entries_of
from tests.builders.command_line import salver
from tests.builders.small_network import classifier
from tests.docs.commands import leaves

SMOOTH = ("--method", "smoothgrad", "--noise-draws", "2", "--noise-sigma", "0.2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    return tmp_path


def unroll(folder: Path, *more: str, check: bool = True) -> tuple[int, str, str]:
    return salver(folder, "unroll", "net.onnx", "-o", "map.onnx", "--label", "1", *more, check=check)


def test_a_graph_is_that_of_the_method_and_says_so(folder: Path) -> None:
    _, out, _ = unroll(folder, *SMOOTH, "--minus", "0", "--abs")
    assert out == (
        "map.onnx: X [batch,3] -> Y [batch,5] = logits, the absolute SmoothGrad (2 draws, sigma 0.2, seed 0)"
        " of z_1 - z_0\n"
    )
    expected = SmoothGrad(logit=1, minus=0, absolute=True, noise=Noise(draws=2, sigma=0.2))
    graph = expected.graph(read_onnx(folder / "net.onnx"))
    assert read_onnx(folder / "map.onnx").sha256() == graph.sha256()
    said = {p.key: p.value for p in onnx.load(folder / "map.onnx").metadata_props}
    record = json.loads(said["salver.explanation"])
    assert parse_record(METHODS.known[record["method"]], record, "metadata") == expected
    assert said["salver.logits"] == "2"
    assert json.loads(said["salver.map_shape"]) == [3]
    assert "salver.left_out" not in said


def test_lists_have_commas_and_lists_of_lists_semicolons(folder: Path) -> None:
    given = ("--references-baselines", "0,0,1;1,0.5,0", "--references-draws", "2")
    unroll(folder, "--method", "expected", *given)
    said = {p.key: p.value for p in onnx.load(folder / "map.onnx").metadata_props}
    found = json.loads(said["salver.explanation"])
    assert found["references"]["baselines"] == [[0.0, 0.0, 1.0], [1.0, 0.5, 0.0]]


def test_a_graph_takes_a_batch_in_onnx_runtime(folder: Path) -> None:
    unroll(folder, *SMOOTH)
    session = onnxruntime.InferenceSession(folder / "map.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    (together,) = session.run(None, {"X": x})
    apart = [session.run(None, {"X": row[None]})[0] for row in x]
    assert np.allclose(together, np.concatenate(apart), atol=1e-6)


def test_a_softmax_that_is_left_out_is_said_here_and_in_the_file(folder: Path) -> None:
    model = onnx.load(folder / "net.onnx")
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("Softmax", ["z"], ["y"]))
    onnx.save(model, folder / "net.onnx")
    _, _, err = unroll(folder)
    assert "the closing Softmax is left out" in err
    said = {p.key: p.value for p in onnx.load(folder / "map.onnx").metadata_props}
    assert said["salver.left_out"] == "Softmax"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--method", "smoothgrat"), "no method is called 'smoothgrat'; did you mean smoothgrad?"),
        (
            ("--method", "smoothgrad"),
            "salver: --noise-draws and --noise-sigma: are missing; smoothgrad needs them",
        ),
        ((*SMOOTH[:3], "0", *SMOOTH[4:]), "salver: --noise-draws: 0 is too small"),
        (
            (*SMOOTH[:3], "9999999", *SMOOTH[4:]),
            "--noise-draws: 9999999 is too large; give a number of at most",
        ),
        (("--range", "0"), "salver: --range: it takes 2 values; write them after the option"),
        (("--range", "nan", "1"), "salver: --range: nan to 1 is no range; give two numbers, the lower first"),
        ((*SMOOTH, "--noise-sed", "1"), "no such option: --noise-sed; did you mean --noise-seed?"),
        (("--noise-draws", "3"), "--noise-draws: does not belong to gradient; it is an entry of smoothgrad"),
        (("--method", "cam"), "class activation map: "),
        (("--method", "DeepLift"), "DeepLIFT is not supported: its multipliers are quotients"),
        (("--method", "grad-cam++"), "Grad-CAM++ is not supported: its weights are quotients"),
        (("--score", "probability"), "probability is not supported: exponentials are no piecewise linear"),
        (("--score", "lgit"), "there is none called 'lgit'; explain a logit"),
        (("--label", "7"), "--label: class 7 does not exist"),
        (("--minus", "7"), "--minus: class 7 does not exist"),
        (("--method", "feature-ablation", "--patch", "4"), "--patch: 4 is larger than the input, which is 3"),
        (
            ("--method", "rise", "--masks-count", "2", "--masks-cells", "2"),
            "--masks-cells: 2 do not fit inputs of 3",
        ),
        (
            (
                "--method",
                "expected",
                "--references-draws",
                "2",
                "--references-baselines",
                "7",
                "--range",
                "0",
                "1",
            ),
            "--references-baselines: 7 is outside of the range 0 to 1",
        ),
        (("--method", "kernel-shap", "--draws-count", "1"), "--draws-count: 1 draws do not determine"),
        (
            ("--method", "var-grad", "--noise-draws", "1", "--noise-sigma", "1"),
            "--noise-draws: 1 has no variance",
        ),
        (("--method", "integrated", "--steps", "0"), "steps: 0 is too small"),
        (("--method", "integrated", "--baseline", "0,1"), "baseline: holds 2 numbers for 3 entries"),
        (
            ("--method", "integrated", "--baseline", "-1", "--range", "0", "1"),
            "baseline: -1 is outside of the range 0 to 1 of entry 0",
        ),
        (("--method", "occlusion", "--window", "4"), "window: 4 is larger than the input, which is 3"),
        (("--method", "layercam", "--layer", "conv9"), "salver: --layer: there is no layer 'conv9'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    folder: Path, more: tuple[str, ...], said: str
) -> None:
    status, out, err = unroll(folder, *more, check=False)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not (folder / "map.onnx").exists()


def test_unroll_has_the_options_of_every_method_and_of_no_question() -> None:
    commands = dict(leaves())
    own = {name for parameter in commands["unroll",].params for name in parameter.opts}
    for entry in all_entries().values():
        assert (entry.option in own) == bool(entry.methods), entry.name
    for command in (commands["unroll",], commands["check",]):
        names = [name for parameter in command.params for name in parameter.opts]
        assert len(names) == len(set(names)), "an entry has the name of the command's own option"


def test_the_table_has_every_method_and_everything_that_is_refused(folder: Path) -> None:
    _, out, _ = salver(folder, "methods")
    lines = out.splitlines()
    for name, record in METHODS.known.items():
        assert issubclass(record, Explanation)
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert record.form.value in line
        assert line.endswith(record.paper)
        assert all(entry.option in line for entry in entries_of(name))
    for refused in UNSUPPORTED:
        assert any(line.startswith(refused.name) and line.endswith(refused.reason) for line in lines)
    assert len({line.partition("  ")[0] for line in lines}) > len(METHODS.known)


def test_one_method_is_shown_with_its_options_and_solvers(folder: Path) -> None:
    _, out, _ = salver(folder, "methods", "smooth")
    assert out.startswith("smoothgrad: ")
    assert "--noise-sigma  standard deviation of the noise (number; required)" in out
    assert re.search(r"solvers  .*\bhybrid\b", out)
    _, out, _ = salver(folder, "methods", "cam", "--json")
    (found,) = json.loads(out)["methods"]
    assert found["form"] == "forward only"
    assert "hybrid" in found["solvers"]
    assert "er-attack" not in found["solvers"]
    assert "nnenum" in takers(Form.FORWARD)
    assert "nnenum" not in takers(Form.MASKS)
    _, out, _ = salver(folder, "methods", "lrp")
    assert out.startswith("LRP-epsilon is not supported: ")
    status, _, err = salver(folder, "methods", "gradeint", check=False)
    assert (status, err.count("\n")) == (2, 1)
    assert "did you mean gradient?" in err
