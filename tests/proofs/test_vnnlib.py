"""The proof checker's own reader of VNN-LIB: exact numbers, and a refusal of everything it does not know."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from experiments.soundness.queries import draw
from salver.proofs.onnx_file import parse_network
from salver.proofs.vnnlib_file import ExactAtom, UnsupportedPropertyError, parse_property
from salver.solvers.proving.statement import exact
from salver.spec.write import to_vnnlib1, to_vnnlib2
from tests.builders.onnx_models import RELU, model_of

HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)"
BOX = "(assert (>= X_0 0.1))(assert (<= X_0 3e-1))"
HEAD2 = "(vnnlib-version <2.0>)(declare-network N (declare-input X {} {})(declare-output Y real [1,4]))"


def _read(text: str) -> object:
    return parse_property(text.encode())


def test_decimals_are_the_rationals_that_they_are() -> None:
    found = parse_property((HEAD + BOX + "(assert (<= Y_0 -.5E+1))(assert (>= 7. Y_1))").encode())
    assert (found.lower, found.upper) == ((Fraction(1, 10),), (Fraction(3, 10),))
    assert found.clauses == (
        ((ExactAtom(0, "<=", None, Fraction(-5)),),),
        ((ExactAtom(1, "<=", None, Fraction(7)),),),
    )


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_comment_ends_with_its_line(end: str) -> None:
    found = parse_property(f"{HEAD}{BOX}; said{end}(assert (<= Y_0 Y_1)){end}".encode())
    assert found.clauses == (((ExactAtom(0, "<=", 1, Fraction(0)),),),)


@pytest.mark.parametrize("seed", range(30))
def test_both_versions_of_a_query_mean_what_the_common_reader_says(tmp_path: Path, seed: int) -> None:
    query = draw(tmp_path, seed).query
    network = parse_network(query.onnx.read_bytes())
    for text in (to_vnnlib1(query.prop), to_vnnlib2(query.prop)):
        assert parse_property(text.encode(), network) == exact(query.prop)


def test_a_choice_of_one_is_no_choice() -> None:
    found = parse_property((HEAD + BOX + "(assert (or (and (<= X_0 0.2) (<= Y_0 1) (>= Y_1 2))))").encode())
    assert found.upper == (Fraction(1, 5),)
    assert [len(clause[0]) for clause in found.clauses] == [1, 1]


def test_disjunctions_keep_their_order_and_equations_are_two_conditions() -> None:
    found = parse_property(
        (HEAD + BOX + "(assert (or (and (<= Y_0 1) (== Y_1 2)) (>= Y_0 3)))(assert (or))").encode()
    )
    sizes = [[len(part) for part in clause] for clause in found.clauses]
    assert sizes == [[3, 1], []]
    assert [atom.relation for atom in found.clauses[0][0]] == ["<=", "<=", ">="]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (HEAD + BOX + "(assert (< Y_0 1))", "no condition"),
        (HEAD + BOX + "(assert (<= (+ Y_0 Y_1) 1))", "no condition"),
        (HEAD + BOX + "(assert (<= Y_0 (- 1.0)))", "no condition"),
        (HEAD + BOX + "(assert (or (<= Y_1 0) (and (<= X_0 0.2) (<= Y_0 1))))", "inside a disjunction"),
        (HEAD + BOX + "(assert (<= Y_0 X_0))", "compared with an input"),
        (HEAD + BOX + "(assert (<= X_0 X_0))", "compared with a variable"),
        (HEAD + BOX + "(assert (<= 1 2))", "two numbers"),
        (HEAD + BOX + "(assert (<= Y_2 1))", "neither a declared variable nor a number"),
        (HEAD + BOX + "(assert (<= Y_0 1e999))", "beyond 400"),
        (HEAD + BOX + "(assert (<= Y_0 nan))", "neither"),
        (HEAD + BOX + "(assert (<= Y_0 .))", "neither"),
        (HEAD + BOX + "(assert (<= Y_0 0x10))", "neither"),
        (HEAD + BOX + "(assert (<= Y_0 1_0))", "neither"),
        (HEAD + BOX + "(assert (<= Y_0 \u0661))", "neither"),
        (HEAD + BOX + "(check-sat)", "no statement"),
        (HEAD + BOX + ")", "too many"),
        (HEAD + BOX + "(assert (<= Y_0 1)", "never closed"),
        (HEAD + BOX + "loose", "outside"),
        (HEAD + BOX + "(assert (<= Y_0 1)) \x0b", "holds the character"),
        (HEAD + BOX + "; said\u2028(assert (<= Y_0 1))", "holds the character"),
        ("\ufeff" + HEAD + BOX, "outside"),
        (HEAD + HEAD + BOX, "declared twice"),
        (HEAD + "(assert (>= X_0 0.1))", "no upper bound"),
        ("(declare-const X_1 Real)(declare-const Y_0 Real)", "without gaps"),
        ("(declare-const Z_0 Real)", "neither X_i nor Y_i"),
        ("(declare-const X_0 Int)", "no statement"),
        ("(vnnlib-version <2.0>)" + HEAD, "no statement"),
        ("(vnnlib-version <3.0>)", "no statement"),
        (HEAD + HEAD2.format("real", "[1,4]"), "no statement"),
        (HEAD2.format("float16", "[1,4]"), "no declaration"),
        (HEAD2.format("real", "[]"), "no list of numbers"),
        (HEAD2.format("real", "[1,0]"), "has shape"),
        (HEAD2.format("real", "[1,04]"), "no list of numbers"),
        (HEAD2.format("real", "[1,4]") + "(assert (<= X[0,4] 1.0))", "outside shape"),
        (HEAD2.format("real", "[1,4]") + "(assert (<= X[0] 1.0))", "outside shape"),
        (HEAD2.format("real", "[1,4]") + "(assert (<= X_0 1.0))", "neither"),
        ("(" * 100, "are open"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, why: str) -> None:
    with pytest.raises(UnsupportedPropertyError, match=why) as caught:
        _read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("element", "shape", "why"),
    [
        ("float64", "[1,4]", "declares float64"),
        ("real", "[4]", "declares shape"),
        ("real", "[4,1]", "declares shape"),
        ("real", "[1,5]", "declares shape"),
    ],
)
def test_declarations_that_contradict_the_network_are_refused(element: str, shape: str, why: str) -> None:
    network = parse_network(model_of(RELU).SerializeToString())
    text = HEAD2.format(element, shape).encode()
    with pytest.raises(UnsupportedPropertyError, match=why):
        parse_property(text, network)
    box = "".join(f"(assert (>= X[0,{i}] 0.0))(assert (<= X[0,{i}] 1.0))" for i in range(4))
    good = parse_property((HEAD2.format("float32", "[1, 4]") + box).encode(), network)
    assert good.lower == (Fraction(0),) * 4


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnsupportedPropertyError, match="no UTF-8"):
        parse_property(np.array([255, 254], np.uint8).tobytes())
