"""Checks a proof of `unsat`: that no x of the box satisfies every clause of the property.

A proof is a list of steps in the order of a depth-first walk (`record`). Each step adds a fact to the
present context or splits it; a context without any x is closed, and the walk goes on with the next open
one. The proof is accepted when none is left.

Every deduction is the same argument. The rows below are affine functions of the tensors that are >= 0
wherever the context's facts hold. For any multipliers >= 0 and any affine t, t >= t - sum of multiplier *
row, and the right side is bounded from below by substituting affine tensors backwards and taking the worst
of its range for whatever remains (weak duality; Neumaier and Shcherbina, Math. Programming 2004). So wrong
multipliers cost strength, never soundness. Numbers are exact integers times the unit of the context; where
digits are dropped, the bound goes down.

With z in [l, u], m = 1[z > 0] (its step), r = max(z, 0), v in [l, u], p = m v and a = |z|:

    step_on   u m - z >= 0           step_off  z - l + l m >= 0
    relu_z    r - z >= 0             relu_on   u m - r >= 0         relu_off  z - l + l m - r >= 0
    gate_low  p - l m >= 0           gate_high u m - p >= 0
    gate_on   p - v - u m + u >= 0   gate_off  v - p + l m - l >= 0
    abs_pos   a - z >= 0             abs_neg   a + z >= 0
    abs_on    z - a - 2 l + 2 l m >= 0         abs_off  2 u m - a - z >= 0
    low       t - l >= 0             high      u - t >= 0           for a tensor t in [l, u]
    atom      an atom of the property's clauses, of the only conjunction left or of the one assumed
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from salver.proofs.context import Context
from salver.proofs.exact import Ints, Unit, zeros
from salver.proofs.graph import STEP, Abs, Affine, Gate, Graph, Relu
from salver.proofs.onnx_file import NetworkFile
from salver.proofs.vnnlib_file import ExactAtom, ExactProperty

MOST_AT_ONCE = 4096
"""Deductions in one step; a bound on memory."""
_END = object()
"""After the last step; nothing that a file can hold."""


MOST_STEPS = 1_000_000
"""Steps of a proof that is checked."""


class LimitError(Exception):
    """The proof was not checked to its end: it is larger, deeper or slower than the limits."""


class RejectedError(Exception):
    """The proof does not show what it claims; the message says where and why."""


def check(network: NetworkFile, prop: ExactProperty, steps: Iterable[Any], most: int = MOST_STEPS) -> int:
    """Checks the steps of a proof; returns how many contexts it closed.

    Args:
        steps: read one at a time, so a file need not be held.
        most: steps that are looked at.

    Raises:
        RejectedError: a step is malformed or wrong, a context is left open, or steps are left over.
        UnsupportedNetworkError: operators outside `Graph`.
        LimitError: more than `most` steps.
    """
    graph = Graph(network)
    checker, closed, number = Checker(graph, prop), 0, 0
    try:
        walk = [Context.start(graph, prop)]
    except ValueError as error:
        raise RejectedError(str(error)) from None
    for number, step in enumerate(itertools.chain(steps, [_END])):
        while walk and walk[-1].closed:
            walk.pop()
            closed += 1
        if step is _END or not walk:
            break
        if number == most:
            raise LimitError(f"the proof has more than {most} steps")
        try:
            walk += checker.apply(walk.pop(), step)
        except RejectedError as error:
            raise RejectedError(f"step {number + 1}: {error}") from None
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise RejectedError(f"step {number + 1} is malformed ({type(error).__name__}: {error})") from None
    if walk:
        raise RejectedError(f"{len(walk)} parts of the query are left open")
    if step is not _END:
        raise RejectedError(f"step {number + 1} comes after the end")
    return closed


@dataclass(eq=False)
class Checker:
    """Applies steps to contexts of one query."""

    graph: Graph
    prop: ExactProperty
    _limits: dict[int, int] = field(default_factory=dict)

    def limit(self, atom: ExactAtom, unit: Unit) -> int:
        """The constant of one of the property's atoms, rounded to the side where the atom says less."""
        if id(atom) not in self._limits:
            rounded = unit.ints if atom.relation == ">=" else unit.ints_up
            (self._limits[id(atom)],) = rounded([atom.constant])
        return self._limits[id(atom)]

    def apply(self, context: Context, step: Any) -> list[Context]:
        """The contexts that a step leaves of one, the one to go on with last.

        Raises:
            RejectedError: the step claims something that does not follow.
        """
        left = self._apply(context, step)
        for branch in left:
            branch.refresh()
        return left

    def _apply(self, context: Context, step: Any) -> list[Context]:
        match step["do"]:
            case "split":
                sides = [context.copy(), context]
                for side, branch in enumerate(sides):
                    branch.decide(_name(step["switch"], self.graph.switches), _whole(step["at"]), side)
                return sides
            case "case":
                clause = _whole(step["clause"])
                branches = [context.copy() for _ in context.alternatives[clause]]
                for branch, part in zip(branches, sorted(context.alternatives[clause]), strict=True):
                    branch.alternatives[clause] = {part}
                return branches[::-1]
            case "propagate":
                before = _ranges(context)
                context.propagate()
                if not context.closed and not _differ(before, context):
                    raise RejectedError("a propagate that changes nothing")
            case "bound":
                self._bound(context, step)
            case "decide":
                _demand(self.contradictions(context, step))
                for entry, side in zip(step["at"], step["side"], strict=True):
                    context.decide(step["switch"], entry, 1 - side)
            case "drop":
                _demand(self.contradictions(context, step))
                for part in step["parts"]:
                    context.drop(step["clause"], part)
            case "close":
                _demand(self.contradictions(context, step))
                context.closed = True
            case other:
                raise RejectedError(f"no step is called {str(other)[:40]!r}")
        return [context]

    def _bound(self, context: Context, step: Any) -> None:
        name, at = _name(step["tensor"], self.graph.sizes), [_whole(entry) for entry in step["at"]]
        lower = np.array([bool(_whole(side)) for side in step["lower"]])
        sum_ = Sum(self, context, len(at))
        one = context.unit.one
        signs = np.array([one if side else -one for side in lower], dtype=object)
        sum_.add(name, np.arange(len(at)), np.array(at), signs)
        sum_.subtract_rows(step["by"])
        least = sum_.least({})
        low, high = context.low[name].copy(), context.high[name].copy()
        for entry, is_lower, value in zip(at, lower, least, strict=True):
            if is_lower:
                low[entry] = max(low[entry], value)
            else:
                high[entry] = min(high[entry], -value)
        context.meet(name, low, high)

    def contradictions(self, context: Context, step: Any) -> Any:
        """For each assumption of a step `decide`, `drop` or `close`: is some sum of its rows negative?

        Returns:
            Booleans [deductions].
        """
        assumed, clause, parts, count = {}, -1, [], 1
        if step["do"] == "decide":
            switch, count = _name(step["switch"], self.graph.switches), len(step["at"])
            pairs = zip(step["at"], step["side"], strict=True)
            assumed = {i: (switch, _whole(at), _bit(side)) for i, (at, side) in enumerate(pairs)}
        elif step["do"] == "drop":
            clause, parts = _whole(step["clause"]), [_whole(part) for part in step["parts"]]
            count = len(parts)
        sum_ = Sum(self, context, count, clause, parts)
        sum_.subtract_rows(step["by"])
        return np.array([bool(value > 0) for value in sum_.least(assumed)])


