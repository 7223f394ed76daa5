"""The checker's own reading of a VNN-LIB text, 1.0 or 2.0: a box over X, clauses over Y, exact rationals.

    text      = { statement }
    statement = "(" "vnnlib-version" ("<1.0>" | "<2.0>") ")"
              | "(" "declare-const" ("X_" | "Y_") number "Real" ")"                                  1.0
              | "(" "declare-network" NAME "(" "declare-input" NAME type "[" sizes "]" ")"
                                           "(" "declare-output" NAME type "[" sizes "]" ")" ")"       2.0
              | "(" "assert" all ")" | "(" "assert" ball ")"
    all       = "(" "and" { all } ")" | "(" "or" { part } ")" | atom
    part      = "(" "and" { part } ")" | atom
    atom      = "(" ("<=" | ">=" | "=" | "==") side side ")"     a variable and a number, or two outputs
    ball      = "(" "<=" ( square | "(" "+" { square } ")" ) number ")"     every input once, at most one ball
    square    = "(" "*" step step ")"                                       the same step twice
    step      = "(" "-" X number ")"

A choice of one part is that part. A comment runs from `;` to the next line feed or carriage return.
Anything else is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from salver.proofs.ball import ExactBall
from salver.proofs.onnx_file import NetworkFile

MOST_DEEP = 64
MOST_DIGITS = 2000
MOST_EXPONENT = 400
MOST_VARIABLES = 1 << 24
_STRANGE = re.compile("[\\x00-\\x08\\x0b-\\x0c\\x0e-\\x1f\\x7f\\x85\\u2028\\u2029]")
_WORD = re.compile(r"(?:[ \t\r\n]|;[^\r\n]*)*([()]|[^ \t\r\n();\[\]]*(?:\[[0-9, \t]*\])?)")
"""A bracket or word after blanks and comments; an empty word stands at the end, or before what is neither."""
_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?")
_PLAIN = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_ENTRY = re.compile(r"([A-Za-z][A-Za-z0-9_]*)\[([0-9, \t]*)\]")
_BEGINS_NUMBER = frozenset("+-.0123456789")
_ELEMENTS = {"real": None, "float32": "float32", "float64": "float64"}


class UnsupportedPropertyError(ValueError):
    """The query has something that proofs do not cover, or is malformed; the message says what and where."""


@dataclass(frozen=True)
class ExactAtom:
    """`Y[left] relation Y[other]`, or `Y[left] relation constant` when `other` is None."""

    left: int
    relation: str
    other: int | None
    constant: Fraction


ExactClause = tuple[tuple[ExactAtom, ...], ...]
"""A disjunction of conjunctions."""


@dataclass(frozen=True)
class ExactProperty:
    """Is there x with lower <= x <= upper, in the ball where there is one, whose y satisfies every clause?"""

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    clauses: tuple[ExactClause, ...]
    output_count: int
    ball: ExactBall | None = None


@dataclass(frozen=True, slots=True)
class _Variable:
    role: str
    index: int


@dataclass
class _QueryParser:
    network: NetworkFile | None
    version: str = ""
    counts: dict[str, set[int]] = field(default_factory=lambda: {"X": set(), "Y": set()})
    tensors: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    lower: dict[int, Fraction] = field(default_factory=dict)
    upper: dict[int, Fraction] = field(default_factory=dict)
    clauses: list[ExactClause] = field(default_factory=list)
    ball: tuple[dict[int, Fraction], Fraction] | None = None


def parse_property(content: bytes, network: NetworkFile | None = None) -> ExactProperty:
    """Reads the bytes of a VNN-LIB file.

    Args:
        network: with which declared types and shapes of 2.0 must agree, as far as it states them.

    Raises:
        UnsupportedPropertyError: malformed, or something that proofs do not cover.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnsupportedPropertyError(f"the query is no UTF-8 text ({error.reason})") from None
    if found := _STRANGE.search(text):
        raise UnsupportedPropertyError(f"the query holds the character {found.group()!r}")
    reading = _QueryParser(network)
    for place, statement in _statements(text):
        try:
            _read(reading, statement)
        except UnsupportedPropertyError as error:
            raise _at(text, place, str(error)) from None
    return _whole(reading)


def _at(text: str, place: int, message: str) -> UnsupportedPropertyError:
    before = text[:place]
    line = 1 + before.count("\n") + before.replace("\r\n", "").count("\r")
    return UnsupportedPropertyError(f"line {line} of the query: {message}")


def _statements(text: str) -> Iterator[tuple[int, list[Any]]]:
    """Nested lists of words, each with the place where it begins."""
    opened: list[list[Any]] = []
    first = 0
    for found in _WORD.finditer(text):
        token, place = found[1], found.start(1)
        if token == "(":
            first = first if opened else place
            if len(opened) == MOST_DEEP:
                raise _at(text, place, f"more than {MOST_DEEP} '(' are open")
            opened.append([])
        elif token == ")":
            if not opened:
                raise _at(text, place, "one ')' too many")
            done = opened.pop()
            if opened:
                opened[-1].append(done)
            else:
                yield first, done
        elif token:
            if not opened:
                raise _at(text, place, f"{token!r:.40} stands outside '('")
            opened[-1].append(token)
        elif place < len(text):
            raise _at(text, place, f"{text[place]!r} stands alone")
    if opened:
        raise _at(text, first, "a '(' is never closed")


