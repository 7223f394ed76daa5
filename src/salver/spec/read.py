"""Reader of VNN-LIB 1.0 and 2.0 queries over one network with one input and one output.

Strict about meaning, lenient about layout: any spacing, comments, `and` at the top, the constant
first. What it cannot represent exactly (arithmetic, strict comparisons, input atoms inside a
disjunction) is an error that names the line, never a guess; `spec.terms` reads most of that. Files are
untrusted: sizes are limited before anything is unpacked or counted, and work is linear in the text.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from salver.core.confined import open_regular
from salver.core.errors import SalverError
from salver.spec.numbers import above, below
from salver.spec.property import Atom, Clause, Property

MOST_STORED_BYTES = 64 << 20
MOST_BYTES = 256 << 20
MOST_ENTRIES = 1 << 24
"""Largest number of entries of X or of Y."""
DEEPEST = 100
"""Most `(` open at one place."""

_TOKEN = re.compile(r";[^\n]*|[()]|[^\s();\[\]]*\[[^\[\]();\n]*\]|[^\s();]+")
FLAT = re.compile(r"([A-Za-z]\w*?)_(0|[1-9]\d{0,8})", re.ASCII)
INDEXED = re.compile(r"([A-Za-z]\w*)\[([\d, \t]*)\]", re.ASCII)
SHAPE = re.compile(r"\[([\d, \t]*)\]", re.ASCII)
_INDEX = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_TYPES = {"real", "float16", "float32", "float64"}
VERSIONS = {"<1.0>", "<2.0>"}
MOST_DIGITS = 2000
MOST_AXES = 16


@dataclass
class Expression:
    """What stands between `(` and `)`: words and expressions."""

    items: list[Any]
    line: int


@dataclass(frozen=True)
class _Variable:
    role: str
    index: int


@dataclass
class _QueryReader:
    """What has been read so far; filled in statement order."""

    where: str
    shapes: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    flat: dict[str, set[int]] = field(default_factory=lambda: {"X": set(), "Y": set()})
    lower: dict[int, Decimal] = field(default_factory=dict)
    upper: dict[int, Decimal] = field(default_factory=dict)
    clauses: list[Clause] = field(default_factory=list)

    def fail(self, what: str, line: int) -> SalverError:
        return SalverError(what, f"{self.where}, line {line}", "correct the VNN-LIB file")


def read_vnnlib(path: Path) -> Property:
    """Reads a query from a file, plain or gzip-compressed.

    Raises:
        SalverError: the file is missing, is no text, is larger than `MOST_STORED_BYTES` or unpacked than
            `MOST_BYTES`, or holds what the reader does not take.
    """
    return parse_vnnlib(stored_text(path), str(path))


def declared_tensors(path: Path) -> dict[str, str]:
    """`NAME type [shape]` of the input (key X) and the output (Y), in words and order of a VNN-LIB 2.0 query.

    Empty for VNN-LIB 1.0, which declares none.

    Raises:
        SalverError: as `read_vnnlib`.
    """
    for node in statements(stored_text(path), str(path)):
        if node.items[:1] == ["declare-network"]:
            parts = [part.items for part in node.items[2:] if isinstance(part, Expression)]
            return {
                "X" if kind == "declare-input" else "Y": f"{name} {type_} {''.join(shape.split())}"
                for kind, name, type_, shape in parts
            }
    return {}


def stored_text(path: Path) -> str:
    """Text of a file, plain or gzip-compressed. Raises: SalverError: as `read_vnnlib`."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            raw = _at_most(file, MOST_STORED_BYTES, path)
        if raw[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = _at_most(packed, MOST_BYTES, path)
        if b"\0" in raw:
            raise SalverError("is no text", str(path), "name the query's VNN-LIB file here")
        return raw.decode()
    except UnicodeDecodeError as error:
        raise SalverError("is no text", str(path), "name the query's VNN-LIB file here") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SalverError(f"cannot be read ({reason})", str(path), "check the path") from error


def _at_most(stream: Any, limit: int, path: Path) -> bytes:
    raw: bytes = stream.read(limit + 1)
    if len(raw) > limit:
        raise SalverError(f"is larger than {limit >> 20} MiB", str(path), "split the query into smaller ones")
    return raw


def parse_vnnlib(text: str, where: str = "VNN-LIB text") -> Property:
    """Parses a query of either version.

    Raises:
        SalverError: a syntax error or an unsupported construct, with its line.
    """
    query = _QueryReader(where)
    for statement in statements(text, where):
        _statement(query, statement)
    return _finish(query)


def statements(text: str, where: str) -> Iterator[Expression]:
    """Top-level expressions. A line ends as in any text file: with LF, CR or both.

    Raises:
        SalverError: parentheses that do not match, or too many.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    stack: list[Expression] = []
    line, position = 1, 0
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        token = match.group()
        if token[0] == ";":
            continue
        if token == "(":
            if len(stack) == DEEPEST:
                what = f"more than {DEEPEST} parentheses are open"
                raise SalverError(what, f"{where}, line {line}", "write the condition flatter")
            stack.append(Expression([], line))
        elif token == ")":
            if not stack:
                raise SalverError("one ')' too many", f"{where}, line {line}", "correct the VNN-LIB file")
            done = stack.pop()
            if not stack:
                yield done
            else:
                stack[-1].items.append(done)
        elif not stack:
            raise SalverError(
                f"{token[:40]!r} stands outside any '('", f"{where}, line {line}", "correct the VNN-LIB file"
            )
        else:
            stack[-1].items.append(token)
    if stack:
        raise SalverError("'(' is never closed", f"{where}, line {stack[0].line}", "correct the VNN-LIB file")


def _statement(query: _QueryReader, node: Expression) -> None:
    match node.items:
        case ["vnnlib-version", str(version)]:
            if version not in VERSIONS:
                raise query.fail(f"version {version[:20]!r} is not supported", node.line)
        case ["declare-const", str(name), str(type_)]:
            _declare_const(query, name, type_, node.line)
        case ["declare-network", str(), *parts]:
            _declare_network(query, parts, node.line)
        case ["assert", expression]:
            _assert(query, expression, node.line)
        case [str(head), *_]:
            raise query.fail(f"statement {head[:40]!r} is not supported", node.line)
        case _:
            raise query.fail("empty or malformed statement", node.line)


def _declare_const(query: _QueryReader, name: str, type_: str, line: int) -> None:
    found = FLAT.fullmatch(name)
    if not found or found[1] not in query.flat:
        raise query.fail(f"variable {name[:40]!r} is neither X_i nor Y_i", line)
    if type_.lower() not in _TYPES:
        raise query.fail(f"type {type_[:40]!r} of {name} is not supported", line)
    if int(found[2]) in query.flat[found[1]]:
        raise query.fail(f"{name} is declared twice", line)
    if query.shapes:
        raise query.fail(f"{name} is declared beside a network", line)
    query.flat[found[1]].add(int(found[2]))


def _declare_network(query: _QueryReader, parts: list[Any], line: int) -> None:
    if query.shapes or any(query.flat.values()):
        raise query.fail("more than one network, or variables beside it", line)
    for part in parts:
        match part.items if isinstance(part, Expression) else None:
            case ["declare-input" | "declare-output" as kind, str(name), str(type_), str(shape)]:
                found = SHAPE.fullmatch(shape)
                sizes = indices(found[1]) if found else None
                if type_.lower() not in _TYPES or sizes is None:
                    raise query.fail(f"declaration of {name[:40]!r} is not `NAME real [shape]`", part.line)
                if math.prod(sizes) > MOST_ENTRIES or len(sizes) > MOST_AXES:
                    what = f"{name[:40]!r} has more than {MOST_ENTRIES} entries or {MOST_AXES} axes"
                    raise query.fail(what, part.line)
                role = "X" if kind == "declare-input" else "Y"
                if name in query.shapes or any(role == seen for seen, _ in query.shapes.values()):
                    raise query.fail("more than one input or output tensor", part.line)
                query.shapes[name] = (role, sizes)
            case _:
                raise query.fail("only declare-input and declare-output are supported in a network", line)


def indices(text: str) -> tuple[int, ...] | None:
    """Numbers between commas, none where one of them is malformed."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    return tuple(int(part) for part in parts) if all(map(_INDEX.fullmatch, parts)) else None


def _assert(query: _QueryReader, expression: Any, line: int) -> None:
    if not isinstance(expression, Expression):
        raise query.fail(f"cannot assert {expression[:40]!r}", line)
    match expression.items:
        case ["and", *parts]:
            for part in parts:
                _assert(query, part, expression.line)
        case ["or", *parts]:
            clause = tuple(tuple(_conjunction(query, part, expression.line)) for part in parts)
            query.clauses.append(clause)
        case _:
            for variable, relation, right in _comparison(query, expression):
                if variable.role == "Y":
                    query.clauses.append(
                        ((_output_atom(query, variable, relation, right, expression.line),),)
                    )
                elif isinstance(right, Decimal):
                    _tighten(query, variable.index, relation, right)
                else:
                    raise query.fail("an input is compared with a variable", expression.line)


def _tighten(query: _QueryReader, index: int, relation: str, bound: Decimal) -> None:
    if relation == ">=":
        query.lower[index] = max(bound, query.lower.get(index, bound))
    else:
        query.upper[index] = min(bound, query.upper.get(index, bound))


def _conjunction(query: _QueryReader, expression: Any, line: int) -> Iterator[Atom]:
    if not isinstance(expression, Expression):
        raise query.fail(f"{expression[:40]!r} is no condition", line)
    if expression.items and expression.items[0] == "and":
        for part in expression.items[1:]:
            yield from _conjunction(query, part, expression.line)
        return
    for variable, relation, right in _comparison(query, expression):
        if variable.role == "X":
            raise query.fail("an input bound inside a disjunction is not supported", expression.line)
        yield _output_atom(query, variable, relation, right, expression.line)


def _output_atom(query: _QueryReader, variable: _Variable, relation: str, right: Any, line: int) -> Atom:
    direction: Any = relation
    if isinstance(right, Decimal):
        return Atom(variable.index, direction, constant=float(right))
    if right.role != "Y":
        raise query.fail("an output is compared with an input", line)
    return Atom(variable.index, direction, other=right.index)


def _comparison(
    query: _QueryReader, node: Expression
) -> Iterator[tuple[_Variable, str, _Variable | Decimal]]:
    match node.items:
        case ["<=" | ">=" | "==" | "=" as relation, left, right]:
            first, second = _operand(query, left, node.line), _operand(query, right, node.line)
        case [str(head), *_]:
            raise query.fail(
                f"operator {head[:40]!r} with {len(node.items) - 1} operands is not supported", node.line
            )
        case _:
            raise query.fail("malformed condition", node.line)
    if isinstance(first, Decimal):
        if isinstance(second, Decimal):
            raise query.fail("both sides are constants", node.line)
        first, second = second, first
        relation = {"<=": ">=", ">=": "<="}.get(relation, relation)
    for direction in ("<=", ">=") if relation in ("==", "=") else (relation,):
        yield first, direction, second


def _operand(query: _QueryReader, token: Any, line: int) -> _Variable | Decimal:
    if isinstance(token, Expression):
        raise query.fail("arithmetic is not supported", line)
    found = INDEXED.fullmatch(token)
    if found and found[1] in query.shapes:
        role, shape = query.shapes[found[1]]
        position = indices(found[2]) or ()
        if len(position) != len(shape) or any(p >= size for p, size in zip(position, shape, strict=True)):
            raise query.fail(f"{token[:40]!r} does not fit shape {list(shape)}", line)
        return _Variable(role, int(np.ravel_multi_index(position, shape)) if shape else 0)
    found = FLAT.fullmatch(token)
    if found and int(found[2]) in query.flat.get(found[1], ()):
        return _Variable(found[1], int(found[2]))
    if len(token) > MOST_DIGITS or not NUMBER.fullmatch(token):
        if token.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise query.fail(f"bound {token!r} is not a finite number", line)
        raise query.fail(f"{token[:40]!r} is neither a declared variable nor a number", line)
    if not math.isfinite(float(token)):
        raise query.fail(f"bound {token[:40]!r} is not a finite number", line)
    try:
        return Decimal(token)
    except InvalidOperation as error:
        raise query.fail(f"number {token[:40]!r} is not supported", line) from error


def _finish(query: _QueryReader) -> Property:
    counts = {role: math.prod(shape) for role, shape in query.shapes.values()}
    for role, declared in query.flat.items():
        if declared and declared != set(range(len(declared))):
            raise SalverError(f"{role}_0 ... {role}_{max(declared)} are not all declared", query.where)
        counts.setdefault(role, len(declared))
    if not counts.get("X") or not counts.get("Y"):
        raise SalverError("declares no input or no output", query.where, "correct the VNN-LIB file")
    for side, bounds in (("lower", query.lower), ("upper", query.upper)):
        missing = next((i for i in range(counts["X"]) if i not in bounds), None)
        if missing is not None:
            raise SalverError(f"X[{missing}] has no {side} bound", query.where, "bound every input")
    box = [(query.lower[i], query.upper[i]) for i in range(counts["X"])]
    clauses = list(query.clauses)
    if any(low > high for low, high in box):
        # No input at all: the query is that of an empty choice, over a box that does not matter.
        box, clauses = [(low, max(low, high)) for low, high in box], [*clauses, ()]
    lower = np.array([below(float(low), low) for low, _ in box])
    upper = np.array([above(float(high), high) for _, high in box])
    try:
        return Property(lower, upper, tuple(clauses), counts["Y"])
    except ValueError as error:
        raise SalverError(str(error), query.where, "correct the VNN-LIB file") from error
