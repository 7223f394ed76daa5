"""A proof drafted in floats: the contexts of the exact checker, a little wider, that know what made them.

Most of what a search states no closing rests on: four fifths of it, on queries of `paper-2`. So the steps
are found on a draft, which rounds outwards by about what floats and the checker's own rounding lose. `needed`
then goes back from each closing and keeps what it rests on, and that alone goes through the exact checker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.proofs.checker import Checker
from salver.proofs.context import Context
from salver.proofs.exact import Unit
from salver.proofs.graph import STEP
from salver.solvers.proving.rough_sum import End, RoughQuery, RoughSum
from salver.spec.ball import Ball

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

MOST_KEPT = 300_000_000
"""Steps times entries of all tensors, of a draft; it keeps seven bytes of each, two gigabytes in all."""
GIVEN, DERIVED = -1, -2
"""What made an end of a range, where no deduction did: box, intervals or a split; what the tensor reads."""


@dataclass(frozen=True)
class FloatUnit(Unit):
    """Numbers as they are, in floats; `places` are those of the exact unit."""

    @property
    def one(self) -> int:
        return 1

    def ints(self, values: Iterable[Fraction | float]) -> Any:
        return np.array(list(values), np.float64)

    def floor(self, product: Any) -> Any:
        return product

    def floats(self, values: Any) -> Array:
        return np.asarray(values, np.float64)


@dataclass(eq=False)
class Draft(Context):
    """A context in floats. Its arrays are never changed in place, so a copy of it stays as it is.

    Attributes:
        node: number of the context in the tree of splits.
        made: of every end of a range that moved, the numbers of the deductions that moved its entries.
        dropped: of every clause the numbers of the deductions that dropped a conjunction.
    """

    node: int = 0
    made: dict[End, Indices] = field(default_factory=dict)
    dropped: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @staticmethod
    def of(context: Context) -> Draft:
        """The draft of an exact context."""
        unit, left = FloatUnit(context.unit.places), [set(a) for a in context.alternatives]
        low, high = (
            {name: np.asarray(context.unit.floats(values)) for name, values in side.items()}
            for side in (context.low, context.high)
        )
        return Draft(context.graph, unit, low, high, left, context.closed, context.ball)

    def copy(self) -> Draft:
        left = list(self.alternatives)
        low, high, made, dropped = dict(self.low), dict(self.high), dict(self.made), dict(self.dropped)
        return Draft(self.graph, self.unit, low, high, left, self.closed, self.ball, self.node, made, dropped)

    def meet(self, name: str, low: Array, high: Array) -> None:
        nothing = np.full(len(low), DERIVED)
        self.meet_by(name, (low, high), (nothing, nothing))

    def meet_by(self, name: str, ranges: tuple[Array, Array], by: tuple[Indices, Indices]) -> None:
        """Intersects the ranges of a tensor with others that deductions of the numbers `by` show."""
        moved = False
        for side, found in enumerate(ranges):
            known = (self.low, self.high)[side][name]
            moved |= self._put(name, side, found > known if side == 0 else found < known, found, by[side])
        if moved:
            self.closed = self.closed or bool((self.low[name] > self.high[name]).any())
            self.settle(name)

    def settle(self, name: str) -> None:
        step = STEP + name
        if step not in self.low:
            return
        size = len(self.low[name])
        derived = np.full(size, DERIVED)
        on = (self.low[name] > 0) & (self.low[step] < 1)
        off = (self.high[name] <= 0) & (self.high[step] > 0)
        moved = self._put(step, 0, on, np.ones(size), derived)
        moved |= self._put(step, 1, off, np.zeros(size), derived)
        self.closed = self.closed or (moved and bool((self.low[step] > self.high[step]).any()))

    def decide(self, switch: str, entry: int, side: int, number: int = GIVEN) -> None:
        for name, limit in ((STEP + switch, float(side)), (switch, 0.0)):
            self._limit(name, entry, limit, side, number)
        self.settle(switch)

    def limit(self, entry: int, value: Any, side: int) -> None:
        self._limit(self.graph.network.input, entry, float(value), side, GIVEN)
        self.settle(self.graph.network.input)

    def _limit(self, name: str, entry: int, value: float, side: int, number: int) -> None:
        known = (self.low if side else self.high)[name]
        moved = (np.arange(len(known)) == entry) & (known < value if side else known > value)
        self._put(name, 1 - side, moved, np.full(len(known), value), np.full(len(known), number))
        self.closed = self.closed or bool(self.low[name][entry] > self.high[name][entry])

    def drop(self, clause: int, part: int, number: int = GIVEN) -> None:
        self.alternatives[clause] = self.alternatives[clause] - {part}
        self.closed = self.closed or not self.alternatives[clause]
        self.dropped[clause] = (*self.dropped.get(clause, ()), number)

    def _put(self, name: str, side: int, where: Flags, values: Array, by: Indices) -> bool:
        """Moves an end of a tensor's range at some entries; whether there are any."""
        if not where.any():
            return False
        ends = (self.low, self.high)[side]
        ends[name] = np.where(where, values, ends[name])
        before = self.made.get((name, side))
        self.made[name, side] = np.where(where, by, GIVEN if before is None else before)
        return True


