"""The certified and the attacked radius, against enumeration and against made-up answers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import salver
from salver.core.errors import SalverError
from salver.oracle.enumerate import enumerate_query
from salver.points.enclosure import Enclosure
from salver.points.radius import next_radius, rounded_up
from salver.proofs.bounded import CheckReply, check_here
from salver.solvers.attack import falsify
from salver.spec.truth import Truth
from tests.builders.small_network import classifier

X = np.array([0.3, -0.2, 0.5], np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("net") / "net.onnx", inputs=3, seed=4)


def truth_at(found: salver.RadiusAnswer, radius: float) -> Truth:
    posed = found.asked.posed
    prop = posed.prop(posed.factory.box(X, radius))
    return enumerate_query(posed.graph, prop).truth


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "entries"),
    [
        ("top-k", {"k": 1}),
        ("label-changes", {}),
        ("same-map", {"delta": 0.3}),
        ("sign-changes", {"entry": 1}),
    ],
)
def test_the_radii_are_those_of_enumeration(network: Path, question: str, entries: dict[str, object]) -> None:
    found = salver.radius(network, X, question, precision=0.02, **entries)
    assert 0 < found.certified < found.attacked <= found.certified / 0.97
    assert truth_at(found, found.certified) is Truth.UNSAT
    assert truth_at(found, found.attacked) is Truth.SAT
    assert found.witness is not None
    assert np.abs(found.witness.astype(np.float64) - X).max() == found.attacked
    assert found.sentence.startswith(f"Robust up to {found.certified:g}, proved by hybrid; broken at ")


def test_without_a_counterexample_it_says_how_far_was_looked(network: Path) -> None:
    found = salver.radius(network, X, "top-k", k=1, most=0.01)
    assert (found.certified, found.attacked, found.robust) == (0.01, math.inf, True)
    assert found.sentence.startswith(
        "Robust up to 0.01, proved by hybrid; no input up to 0.01 away was found"
    )


def test_a_solver_that_proves_nothing_gives_the_upper_end_alone(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The solver ends by what it has tried, not by the clock: a busy machine gives the same answer."""
    monkeypatch.setattr(falsify, "PATIENCE", 1)
    monkeypatch.setattr(falsify, "PATIENCE_SECONDS", 0.0)
    found = salver.radius(network, X, "top-k", k=1, solver="falsify", precision=0.1)
    assert (found.certified, found.robust) == (0.0, None)
    assert found.sentence.startswith("No radius was certified; broken at ")
    assert truth_at(found, found.attacked) is Truth.SAT


def test_a_point_that_is_its_own_counterexample_has_no_radius(network: Path) -> None:
    found = salver.radius(network, X, "sign-changes", entry=1, level=99)
    assert (found.certified, found.attacked, found.robust) == (0.0, 0.0, False)
    condition = "entry 1 of the map rises to -99 or above"
    assert found.sentence == f"Robust at no radius: already at the point itself {condition}."


@pytest.mark.slow
def test_the_proof_is_of_the_certified_radius(network: Path, tmp_path: Path) -> None:
    found = salver.radius(network, X, "top-k", k=1, proof=tmp_path / "p.gz")
    proof = found.proof
    assert proof is not None
    assert ", and its proof was checked; broken at" in found.sentence
    assert check_here(proof.network, proof.query, proof.file).answer is CheckReply.ACCEPTED
    assert found.plot().document.count("<img") == 4


@pytest.mark.parametrize("precision", [0.0, 1.0, math.nan])
def test_a_precision_that_is_none_is_refused(network: Path, precision: float) -> None:
    with pytest.raises(SalverError, match="precision"):
        salver.radius(network, X, "top-k", k=1, precision=precision)


def after(known: Enclosure, radius: float, true: float, hard: float) -> Enclosure:
    """What is known after a question, where radii within `hard` of the true one stay undecided."""
    if abs(radius - true) < hard * true:
        return known.with_vain(radius)
    return known.with_low(radius) if radius < true else known.with_high(radius * 0.999)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(true=st.floats(1e-4, 2.0), hard=st.sampled_from([0.0, 0.1, 0.4]), most=st.floats(0.5, 1.0))
def test_bisection_ends_near_what_can_be_decided(true: float, hard: float, most: float) -> None:
    known, radius, steps = Enclosure(), most, 0
    while radius is not None:
        assert known.low < radius <= min(known.high, most)
        known, steps = after(known, radius, true, hard), steps + 1
        radius = next_radius(known, most, 0.05)
    assert steps <= 40
    assert known.low <= true
    assert known.high >= true * 0.999
    top = min(known.high, most)
    assert known.low >= min(true * (1 - hard), most) - 0.06 * top
    if math.isfinite(known.high):
        assert known.high <= true * (1 + hard) + 0.06 * top


@given(st.floats(1e-6, 1e3))
def test_a_broken_radius_is_never_printed_too_small(value: float) -> None:
    assert value <= rounded_up(value) <= value * 1.0011
