"""Reader of what a query says beyond one box and comparisons: several tensors and networks, inner tensors,
arithmetic, strict comparisons and any Boolean structure. It becomes comparisons of polynomials with exact
coefficients. A query in VNN-LIB 1.0 is one over a network with the tensors X and Y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from salver.core.errors import SalverError
from salver.spec.logic import clauses
from salver.spec.property import Relation
from salver.spec.read import (
    FLAT,
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
_ZERO, _ONE, _MINUS = Fraction(0), Fraction(1), Fraction(-1)
_REALS = frozenset(("real", "float16", "float32", "float64"))
_WHOLE = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
_MOST_EXPONENT = 400
_MOST_BITS = 1 << 14
_LONGEST_CHAIN = 100
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
        """The tensor as an assignment introduces it; empty in VNN-LIB 1.0, which declares none."""
        if not self.element:
            return ""
        return f"{self.name} {self.element} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class DeclaredTensor:
    """A declared network; `like` names the one it is `equal-to` or `isomorphic-to` (`relation`)."""

    name: str
    relation: str = ""
    like: str = ""


@dataclass(frozen=True)
class TermAtom:
    """sum of coefficient * monomial `relation` constant; no coefficient is 0, and there is one at least.

    `strict` excludes equality.
    """

    terms: tuple[tuple[Monomial, Fraction], ...]
    relation: Relation
    constant: Fraction
    strict: bool = False


TermClause = tuple[tuple[TermAtom, ...], ...]


@dataclass(frozen=True)
class TermQuery:
    """Is there an assignment of the inputs that satisfies every clause?"""

    networks: tuple[DeclaredTensor, ...]
    tensors: tuple[Tensor, ...]
    clauses: tuple[TermClause, ...]


@dataclass
class _TermReader:
    where: str
    networks: list[DeclaredTensor] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    clauses: list[TermClause] = field(default_factory=list)

    flat: dict[str, set[int]] = field(default_factory=lambda: {"X": set(), "Y": set()})
    ended: bool = False

    def fail(self, what: str, line: int) -> SalverError:
        return SalverError(what, f"{self.where}, line {line}", "correct the VNN-LIB file")

    def unsupported(self, what: str, line: int) -> SalverError:
        return SalverError(f"{what} is not supported by salver", f"{self.where}, line {line}", _READ)


_READ = "state it with <=, <, >=, >, =, and, or, not, +, - and * over the declared variables"
_SMT_LIB = ("set-logic", "set-info", "set-option")
_SMT_LIB_ENDS = ("check-sat", "get-model", "get-value", "exit")


def read_term_query(path: Path) -> TermQuery:
    """Reads a query of either version from a file, plain or gzip-compressed.

    Raises:
        SalverError: as `parse_term_query`, or the file cannot be read.
    """
    return parse_term_query(stored_text(path), str(path))


def parse_term_query(text: str, where: str = "VNN-LIB text") -> TermQuery:
    """Parses a query of either version.

    Raises:
        SalverError: a syntax error or an unsupported construct, with its line.
    """
    reading = _TermReader(where)
    for statement in statements(text, where):
        _statement(reading, statement)
    if any(reading.flat.values()):
        _declare_flat(reading)
    for number, network in enumerate(reading.networks):
        roles = {tensor.role for tensor in reading.tensors if tensor.network == number}
        if not {"input", "output"} <= roles:
            raise SalverError(
                f"network {network.name!r} declares no input or no output", where, "declare both"
            )
    if not reading.networks:
        raise SalverError("declares no network and no X_i and Y_i", where, "correct the VNN-LIB file")
    return TermQuery(tuple(reading.networks), tuple(reading.tensors), tuple(reading.clauses))


def _statement(reading: _TermReader, node: Expression) -> None:
    head = node.items[0] if node.items else None
    if reading.ended and head not in _SMT_LIB_ENDS:
        raise reading.unsupported("a statement after check-sat", node.line)
    match node.items:
        case ["vnnlib-version", str(version)] if version in VERSIONS:
            pass
        case ["declare-const", str(name), str(type_)]:
            _declare_variable(reading, name, type_, node.line)
        case ["declare-fun", str(name), Expression(items=[]), str(type_)]:
            _declare_variable(reading, name, type_, node.line)
        case ["declare-network", str(name), *parts]:
            if any(reading.flat.values()):
                raise reading.fail("a network beside variables X_i and Y_i", node.line)
            _declare_network(reading, name, parts, node.line)
        case ["assert", expression]:
            compare = partial(_comparison, reading)
            reading.clauses += clauses(expression, compare, f"{reading.where}, line {node.line}")
        case [str(), *_] if head in _SMT_LIB:
            pass
        case [str(), *_] if head in _SMT_LIB_ENDS:
            reading.ended = True
        case [str(), *_]:
            raise reading.unsupported(f"statement {str(head)[:40]!r}", node.line)
        case _:
            raise reading.fail("empty or malformed statement", node.line)


def _declare_variable(reading: _TermReader, name: str, type_: str, line: int) -> None:
    """X_i or Y_i of VNN-LIB 1.0."""
    found = FLAT.fullmatch(name)
    if not found or found[1] not in reading.flat:
        raise reading.unsupported(f"variable {name[:40]!r}, which is neither X_i nor Y_i,", line)
    if type_.lower() not in _REALS:
        raise reading.unsupported(f"type {type_[:40]!r} of {name}", line)
    if reading.networks:
        raise reading.fail(f"{name} is declared beside a network", line)
    if int(found[2]) in reading.flat[found[1]]:
        raise reading.fail(f"{name} is declared twice", line)
    reading.flat[found[1]].add(int(found[2]))


def _declare_flat(reading: _TermReader) -> None:
    """The one network of VNN-LIB 1.0, when all of its variables are known."""
    for role, declared in reading.flat.items():
        if not declared:
            raise SalverError("declares no input or no output", reading.where, "declare X_i and Y_i")
        if declared != set(range(len(declared))):
            what = f"{role}_0 ... {role}_{max(declared)} are not all declared"
            raise SalverError(what, reading.where, "declare each of them")
    reading.networks.append(DeclaredTensor("N"))
    sizes = {role: (len(declared),) for role, declared in reading.flat.items()}
    reading.tensors += [Tensor(0, "input", "X", "", sizes["X"]), Tensor(0, "output", "Y", "", sizes["Y"])]


def _declare_network(reading: _TermReader, name: str, parts: list[Any], line: int) -> None:
    if any(name == network.name for network in reading.networks):
        raise reading.fail(f"network {name[:40]!r} is declared twice", line)
    declared = DeclaredTensor(name)
    for place, part in enumerate(parts):
        match part.items if isinstance(part, Expression) else None:
            case ["equal-to" | "isomorphic-to" as relation, str(like)] if place == 0:
                if all(like != network.name for network in reading.networks):
                    raise reading.fail(f"network {like[:40]!r} is not declared", part.line)
                declared = DeclaredTensor(name, relation, like)
            case ["declare-input" | "declare-output" as kind, str(tensor), str(element), str(shape)]:
                role: Role = "input" if kind == "declare-input" else "output"
                _declare(reading, role, (tensor, element, shape), "", part.line)
            case ["declare-hidden", str(tensor), str(element), str(shape), str(inner)]:
                if len(inner) < 3 or inner[0] != '"' or inner[-1] != '"':
                    raise reading.fail(f"{inner[:40]!r} is no name in quotes", part.line)
                _declare(reading, "hidden", (tensor, element, shape), inner[1:-1], part.line)
            case _:
                raise reading.fail("only declarations of tensors may stand in a network", line)
    reading.networks.append(declared)


def _declare(reading: _TermReader, role: Role, words: tuple[str, str, str], inner: str, line: int) -> None:
    name, element, shape = words
    found = SHAPE.fullmatch(shape)
    sizes = indices(found[1]) if found else None
    if sizes is None or element.lower() not in (_REALS if role == "input" else _REALS | _WHOLE):
        raise reading.fail(f"declaration of {name[:40]!r} is not `NAME real [shape]`", line)
    if len(sizes) > MOST_AXES or math.prod(sizes) > MOST_ENTRIES:
        raise reading.fail(f"{name[:40]!r} has more than {MOST_ENTRIES} entries or {MOST_AXES} axes", line)
    if name in reading.numbers:
        raise reading.fail(f"tensor {name[:40]!r} is declared twice", line)
    reading.numbers[name] = len(reading.tensors)
    reading.tensors.append(Tensor(len(reading.networks), role, name, element.lower(), sizes, inner))


_NEGATED = {"<=": ">", ">=": "<", "<": ">=", ">": "<=", "=": "!=", "==": "!=", "!=": "="}


def _comparison(reading: _TermReader, node: Expression, negated: bool) -> list[tuple[TermAtom, ...]]:
    """A comparison, of two terms or a chain of them, as alternatives."""
    match node.items:
        case [str(relation), _, _, *_] if relation in _NEGATED:
            terms = [_linear(reading, item, node.line) for item in node.items[1:]]
        case ["distinct", first, second]:
            relation, terms = "!=", [_linear(reading, item, node.line) for item in (first, second)]
        case [str(head), *_]:
            raise reading.unsupported(f"{head[:40]!r} with {len(node.items) - 1} operands", node.line)
        case _:
            raise reading.fail("malformed condition", node.line)
    if len(terms) > (2 if relation == "!=" else _LONGEST_CHAIN):
        raise reading.unsupported(f"{relation!r} of {len(terms)} terms", node.line)
    made: list[tuple[TermAtom, ...]] = [] if negated else [()]
    for left, right in pairwise(terms):
        compared = _compared(left, right, _NEGATED[relation] if negated else relation)
        made = [*made, *compared] if negated else [(*one, *other) for one in made for other in compared]
    return made


def _compared(
    left: tuple[_Terms, Fraction], right: tuple[_Terms, Fraction], relation: str
) -> list[tuple[TermAtom, ...]]:
    """left `relation` right; true or false where no variable is left."""
    if relation == "!=":
        return _compared(left, right, "<") + _compared(left, right, ">")
    if right[0]:
        terms = dict(left[0])
        _add(terms, right[0], _MINUS)
        kept = tuple((monomial, factor) for monomial, factor in terms.items() if factor)
    else:
        kept = tuple(item for item in left[0].items() if item[1])
    constant, strict = right[1] - left[1] if left[1] else right[1], relation in ("<", ">")
    both: tuple[Relation, ...] = ("<=", ">=")
    relations = [one for one in both if relation in ("=", "==") or one[0] == relation[0]]
    if kept:
        return [tuple(TermAtom(kept, one, constant, strict) for one in relations)]
    holds = all(constant >= 0 if one == "<=" else constant <= 0 for one in relations)
    return [()] if holds and not (strict and constant == 0) else []


def _linear(reading: _TermReader, item: Any, line: int) -> tuple[_Terms, Fraction]:
    """A term as coefficients by monomial, and a constant."""
    if isinstance(item, str):
        return _leaf(reading, item, line)
    match item.items:
        case ["+" | "-" | "*" as operator, first, *rest]:
            pass
        case ["/", top, bottom]:
            return _quotient(reading, top, bottom, item.line)
        case [str(head), *_]:
            raise reading.unsupported(f"operator {head[:40]!r} in a term", item.line)
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
            sign = _MINUS if operator == "-" else _ONE
            _add(terms, others, sign)
            constant += sign * offset
        if any(_bits(value) > _MOST_BITS for value in (constant, *terms.values())):
            raise reading.fail("a number with too many digits", item.line)
    return terms, constant


def _quotient(reading: _TermReader, top: Any, bottom: Any, line: int) -> tuple[_Terms, Fraction]:
    terms, constant = _linear(reading, top, line)
    others, divisor = _linear(reading, bottom, line)
    if any(others.values()) or not divisor:
        raise reading.unsupported("a quotient by anything but a number other than 0", line)
    return {monomial: factor / divisor for monomial, factor in terms.items()}, constant / divisor


def _product(
    reading: _TermReader, left: tuple[_Terms, Fraction], right: tuple[_Terms, Fraction], line: int
) -> tuple[_Terms, Fraction]:
    (terms, constant), (others, offset) = left, right
    if len(terms) * len(others) > MOST_PRODUCTS:
        raise reading.unsupported(f"a term of more than {MOST_PRODUCTS} products", line)
    made: _Terms = {}
    _add(made, terms, offset)
    _add(made, others, constant)
    for one, factor in terms.items():
        for other, second in others.items():
            _add(made, {tuple(sorted(one + other)): factor * second}, _ONE)
    if any(len(monomial) > MOST_FACTORS for monomial in made):
        raise reading.unsupported(f"a product of more than {MOST_FACTORS} variables", line)
    return made, constant * offset


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _add(terms: _Terms, others: _Terms, scale: Fraction) -> None:
    for monomial, factor in others.items():
        other = factor if scale is _ONE else -factor if scale is _MINUS else scale * factor
        terms[monomial] = terms[monomial] + other if monomial in terms else other


def _leaf(reading: _TermReader, token: str, line: int) -> tuple[_Terms, Fraction]:
    found = FLAT.fullmatch(token)
    if found and int(found[2]) in reading.flat.get(found[1], ()):
        return {((int(found[1] == "Y"), int(found[2])),): _ONE}, _ZERO
    found = INDEXED.fullmatch(token)
    if found and found[1] in reading.numbers:
        number = reading.numbers[found[1]]
        shape, position = reading.tensors[number].shape, indices(found[2]) or ()
        if len(position) != len(shape) or any(p >= size for p, size in zip(position, shape, strict=True)):
            raise reading.fail(f"{token[:40]!r} does not fit shape {list(shape)}", line)
        place = int(np.ravel_multi_index(position, shape)) if shape else 0
        return {((number, place),): _ONE}, _ZERO
    if token.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise reading.fail(f"{token!r} is not a finite number", line)
    if len(token) > MOST_DIGITS or not NUMBER.fullmatch(token):
        raise reading.fail(f"{token[:40]!r} is neither a declared variable nor a number", line)
    exponent = token.lower().partition("e")[2]
    if len(exponent) > 6 or abs(int(exponent or 0)) > _MOST_EXPONENT:
        raise reading.unsupported(f"number {token[:40]!r}", line)
    return {}, Fraction(token)
