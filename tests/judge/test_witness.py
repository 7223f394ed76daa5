"""Witnesses: both textual forms, the 2026 rule at its edges, and the gradient by another road."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.explain.gradient import Gradient
from salver.explain.unroll import logit_combination, unroll
from salver.judge.judgement import WitnessVerdict
from salver.judge.witness import (
    MalformedWitness,
    Replay,
    original_gradient,
    parse_witness,
    replay,
    second_opinion,
)
from salver.spec import Atom, Ball, Property
from tests.builders.witnesses import LAST, classifier, flat, instance, of_network, saved

# z0 = 2 relu(x0 - x1) - relu(x1), z1 = relu(x1): dz0/dx = (2, -2) where x0 > x1 > 0 up to the last term.


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return saved(unroll(classifier(), logit_combination(2, 0)), tmp_path / "gradient.onnx")


def query(*clauses: tuple[tuple[Atom, ...], ...]) -> Property:
    """X in [0, 1]^2 and the clauses over the 4 outputs; z0 >= z1 by default."""
    return Property(np.zeros(2), np.ones(2), clauses or (((Atom(0, ">=", other=1),),),), 4)


@pytest.mark.parametrize(
    "text",
    [
        "((X_0 0.25)\n (X_1 -2e-3)\n (Y_0 -0.03))",
        "sat\n((X_0 0.25) (X_1 -2e-3))",
        "  sat  \r\n ( (X_1\t-.002 )(X_0 .25) ) ",
        "(X_0 0.25)\n(X_1 -0.002)\n",
        "((Y_0 nan)\n(X_0 0.25)\n(X_1 -0.002))",
        "X float32 [1,2]\n0.25\n-2e-3\nY float32 [1,1]\n-0.03\n",
        "sat\nY real [1,1]\nnan\n\nX  Real[ 1, 2 ]\n 0.25 -2e-3",
        "X real [2]\n0.25\n-0.002",
    ],
)
def test_both_forms_in_any_layout(text: str) -> None:
    assert parse_witness(text, 2).tolist() == [0.25, -0.002]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "empty"),
        ("sat", "empty"),
        ("((X_0 0.1) (X_1", "near"),
        ("((X_0 0.1) (X_1 0.2)", "near"),
        ("((X_0 0.1))", "X_1 is missing"),
        ("((X_0 0.1) (X_1 0.2) (X_0 0.1))", "X_0 is given twice"),
        ("((X_0 0.1) (X_1 0.2) (X_2 0.3))", "X_2 is beyond"),
        ("((X_0 0.1) (X_1 nan))", "not a finite number"),
        ("((X_0 0.1) (X_1 -inf))", "not a finite number"),
        ("((X_0 0.1) (X_1 1e999))", "not a finite number"),
        ("((X_0 0.1) (X_1 1_0))", "not a finite number"),
        ("((X_0 0.1) (X_" + "9" * 5000 + " 1))", "near"),
        ("X float32 [1,2]\n0.1", "has shape [1,2] but 1 values"),
        ("X float32 [1,2]\n0.1\n0.2\n0.3", "has shape [1,2] but 3 values"),
        ("X float32 [1,2]\n0.1\nNaN", "not a finite number"),
        ("X float32 [1,2]\n1\n2\nX float32 [1,2]\n1\n2", "X is given twice"),
        ("Y float32 [1,2]\n1\n2", "X_0 is missing"),
        ("counterexample at 0.1, 0.2", "instead of"),
    ],
)
def test_what_is_no_witness_is_named(text: str, complaint: str) -> None:
    with pytest.raises(MalformedWitness) as caught:
        parse_witness(text, 2)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_both_forms_round_trip(values: list[float], random: object) -> None:
    pairs = [f"(X_{i} {value!r})" for i, value in enumerate(values)]
    random.shuffle(pairs)  # type: ignore[attr-defined]
    tensor = f"X float64 [1,{len(values)}]\n" + "\n".join(map(repr, values))
    assert parse_witness(f"({' '.join(pairs)})", len(values)).tolist() == values
    assert parse_witness(tensor, len(values)).tolist() == values


def test_correct_witness(graph: Path) -> None:
    result = replay(graph, query(), flat(1.0, 0.25))
    assert result.verdict is WitnessVerdict.CORRECT
    assert result.point == (1.0, 0.25)
    assert result.outputs == (1.25, 0.25, 2.0, -3.0)
    assert result.detail == ""


def test_solvers_outputs_are_ignored_by_the_2026_rule(graph: Path) -> None:
    text = "((X_0 0.25) (X_1 1.0) (Y_0 99.0) (Y_1 0.0) (Y_2 0.0) (Y_3 0.0))"
    assert replay(graph, query(), text).verdict is WitnessVerdict.INVALID


def test_a_double_that_rounds_into_the_box_is_correct(graph: Path) -> None:
    assert replay(graph, query(), flat(1.0 + 1e-9, 0.25)).verdict is WitnessVerdict.CORRECT


@pytest.mark.parametrize("outside", [1e-6, 9.9e-5])
def test_outside_the_box_is_credited_up_to_the_tolerance(graph: Path, outside: float) -> None:
    result = replay(graph, query(), flat(1.0 + outside, 0.25))
    assert result.verdict is WitnessVerdict.UP_TO_TOLERANCE
    assert "outside the box" in result.detail


@pytest.mark.parametrize("x", [(1.0002, 0.25), (-0.0002, 0.0), (1e30, 0.0), (1e300, 0.0)])
def test_far_outside_the_box_is_invalid(graph: Path, x: tuple[float, float]) -> None:
    result = replay(graph, query(), flat(*x))
    assert result.verdict is WitnessVerdict.INVALID
    assert "outside the box" in result.detail
    stored = result.model_dump_json()
    assert Replay.model_validate_json(stored).model_dump_json() == stored


def test_outputs_have_no_tolerance(graph: Path) -> None:
    barely = query(((Atom(0, ">=", constant=1.25 + 5e-5),),))
    assert replay(graph, barely, flat(1.0, 0.25)).verdict is WitnessVerdict.INVALID
    touching = query(((Atom(0, ">=", constant=1.25),),))
    assert replay(graph, touching, flat(1.0, 0.25)).verdict is WitnessVerdict.CORRECT


@pytest.mark.parametrize("text", [None, "", " \n", "sat\n"])
def test_missing_witness(graph: Path, text: str | None) -> None:
    assert replay(graph, query(), text).verdict is WitnessVerdict.MISSING


def test_malformed_witness(graph: Path) -> None:
    result = replay(graph, query(), "((X_0 0.1))")
    assert (result.verdict, result.detail) == (WitnessVerdict.MALFORMED, "X_1 is missing")


def test_a_checker_that_cannot_run_is_neutral(graph: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    for path in (broken, tmp_path / "absent.onnx"):
        result = replay(path, query(), flat(1.0, 0.25))
        assert result.verdict is WitnessVerdict.UNCHECKABLE
        assert "\n" not in result.detail
    fewer = Property(np.zeros(2), np.ones(2), (), 3)
    assert replay(graph, fewer, flat(1.0, 0.25)).verdict is WitnessVerdict.UNCHECKABLE


@pytest.mark.parametrize(
    ("explanation", "saliency", "opinion"),
    [
        (Gradient(logit=0), (2.0, -3.0), "agrees"),
        (Gradient(logit=0), (2.0, 3.0), "differs"),
        (Gradient(logit=0, absolute=True), (2.0, 3.0), "agrees"),
        (Gradient(logit=1), (0.0, 1.0), "agrees"),
        (Gradient(logit=0, minus=1), (2.0, -4.0), "agrees"),
        (Gradient(logit=0, minus=1), (2.0, -4.001), "differs"),
        (None, (2.0, -3.0), "none"),
        (Gradient(logit=0), (2.0,), "none"),
    ],
)
def test_original_gradient(explanation: Gradient | None, saliency: tuple[float, ...], opinion: str) -> None:
    outputs = (1.25, 0.25, *saliency)
    assert original_gradient(classifier(), instance(explanation).facts, (1.0, 0.25), outputs) == opinion


def test_relu_derivative_at_zero_is_zero_in_both_opinions(graph: Path, tmp_path: Path) -> None:
    network = saved(classifier(), tmp_path / "classifier.onnx")
    at_kink = replay(graph, query(((Atom(0, "<=", constant=0.0),),)), flat(0.5, 0.5))
    assert at_kink.outputs[2:] == (0.0, -1.0)
    assert second_opinion(at_kink, of_network(network, instance())).gradient == "agrees"


@pytest.mark.parametrize("unit", [1.0, 2.0**-30, 2.0**30])
def test_second_opinion_notices_another_network_of_any_scale(tmp_path: Path, unit: float) -> None:
    one = classifier(LAST * np.float32(unit))
    graph = saved(unroll(one, logit_combination(2, 0)), tmp_path / "graph.onnx")
    replayed = replay(graph, Property(np.zeros(2), np.ones(2), (), 4), flat(1.0, 0.25))
    opinions = []
    for factor in (1.0, 1.5):
        other = saved(classifier(LAST * np.float32(factor * unit)), tmp_path / f"{factor}.onnx")
        opinions.append(second_opinion(replayed, of_network(other, instance())).gradient)
    assert opinions == ["agrees", "differs"]


def test_second_opinion_on_what_cannot_be_read(graph: Path, tmp_path: Path) -> None:
    credited = replay(graph, query(), flat(1.0, 0.25))
    opinion = second_opinion(credited, of_network(tmp_path / "absent.onnx", instance()))
    assert (opinion.verdict, opinion.gradient) == (WitnessVerdict.CORRECT, "none")
    assert "no second opinion" in opinion.detail
    rejected = replay(graph, query(), flat(2.0, 0.25))
    assert second_opinion(rejected, of_network(tmp_path / "absent.onnx", instance())) == rejected


def test_a_tie_counts_as_a_violation(tmp_path: Path) -> None:
    square = saved(replace(classifier(), output="r"), tmp_path / "r.onnx")
    tie = Property(np.zeros(2), np.ones(2), (((Atom(0, ">=", other=1),),),), 2)
    assert replay(square, tie, flat(0.5, 0.25)).verdict is WitnessVerdict.CORRECT
    assert replay(square, tie, flat(0.5, 0.26)).verdict is WitnessVerdict.INVALID


SPHERE = replace(query(((Atom(1, ">="),),)), ball=Ball(np.array([0.5, 0.5]), 0.0625))


@pytest.mark.parametrize(
    ("x", "verdict"),
    [
        ([0.75, 0.5], WitnessVerdict.CORRECT),
        ([0.65, 0.3], WitnessVerdict.CORRECT),
        ([0.75 + 2.0**-24, 0.5], WitnessVerdict.UP_TO_TOLERANCE),
        ([0.65, 0.29995], WitnessVerdict.UP_TO_TOLERANCE),
        ([0.75, 0.25], WitnessVerdict.INVALID),
        ([0.7502, 0.5], WitnessVerdict.INVALID),
    ],
)
def test_a_witness_lies_in_the_ball_exactly(graph: Path, x: list[float], verdict: WitnessVerdict) -> None:
    found = replay(graph, SPHERE, flat(*x))
    assert found.verdict is verdict
    assert ("ball" in found.detail) == (verdict is not WitnessVerdict.CORRECT)


def test_without_the_ball_a_point_beside_it_is_correct(graph: Path) -> None:
    beside = flat(0.75 + 2.0**-24, 0.5)
    assert replay(graph, replace(SPHERE, ball=None), beside).verdict is WitnessVerdict.CORRECT