def _read(reading: _QueryParser, statement: list[Any]) -> None:
    match statement:
        case ["assert", expression]:
            _assert(reading, expression)
        case ["vnnlib-version", "<1.0>" | "<2.0>" as version] if not (
            reading.version or any(reading.counts.values()) or reading.tensors
        ):
            reading.version = version
        case ["declare-const", str(name), "Real"] if not reading.tensors and reading.version != "<2.0>":
            _declare_entry(reading, name)
        case ["declare-network", str(), ["declare-input", *source], ["declare-output", *target]] if (
            not reading.tensors and not any(reading.counts.values()) and reading.version != "<1.0>"
        ):
            _declare_tensor(reading, "X", source)
            _declare_tensor(reading, "Y", target)
        case _:
            raise UnsupportedPropertyError(f"no statement that proofs cover: {_shown(statement)}")


def _declare_entry(reading: _QueryParser, name: str) -> None:
    found = _PLAIN.fullmatch(name)
    if found is None or int(found[2]) in reading.counts[found[1]] or int(found[2]) >= MOST_VARIABLES:
        raise UnsupportedPropertyError(f"{name!r:.40} is neither X_i nor Y_i, or declared twice")
    reading.counts[found[1]].add(int(found[2]))


def _declare_tensor(reading: _QueryParser, role: str, words: list[Any]) -> None:
    match words:
        case [str(name), str(element), str(sizes)] if (
            element in _ELEMENTS
            and name not in reading.tensors
            and re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)
            and sizes[:1] == "["
        ):
            shape = _numbers(sizes[1:-1])
        case _:
            raise UnsupportedPropertyError(f"no declaration that proofs cover: {_shown(words)}")
    if not shape or min(shape) < 1 or math.prod(shape) > MOST_VARIABLES:
        raise UnsupportedPropertyError(f"{name} has shape {sizes:.40}")
    network = reading.network
    if network is not None:
        _agree(network, role, _ELEMENTS[element], shape)
    reading.tensors[name] = (role, shape)
    reading.counts[role] = set(range(math.prod(shape)))


def _agree(network: NetworkFile, role: str, element: str | None, shape: tuple[int, ...]) -> None:
    """Raises: UnsupportedPropertyError: the network states another type or shape."""
    if element is not None and element != network.element.name:
        raise UnsupportedPropertyError(f"declares {element}, the network is of {network.element.name}")
    stated = network.input_shape if role == "X" else network.output_shape
    if stated is None:
        return
    fits = len(stated) == len(shape) and all(
        size is None or size == mine for size, mine in zip(stated, shape, strict=True)
    )
    if not fits:
        raise UnsupportedPropertyError(f"declares shape {list(shape)}, the network has {list(stated)}")


def _assert(reading: _QueryParser, expression: Any) -> None:
    match expression:
        case ["<=", ["+", *squares], str(bound)] | ["<=", ["*", *_] as squares, str(bound)] if any(
            isinstance(part, list) for part in squares
        ):
            _ball(reading, [squares] if squares[:1] == ["*"] else squares, bound)
        case ["and", *parts]:
            for part in parts:
                _assert(reading, part)
        case ["or", only]:
            _assert(reading, only)
        case ["or", *parts]:
            reading.clauses.append(tuple(tuple(_conjunction(reading, part)) for part in parts))
        case _:
            for left, relation, right in _comparisons(reading, expression):
                if left.role == "Y":
                    reading.clauses.append(((_atom(left, relation, right),),))
                else:
                    _bound(reading, left.index, relation, right)


def _ball(reading: _QueryParser, squares: list[Any], bound: str) -> None:
    """A sum of squares of all inputs' distances from numbers is at most a number."""
    centre: dict[int, Fraction] = {}
    for square in squares:
        match square:
            case ["*", ["-", str(name), str(number)], ["-", str(again), str(other)]] if (
                name == again and number == other
            ):
                side = _side(reading, name)
            case _:
                raise UnsupportedPropertyError(f"no square that proofs cover: {_shown(square)}")
        if not isinstance(side, _Variable) or side.role != "X" or side.index in centre:
            raise UnsupportedPropertyError(f"no square of another input: {_shown(square)}")
        centre[side.index] = _number(number)
    if reading.ball is not None:
        raise UnsupportedPropertyError("a second ball")
    reading.ball = centre, _number(bound)


