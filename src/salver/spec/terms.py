"""Reader of what VNN-LIB 2.0 says beyond one box and comparisons: several tensors and networks, inner
tensors, and arithmetic. A query becomes comparisons of polynomials with exact coefficients.

Strict comparisons are errors, as is everything that `spec.read` refuses of a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from salver.errors import SalverError
from salver.spec.property import Relation
from salver.spec.read import (
    INDEXED,
    MOST_AXES,
    MOST_DIGITS,
    MOST_ENTRIES,
    NUMBER,
    SHAPE,
    VERSIONS,
    Expression,
    indices,
    statements,
    stored_text,
)

Role = Literal["input", "output", "hidden"]
Variable = tuple[int, int]
"""Number of a tensor, and a flat position in it."""
Monomial = tuple[Variable, ...]
"""A product of variables, in order."""
_Terms = dict[Monomial, Fraction]
_REALS = frozenset(("real", "float16", "float32", "float64"))
_WHOLE = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
_MOST_EXPONENT = 400
_MOST_BITS = 1 << 14
MOST_FACTORS, MOST_PRODUCTS = 4, 256
"""Variables in a product, and products in a term."""


@dataclass(frozen=True)
class Tensor:
    """A declared tensor.

    Attributes:
        network: number of its network; inner: the name in the ONNX file of a hidden one.
    """

    network: int
    role: Role
    name: str
    element: str
    shape: tuple[int, ...]
    inner: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def head(self) -> str:
        """The tensor as an assignment introduces it."""
        return f"{self.name} {self.element} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Declared:
    """A declared network; `like` names the one it is `equal-to` or `isomorphic-to` (`relation`)."""

    name: str
    relation: str = ""
    like: str = ""


@dataclass(frozen=True)
class TermAtom:
    """sum of coefficient * monomial `relation` constant; no coefficient is 0, and there is one at least."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    relation: Relation
    constant: Fraction


TermClause = tuple[tuple[TermAtom, ...], ...]


@dataclass(frozen=True)
class TermQuery:
    """Is there an assignment of the inputs that satisfies every clause?"""

    networks: tuple[Declared, ...]
    tensors: tuple[Tensor, ...]
    clauses: tuple[TermClause, ...]


@dataclass
class _Reading:
    where: str
    networks: list[Declared] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    clauses: list[TermClause] = field(default_factory=list)

    def fail(self, what: str, line: int) -> SalverError:
        return SalverError(what, f"{self.where}, line {line}", "mend the VNN-LIB file")


def read_term_query(path: Path) -> TermQuery:
    """Reads a VNN-LIB 2.0 query from a file, plain or gzip-compressed.

    Raises:
        SalverError: as `parse_term_query`, or the file cannot be read.
    """
    return parse_term_query(stored_text(path), str(path))


def parse_term_query(text: str, where: str = "VNN-LIB text") -> TermQuery:
    """Parses a VNN-LIB 2.0 query.

    Raises:
        SalverError: a syntax error or an unsupported construct, with its line.
    """
    reading = _Reading(where)
    for statement in statements(text, where):
        match statement.items:
            case ["vnnlib-version", str(version)] if version in VERSIONS:
                pass
            case ["declare-network", str(name), *parts]:
                _declare_network(reading, name, parts, statement.line)
            case ["assert", expression]:
                reading.clauses += _clauses(reading, expression, statement.line)
            case [str(head), *_]:
                raise reading.fail(f"statement {head[:40]!r} is not supported", statement.line)
            case _:
                raise reading.fail("empty or malformed statement", statement.line)
    for number, network in enumerate(reading.networks):
        roles = {tensor.role for tensor in reading.tensors if tensor.network == number}
        if not {"input", "output"} <= roles:
            raise SalverError(f"network {network.name!r} declares no input or no output", where)
    if not reading.networks:
        raise SalverError("declares no network", where, "mend the VNN-LIB file")
    return TermQuery(tuple(reading.networks), tuple(reading.tensors), tuple(reading.clauses))


def _declare_network(reading: _Reading, name: str, parts: list[Any], line: int) -> None:
    if any(name == network.name for network in reading.networks):
        raise reading.fail(f"network {name[:40]!r} is declared twice", line)
    declared = Declared(name)
    for place, part in enumerate(parts):
        match part.items if isinstance(part, Expression) else None:
            case ["equal-to" | "isomorphic-to" as relation, str(like)] if place == 0:
                if all(like != network.name for network in reading.networks):
                    raise reading.fail(f"network {like[:40]!r} is not declared", part.line)
                declared = Declared(name, relation, like)
            case ["declare-input" | "declare-output" as kind, str(tensor), str(element), str(shape)]:
                role: Role = "input" if kind == "declare-input" else "output"
                _declare(reading, role, (tensor, element, shape), "", part.line)
            case ["declare-hidden", str(tensor), str(element), str(shape), str(inner)]:
                if len(inner) < 3 or inner[0] != '"' or inner[-1] != '"':
                    raise reading.fail(f"{inner[:40]!r} is no name in quotes", part.line)
                _declare(reading, "hidden", (tensor, element, shape), inner[1:-1], part.line)
            case _:
                raise reading.fail("only declarations of tensors are supported in a network", line)
    reading.networks.append(declared)


