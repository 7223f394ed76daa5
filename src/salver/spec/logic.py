"""The Boolean structure of a condition, whatever it is written as: clauses, each a choice of conjunctions.

`and`, `or`, `not`, `=>`, `true` and `false` are taken at any depth. A negation is moved inwards to the
comparisons, which become strict there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

from salver.core.errors import SalverError
from salver.spec.read import Expression

A = TypeVar("A")
Part = tuple[A, ...]
"""A conjunction of atoms; the empty one is true."""
Compare = Callable[[Expression, bool], list[Part[A]]]
"""Alternatives of one comparison, or of its negation; none where it is false."""
MOST_ATOMS = 1 << 16
"""Most atoms of the clauses that one nested condition becomes."""


def clauses(
    node: Any, compare: Compare[A], where: str, negated: bool = False
) -> Iterator[tuple[Part[A], ...]]:
    """The clauses of an assertion, all of which must hold; what is always true gives none.

    Raises:
        SalverError: no condition, or one that becomes too many alternatives.
    """
    match _items(node, where):
        case ["not", part]:
            yield from clauses(part, compare, where, not negated)
        case [word, *parts] if word == ("or" if negated else "and"):
            for part in parts:
                yield from clauses(part, compare, where, negated)
        case ["=>", left, right] if negated:
            yield from clauses(left, compare, where)
            yield from clauses(right, compare, where, True)
        case _:
            alternatives = _alternatives(node, compare, where, negated)
            if len(alternatives) == 1:
                yield from (((atom,),) for atom in alternatives[0])
            elif () not in alternatives:
                yield tuple(alternatives)


def _alternatives(node: Any, compare: Compare[A], where: str, negated: bool) -> list[Part[A]]:
    match _items(node, where):
        case ["not", part]:
            return _alternatives(part, compare, where, not negated)
        case ["true" | "false" as word]:
            return [()] if (word == "true") != negated else []
        case ["=>", left, right]:
            sides = [_alternatives(left, compare, where, not negated)]
            sides.append(_alternatives(right, compare, where, negated))
            return _all(sides, node, where) if negated else sides[0] + sides[1]
        case ["and" | "or" as word, *parts]:
            sides = [_alternatives(part, compare, where, negated) for part in parts]
            return _all(sides, node, where) if (word == "and") != negated else list(chain(*sides))
    return compare(node, negated)


def _all(sides: Iterable[list[Part[A]]], node: Any, where: str) -> list[Part[A]]:
    """The conjunction of choices as a choice of conjunctions."""
    made: list[Part[A]] = [()]
    for side in sides:
        size = len(made) * sum(map(len, side)) + len(side) * sum(map(len, made))
        if size > MOST_ATOMS:
            place = f"{where}, line {getattr(node, 'line', 0)}"
            raise SalverError("a condition has too many alternatives", place, "split it into several queries")
        made = [(*one, *other) for one in made for other in side]
    return made


def _items(node: Any, where: str) -> list[Any]:
    if isinstance(node, Expression):
        return node.items
    if node in ("true", "false"):
        return [node]
    raise SalverError(f"{node[:40]!r} is no condition", where, "correct the VNN-LIB file")