@dataclass(frozen=True, eq=False)
class DraftStep:
    """A step of a draft.

    Attributes:
        first, count: its deductions have the numbers from `first` on.
        before: the context before it.
        closed: the contexts that it closed, as it left them.
        left: the nodes of the contexts that it left.
    """

    step: dict[str, Any]
    first: int
    count: int
    before: Draft
    closed: tuple[Draft, ...]
    left: tuple[int, ...]


@dataclass(eq=False)
class DraftChecker(Checker):
    """Applies steps to drafts, and keeps them for `needed`.

    Attributes:
        exact: the whole box as the exact checker sees it.
        ball: of the query, in floats.
    """

    exact: Context
    ball: Ball | None = None
    steps: list[DraftStep] = field(default_factory=list)
    nodes: int = 1
    deductions: int = 0

    def __post_init__(self) -> None:
        self.root = Draft.of(self.exact)
        self.rough = RoughQuery.of(self.root, self.atoms, self.ball)

    @property
    def is_too_large(self) -> bool:
        """Whether what the steps keep may not fit memory."""
        return len(self.steps) * sum(map(len, self.root.low.values())) > MOST_KEPT

    def apply(self, context: Context, step: Any) -> list[Context]:
        assert isinstance(context, Draft)
        before, first = context.copy(), self.deductions
        left: list[Context] = [context]
        match step["do"]:
            case "split" | "divide" | "case":
                left = super()._apply(context, step)
            case "bound":
                self._bound(context, step)
            case _:
                self._conclude(context, step)
        for branch in left:
            branch.refresh()
        self._keep(step, before, left, first)
        return left

    def conclude(self, context: Context, step: Any) -> Any:
        found = self.contradictions(context, step)
        if found.all():
            self.apply(context, step)
        return found

    def rough_sum(self, context: Draft, step: Any, used: dict[End, Flags] | None = None) -> RoughSum:
        """The sums of a step's deductions, before anything is substituted."""
        sum_ = RoughSum(self.graph, self.atoms, context, count(step), query=self.rough, used=used)
        if step["do"] == "bound":
            at, lower = np.array(step["at"], np.intp), np.array(step["lower"])
            sum_.add(step["tensor"], np.arange(len(at)), at, np.where(lower > 0, 1.0, -1.0))
        sum_.subtract_rows(step["by"])
        return sum_

    def contradictions(self, context: Context, step: Any) -> Any:
        assert isinstance(context, Draft)
        return self.rough_sum(context, step).least(assumptions(step)) > 0

    def _bound(self, context: Context, step: Any) -> None:
        assert isinstance(context, Draft)
        name, at, lower = step["tensor"], np.array(step["at"], np.intp), np.array(step["lower"]) > 0
        least = self.rough_sum(context, step).least({})
        numbers = self.deductions + np.arange(len(at))
        ranges, by = [], []
        for side, chosen, far in ((1.0, lower, -np.inf), (-1.0, ~lower, np.inf)):
            found, own = np.full(self.graph.sizes[name], far), np.full(self.graph.sizes[name], GIVEN)
            # Where several say something of one end, the best comes last.
            order = np.flatnonzero(chosen)[np.argsort(least[chosen], kind="stable")]
            found[at[order]], own[at[order]] = side * least[order], numbers[order]
            ranges.append(found)
            by.append(own)
        context.meet_by(name, (ranges[0], ranges[1]), (by[0], by[1]))

    def _conclude(self, context: Draft, step: Any) -> None:
        match step["do"]:
            case "decide":
                for number, (entry, side) in enumerate(zip(step["at"], step["side"], strict=True)):
                    context.decide(step["switch"], entry, 1 - side, self.deductions + number)
            case "drop":
                for number, part in enumerate(step["parts"]):
                    context.drop(step["clause"], part, self.deductions + number)
            case "close":
                context.closed = True

    def _keep(self, step: Any, before: Draft, left: list[Context], first: int) -> None:
        self.deductions += count(step)
        drafts = [branch for branch in left if isinstance(branch, Draft)]
        if len(drafts) > 1:
            for number, branch in enumerate(drafts):
                branch.node = self.nodes + number
            self.nodes += len(drafts)
        closed = tuple(branch.copy() for branch in drafts if branch.closed)
        nodes = tuple(branch.node for branch in drafts)
        self.steps.append(DraftStep(step, first, count(step), before, closed, nodes))


def count(step: Any) -> int:
    """The deductions of a step."""
    match step["do"]:
        case "bound" | "decide":
            return len(step["at"])
        case "drop":
            return len(step["parts"])
    return int(step["do"] == "close")


def assumptions(step: Any) -> dict[int, tuple[str, int, int]]:
    """What the deductions of a step `decide` assume, as `RowSum.least` takes it."""
    if step["do"] != "decide":
        return {}
    pairs = zip(step["at"], step["side"], strict=True)
    return {number: (step["switch"], at, side) for number, (at, side) in enumerate(pairs)}
