"""VNN-LIB texts and witnesses: grammar, damage, token soup; a second reader says what they mean."""

from __future__ import annotations

import contextlib
import gzip
import math
import re
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import vnnlib

from experiments.fuzz.mutate import damaged, single
from salver.core.errors import SalverError
from salver.judge.witness import MalformedWitness, parse_witness
from salver.spec import Atom, Property, parse_vnnlib, read_vnnlib, to_vnnlib1, to_vnnlib2


def random_property(rng: Random) -> Property:
    """1-4 inputs, 1-4 outputs, 0-4 clauses of 1-3 conjunctions of 0-3 atoms."""
    inputs, outputs = rng.randint(1, 4), rng.randint(1, 4)
    ends = np.sort([[single(rng), single(rng)] for _ in range(inputs)], axis=1)

    def atom() -> Atom:
        other = rng.randrange(outputs) if rng.random() < 0.5 else None
        constant = 0.0 if other is not None else single(rng)
        return Atom(rng.randrange(outputs), rng.choice(("<=", ">=")), other, constant)

    clauses = tuple(
        tuple(tuple(atom() for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 3)))
        for _ in range(rng.randint(0, 4))
    )
    return Property(ends[:, 0] + 0.0, ends[:, 1] + 0.0, clauses, outputs)


def relaid(text: str, rng: Random) -> str:
    """The same text with other spaces, line ends and comments."""
    space = rng.choice((" ", "  ", "\t", "\n", " ; it is ) a comment (\n", "\r\n"))
    return re.sub(r"(?<=\)) ?\n?|(?<= )", lambda _: space if rng.random() < 0.2 else "\n", text)


def grammar(rng: Random, folder: Path) -> str:
    """A valid query, in any layout, is read back as it was, by the `vnnlib` package too."""
    prop = random_property(rng)
    if rng.random() < 0.5:
        assert parse_vnnlib(relaid(to_vnnlib1(prop), rng)).same_query(prop)
    else:
        text = to_vnnlib2(prop, ["a ; b"])
        assert parse_vnnlib(text).same_query(prop)
        assert vnnlib.parse_query_string(text) is not None
    return "accepted"


def damaged_query(rng: Random, folder: Path) -> str:
    """Damaged bytes of a valid file, packed or not."""
    prop = random_property(rng)
    raw = (to_vnnlib1 if rng.random() < 0.5 else to_vnnlib2)(prop).encode()
    kind = rng.choice(("plain", "damage inside", "damage outside"))
    if kind != "damage outside":
        raw = damaged(raw, rng)
    if kind != "plain":
        raw = gzip.compress(raw, 1)
    if kind == "damage outside":
        raw = damaged(raw, rng)
    path = folder / "damaged.vnnlib"
    path.write_bytes(raw)
    try:
        found = read_vnnlib(path)
    except SalverError as error:
        return refusal(error)
    text = gzip.decompress(raw).decode() if raw[:2] == b"\x1f\x8b" else raw.decode()
    same_meaning(text, found, rng)
    return "accepted"


WORDS = (
    "( ) ( ) ( ) assert declare-const declare-network declare-input declare-output vnnlib-version <2.0> and "
    "or not <= >= == < > + - X_0 X_1 Y_0 Y_1 X[0] X[0,0] Y[0,1] Real real Int [1,2] [] [0] [ ] ["
    + "9" * 20
    + "] X_"
    + "9" * 30
    + " 0 1 -1 0.5 1e400 1e-400 nan inf 0x1 1_000 \u0663 "
    + "7" * 6000
    + " ; \x00 \ufeff \u00a0"
).split(" ")


