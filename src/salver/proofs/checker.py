"""Checks a proof of `unsat`: that no x of the box satisfies every clause of the property.

A proof is a list of steps in the order of a depth-first walk (`record`). Each step adds a fact to the
present context or splits it; a context without any x is closed, and the walk goes on with the next open
one. The proof is accepted when none is left.

Every deduction is the same argument. The rows below are affine functions of the tensors that are >= 0
wherever the context's facts hold. For any multipliers >= 0 and any affine t, t >= t - sum of multiplier *
row, and the right side is bounded from below by substituting affine tensors backwards and taking the worst
of its range for whatever remains (weak duality; Neumaier and Shcherbina, Math. Programming 2004). For the
input of a query over a ball that is the better of box and ball (`ball`). So wrong multipliers cost strength,
never soundness. Numbers are exact integers times the unit of the context; where digits are dropped, the bound
goes down.

With z in [l, u], m = 1[z > 0] (its step), r = max(z, 0), v in [l, u], p = m v and a = |z|, and of a product
q = f v with f in [a, b] and v in [c, d]:

    step_on   u m - z >= 0           step_off  z - l + l m >= 0
    relu_z    r - z >= 0             relu_on   u m - r >= 0         relu_off  z - l + l m - r >= 0
    gate_low  p - l m >= 0           gate_high u m - p >= 0
    gate_on   p - v - u m + u >= 0   gate_off  v - p + l m - l >= 0
    abs_pos   a - z >= 0             abs_neg   a + z >= 0
    abs_on    z - a - 2 l + 2 l m >= 0         abs_off  2 u m - a - z >= 0
    product_under_low  q - a v - c f + a c >= 0       product_under_high  q - b v - d f + b d >= 0
    product_over_low   a v + d f - a d - q >= 0       product_over_high   b v + c f - b c - q >= 0
    product_middle     q - (a + b) f + (a + b)^2 / 4 >= 0                 where v is f
    low       t - l >= 0             high      u - t >= 0           for a tensor t in [l, u]
    atom      an atom of the property's clauses, of the only conjunction left or of the one assumed
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from salver.proofs.context import Context
from salver.proofs.exact import Ints
from salver.proofs.graph import Graph
from salver.proofs.onnx_file import NetworkFile
from salver.proofs.row_sum import Atoms, RejectedError, RowSum
from salver.proofs.vnnlib_file import ExactProperty

_END = object()
"""After the last step; nothing that a file can hold."""
MOST_STEPS = 1_000_000
"""Steps of a proof that is checked."""


class LimitError(Exception):
    """The proof was not checked to its end: it is larger, deeper or slower than the limits."""


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
        left = "1 part of the query is" if len(walk) == 1 else f"{len(walk)} parts of the query are"
        raise RejectedError(f"{left} left open")
    if step is not _END:
        raise RejectedError(f"step {number + 1} comes after the end")
    return closed


@dataclass(eq=False)
class Checker:
    """Applies steps to contexts of one query."""

    graph: Graph
    prop: ExactProperty

    @cached_property
    def atoms(self) -> Atoms:
        """The property's atoms."""
        return Atoms.of(self.prop)

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
            case "divide":
                sides = [context.copy(), context]
                for side, branch in enumerate(sides):
                    branch.limit(_whole(step["at"]), step["where"], side)
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
            case "decide" | "drop" | "close":
                _demand(self.contradictions(context, step))
                _conclude(context, step)
            case other:
                raise RejectedError(f"no step is called {str(other)[:40]!r}")
        return [context]

    def conclude(self, context: Context, step: Any) -> Any:
        """Applies a step `decide`, `drop` or `close` if all of its deductions hold.

        Returns:
            As `contradictions`.
        """
        found = self.contradictions(context, step)
        if found.all():
            _conclude(context, step)
            context.refresh()
        return found

    def _bound(self, context: Context, step: Any) -> None:
        name, at = _name(step["tensor"], self.graph.sizes), [_whole(entry) for entry in step["at"]]
        lower = np.array([bool(_whole(side)) for side in step["lower"]])
        sum_ = RowSum(self.graph, self.atoms, context, len(at))
        signs = np.where(lower, 1, -1).astype(object) * context.unit.one
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
        sum_ = RowSum(self.graph, self.atoms, context, count, clause, parts)
        sum_.subtract_rows(step["by"])
        return np.array([bool(value > 0) for value in sum_.least(assumed)])


def _conclude(context: Context, step: Any) -> None:
    """What follows from a step `decide`, `drop` or `close` whose deductions hold."""
    match step["do"]:
        case "decide":
            for entry, side in zip(step["at"], step["side"], strict=True):
                context.decide(step["switch"], entry, 1 - side)
        case "drop":
            for part in step["parts"]:
                context.drop(step["clause"], part)
        case "close":
            context.closed = True


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
