"""The oracle for small networks of any scale: every activation region is decided in exact arithmetic.

Inputs are written as x = lower + (upper - lower) * u with u in [0, 1], and all numbers of a query are binary
fractions, so with the signs fixed every tensor is an affine form of u with whole coefficients times a power
of two, and nothing is rounded. Whether a region is empty is first asked of a floating-point program;
its word is believed only where its point or its multipliers hold when they are evaluated exactly. What is
left is decided by the rational simplex method. The strict mask 1[z > 0] is taken as it is: an active side
is open.

Nothing is compared with a tolerance, so scale does not matter. The cost is exponential in the number of
neurons that change sign over the box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.nets import operators as ops
from salver.nets.network import Network
from salver.oracle.exact import exact_margin, moved_from, unread
from salver.oracle.forms import (
    Forms,
    aligned,
    column_of,
    constant_forms,
    forms_product,
    forms_sum,
    from_floats,
    from_fractions,
)
from salver.oracle.rational_rows import RationalRow, solve
from salver.spec.property import Atom, Property
from salver.spec.truth import Truth

Array = npt.NDArray[np.float64]
MOST_PROGRAMS = 4000
"""Linear programs after which a query counts as too large."""
ROBUST = 1e-3
"""Slack, in rows scaled to largest entry 1, above which a solution is called robust: single precision is no
excuse to miss it."""


@dataclass(frozen=True)
class Enumeration:
    """What visiting every activation region of the box says.

    Attributes:
        truth: `unknown` only for a query that is too large.
        point: exact x [n] that satisfies the query; only for `sat`.
        robust: `sat` with room in every sign and every atom.
        ties: regions that only rational arithmetic could decide: empty, or thin, by less than rounding.
        programs: linear programs solved.
    """

    truth: Truth
    point: tuple[Fraction, ...] | None = None
    robust: bool = False
    ties: int = 0
    programs: int = 0

    @property
    def clear(self) -> bool:
        """Whether rounding is no excuse for another answer: a robust point, or no region that is thin."""
        return self.robust if self.truth is Truth.SAT else self.truth is Truth.UNSAT and not self.ties

    def binary32_point(self, network: Network, prop: Property) -> Array | None:
        """A point [n] next to the one found that binary32 holds and that satisfies the query exactly."""
        if self.point is None:
            return None
        nearest = np.array([float(value) for value in self.point], np.float32).astype(np.float64)
        x = np.clip(nearest, prop.input_lower, prop.input_upper)
        return x if exact_margin(network, prop, x) >= 0 else None


@dataclass(frozen=True, eq=False)
class _State:
    """A part of the box: the forms of the tensors so far, decided signs, and the conditions of the part."""

    forms: Mapping[str, Forms]
    signs: Mapping[str, tuple[bool, ...]]
    rows: tuple[RationalRow, ...] = ()


class TooLargeError(Exception):
    """More linear programs than `MOST_PROGRAMS`."""


def enumerate_query(network: Network, prop: Property, most_programs: int = MOST_PROGRAMS) -> Enumeration:
    """Decides a query over the reals by visiting every activation region of its box.

    Raises:
        ArithmeticError: a point found does not hold when the network is evaluated exactly.
        ValueError: the query is over a ball.
    """
    if prop.ball is not None:
        raise ValueError("answers are enumerated over boxes only")
    search = _RegionSearch(network, prop, most_programs)
    try:
        found = search.run()
    except TooLargeError:
        return Enumeration(Truth.UNKNOWN, None, False, search.ties, search.programs)
    if found is None:
        return Enumeration(Truth.UNSAT, None, False, search.ties, search.programs)
    point, robust = found
    if exact_margin(network, prop, point) < 0:
        raise ArithmeticError("the point of a region does not satisfy the query")
    return Enumeration(Truth.SAT, tuple(point), robust, search.ties, search.programs)


@dataclass
class _RegionSearch:
    network: Network
    prop: Property
    most_programs: int
    ties: int = 0
    programs: int = 0
    thin: tuple[list[Fraction], bool] | None = None
    linear: dict[str, tuple[Forms, Forms]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.low = [Fraction(v) for v in self.prop.input_lower.tolist()]
        self.width = [
            Fraction(v) - low for v, low in zip(self.prop.input_upper.tolist(), self.low, strict=True)
        ]
        self.free = [i for i, width in enumerate(self.width) if width]
        self.shapes = self.network.shapes

    def run(self) -> tuple[list[Fraction], bool] | None:
        """A point, and whether it is robust; a robust one is preferred, a thin one kept until the end."""
        rows = [
            [*(self.width[i] if i == j else 0 for j in self.free), self.low[i]] for i in range(len(self.low))
        ]
        start = _State({self.network.input: from_fractions(rows)}, {})
        for state in self._regions(start, 0):
            outputs = state.forms[self.network.output]
            found = self._clauses(outputs, state.rows, sorted(self.prop.clauses, key=len))
            if found is not None and found[1]:
                return found
            self.thin = self.thin or found
        return self.thin

    def _regions(self, state: _State, number: int) -> Iterator[_State]:
        if number == len(self.network.nodes):
            yield state
            return
        node = self.network.nodes[number]
        source = node.inputs[0]
        if isinstance(node.operator, ops.Relu | ops.Sign | ops.Abs) and source not in state.signs:
            for part in self._signs(state, source, 0, ()):
                yield from self._regions(self._applied(part, node), number + 1)
            return
        yield from self._regions(self._applied(state, node), number + 1)

    def _signs(self, state: _State, tensor: str, entry: int, on: tuple[bool, ...]) -> Iterator[_State]:
        """Parts on which every entry of a tensor is > 0 or <= 0."""
        forms = state.forms[tensor]
        while entry < len(forms.whole):
            coefficients = tuple(forms.whole[entry])
            active, idle = (
                RationalRow(coefficients, True),
                RationalRow(tuple(-c for c in coefficients), False),
            )
            if not active.void and not idle.void:
                break
            on, entry = (*on, active.void), entry + 1
        else:
            yield replace(state, signs={**state.signs, tensor: on})
            return
        for row, side in ((active, True), (idle, False)):
            part = replace(state, rows=(*state.rows, row))
            if self._solution(part.rows) is not None:
                yield from self._signs(part, tensor, entry + 1, (*on, side))

    def _clauses(
        self, outputs: Forms, rows: tuple[RationalRow, ...], clauses: Sequence[Any]
    ) -> tuple[list[Fraction], bool] | None:
        """A point of the region that meets every clause."""
        single = [clause[0] for clause in clauses if len(clause) == 1]
        rest = [clause for clause in clauses if len(clause) != 1]
        fixed = self._atoms(outputs, [atom for part in single for atom in part])
        if fixed is None:
            return None
        rows = (*rows, *fixed)
        if not rest:
            return self._point(rows)
        alternatives = [self._atoms(outputs, part) for part in rest[0]]
        if any(part == () for part in alternatives):
            return self._clauses(outputs, rows, rest[1:])
        thin = None
        for part in alternatives:
            if part is None or (len(rest) > 1 and self._solution((*rows, *part)) is None):
                continue
            found = self._clauses(outputs, (*rows, *part), rest[1:])
            if found is not None and found[1]:
                return found
            thin = thin or found
        return thin

    def _atoms(self, outputs: Forms, atoms: Sequence[Atom]) -> tuple[RationalRow, ...] | None:
        """Atoms as rows, without those that hold everywhere; None where one holds nowhere."""
        rows = []
        for atom in atoms:
            left = outputs.whole[atom.left]
            if atom.other is None:
                constant = from_fractions([[0] * (len(left) - 1) + [Fraction(atom.constant)]])
                pair = aligned([Forms(left[None], outputs.exponent), constant])
                value = pair[0].whole[0] - pair[1].whole[0]
            else:
                value = left - outputs.whole[atom.other]
            row = RationalRow(tuple(value if atom.relation == ">=" else -value), False)
            if row.impossible:
                return None
            if not row.void:
                rows.append(row)
        return tuple(rows)

    def _point(self, rows: tuple[RationalRow, ...]) -> tuple[list[Fraction], bool] | None:
        found = self._solution(rows)
        if found is None:
            return None
        u, slack = found
        x = list(self.low)
        for place, value in zip(self.free, u, strict=True):
            x[place] += self.width[place] * value
        return x, slack > ROBUST

    def _solution(self, rows: tuple[RationalRow, ...]) -> tuple[list[Fraction], float] | None:
        """A point u that meets the rows, and its least slack in scaled rows; None where there is none."""
        if any(row.impossible for row in rows):
            return None
        rows = tuple(row for row in rows if not row.void)
        if not rows:
            return [Fraction(1, 2)] * len(self.free), 1.0
        self.programs += 1
        if self.programs > self.most_programs:
            raise TooLargeError
        solved = solve(rows, len(self.free))
        self.ties += solved.is_tie
        return None if solved.point is None else (solved.point, solved.slack)

    def _applied(self, state: _State, node: ops.Node) -> _State:
        value = self._value(node, state)
        return replace(state, forms={**state.forms, node.name: value})

    def _value(self, node: ops.Node, state: _State) -> Forms:
        operator, first = node.operator, state.forms[node.inputs[0]]
        match operator:
            case ops.Linear() | ops.Conv() | ops.ConvTranspose():
                matrix, bias = self._matrix(node.name, operator, self.shapes[node.inputs[0]])
                product = Forms(matrix.whole.dot(first.whole), matrix.exponent + first.exponent)
                return forms_sum(product, constant_forms(bias, first.whole.shape[1]), 1)
            case ops.Scale():
                full = [
                    np.broadcast_to(part, node.shape).ravel() for part in (operator.scale, operator.shift)
                ]
                scale, shift = (from_floats(part.astype(np.float64)[:, None]) for part in full)
                product = Forms(scale.whole * first.whole, scale.exponent + first.exponent)
                return forms_sum(product, constant_forms(shift, first.whole.shape[1]), 1)
            case ops.Relu():
                return Forms(column_of(state.signs[node.inputs[0]]) * first.whole, first.exponent)
            case ops.Sign():
                # Only behind a ReLU, where -1 and 0 are the same.
                return constant_forms(Forms(column_of(state.signs[node.inputs[0]]), 0), first.whole.shape[1])
            case ops.Abs():
                return Forms((2 * column_of(state.signs[node.inputs[0]]) - 1) * first.whole, first.exponent)
            case ops.Mul():
                return forms_product(first, state.forms[node.inputs[1]])
            case ops.Add() | ops.Sub():
                return forms_sum(
                    first, state.forms[node.inputs[1]], 1 if isinstance(operator, ops.Add) else -1
                )
            case ops.Concat():
                parts = aligned([state.forms[name] for name in node.inputs])
                return Forms(np.concatenate([part.whole for part in parts]), parts[0].exponent)
            case ops.Reshape():
                return first
            case ops.Transpose() | ops.Pick():
                zeros = np.full((1, first.whole.shape[1]), 0, object)
                places = moved_from(operator, self.shapes[node.inputs[0]])
                return Forms(np.concatenate([first.whole, zeros])[places], first.exponent)
        raise unread(operator)

    def _matrix(
        self, name: str, operator: ops.Linear | ops.Conv | ops.ConvTranspose, source: ops.Shape
    ) -> tuple[Forms, Forms]:
        if name not in self.linear:
            matrix, bias = operator.matrix_and_bias(source)
            dense = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)
            column = np.asarray(bias, np.float64)[:, None]
            self.linear[name] = from_floats(dense.astype(np.float64)), from_floats(column)
        return self.linear[name]
