"""The reader of linear arithmetic, several tensors and networks in VNN-LIB 2.0."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.errors import SalverError
from salver.spec.terms import TermAtom, parse_term_query

NETWORK = "(declare-network N (declare-input X float32 [3]) (declare-output Y real [2,1]))"
HEAD = f"(vnnlib-version <2.0>)\n{NETWORK}\n"
MONOMIALS = [f"(* X[{i}] {f}Y[{j},0])" for i in range(3) for j in (0, 1) for f in ("", "X[0] ", "X[1] ")]
WIDE = f"(+ {' '.join(MONOMIALS)})"


def drawn(draw: random.Random, values: dict[str, Fraction], depth: int) -> tuple[str, Fraction, bool]:
    """A random term, its value at `values`, and whether it has variables."""
    if depth == 0 or draw.random() < 0.2:
        if draw.random() < 0.5:
            name = draw.choice(list(values))
            return name, values[name], True
        text = draw.choice(["2", "-0.75", "1e-3", ".5", "+3.25", "0", "12.5e1"])
        return text, Fraction(text), False
    kind = draw.choice("+-*")
    parts = [drawn(draw, values, depth - 1) for _ in range(draw.randint(1 if kind == "-" else 2, 3))]
    if kind == "*" and depth > 1:
        while sum(variable for *_, variable in parts) > 1:
            parts[[variable for *_, variable in parts].index(True)] = ("0.5", Fraction(1, 2), False)
    value = parts[0][1] if len(parts) > 1 or kind != "-" else -parts[0][1]
    for _, other, _ in parts[1:]:
        value = value + other if kind == "+" else value - other if kind == "-" else value * other
    return f"({kind} {' '.join(text for text, *_ in parts)})", value, any(v for *_, v in parts)


def difference(atom: TermAtom, values: list[list[Fraction]]) -> Fraction:
    products = (math.prod(values[t][i] for t, i in monomial) * factor for monomial, factor in atom.terms)
    return sum(products, Fraction(0)) - atom.constant


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 1 << 32), relation=st.sampled_from(["<=", ">="]))
def test_a_term_is_read_as_its_value(seed, relation):
    draw = random.Random(seed)
    numbers = [[Fraction(draw.randint(-9, 9), 4) for _ in range(count)] for count in (3, 2)]
    named = {f"X[{i}]": v for i, v in enumerate(numbers[0][:2])}
    named |= {f"Y[{i}, 0]": v for i, v in enumerate(numbers[1])}
    (left, first, _), (right, second, _) = drawn(draw, named, 3), drawn(draw, named, 2)
    # A variable of its own, since the others may cancel.
    query = parse_term_query(f"{HEAD}(assert ({relation} (+ X[2] {left}) {right}))")
    ((atom,),) = query.clauses[0]
    assert atom.relation == relation
    assert difference(atom, numbers) == numbers[0][2] + first - second


def test_networks_and_inner_tensors_are_declared():
    query = parse_term_query(
        '(declare-network N (declare-input X real [1]) (declare-hidden H float32 [2, 2] "h/0")'
        " (declare-output Y int64 [1]))"
        "(declare-network M (equal-to N) (declare-input Z real [1]) (declare-output W real [1]))"
        "(assert (or (and (<= H[1,0] X[0]) (== Y[0] W[0])) (>= Z[0] 1)))"
    )
    assert [(n.name, n.relation, n.like) for n in query.networks] == [("N", "", ""), ("M", "equal-to", "N")]
    assert [(t.network, t.role, t.head) for t in query.tensors] == [
        (0, "input", "X real [1]"),
        (0, "hidden", "H float32 [2,2]"),
        (0, "output", "Y int64 [1]"),
        (1, "input", "Z real [1]"),
        (1, "output", "W real [1]"),
    ]
    ((first, second),) = [tuple(len(part) for part in clause) for clause in query.clauses]
    assert (first, second) == (3, 1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("(assert (>= (* X[0] X[0] X[0] Y[0,0] X[1]) 1))", "more than 4 variables"),
        (f"(assert (>= (* {WIDE} {WIDE}) 1))", "more than 256 products"),
        ("(assert (< X[0] 1))", "'<'"),
        ("(assert (!= X[0] 1))", "'!='"),
        ("(assert (>= (/ X[0] 2) 1))", "'/'"),
        ("(assert (>= (- X[0] X[0]) 1))", "without variables"),
        ("(assert (>= X[3] 1))", "does not fit shape"),
        ("(assert (>= X[0] Z[0]))", "neither a declared variable"),
        ("(assert (>= X[0] nan))", "neither a declared variable"),
        ("(assert (>= X[0] 1e999999))", "is not supported"),
        ("(assert (>= (* 2 1e400 " + "1e400 " * 20 + "X[0]) 1))", "too many digits"),
        ("(assert (>= (+) 1))", "'+'"),
        ("(declare-network N (declare-input A real [1]) (declare-output B real [1]))", "declared twice"),
        ("(declare-network M (declare-input X real [1]) (declare-output B real [1]))", "declared twice"),
        ("(declare-network M (equal-to K) (declare-input A real [1]))", "'K' is not declared"),
        ("(declare-network M (declare-input A real [1]))", "no input or no output"),
        ("(declare-network M (declare-input A int64 [1]) (declare-output B real [1]))", "declaration of 'A'"),
        (
            "(declare-network M (declare-hidden A real [1] h) (declare-output B real [1]))",
            "no name in quotes",
        ),
        ("(declare-const X_0 Real)", "'declare-const'"),
    ],
)
def test_what_is_not_understood_is_an_error(text, what):
    with pytest.raises(SalverError) as error:
        parse_term_query(HEAD + text)
    assert what in error.value.what
