"""What the closings of a draft rest on, and the proof of that alone, through the exact checker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.proofs.checker import Checker
from salver.proofs.graph import STEP, Abs, Gate, Relu, Times
from salver.proofs.row_sum import RejectedError
from salver.solvers.proving.draft import DERIVED, Draft, DraftChecker, DraftStep, assumptions
from salver.solvers.proving.rough_sum import BOTH, HIGH, LOW, End
from salver.solvers.proving.rows import listed

Flags = npt.NDArray[np.bool_]
Tree = dict[int, list[tuple[dict[str, Any], tuple[int, ...]]]]
"""Of each node its steps, each with the nodes of the contexts that it leaves."""


def confirmed(draft: DraftChecker) -> list[Any] | None:
    """The steps of a proof that the exact checker took; None where it did not, by less than rounding."""
    try:
        return _taken(draft, Needed(draft).tree())
    except RejectedError:
        return None


def _taken(draft: DraftChecker, tree: Tree) -> list[Any] | None:
    checker, steps = Checker(draft.graph, draft.prop), list[Any]()
    walk = [(draft.exact.copy(), 0)]
    while walk:
        context, node = walk.pop()
        left = [(context, node)]
        for step, nodes in tree.get(node, []):
            if context.closed:
                break
            if step["do"] in ("split", "divide", "case", "bound"):
                contexts = checker.apply(context, step)
                if len(contexts) != len(nodes):
                    return None
                left = list(zip(contexts, nodes, strict=True))
            elif not checker.conclude(context, step).all():
                return None
            steps.append(step)
        if len(left) > 1:
            walk += left
        elif not context.closed:
            return None
    return steps


@dataclass(eq=False)
class Needed:
    """Which deductions of a draft its closings rest on.

    Attributes:
        flags: of each deduction whether something rests on it.
    """

    draft: DraftChecker
    flags: Flags = field(init=False)

    def __post_init__(self) -> None:
        self.flags = np.zeros(self.draft.deductions, bool)
        names = [self.draft.graph.network.input, *self.draft.graph.forms]
        steps = {name: [STEP + name] if name in self.draft.graph.switches else [] for name in names}
        # What reads a tensor comes before it, and so does its step.
        self._order = [tensor for name in reversed(names) for tensor in (*steps[name], name)]

    def tree(self) -> Tree:
        """The steps with the deductions that are needed, by node."""
        kept: list[tuple[DraftStep, dict[str, Any]]] = []
        for drafted in reversed(self.draft.steps):
            for context in drafted.closed:
                self._need_contradiction(drafted, context)
            step = drafted.step
            if step["do"] == "case":
                self._need_dropped(drafted.before, step["clause"])
            elif step["do"] not in ("split", "divide"):
                chosen = self.flags[drafted.first : drafted.first + drafted.count]
                if not chosen.any():
                    continue
                step = _restricted(step, chosen)
                self._need_ends(drafted.before, step)
            kept.append((drafted, step))
        tree: Tree = {}
        for drafted, step in reversed(kept):
            tree.setdefault(drafted.before.node, []).append((listed(step), drafted.left))
        return tree

    def _need_contradiction(self, drafted: DraftStep, context: Draft) -> None:
        """One of the reasons for which a context is closed."""
        if drafted.step["do"] == "close":
            self.flags[drafted.first] = True
            return
        for clause, left in enumerate(context.alternatives):
            if not left:
                self._need_dropped(context, clause)
                return
        for name in reversed(self._order):
            gap = context.low[name] - context.high[name]
            if (gap > 0).any():
                flags = np.arange(len(gap)) == int(np.argmax(gap))
                self._resolve(context, {(name, side): flags for side in BOTH})
                return

    def _need_ends(self, before: Draft, step: dict[str, Any]) -> None:
        used: dict[End, Flags] = {}
        self.draft.rough_sum(before, step, used).least(assumptions(step))
        self._resolve(before, used)
        for clause in before.dropped:
            atoms = (group[3] for group in step["by"] if group[0] == "atom")
            certain = len(before.alternatives[clause]) == 1
            if certain and any((np.asarray(entries)[:, 0] == clause).any() for entries in atoms):
                self._need_dropped(before, clause)

    def _need_dropped(self, context: Draft, clause: int) -> None:
        self.flags[[number for number in context.dropped.get(clause, ()) if number >= 0]] = True

    def _resolve(self, context: Draft, used: dict[End, Flags]) -> None:
        """Flags the deductions that made ends, and those that made what derived ones come from."""
        for name in self._order:
            for side in BOTH:
                flags, made = used.get((name, side)), context.made.get((name, side))
                if flags is None or made is None:
                    continue
                numbers = made[flags]
                self.flags[numbers[numbers >= 0]] = True
                derived = flags & (made == DERIVED)
                if derived.any():
                    for end in self._sources(name, side):
                        used[end] = used[end] | derived if end in used else derived

    def _sources(self, name: str, side: int) -> list[End]:
        """The ends that a derived end comes from."""
        if name.startswith(STEP):
            return [(name.removeprefix(STEP), side)]
        match self.draft.graph.forms[name]:
            case Relu(source):
                return [(source, end) for end in (LOW if side == 0 else HIGH)] + [(STEP + source, 1)]
            case Gate(switch, value):
                return [(tensor, end) for tensor in (value, STEP + switch) for end in BOTH]
            case Abs(source):
                return [(source, end) for end in BOTH]
            case Times(left, right):
                return [(tensor, end) for tensor in (left, right) for end in BOTH]
        raise AssertionError(name)


def _restricted(step: dict[str, Any], chosen: Flags) -> dict[str, Any]:
    """A step with some of its deductions."""
    made = dict(step)
    for key in ("at", "lower", "side", "parts"):
        if key in step:
            made[key] = [value for value, kept in zip(step[key], chosen, strict=True) if kept]
    number, groups = np.cumsum(chosen) - 1, []
    for kind, name, *columns in step["by"]:
        deductions, entries, multipliers = map(np.asarray, columns)
        rows = np.flatnonzero(chosen[deductions])
        if len(rows):
            own = number[deductions[rows]]
            groups.append([kind, name, own, entries[rows], multipliers[rows]])
    return {**made, "by": groups}