def token_soup(rng: Random, folder: Path) -> str:
    """Words of the language in any order, sometimes nested deeply or repeated many times."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(1, 60))]
    match rng.randrange(6):
        case 0:
            depth = rng.choice((50, 99, 100, 5000))
            words = ["(assert", *["(and"] * depth, "(>= X_0 0)", *[")"] * depth, ")"]
        case 1:
            words = words[:5] * rng.choice((10, 2000))
        case _:
            pass
    head = "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (>= X_0 0))(assert (<= X_0 1))"
    text = (head if rng.random() < 0.5 else "") + rng.choice((" ", "\n", "")).join(words)
    try:
        found = parse_vnnlib(text)
    except SalverError as error:
        return refusal(error)
    same_meaning(text, found, rng)
    return "accepted"


def refusal(error: SalverError) -> str:
    """Counts a refusal, which must be one line of bearable length."""
    assert "\n" not in str(error), error
    assert len(str(error)) < 600, str(error)[:200]
    return "refused"


def same_meaning(text: str, found: Property, rng: Random) -> None:
    """What was accepted says the same at random points to a reader that only evaluates, and when printed."""
    for _ in range(4):
        x = np.array(
            [
                rng.choice((low, high, single(rng)))
                for low, high in zip(found.input_lower, found.input_upper, strict=True)
            ]
        )
        y = np.array([single(rng) for _ in range(found.output_count)])
        ours = found.inputs_inside(x) and found.outputs_satisfied(y)
        assert ours == holds(text, x, y), f"{ours} at {x.tolist()}, {y.tolist()}: {text[:2000]!r}"
    for write in (to_vnnlib1, to_vnnlib2):
        with contextlib.suppress(ValueError):  # a foreign bound that is no binary32 number is not written
            assert parse_vnnlib(write(found)).same_query(found)


def holds(text: str, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether every assertion of a text holds at a point: an evaluator apart from the reader.

    Bounds on inputs are rounded outwards to binary64: one holds where it is short of the next number.
    """
    bare = re.sub(
        r"\[([^\]]*)\]", lambda m: "[" + "".join(m[1].split()) + "]", re.sub(r";[^\r\n]*", "", text)
    )
    stack: list[list[Any]] = [[]]
    for token in re.findall(r"[()]|[^()\s]+", bare):
        if token == "(":
            stack.append([])
        elif token == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    outputs = re.search(r"declare-output\s+(\w+)", bare)

    def of_outputs(token: str) -> bool:
        return bool(token.partition("[")[0] == outputs[1] if outputs and "[" in token else token[0] == "Y")

    def value(token: str) -> float:
        if "[" in token:
            index = token[:-1].partition("[")[2]
            vector = y if of_outputs(token) else x
            return float(vector[int(index.split(",")[-1])] if index else vector[0])
        if token[0] in "XY":
            return float((x if token[0] == "X" else y)[int(token[2:])])
        return float(token)

    def true(form: Any) -> bool:
        head, *rest = form
        if head in ("and", "or"):
            return (all if head == "and" else any)([true(part) for part in rest])
        left, right = rest
        sides = {"<=": [(left, right)], ">=": [(right, left)]}.get(head, [(left, right), (right, left)])
        return all(at_most(low, high) for low, high in sides)

    def is_input(token: str) -> bool:
        return ("[" in token or token[0] in "XY") and not of_outputs(token)

    def at_most(low: str, high: str) -> bool:
        if is_input(low):
            return Decimal(math.nextafter(value(low), -math.inf)) < Decimal(high)
        if is_input(high):
            return Decimal(low) < Decimal(math.nextafter(value(high), math.inf))
        return value(low) <= value(high)

    return all(true(form[1]) for form in stack[0] if form and form[0] == "assert")


def damaged_witness(rng: Random, folder: Path) -> str:
    """Damaged witnesses in both forms: malformed, or the numbers that printing and reading again gives."""
    values = [single(rng) for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.5:
        text = "((" + ")\n (".join(f"X_{i} {value!r}" for i, value in enumerate(values)) + ")\n (Y_0 1.0))"
    else:
        text = f"X float32 [1,{len(values)}]\n" + "\n".join(map(repr, values)) + "\nY float32 [1,1]\n1.0"
    whole = parse_witness(text, len(values))
    assert whole.tolist() == values
    text = damaged(text.encode(), rng).decode(errors="replace")
    if rng.random() < 0.05:
        text = text.replace(" ", " " + "1" * 100_000 + rng.choice(("", "x", " ")), 1)
    try:
        found = parse_witness(text, len(values))
    except MalformedWitness as error:
        return refusal(error)
    assert np.isfinite(found).all()
    again = "(" + "".join(f"(X_{i} {value!r})" for i, value in enumerate(found.tolist())) + ")"
    assert parse_witness(again, len(values)).tolist() == found.tolist()
    return "accepted"
