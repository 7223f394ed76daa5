"""The reader of linear arithmetic, several tensors and networks in VNN-LIB 2.0."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.errors import SalverError
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


@pytest.mark.slow
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
        ("(assert (>= (/ 2 X[0]) 1))", "a quotient by anything but a number other than 0 is not supported"),
        ("(assert (>= (/ X[0] 0) 1))", "a quotient by anything but a number"),
        ("(assert (>= (sin X[0]) 1))", "operator 'sin' in a term is not supported by salver"),
        ("(assert (ite true (>= X[0] 1) (<= X[0] 0)))", "'ite' with 3 operands is not supported"),
        ("(assert (>= X[0]))", "'>=' with 1 operands"),
        ("(assert (!= X[0] 1 2))", "of 3 terms"),
        ("(assert X[0])", "is no condition"),
        ("(check-sat)(assert (>= X[0] 1))", "after check-sat"),
        ("(define-fun f () Real 1.0)", "statement 'define-fun' is not supported by salver"),
        ("(assert (>= X[3] 1))", "does not fit shape"),
        ("(assert (>= X[0] Z[0]))", "neither a declared variable"),
        ("(assert (>= X[0] nan))", "not a finite number"),
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
        ("(declare-const X_0 Real)", "beside a network"),
    ],
)
def test_what_is_not_understood_is_an_error(text, what):
    with pytest.raises(SalverError) as error:
        parse_term_query(HEAD + text)
    assert what in error.value.what


FLAT = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(not (and (<= X_0 1) (>= Y_0 2)))", "(or (> X_0 1) (< Y_0 2))"),
        ("(not (or (<= X_0 1) (not (>= Y_0 2))))", "(and (> X_0 1) (>= Y_0 2))"),
        ("(=> (>= X_0 1) (<= Y_0 2))", "(or (< X_0 1) (<= Y_0 2))"),
        ("(not (=> (>= X_0 1) (<= Y_0 2)))", "(and (>= X_0 1) (> Y_0 2))"),
        ("(!= X_0 1)", "(or (< X_0 1) (> X_0 1))"),
        ("(not (= X_0 1))", "(or (< X_0 1) (> X_0 1))"),
        ("(not (distinct X_0 1))", "(and (<= X_0 1) (>= X_0 1))"),
        ("(<= 0 X_0 Y_0)", "(and (<= 0 X_0) (<= X_0 Y_0))"),
        ("(not (<= 0 X_0 Y_0))", "(or (> 0 X_0) (> X_0 Y_0))"),
        ("(or (and (or (<= X_0 1) (<= X_1 1)) (>= Y_0 2)))",
         "(or (and (<= X_0 1) (>= Y_0 2)) (and (<= X_1 1) (>= Y_0 2)))"),
        ("(or (<= X_0 1) (or (<= X_1 1) (<= Y_0 1)))", "(or (<= X_0 1) (<= X_1 1) (<= Y_0 1))"),
        ("(or (and (>= X_0 1) (<= X_0 2)))", "(and (>= X_0 1) (<= X_0 2))"),
        ("(or (<= X_0 1) false)", "(<= X_0 1)"),
        ("(and (<= X_0 1) true)", "(<= X_0 1)"),
        ("(or (<= X_0 1) (<= 1 2))", "true"),
        ("(<= (- X_0 X_0) 0)", "true"),
        ("(not (< 1 1))", "(and)"),
        ("(< 1 1)", "(or)"),
        ("(> (/ X_0 3) (- 1.0))", "(> X_0 -3)"),
        ("(<= (- (* 2 X_0) X_1) 1)", "(>= (+ X_1 1) (+ X_0 X_0))"),
    ],
)  # fmt: skip
def test_what_means_the_same_is_read_as_the_same(one, other):
    def read(text):
        clauses = parse_term_query(f"{FLAT}(assert {text})").clauses
        return {frozenset(frozenset(map(normal, part)) for part in clause) for clause in clauses}

    def normal(atom):
        """The atom with its first coefficient made 1."""
        lead = dict(sorted(atom.terms))[min(monomial for monomial, _ in atom.terms)]
        turned = {"<=": ">=", ">=": "<="}[atom.relation] if lead < 0 else atom.relation
        terms = frozenset((monomial, factor / lead) for monomial, factor in atom.terms)
        return terms, turned, atom.constant / lead, atom.strict

    assert read(one) == read(other)


def test_a_query_of_version_1_is_one_over_x_and_y():
    text = "(set-logic QF_LRA)(declare-fun Y_0 () Real)(declare-const X_1 Real)(declare-fun X_0 () real)"
    query = parse_term_query(f"{text}(assert (< X_1 Y_0))(check-sat)(get-model)(exit)")
    assert [(tensor.name, tensor.role, tensor.shape, tensor.head) for tensor in query.tensors] == [
        ("X", "input", (2,), ""), ("Y", "output", (1,), ""),
    ]  # fmt: skip
    ((((atom,),),)) = query.clauses
    assert atom == TermAtom(((((0, 1),), Fraction(1)), (((1, 0),), Fraction(-1))), "<=", Fraction(0), True)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{FLAT}(declare-const X_0 Real)", "declared twice"),
        (f"{FLAT}(declare-const Z_0 Real)", "variable 'Z_0', which is neither X_i nor Y_i, is not supported"),
        (f"{FLAT}(declare-const X_3 Int)", "type 'Int' of X_3 is not supported by salver"),
        (f"{FLAT}(declare-const X_3 Real)", "X_0 ... X_3 are not all declared"),
        ("(declare-const X_0 Real)", "declares no input or no output"),
        ("(assert (<= 1 2))", "declares no network"),
        (f"{FLAT}{NETWORK}", "a network beside variables"),
        (f"{FLAT}(assert (<= X_9 1))", "'X_9' is neither a declared variable"),
    ],
)
def test_what_is_wrong_in_version_1_is_an_error(text, what):
    with pytest.raises(SalverError) as error:
        parse_term_query(text)
    assert what in error.value.what


def test_alternatives_that_multiply_are_refused():
    pair = "(or (<= X_0 1) (<= X_1 1))"
    with pytest.raises(SalverError, match="too many alternatives"):
        parse_term_query(f"{FLAT}(assert (or (<= Y_0 0) (and {pair * 30})))")
