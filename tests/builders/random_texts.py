"""Random VNN-LIB texts together with what they mean, so that a reader's answer can be looked up."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

Values = dict[str, Fraction]
Meaning = Callable[[Values], bool]
_HOLDS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def term(draw: random.Random, names: list[str], depth: int) -> tuple[str, Callable[[Values], Fraction]]:
    """A sum, a difference, a multiple, a variable or a number."""
    kind = draw.choice(["name", "name", "number"] + ["+", "-", "*", "neg"] * (depth > 0))
    if kind == "name":
        name = draw.choice(names)
        return name, lambda values: values[name]
    if kind == "number":
        text = draw.choice(["0", "-0.5", "1.0", "+.25", "5e-1", "-1", "2."])
        return text, lambda _: Fraction(text)
    left, a = term(draw, names, depth - 1)
    if kind == "neg":
        return f"(- {left})", lambda values: -a(values)
    if kind == "*":
        factor = draw.choice(["2", "-0.5", "-1.0"])
        return f"(* {factor} {left})", lambda values: Fraction(factor) * a(values)
    right, b = term(draw, names, depth - 1)
    sign = 1 if kind == "+" else -1
    return f"({kind} {left} {right})", lambda values: a(values) + sign * b(values)


def condition(
    draw: random.Random, names: list[str], depth: int, *, plain: bool = False
) -> tuple[str, Meaning]:
    """A condition over the variables; `plain` leaves out what the proof checker has no word for."""
    kinds = ["and", "or"] if plain else ["and", "or", "and", "or", "not", "=>"]
    kind = draw.choice(kinds) if depth and draw.random() < 0.7 else "atom"
    if kind == "atom":
        relation = draw.choice(["<=", ">=", "=", "=="] if plain else list(_HOLDS))
        (left, a), (right, b) = (term(draw, names, 0 if plain else 1) for _ in range(2))
        return f"({relation} {left} {right})", lambda values: _HOLDS[relation](a(values), b(values))
    if kind == "not":
        text, inner = condition(draw, names, depth - 1, plain=plain)
        return f"(not {text})", lambda values: not inner(values)
    parts = [
        condition(draw, names, depth - 1, plain=plain)
        for _ in range(2 if kind == "=>" else draw.randint(1, 3))
    ]
    text = f"({kind} {' '.join(text for text, _ in parts)})"
    meanings = [meaning for _, meaning in parts]
    if kind == "=>":
        return text, lambda values: not meanings[0](values) or meanings[1](values)
    joined = all if kind == "and" else any
    return text, lambda values: joined(meaning(values) for meaning in meanings)


def relaid(draw: random.Random, text: str) -> str:
    """The same text with other spacing, line ends and comments."""
    return "".join(
        {
            "(": draw.choice(["(", "( ", "\r\n(", '; x ( "y\r(']),
            " ": draw.choice([" ", "  ", "\t", "\n"]),
        }.get(c, c)
        for c in text
    )
