"""Every text has one meaning: what is read is held against the text's own tree at exact points."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import pytest

from salver.core.errors import SalverError
from salver.proofs.vnnlib_file import ExactProperty, UnsupportedPropertyError, parse_property
from salver.spec.plain import parse_vnnlib, plain
from salver.spec.terms import TermQuery, parse_term_query
from tests.builders.random_texts import Values, condition, relaid

NAMES = ["X_0", "X_1", "Y_0", "Y_1"]
HEAD = "".join(f"(declare-const {name} Real)" for name in NAMES)
BOX = "".join(f"(assert (>= {x} -1))(assert (<= {x} 1.0))" for x in ("X_0", "X_1"))
GRID = [
    dict(zip(NAMES, map(Fraction, point), strict=True))
    for point in itertools.product((-1, Fraction(-1, 2), 0, Fraction(1, 2), 1), repeat=4)
]


def held(query: TermQuery, values: Values) -> bool:
    def atom_holds(atom) -> bool:
        total = sum(
            (
                math.prod(values[NAMES[2 * t + i]] for t, i in monomial) * factor
                for monomial, factor in atom.terms
            ),
            -atom.constant,
        )
        if total == 0:
            return not atom.strict
        return (total > 0) == (atom.relation == ">=")

    return all(any(all(map(atom_holds, part)) for part in clause) for clause in query.clauses)


def held_plainly(prop: ExactProperty, values: Values) -> bool:
    def atom_holds(atom) -> bool:
        right = atom.constant if atom.other is None else values[f"Y_{atom.other}"]
        left = values[f"Y_{atom.left}"]
        return left <= right if atom.relation == "<=" else left >= right

    inside = all(prop.lower[i] <= values[f"X_{i}"] <= prop.upper[i] for i in range(2))
    return inside and all(any(all(map(atom_holds, part)) for part in clause) for clause in prop.clauses)


@pytest.mark.parametrize("seed", range(120))
def test_a_text_is_read_as_it_is_written(seed):
    draw = random.Random(seed)
    (first, one), (second, two) = (condition(draw, NAMES, 3) for _ in range(2))
    query = parse_term_query(relaid(draw, f"{HEAD}(assert {first})(assert {second})"))
    for values in draw.sample(GRID, 60):
        assert held(query, values) == (one(values) and two(values)), (first, second, values)


@pytest.mark.parametrize("seed", range(200))
def test_the_checker_reads_the_same_or_refuses(seed):
    """Its reader shares no code with ours; what both take means the same to both, clause by clause."""
    draw = random.Random(seed)
    text, meaning = condition(draw, NAMES if draw.random() < 0.2 else NAMES[2:], 2, plain=True)
    whole = relaid(draw, f"{HEAD}{BOX}(assert {text})")
    try:
        theirs = parse_property(whole.encode())
    except UnsupportedPropertyError:
        return
    ours = parse_term_query(whole)
    for values in draw.sample(GRID, 80):
        assert held_plainly(theirs, values) == held(ours, values) == meaning(values)
    try:
        prop = parse_vnnlib(whole)
    except SalverError:
        return
    for values in draw.sample(GRID, 40):
        point = [float(values[name]) for name in NAMES]
        assert (prop.inputs_inside(point[:2]) and prop.outputs_satisfied(point[2:])) == meaning(values)


def test_both_readers_are_asked_often_enough():
    taken = 0
    for seed in range(200):
        draw = random.Random(seed)
        text, _ = condition(draw, NAMES if draw.random() < 0.2 else NAMES[2:], 2, plain=True)
        try:
            parse_property(f"{HEAD}{BOX}(assert {text})".encode())
            taken += 1
        except UnsupportedPropertyError:
            pass
    assert taken > 60


@pytest.mark.parametrize("comment", ["; gr\xf6\xdfe".encode("latin-1"), "; größe".encode(), b"; \xff\xfe"])
def test_a_comment_may_have_any_encoding(tmp_path, comment):
    from salver.spec.read import stored_text

    path = tmp_path / "q.vnnlib"
    path.write_bytes(b"\xef\xbb\xbf" + comment + f"\r\n{HEAD}{BOX}".encode())
    assert len(plain(parse_term_query(stored_text(path)), "q").input_lower) == 2
    path.write_bytes(f"{HEAD}{BOX}(assert (<= Y_0 1".encode() + b"\xb2))")
    with pytest.raises(SalverError, match="neither a declared variable nor a number"):
        parse_term_query(stored_text(path))


@pytest.mark.parametrize("inner", ["a;b", "a b", "layer(1)", "x[0]", "/fc/Relu"])
def test_inner_tensors_have_any_name(inner):
    text = (
        f'(declare-network N (declare-input X real [1]) (declare-hidden H real [1] "{inner}")'
        ' (declare-output Y real [1]))(assert (<= H[0] 1)); "quoted ('
    )
    assert parse_term_query(text).tensors[1].inner == inner
