"""Queries of the plain form: one network, a box over its input, perhaps a ball, and comparisons of outputs.

Every text is read by `spec.terms`; a plain query is one whose terms are single variables, but for a ball: one
comparison of a sum of squares, as |x - c|_2^2 <= r^2 multiplied out is.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.spec.ball import Ball
from salver.spec.numbers import above, below
from salver.spec.property import Atom, Clause, Property, Relation
from salver.spec.read import stored_text
from salver.spec.terms import TermAtom, TermQuery, parse_term_query

Array = npt.NDArray[np.float64]
_HINT = "state bounds of inputs on their own, and compare outputs with numbers or with each other"
_FLIPPED: dict[Relation, Relation] = {"<=": ">=", ">=": "<="}


def read_vnnlib(path: Path) -> Property:
    """Reads a plain query from a file of either version, as it is or gzip-compressed.

    Raises:
        SalverError: as `parse_vnnlib`, or the file cannot be read.
    """
    return parse_vnnlib(stored_text(path), str(path))


def parse_vnnlib(text: str, where: str = "VNN-LIB text") -> Property:
    """Parses a plain query of either version.

    Raises:
        SalverError: as `parse_term_query`, with the line; or the query says more than the plain form holds.
    """
    return plain(parse_term_query(text, where), where)


def plain(query: TermQuery, where: str) -> Property:
    """The same query as a box, a ball where there is one, and comparisons of outputs.

    Raises:
        SalverError: several networks or tensors, an input without a bound or inside a disjunction, strict
            comparisons, sums or products but those of one ball, a centre that binary64 does not hold.
    """
    if [tensor.role for tensor in sorted(query.tensors, key=lambda t: t.role)] != ["input", "output"]:
        raise SalverError("declares more than one input, one output and one network", where, _HINT)
    inputs = next(n for n, tensor in enumerate(query.tensors) if tensor.role == "input")
    sizes = [tensor.size for tensor in query.tensors]
    low: dict[int, Fraction] = {}
    high: dict[int, Fraction] = {}
    clauses: list[Clause] = []
    balls: list[_ExactBall] = []
    for clause in query.clauses:
        atom = clause[0][0] if len(clause) == 1 and len(clause[0]) == 1 else None
        if atom is not None and (ball := _exact_ball(atom, inputs, sizes[inputs])) is not None:
            balls.append(ball)
        elif atom is not None and _is_bound(atom, inputs):
            ((((_, index),), factor),) = atom.terms
            bound = atom.constant if factor > 0 else -atom.constant
            if (atom.relation == ">=") == (factor > 0):
                low[index] = max(bound, low.get(index, bound))
            else:
                high[index] = min(bound, high.get(index, bound))
        else:
            clauses.append(tuple(tuple(_atoms(part, inputs, where)) for part in clause))
    for side, bounds in (("lower", low), ("upper", high)):
        missing = next((i for i in range(sizes[inputs]) if i not in bounds), None)
        if missing is not None:
            raise SalverError(f"X[{missing}] has no {side} bound", where, "bound every input")
    box = [(low[i], high[i]) for i in range(sizes[inputs])]
    if any(least > most for least, most in box) or any(square < 0 for _, square in balls):
        # No input at all: the query is that of an empty choice, over a box that does not matter.
        box, clauses = [(least, max(least, most)) for least, most in box], [*clauses, ()]
        balls = []
    if len(balls) > 1:
        raise SalverError("states more than one ball", where, _HINT)
    try:
        lower = np.array([below(float(least), least) for least, _ in box])
        upper = np.array([above(float(most), most) for _, most in box])
        cut = _ball(*balls[0], where) if balls else None
        return Property(lower, upper, tuple(clauses), sizes[1 - inputs], cut)
    except (ValueError, OverflowError) as error:
        raise SalverError(str(error), where, "state it with smaller numbers") from error


def input_box(query: TermQuery, where: str) -> tuple[Array, Array]:
    """The least box [n], [n] that holds all inputs of a query over one input tensor, whatever else it says.

    Bounds are those of single comparisons, and those that every alternative of a choice has.

    Raises:
        SalverError: several inputs, or one of its entries has no bound.
    """
    inputs = [n for n, tensor in enumerate(query.tensors) if tensor.role == "input"]
    if len(inputs) != 1:
        raise SalverError(f"has {len(inputs)} input tensors, not one", where, "choose another query")
    size = query.tensors[inputs[0]].size
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    for clause in query.clauses:
        own = [_bounds(part, inputs[0], size) for part in clause] or [(low, high)]
        low = np.maximum(low, np.minimum.reduce([least for least, _ in own]))
        high = np.minimum(high, np.maximum.reduce([most for _, most in own]))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        missing = int(np.argmin(np.isfinite(low) & np.isfinite(high)))
        raise SalverError(f"X[{missing}] has no bound", where, "choose a query that bounds every input")
    if (low > high).any():
        raise SalverError("has an empty box", where, "choose another query")
    return low, high


def _bounds(part: tuple[TermAtom, ...], inputs: int, size: int) -> tuple[Array, Array]:
    """What a conjunction says of single inputs, strictly or not; rounded outwards."""
    low, high = np.full(size, -np.inf), np.full(size, np.inf)
    for atom in part:
        ((monomial, factor), *others) = atom.terms
        if others or len(monomial) > 1 or monomial[0][0] != inputs:
            continue
        bound, index = atom.constant / factor, monomial[0][1]
        if (atom.relation == ">=") == (factor > 0):
            low[index] = max(low[index], below(float(bound), bound))
        else:
            high[index] = min(high[index], above(float(bound), bound))
    return low, high


_ExactBall = tuple[tuple[Fraction, ...], Fraction]
"""Centre [n] and squared radius."""


def _exact_ball(atom: TermAtom, inputs: int, size: int) -> _ExactBall | None:
    """The ball of all inputs [size] that an atom states as a sum of equal squares; None for anything else."""
    if atom.strict or len(atom.terms) < size:
        return None
    sign = 1 if atom.relation == "<=" else -1
    terms = {monomial: sign * factor for monomial, factor in atom.terms}
    entries = [(inputs, index) for index in range(size)]
    squares = {terms.pop((entry, entry), Fraction(0)) for entry in entries}
    if len(squares) != 1 or (factor := squares.pop()) <= 0:
        return None
    centre = tuple(-terms.pop((entry,), Fraction(0)) / (2 * factor) for entry in entries)
    if terms:
        return None
    return centre, sign * atom.constant / factor + sum(value * value for value in centre)


def _ball(centre: tuple[Fraction, ...], square: Fraction, where: str) -> Ball:
    """The ball in binary64, its squared radius rounded up.

    Raises:
        SalverError: a centre that binary64 does not hold.
    """
    near = np.array([float(value) for value in centre])
    if any(Fraction(value) != exact for value, exact in zip(near.tolist(), centre, strict=True)):
        raise SalverError("the centre of the ball is not in binary64", where, "state it in binary32 decimals")
    return Ball(near, above(float(square), square))


def _is_bound(atom: TermAtom, inputs: int) -> bool:
    """Whether an atom is a bound on one input, as it stands in the text."""
    if atom.strict or len(atom.terms) > 1:
        return False
    ((monomial, factor),) = atom.terms
    return len(monomial) == 1 and monomial[0][0] == inputs and abs(factor) == 1


def _atoms(part: tuple[TermAtom, ...], inputs: int, where: str) -> Iterator[Atom]:
    for atom in part:
        if atom.strict:
            raise SalverError("has a strict comparison", where, _HINT)
        (first, factor), *others = atom.terms
        unlike = others and (len(others) > 1 or others[0][1] != -factor or atom.constant)
        if unlike or abs(factor) != 1 or any(len(monomial) > 1 for monomial, _ in atom.terms):
            raise SalverError("has arithmetic", where, _HINT)
        if any(monomial[0][0] == inputs for monomial, _ in atom.terms):
            what = "compares an input with a variable" if others else "has an input inside a disjunction"
            raise SalverError(what, where, _HINT)
        relation = atom.relation if factor > 0 else _FLIPPED[atom.relation]
        constant = atom.constant if factor > 0 else -atom.constant
        try:
            yield Atom(first[0][1], relation, others[0][0][0][1] if others else None, float(constant))
        except OverflowError as error:
            raise SalverError("a bound is beyond double precision", where, _HINT) from error