@dataclass(eq=False)
class Sum:
    """A batch of affine functions of the tensors: per tensor coefficients [count, size], and constants."""

    checker: Checker
    context: Context
    count: int
    clause: int = -1
    parts: list[int] = field(default_factory=list)
    terms: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.count <= MOST_AT_ONCE:
            raise RejectedError(f"{self.count} deductions in one step")
        self.graph = self.checker.graph
        self.constant = zeros(self.count)

    def add(self, name: str, lemmas: Ints, entries: Ints, values: Ints) -> None:
        """Adds values to the coefficients of chosen entries in chosen lemmas."""
        np.add.at(self._of(name), (lemmas, entries), values)

    def subtract_rows(self, by: Any) -> None:
        """Subtracts multiplier * row for every group [kind, tensor, lemmas, entries, multipliers].

        Raises:
            RejectedError: a negative multiplier, no such row, or one that may not be used.
        """
        for kind, name, lemmas, entries, multipliers in by:
            weights = self.context.unit.ints(multipliers)
            if weights.shape != (len(lemmas),) or len(entries) != len(lemmas) or (weights < 0).any():
                raise RejectedError("multipliers must be one number >= 0 per row")
            where = np.array([_whole(lemma) for lemma in lemmas], dtype=np.intp)
            if kind == "atom":
                for lemma, weight, entry in zip(where, weights, entries, strict=True):
                    self._atom(int(lemma), weight, *entry)
                continue
            at = np.array([_whole(entry) for entry in entries], dtype=np.intp)
            terms, constant = self._row(kind, name, at)
            for tensor, coefficient in terms:
                self.add(tensor, where, at, self.context.unit.floor(-weights * coefficient))
            np.add.at(self.constant, where, self.context.unit.floor(-weights * constant))

    def least(self, assumed: dict[int, tuple[str, int, int]]) -> Ints:
        """Lower bounds [count] over everything that the context allows.

        Args:
            assumed: lemma -> switch, entry and side (0 or 1) that its step is assumed to have.
        """
        for name, form in reversed(self.graph.forms.items()):
            if name in self.terms:
                self._substitute(name, form, self.terms.pop(name))
        for lemma, (switch, entry, side) in assumed.items():
            coefficients = self._of(STEP + switch)[lemma]
            self.constant[lemma] += coefficients[entry] * side
            coefficients[entry] = 0
        for name in list(self.terms):
            self._absorb(name, self.terms.pop(name))
        return self.constant

    def _substitute(self, name: str, form: Affine | Relu | Gate | Abs, coefficients: Ints) -> None:
        context = self.context
        if isinstance(form, Affine):
            self.constant = self.constant + form.bias.after(coefficients)[:, 0]
            for source, matrix in form.terms:
                self._pass_on(source, matrix.after(coefficients))
                below = np.maximum(-context.low[source], 0).sum()
                self.constant = self.constant + ((-below) >> self.context.unit.places)
            return
        match form:
            case Relu(source):
                on, off = context.low[STEP + source] > 0, context.high[STEP + source] == 0
                signed = on.astype(object)
            case Gate(switch, source):
                on, off = context.low[STEP + switch] > 0, context.high[STEP + switch] == 0
                signed = on.astype(object)
            case Abs(source):
                on, off = context.low[source] >= 0, context.high[source] <= 0
                on, off, signed = on | off, np.zeros_like(off), np.where(on, 1, -1) * (on | off)
        if on.any():
            self._pass_on(source, coefficients * signed)
        self._absorb(name, coefficients * ~(on | off))

    def _pass_on(self, name: str, coefficients: Ints) -> None:
        self.terms[name] = self.terms[name] + coefficients if name in self.terms else coefficients

    def _absorb(self, name: str, coefficients: Ints) -> None:
        low, high = self.context.low[name], self.context.high[name]
        worst = np.where(coefficients >= 0, coefficients * low, coefficients * high)
        self.constant = self.constant + self.context.unit.floor(worst.sum(axis=1))

    def _of(self, name: str) -> Ints:
        if name not in self.terms:
            self.terms[name] = zeros(self.count, self.graph.sizes[name])
        return self.terms[name]

    def _atom(self, lemma: int, weight: int, clause: int, part: int, number: int) -> None:
        assumed = clause == self.clause and self.parts[lemma] == part
        if not assumed and self.context.alternatives[clause] != {part}:
            raise RejectedError(f"conjunction {part} of clause {clause} is neither certain nor assumed")
        atom: ExactAtom = self.checker.prop.clauses[clause][part][number]
        sign = 1 if atom.relation == ">=" else -1
        terms = self._of(self.graph.network.output)
        terms[lemma, atom.left] -= sign * weight
        if atom.other is not None:
            terms[lemma, atom.other] += sign * weight
        else:
            limit = self.checker.limit(atom, self.context.unit)
            self.constant[lemma] += self.context.unit.floor(sign * weight * limit)

    def _row(self, kind: str, name: str, at: Any) -> tuple[list[tuple[str, Ints]], Ints]:
        """Coefficients of a row's tensors at `at`, and its constant."""
        form, low, high = self.graph.forms.get(name), self.context.low, self.context.high
        one = zeros(len(at)) + self.context.unit.one
        if kind in ("low", "high") and name in self.graph.sizes:
            low_, high_ = low[name][at], high[name][at]
            return ([(name, one)], -low_) if kind == "low" else ([(name, -one)], high_)
        if kind.startswith("step_") and name in self.graph.switches:
            z, switch, form_rows = name, name, STEP_ROWS
        elif kind.startswith("gate_") and isinstance(form, Gate):
            z, switch, form_rows = form.value, form.switch, GATE_ROWS
        elif kind.startswith("relu_") and isinstance(form, Relu):
            z, switch, form_rows = form.source, form.source, RELU_ROWS
        elif kind.startswith("abs_") and isinstance(form, Abs):
            z, switch, form_rows = form.source, form.source, ABS_ROWS
        else:
            raise RejectedError(f"no row {kind!r:.40} at {name!r:.40}")
        return form_rows[kind](name, z, STEP + switch, one, low[z][at], high[z][at])