def _declare(reading: _Reading, role: Role, words: tuple[str, str, str], inner: str, line: int) -> None:
    name, element, shape = words
    found = SHAPE.fullmatch(shape)
    sizes = indices(found[1]) if found else None
    if sizes is None or element not in (_REALS if role == "input" else _REALS | _WHOLE):
        raise reading.fail(f"declaration of {name[:40]!r} is not `NAME real [shape]`", line)
    if len(sizes) > MOST_AXES or math.prod(sizes) > MOST_ENTRIES:
        raise reading.fail(f"{name[:40]!r} has more than {MOST_ENTRIES} entries or {MOST_AXES} axes", line)
    if name in reading.numbers:
        raise reading.fail(f"tensor {name[:40]!r} is declared twice", line)
    reading.numbers[name] = len(reading.tensors)
    reading.tensors.append(Tensor(len(reading.networks), role, name, element, sizes, inner))


def _clauses(reading: _Reading, expression: Any, line: int) -> Iterator[TermClause]:
    if not isinstance(expression, Expression):
        raise reading.fail(f"cannot assert {expression[:40]!r}", line)
    match expression.items:
        case ["and", *parts]:
            for part in parts:
                yield from _clauses(reading, part, expression.line)
        case ["or", *parts]:
            yield tuple(tuple(_conjunction(reading, part, expression.line)) for part in parts)
        case _:
            for atom in _comparison(reading, expression):
                yield ((atom,),)


def _conjunction(reading: _Reading, expression: Any, line: int) -> Iterator[TermAtom]:
    if not isinstance(expression, Expression):
        raise reading.fail(f"{expression[:40]!r} is no condition", line)
    if expression.items[:1] == ["and"]:
        for part in expression.items[1:]:
            yield from _conjunction(reading, part, expression.line)
    else:
        yield from _comparison(reading, expression)


def _comparison(reading: _Reading, node: Expression) -> Iterator[TermAtom]:
    match node.items:
        case ["<=" | ">=" | "==" | "=" as relation, left, right]:
            terms, constant = _linear(reading, left, node.line)
            others, offset = _linear(reading, right, node.line)
        case [str(head), *_]:
            raise reading.fail(f"operator {head[:40]!r} is not supported as a condition", node.line)
        case _:
            raise reading.fail("malformed condition", node.line)
    _add(terms, others, Fraction(-1))
    kept = tuple((monomial, factor) for monomial, factor in terms.items() if factor)
    if not kept:
        raise reading.fail("a condition without variables", node.line)
    both: tuple[Relation, ...] = ("<=", ">=")
    for direction in both if relation in ("==", "=") else (relation,):
        yield TermAtom(kept, direction, offset - constant)


def _linear(reading: _Reading, item: Any, line: int) -> tuple[_Terms, Fraction]:
    """A term as coefficients by monomial, and a constant."""
    if isinstance(item, str):
        return _leaf(reading, item, line)
    match item.items:
        case ["+" | "-" | "*" as operator, first, *rest]:
            pass
        case [str(head), *_]:
            raise reading.fail(f"operator {head[:40]!r} is not supported in a term", item.line)
        case _:
            raise reading.fail("malformed term", item.line)
    terms, constant = _linear(reading, first, item.line)
    if operator == "-" and not rest:
        return {monomial: -factor for monomial, factor in terms.items()}, -constant
    for part in rest:
        others, offset = _linear(reading, part, item.line)
        if operator == "*":
            terms, constant = _product(reading, (terms, constant), (others, offset), item.line)
        else:
            sign = Fraction(-1 if operator == "-" else 1)
            _add(terms, others, sign)
            constant += sign * offset
        if any(_bits(value) > _MOST_BITS for value in (constant, *terms.values())):
            raise reading.fail("a number with too many digits", item.line)
    return terms, constant


def _product(
    reading: _Reading, left: tuple[_Terms, Fraction], right: tuple[_Terms, Fraction], line: int
) -> tuple[_Terms, Fraction]:
    (terms, constant), (others, offset) = left, right
    if len(terms) * len(others) > MOST_PRODUCTS:
        raise reading.fail(f"more than {MOST_PRODUCTS} products in a term are not supported", line)
    made: _Terms = {}
    _add(made, terms, offset)
    _add(made, others, constant)
    for one, factor in terms.items():
        for other, second in others.items():
            _add(made, {tuple(sorted(one + other)): factor * second}, Fraction(1))
    if any(len(monomial) > MOST_FACTORS for monomial in made):
        raise reading.fail(f"a product of more than {MOST_FACTORS} variables is not supported", line)
    return made, constant * offset


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _add(terms: _Terms, others: _Terms, scale: Fraction) -> None:
    for monomial, factor in others.items():
        terms[monomial] = terms.get(monomial, Fraction(0)) + scale * factor


def _leaf(reading: _Reading, token: str, line: int) -> tuple[_Terms, Fraction]:
    found = INDEXED.fullmatch(token)
    if found and found[1] in reading.numbers:
        number = reading.numbers[found[1]]
        shape, position = reading.tensors[number].shape, indices(found[2]) or ()
        if len(position) != len(shape) or any(p >= size for p, size in zip(position, shape, strict=True)):
            raise reading.fail(f"{token[:40]!r} does not fit shape {list(shape)}", line)
        place = int(np.ravel_multi_index(position, shape)) if shape else 0
        return {((number, place),): Fraction(1)}, Fraction(0)
    if len(token) > MOST_DIGITS or not NUMBER.fullmatch(token):
        raise reading.fail(f"{token[:40]!r} is neither a declared variable nor a number", line)
    exponent = token.lower().partition("e")[2]
    if len(exponent) > 6 or abs(int(exponent or 0)) > _MOST_EXPONENT:
        raise reading.fail(f"number {token[:40]!r} is not supported", line)
    return {}, Fraction(token)