def _bound(reading: _QueryParser, index: int, relation: str, right: Any) -> None:
    if not isinstance(right, Fraction):
        raise UnsupportedPropertyError("an input is compared with a variable")
    side, tighter = (reading.lower, max) if relation == ">=" else (reading.upper, min)
    side[index] = tighter(right, side[index]) if index in side else right


def _conjunction(reading: _QueryParser, expression: Any) -> Iterator[ExactAtom]:
    match expression:
        case ["and", *parts]:
            for part in parts:
                yield from _conjunction(reading, part)
        case _:
            for left, relation, right in _comparisons(reading, expression):
                if left.role == "X":
                    raise UnsupportedPropertyError("an input stands inside a disjunction")
                yield _atom(left, relation, right)


def _atom(left: _Variable, relation: str, right: _Variable | Fraction) -> ExactAtom:
    if isinstance(right, Fraction):
        return ExactAtom(left.index, relation, None, right)
    if right.role != "Y":
        raise UnsupportedPropertyError("an output is compared with an input")
    return ExactAtom(left.index, relation, right.index, Fraction(0))


def _comparisons(reading: _QueryParser, expression: Any) -> Iterator[tuple[_Variable, str, Any]]:
    """An equation is two comparisons, <= first. A number on the left changes sides."""
    match expression:
        case ["<=" | ">=" | "=" | "==" as relation, str(first), str(second)]:
            left, right = _side(reading, first), _side(reading, second)
        case _:
            raise UnsupportedPropertyError(f"no condition that proofs cover: {_shown(expression)}")
    if not isinstance(left, _Variable):
        if not isinstance(right, _Variable):
            raise UnsupportedPropertyError("two numbers are compared")
        left, right = right, left
        relation = {"<=": ">=", ">=": "<="}.get(relation, relation)
    for one in (relation,) if relation in ("<=", ">=") else ("<=", ">="):
        yield left, one, right


def _side(reading: _QueryParser, word: str) -> _Variable | Fraction:
    if word[0] in _BEGINS_NUMBER:
        return _number(word)
    found = _PLAIN.fullmatch(word)
    if found is not None and not reading.tensors and int(found[2]) in reading.counts[found[1]]:
        return _Variable(found[1], int(found[2]))
    found = _ENTRY.fullmatch(word)
    if found is not None and found[1] in reading.tensors:
        role, shape = reading.tensors[found[1]]
        position, flat = _numbers(found[2]), 0
        if len(position) != len(shape) or any(at >= size for at, size in zip(position, shape, strict=True)):
            raise UnsupportedPropertyError(f"{word!r:.40} lies outside shape {list(shape)}")
        for at, size in zip(position, shape, strict=True):
            flat = flat * size + at
        return _Variable(role, flat)
    return _number(word)


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip(" \t") for part in text.split(",")]
    if any(not re.fullmatch("0|[1-9][0-9]{0,8}", part) for part in parts):
        raise UnsupportedPropertyError(f"[{text:.40}] is no list of numbers")
    return tuple(int(part) for part in parts)


def _number(word: str) -> Fraction:
    """A decimal as the rational that it is."""
    found = _DECIMAL.fullmatch(word) if len(word) <= MOST_DIGITS else None
    if found is None or not (found[2] or found[3]):
        raise UnsupportedPropertyError(f"{word!r:.40} is neither a declared variable nor a number")
    digits, behind, exponent = found[2] + (found[3] or ""), len(found[3] or ""), int(found[4] or 0)
    if abs(exponent) > MOST_EXPONENT:
        raise UnsupportedPropertyError(f"the exponent of {word:.40} is beyond {MOST_EXPONENT}")
    size, power = int(found[1] + digits), exponent - behind
    return Fraction(size, 10**-power) if power < 0 else Fraction(size * 10**power)


def _whole(reading: _QueryParser) -> ExactProperty:
    for role, indices in reading.counts.items():
        if not indices or len(indices) != max(indices) + 1:
            raise UnsupportedPropertyError(f"{role} is not declared, or not from 0 on without gaps")
    size = len(reading.counts["X"])
    for side, bounds in (("lower", reading.lower), ("upper", reading.upper)):
        missing = next((index for index in range(size) if index not in bounds), None)
        if missing is not None:
            raise UnsupportedPropertyError(f"entry {missing} of the input has no {side} bound")
    lower, upper = (tuple(side[i] for i in range(size)) for side in (reading.lower, reading.upper))
    ball = None
    if reading.ball is not None:
        if set(reading.ball[0]) != set(range(size)):
            raise UnsupportedPropertyError("the ball leaves inputs out")
        centre, square = tuple(reading.ball[0][i] for i in range(size)), reading.ball[1]
        below = tuple(low < middle for low, middle in zip(lower, centre, strict=True))
        above = tuple(high > middle for high, middle in zip(upper, centre, strict=True))
        ball = ExactBall(centre, square, below, above)
    return ExactProperty(lower, upper, tuple(reading.clauses), len(reading.counts["Y"]), ball)


def _shown(expression: Any) -> str:
    return " ".join(str(expression).split())[:60]
