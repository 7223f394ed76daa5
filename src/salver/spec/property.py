"""The property of an instance: a box over the input, perhaps cut to a ball, and a condition on the output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.spec.ball import Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Relation = Literal["<=", ">="]
_AtomArrays = tuple[Indices, Indices, Array, Array]
"""Of every atom: left, other (-1 for a constant), constant, sign of the relation."""


@dataclass(frozen=True)
class Atom:
    """`Y[left] relation Y[other]`, or `Y[left] relation constant` when `other` is None.

    No arithmetic and no strict comparison: VNN-LIB 1.0 has neither, so both versions say the same.
    """

    left: int
    relation: Relation
    other: int | None = None
    constant: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.constant):
            raise ValueError(f"bound on Y[{self.left}] is not finite")

    @property
    def outputs(self) -> tuple[int, ...]:
        """Numbers of the outputs that it compares."""
        return (self.left,) if self.other is None else (self.left, self.other)

    def slack(self, y: Array) -> Array:
        """How far the atom is from being violated at outputs `y` [..., outputs]; negative = violated."""
        right = y[..., self.other] if self.other is not None else self.constant
        difference: Array = y[..., self.left] - right
        return difference if self.relation == ">=" else -difference


Clause = tuple[tuple[Atom, ...], ...]
"""A disjunction of conjunctions of atoms: the shape of one VNN-LIB 1.0 assertion."""


@dataclass(frozen=True, eq=False)
class Property:
    """The query: is there X in the box, and in the ball where there is one, whose Y satisfies every clause?

    Attributes:
        input_lower, input_upper: float64 [n], lower <= upper. Decimals that binary64 does not hold are
            rounded outwards, so that the box holds all that the query asks about.
        clauses: conjunction of clauses over Y.
        output_count: number of output entries.
        ball: which X must lie in besides; None for the whole box. Whoever leaves it out asks about more
            inputs, so what is shown of them all holds here, too.
    """

    input_lower: Array
    input_upper: Array
    clauses: tuple[Clause, ...]
    output_count: int
    ball: Ball | None = None

    def __post_init__(self) -> None:
        lower, upper = self.input_lower, self.input_upper
        if lower.shape != upper.shape or lower.ndim != 1:
            raise ValueError(f"input bounds have shapes {lower.shape} and {upper.shape}, expected one [n]")
        if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
            raise ValueError("an input bound is not finite")
        if (lower > upper).any():
            index = int(np.argmax(lower > upper))
            raise ValueError(f"empty box: X[{index}] >= {lower[index]} and X[{index}] <= {upper[index]}")
        if self.ball is not None and self.ball.centre.shape != lower.shape:
            raise ValueError(f"the ball has {self.ball.centre.size} entries, the box {lower.size}")
        for atom in self.atoms():
            if not (0 <= atom.left < self.output_count and (atom.other or 0) < self.output_count):
                raise ValueError(f"{atom} is outside the {self.output_count} outputs")

    def atoms(self) -> Iterable[Atom]:
        """Every atom, clause by clause."""
        return (atom for clause in self.clauses for conjunction in clause for atom in conjunction)

    def outputs_satisfied(self, y: npt.ArrayLike, tolerance: float = 0.0) -> bool:
        """Whether outputs `y` [outputs] satisfy every clause, each atom up to `tolerance`."""
        return bool(self.margin(np.asarray(y, dtype=np.float64)) >= -tolerance)

    def margin(self, y: Array) -> Array:
        """Least slack over the clauses at outputs `y` [..., outputs]; >= 0 exactly when satisfied."""
        worst: Array = np.min(_slacks(self._single_atoms, y), axis=-1, initial=np.inf)
        for clause, alternatives in self._choices:
            if alternatives is not None:
                worst = np.minimum(worst, np.max(_slacks(alternatives, y), axis=-1, initial=-np.inf))
                continue
            best = np.full(y.shape[:-1], -np.inf)
            for conjunction in clause:
                slacks = [atom.slack(y) for atom in conjunction]
                best = np.maximum(best, np.minimum.reduce(slacks) if slacks else np.inf)
            worst = np.minimum(worst, best)
        return worst

    @cached_property
    def ranges(self) -> tuple[Array, Array]:
        """Ranges [outputs] that the clauses of one conjunction allow, infinite where none does."""
        low, high = np.full(self.output_count, -np.inf), np.full(self.output_count, np.inf)
        for atom in (a for clause in self.clauses if len(clause) == 1 for a in clause[0]):
            if atom.other is None and atom.relation == ">=":
                low[atom.left] = max(low[atom.left], atom.constant)
            elif atom.other is None:
                high[atom.left] = min(high[atom.left], atom.constant)
        return low, high

    @cached_property
    def comparisons(self) -> tuple[Clause, ...]:
        """The clauses that `ranges` does not say: with a choice, or with two outputs compared."""
        return tuple(
            clause
            for clause in self.clauses
            if len(clause) != 1 or any(atom.other is not None for atom in clause[0])
        )

    @cached_property
    def _single_atoms(self) -> _AtomArrays:
        """The clauses of one atom as arrays, which are thousands for an image."""
        return _as_arrays(
            [clause[0][0] for clause in self.clauses if len(clause) == 1 and len(clause[0]) == 1]
        )

    @cached_property
    def _choices(self) -> tuple[tuple[Clause, _AtomArrays | None], ...]:
        """The other clauses; as arrays where every conjunction is one atom, as in a ranking of many pairs."""
        return tuple(
            (clause, _as_arrays([part[0] for part in clause]) if all(len(p) == 1 for p in clause) else None)
            for clause in self.clauses
            if not (len(clause) == 1 and len(clause[0]) == 1)
        )

    def inputs_inside(self, x: npt.ArrayLike) -> bool:
        """Whether `x` [n] lies in the box and in the ball."""
        return max(self.outside_box(x), self.outside_ball(x)) <= 0.0

    def projected(self, x: Array) -> Array:
        """Points [..., n] of the box, and of the ball where it can be met, next to points [..., n]."""
        if self.ball is not None:
            return self.ball.projected(x, self.input_lower, self.input_upper)
        return np.clip(x, self.input_lower, self.input_upper)

    def outside_box(self, x: npt.ArrayLike) -> float:
        """How far an entry of `x` [n] lies outside the box; 0 exactly where none does."""
        point = np.asarray(x, dtype=np.float64)
        return float(np.maximum(self.input_lower - point, point - self.input_upper).max(initial=0.0))

    def outside_ball(self, x: npt.ArrayLike) -> float:
        """How far `x` [n] lies outside the ball; 0 exactly where it does not, or there is none."""
        return 0.0 if self.ball is None else self.ball.outside(x)

    def same_query(self, other: Property) -> bool:
        """Whether both ask exactly the same: bounds bit for bit, and clauses in order as they are read.

        A reader takes a choice of one conjunction as its atoms, and leaves out what is true of any output.
        """
        return (
            np.array_equal(self.input_lower, other.input_lower)
            and np.array_equal(self.input_upper, other.input_upper)
            and list(_as_read(self.clauses)) == list(_as_read(other.clauses))
            and self.output_count == other.output_count
            and (other.ball is None if self.ball is None else self.ball.same(other.ball))
        )


def _as_read(clauses: Iterable[Clause]) -> Iterator[Clause]:
    for clause in clauses:
        parts = tuple(tuple(atom for atom in part if atom.other != atom.left) for part in clause)
        if len(parts) == 1:
            yield from (((atom,),) for atom in parts[0])
        elif () not in parts:
            yield parts


def _as_arrays(atoms: list[Atom]) -> _AtomArrays:
    left = np.array([atom.left for atom in atoms], dtype=np.intp)
    other = np.array([-1 if atom.other is None else atom.other for atom in atoms], dtype=np.intp)
    constant = np.array([atom.constant for atom in atoms], dtype=np.float64)
    sign = np.array([1.0 if atom.relation == ">=" else -1.0 for atom in atoms])
    return left, other, constant, sign


def _slacks(atoms: _AtomArrays, y: Array) -> Array:
    """Slack of every atom [..., atoms] at outputs `y` [..., outputs]."""
    left, other, constant, sign = atoms
    right = np.where(other >= 0, y[..., other], constant)
    return np.asarray(sign * (y[..., left] - right))


def box_clauses(first: int, lower: Array, upper: Array) -> tuple[Clause, ...]:
    """Clauses `lower[j] <= Y[first + j] <= upper[j]`; an infinite side gives no clause."""
    clauses: list[Clause] = []
    for offset, (low, high) in enumerate(zip(lower.tolist(), upper.tolist(), strict=True)):
        if low != -np.inf:
            clauses.append(((Atom(first + offset, ">=", constant=low),),))
        if high != np.inf:
            clauses.append(((Atom(first + offset, "<=", constant=high),),))
    return tuple(clauses)
