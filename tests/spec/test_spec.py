"""VNN-LIB: one property, two texts, read back by our reader and by the vnnlib package."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import vnnlib
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.spec import (
    Atom,
    Property,
    box_clauses,
    decimal,
    float32_down,
    float32_up,
    parse_vnnlib,
    read_vnnlib,
    to_vnnlib1,
    to_vnnlib2,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "spec"
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def properties(draw: st.DrawFn) -> Property:
    inputs, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    ends = [sorted([draw(float32s), draw(float32s)]) for _ in range(inputs)]
    atoms = st.builds(
        Atom,
        st.integers(0, outputs - 1),
        st.sampled_from(["<=", ">="]),
        st.none() | st.integers(0, outputs - 1),
        float32s,
    ).map(
        lambda atom: Atom(
            atom.left, atom.relation, atom.other, 0.0 if atom.other is not None else atom.constant
        )
    )
    conjunctions = st.lists(atoms, min_size=1, max_size=3).map(tuple)
    clauses = draw(st.lists(st.lists(conjunctions, min_size=1, max_size=3).map(tuple), max_size=4))
    # a lone conjunction of several atoms is written as several assertions' worth of one `or`
    lower, upper = (np.array(side, dtype=np.float64) + 0.0 for side in zip(*ends, strict=True))
    return Property(lower, upper, tuple(clauses), outputs)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(properties())
def test_both_versions_read_back_the_same(prop):
    one, two = to_vnnlib1(prop, ["a comment"]), to_vnnlib2(prop, ["a comment"])
    assert parse_vnnlib(one).same_query(prop)
    assert parse_vnnlib(two).same_query(prop)
    assert vnnlib.parse_query_string(two) is not None


@settings(max_examples=300, deadline=None)
@given(float32s)
def test_decimals_are_exact(value):
    text = decimal(value)
    assert Fraction(text) == Fraction(value)
    assert "e" not in text
    assert "." in text


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.floats(min_value=-1e30, max_value=1e30))
def test_rounding_to_float32_is_outwards_and_tight(value):
    low, high = float(float32_down(value)), float(float32_up(value))
    assert low <= value <= high
    assert float(np.float32(low)) == low
    assert float(np.float32(high)) == high
    assert high <= np.nextafter(np.float32(low), np.float32(np.inf))


def sample() -> Property:
    lower, upper = np.array([0.0, -0.25]), np.array([1.0, 0.5])
    saliency = box_clauses(2, float32_down(np.array([0.1])), float32_up(np.array([0.3])))
    classes = (((Atom(1, ">=", other=0),), (Atom(1, ">=", constant=0.5), Atom(0, "<=", constant=2.0))),)
    return Property(lower, upper, (*saliency, *classes), 3)


@pytest.mark.parametrize(
    ("name", "write"), [("sample-1.0.vnnlib", to_vnnlib1), ("sample-2.0.vnnlib", to_vnnlib2)]
)
def test_golden_texts(name, write):
    assert write(sample(), ["family: vg_box"]) == (GOLDEN / name).read_text()


def test_layout_does_not_matter():
    text = """(declare-const X_0 Real)(declare-const Y_0 Real) (declare-const Y_1 Real)
    (assert (and (<= 0 X_0) (>= 1e0 X_0)))  ; constant first, exponent
    (assert (or (<= Y_0 Y_1) (and (>= Y_0 -.5)(<= Y_1 2))))(assert (= Y_0 1.5))"""
    prop = parse_vnnlib(text)
    assert prop.input_lower[0] == 0
    assert prop.input_upper[0] == 1
    assert prop.clauses[0] == (
        (Atom(0, "<=", other=1),),
        (Atom(0, ">=", constant=-0.5), Atom(1, "<=", constant=2.0)),
    )
    assert {atom.relation for clause in prop.clauses[1:] for part in clause for atom in part} == {"<=", ">="}


HEAD = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(assert (>= X_0 0)", "never closed"),
        (")", "too many"),
        ("hello", "outside"),
        (HEAD + "(assert (>= Y_0 nan))", "not a finite number"),
        (HEAD + "(assert (>= X_0 inf))", "not a finite number"),
        (HEAD + "(assert (>= (+ Y_0 Y_0) 1))", "arithmetic"),
        (HEAD + "(assert (>= (* Y_0 Y_0) 1))", "arithmetic"),
        (HEAD + "(assert (> Y_0 1))", "strict comparison"),
        (HEAD + "(assert (or (<= X_0 0.1) (>= X_0 0.5)))", "disjunction"),
        (HEAD + "(assert (>= Y_0 X_0))", "input"),
        (HEAD + "(assert (>= Y_1 0))", "Y_1"),
        (HEAD + "(frobnicate)", "frobnicate"),
        ("(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))", "no upper bound"),
        ("(declare-const X_1 Real)(declare-const Y_0 Real)", "not all declared"),
        ("(declare-const Z Real)", "'Z'"),
        ("", "declares no network"),
        ("(declare-const X_0 Real)", "no input or no output"),
        ("()", "malformed"),
        (
            "(vnnlib-version <2.0>)(declare-network N (declare-input X real [1,1])"
            "(declare-output Y real [1,1]))(assert (>= X[0,1] 0.0))",
            "shape",
        ),
        (
            "(declare-network N (declare-input X real [1]) (declare-input Z real [1])"
            "(declare-output Y real [1]))",
            "more than one",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text, message):
    with pytest.raises(SalverError, match=message.replace("(", r"\(")) as caught:
        parse_vnnlib(text, "q.vnnlib")
    assert "q.vnnlib" in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="()XY_01[], <>=.declareasrtnokv-\n;", max_size=200))
def test_garbage_is_refused_not_crashed_on(text):
    try:
        parse_vnnlib(text)
    except SalverError:
        return


def test_unreadable_files(tmp_path):
    with pytest.raises(SalverError, match="cannot be read"):
        read_vnnlib(tmp_path / "missing.vnnlib")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(SalverError, match="cannot be read"):
        read_vnnlib(tmp_path / "broken.gz")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Property(np.array([np.nan]), np.array([1.0]), (), 1),
        lambda: Property(np.array([2.0]), np.array([1.0]), (), 1),
        lambda: Property(np.zeros(1), np.ones(2), (), 1),
        lambda: Property(np.zeros(1), np.ones(1), (((Atom(1, ">=", constant=0.0),),),), 1),
        lambda: Atom(0, ">=", constant=float("nan")),
        lambda: decimal(0.1),
    ],
)
def test_impossible_properties_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_published_property(data_dir):
    prop = read_vnnlib(data_dir / "paper" / "mnist_fc" / "prop_1_0.03.vnnlib.gz")
    assert len(prop.input_lower) == 784
    assert prop.output_count == 10
    assert len(prop.clauses) == 1
    assert len(prop.clauses[0]) == 9
