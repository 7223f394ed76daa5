"""One property, two texts: VNN-LIB 1.0 as the official parser takes it, and VNN-LIB 2.0."""

from __future__ import annotations

from collections.abc import Sequence

from salver.spec.ball import Ball
from salver.spec.numbers import decimal
from salver.spec.property import Atom, Clause, Property


def to_vnnlib1(prop: Property, header: Sequence[str] = ()) -> str:
    """VNN-LIB 1.0: flat constants, `or` over `and`. `header` lines become comments.

    There is no arithmetic but that of a ball, for which VNN-LIB 1.0 has no other words.
    """
    lines = [f"; {line}" for line in header]
    lines += [f"(declare-const X_{i} Real)" for i in range(len(prop.input_lower))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(prop.output_count)]
    lines += _input_asserts(prop, "X_{}")
    for clause in prop.clauses:
        lines.append(f"(assert {_clause(clause, 'Y_{}')})")
    return "\n".join(lines) + "\n"


def to_vnnlib2(prop: Property, header: Sequence[str] = ()) -> str:
    """VNN-LIB 2.0: one network N with input X real [1, n] and output Y real [1, outputs]."""
    lines = ["(vnnlib-version <2.0>)", *(f"; {line}" for line in header)]
    lines += [
        "(declare-network N",
        f"  (declare-input X real [1,{len(prop.input_lower)}])",
        f"  (declare-output Y real [1,{prop.output_count}])",
        ")",
    ]
    lines += _input_asserts(prop, "X[0,{}]")
    for clause in prop.clauses:
        lines.append(f"(assert {_clause(clause, 'Y[0,{}]')})")
    return "\n".join(lines) + "\n"


def _input_asserts(prop: Property, name: str) -> list[str]:
    lines = []
    for i, (low, high) in enumerate(zip(prop.input_lower.tolist(), prop.input_upper.tolist(), strict=True)):
        variable = name.format(i)
        lines.append(f"(assert (>= {variable} {decimal(low)}))")
        lines.append(f"(assert (<= {variable} {decimal(high)}))")
    return lines if prop.ball is None else [*lines, _ball(prop.ball, name)]


def _ball(ball: Ball, name: str) -> str:
    """The sum of (X_i - c_i)^2 is at most the squared radius."""
    steps = (f"(- {name.format(i)} {decimal(c)})" for i, c in enumerate(ball.centre.tolist()))
    squares = [f"(* {step} {step})" for step in steps]
    total = squares[0] if len(squares) == 1 else f"(+ {' '.join(squares)})"
    return f"(assert (<= {total} {decimal(ball.square)}))"


def _clause(clause: Clause, name: str) -> str:
    if len(clause) == 1 and len(clause[0]) == 1:
        return _atom(clause[0][0], name)
    parts = ("(and " + " ".join(_atom(atom, name) for atom in part) + ")" for part in clause)
    return "(or " + " ".join(parts) + ")"


def _atom(atom: Atom, name: str) -> str:
    right = name.format(atom.other) if atom.other is not None else decimal(atom.constant)
    return f"({atom.relation} {name.format(atom.left)} {right})"
