"""What every runner must keep, whether its tool is installed or not."""

from __future__ import annotations

import pytest

from salver.runners.answers import Claim
from salver.runners.contract import answer_from_words
from salver.runners.registry import runners
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
    monkeypatch.setattr("salver.runners.contract.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("salver.runners.contract.LAST_PYTHON", {"maraboupy": (3, 8)})
    assert "no wheels for Python 3" in (runners()["marabou"]().unavailable() or "")
