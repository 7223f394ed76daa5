"""What every runner must keep, whether its tool is installed or not."""

from __future__ import annotations

import sys

import pytest

from salver.runners.answers import Claim
from salver.runners.contract import answer_from_words, why_unsupported
from salver.runners.registry import runners
from salver.solvers.__main__ import main as solve
from salver.solvers.registry import SOLVERS
from salver.testkit.declarations import check_declarations, sample_instance


@pytest.mark.parametrize("name", sorted(runners()))
def test_keeps_the_contract(name):
    failed = [str(check) for check in check_declarations(runners()[name]()) if check.status == "FAIL"]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("name", sorted(runners()))
def test_availability_is_a_reason_or_nothing(name):
    reason = runners()[name]().unavailable()
    assert reason is None or (reason and "\n" not in reason)


def test_unknown_device_is_refused():
    for kind in runners().values():
        if "cuda" not in kind.devices:
            assert kind("cuda").unavailable(), kind.name


@pytest.mark.parametrize("name", sorted(runners()))
def test_unsupported_operators_are_named(name):
    reason = runners()[name]().supports(sample_instance(("Gemm", "Softmax")))
    assert reason is not None
    assert "Softmax" in reason


@pytest.mark.parametrize("name", sorted(runners()))
def test_balls_are_for_those_who_take_them(name):
    runner, sample = runners()[name](), sample_instance(("Gemm", "Relu"))
    reasons = {
        norm: why_unsupported(
            runner,
            sample.model_copy(
                update={"facts": sample.facts.model_copy(update={"norm": norm, "family": "topk_rank"})}
            ),
        )
        for norm in ("linf", "l2")
    }
    assert reasons["linf"] is None
    assert reasons["l2"] == (None if name in SOLVERS else "takes boxes of inputs only, not balls")


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
    hide(monkeypatch, "maraboupy")
    declared = ["maraboupy>=2.0; python_version < '3.8' and extra == 'marabou'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: declared)
    assert "no wheels for Python 3" in (runners()["marabou"]().unavailable() or "")


@pytest.mark.parametrize(
    ("name", "module", "brought_by"),
    [
        ("marabou", "maraboupy", "pip install --no-deps 'maraboupy>=2.0'"),
        ("milp", "pyscipopt", "pip install --no-deps 'pyscipopt>=6.3'"),
        ("hybrid", "pyscipopt", "pip install --no-deps 'pyscipopt>=6.3'"),
        ("crown", "auto_LiRPA", "pip install --no-deps 'appdirs>=1.4' auto-LiRPA"),
        ("falsify", "onnxruntime", "run scripts/setup.sh"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(
    name, module, brought_by, monkeypatch, capsys
):
    hide(monkeypatch, module)
    reason = runners()[name]().unavailable()
    assert f"{module} is not installed" in reason
    assert brought_by in reason
    assert solve([name, "verify", "q", "--network", "N=m"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert brought_by in told


def test_the_runners_of_embedded_solvers_are_those_of_the_registry():
    found = runners()
    for solver in SOLVERS.values():
        runner = found[solver.name]()
        assert (runner.complete, set(runner.devices), runner.needs) == (
            solver.complete, set(solver.devices), solver.needs
        )  # fmt: skip
        assert bool(runner.proof_file) is solver.proves


def hide(monkeypatch, module):
    """As if a package were not installed: Python's import system takes None in its place for that."""
    monkeypatch.setitem(sys.modules, module, None)