Row = Callable[[str, str, str, Ints, Ints, Ints], tuple[list[tuple[str, Ints]], Ints]]
STEP_ROWS: dict[str, Row] = {
    "step_on": lambda _, z, m, one, lo, up: ([(m, up), (z, -one)], 0 * one),
    "step_off": lambda _, z, m, one, lo, up: ([(z, one), (m, lo)], -lo),
}
RELU_ROWS: dict[str, Row] = {
    "relu_z": lambda r, z, m, one, lo, up: ([(r, one), (z, -one)], 0 * one),
    "relu_on": lambda r, z, m, one, lo, up: ([(m, up), (r, -one)], 0 * one),
    "relu_off": lambda r, z, m, one, lo, up: ([(z, one), (m, lo), (r, -one)], -lo),
}
GATE_ROWS: dict[str, Row] = {
    "gate_low": lambda p, v, m, one, lo, up: ([(p, one), (m, -lo)], 0 * one),
    "gate_high": lambda p, v, m, one, lo, up: ([(m, up), (p, -one)], 0 * one),
    "gate_on": lambda p, v, m, one, lo, up: ([(p, one), (v, -one), (m, -up)], up),
    "gate_off": lambda p, v, m, one, lo, up: ([(v, one), (p, -one), (m, lo)], -lo),
}
ABS_ROWS: dict[str, Row] = {
    "abs_pos": lambda a, z, m, one, lo, up: ([(a, one), (z, -one)], 0 * one),
    "abs_neg": lambda a, z, m, one, lo, up: ([(a, one), (z, one)], 0 * one),
    "abs_on": lambda a, z, m, one, lo, up: ([(z, one), (a, -one), (m, 2 * lo)], -2 * lo),
    "abs_off": lambda a, z, m, one, lo, up: ([(m, 2 * up), (a, -one), (z, -one)], 0 * one),
}


def _ranges(context: Context) -> tuple[dict[str, Ints], dict[str, Ints]]:
    return dict(context.low), dict(context.high)


def _differ(before: tuple[dict[str, Ints], dict[str, Ints]], context: Context) -> bool:
    sides = zip(before, (context.low, context.high), strict=True)
    return any((old[name] != new[name]).any() for old, new in sides for name in new)


def _name(value: Any, known: Any) -> str:
    if not isinstance(value, str) or value not in known:
        raise RejectedError(f"unknown name {value!r:.60}")
    return value


def _demand(found: Any) -> None:
    if not found.all():
        raise RejectedError(f"deduction {int(np.argmin(found)) + 1} of {len(found)} is no contradiction")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise RejectedError(f"{value!r:.40} is no number of an entry")
    return value


def _bit(value: int) -> int:
    if _whole(value) > 1:
        raise RejectedError(f"side {value} is neither 0 nor 1")
    return value
