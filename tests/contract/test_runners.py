"""What every runner must keep, whether its tool is installed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.model import Claim, Facts, Finished, Instance, Limits, StagedInstance, Termination
from salver.plugins import runners
from salver.runner import Runner, answer_from_words

FACTS = Facts(
    family="vg_box", network="n", dataset="d", index=0, label=0, gradient_of="z_0", condition="c",
    targets=(1,), epsilon=0.1, input_shape=(2,), logits=2, saliencies=2,
)  # fmt: skip


def instance(operators: tuple[str, ...] = ("Gemm", "Relu")) -> Instance:
    return Instance(
        id="0" * 16, suite="s", name="i", onnx="onnx/n.onnx", vnnlib="vnnlib/i.vnnlib",
        vnnlib2="vnnlib2/i.vnnlib", network="networks/n.onnx", timeout=5, operators=operators, facts=FACTS,
    )  # fmt: skip


def finished(**changes) -> Finished:
    base = {
        "termination": Termination.EXITED, "exit_code": 0, "signal": None, "wall_s": 1.0, "cpu_s": 1.0,
        "memory_mb": 1.0,
    }  # fmt: skip
    return Finished(**{**base, **changes})


@pytest.fixture(params=sorted(runners()))
def runner(request) -> Runner:
    return runners()[request.param]()


def test_declares_itself(runner):
    assert runner.name
    assert runner.name == runner.name.lower()
    assert runner.devices <= {"cpu", "cuda"}
    assert set(runner.vnnlib_versions) <= {"1.0", "2.0"}
    assert runner.resources.cpus >= 1


def test_availability_is_a_reason_or_nothing(runner):
    reason = runner.unavailable()
    assert reason is None or (reason and "\n" not in reason)


def test_unknown_device_is_refused():
    for kind in runners().values():
        if "cuda" not in kind.devices:
            assert "cuda" in (kind("cuda").unavailable() or "")


def test_unsupported_operators_are_named(runner):
    reason = runner.supports(instance(("Gemm", "Softmax")))
    assert reason is not None
    assert "Softmax" in reason


def test_command_is_an_argument_vector(runner, tmp_path, monkeypatch):
    for variable in runner.environment_variables:
        monkeypatch.setenv(variable, str(tmp_path))
    staged = StagedInstance(
        instance=instance(),
        onnx=tmp_path / "n.onnx",
        vnnlib=tmp_path / "i.vnnlib",
        vnnlib2=tmp_path / "2.vnnlib",
    )
    for path in (staged.onnx, staged.vnnlib, staged.vnnlib2):
        path.write_text("")
    command = runner.command(staged, Path(tmp_path), Limits(wall_s=7))
    assert all(isinstance(word, str) for word in command)
    assert any("n.onnx" in word for word in command)
    assert any("vnnlib" in word for word in command)
    assert any("7" in word for word in command)


@pytest.mark.parametrize("text", ["", "garbage", "Traceback (most recent call last):\n", "sat?", "\0\0"])
def test_garbage_is_no_claim(runner, text):
    answer = runner.parse(instance(), finished(stdout=text, stderr=text))
    assert answer.claim in (Claim.NONE, Claim.ERROR)


def test_parse_is_pure(runner):
    record = finished(stdout="unsat\n", files=dict.fromkeys(runner.result_files, "unsat\n"))
    assert runner.parse(instance(), record) == runner.parse(instance(), record)


@pytest.mark.parametrize(
    ("word", "claim"),
    [
        ("sat", Claim.SAT), ("unsat", Claim.UNSAT), ("unknown", Claim.UNKNOWN), ("timed-out", Claim.TIMEOUT),
        ("timeout", Claim.TIMEOUT), ("holds", Claim.UNSAT), ("violated", Claim.SAT), ("error", Claim.ERROR),
        ("satisfied", Claim.NONE),
    ],
)  # fmt: skip
def test_verdict_words(word, claim):
    answer = answer_from_words(f"{word}\n((X_0 0.5))\n")
    assert answer.claim is claim
    assert (answer.witness == "((X_0 0.5))") == (claim is Claim.SAT)


def test_a_python_without_wheels_is_named(monkeypatch):
    monkeypatch.setattr("salver.runner.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("salver.runner.LAST_PYTHON", {"maraboupy": (3, 8)})
    assert "no wheels for Python 3" in (runners()["marabou"]().unavailable() or "")
