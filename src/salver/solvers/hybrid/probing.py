"""Decides neurons by refuting one of their sides in the linear relaxation (failed-literal probing).

Bounds look at one neuron at a time; the relaxation sees every row together. Fixing one binary and
re-solving from the last basis takes milliseconds, and a neuron with a refuted side is decided
(Savelsbergh, "Preprocessing and probing techniques for mixed integer programming problems", ORSA Journal
on Computing 1994). Decided neurons give `node.tighten` more to work with, and back again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from salver.solvers.bounding.bounds import Bounds, Signs
from salver.solvers.hybrid.linear import LinearRelaxation
from salver.solvers.journal import Refutation, Refuted
from salver.solvers.milp.model import build
from salver.solvers.query import Budget, Query
from salver.spec import Atom

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

ENOUGH = 0.25
"""Share of the open neurons whose decision makes new bounds worth their time."""
PATIENCE = 15
"""Neurons probed in a row without a decision before it is given up."""
_WHOLE = 1e-6


@dataclass(frozen=True, eq=False)
class Probed:
    """What probing found.

    Attributes:
        closed: no x of the node satisfies the property (certified).
        signs: per pre-activation, with the neurons that were decided.
        decided: how many those are.
        point: input [n] of the relaxation's last solution, worth a replay.
        rows: range rows that mattered, for the node's children.
        solves: linear programs solved.
        refuted: sides with what refutes them, and closing: what closes the node, where that is recorded.
    """

    closed: bool
    signs: dict[int, Signs] = field(default_factory=dict)
    decided: int = 0
    point: Array | None = None
    rows: Indices = field(default_factory=lambda: np.zeros(0, np.intp))
    solves: int = 0
    refuted: tuple[Refuted, ...] = ()
    closing: Refutation | None = None


def probe(
    query: Query, bounds: Bounds, rows: Indices, budget: Budget, sides: bool = True, record: bool = False
) -> Probed:
    """Solves the relaxation over `bounds`, then with each side of the open neurons.

    Args:
        bounds: of a node, feasible as far as bounding can tell.
        rows: range rows to start with (see `LinearRelaxation`).
        sides: False stops after the first relaxation.
        record: whether to say what refutes.
    """
    model = build(query.program, query.prop, bounds, exact=True)
    if model is None:
        return Probed(closed=True)
    relaxation = LinearRelaxation(model, rows)
    atoms = [a for clause in query.prop.comparisons for part in clause for a in part] if record else []
    if relaxation.refuted(budget=budget):
        closing = relaxation.refutation(atoms) if record else None
        return Probed(closed=True, solves=relaxation.solves, closing=closing)
    probing = _Probing(bounds, relaxation, model.neurons, budget, record, atoms)
    return probing.run() if sides else probing.result()


@dataclass(eq=False)
class _Probing:
    bounds: Bounds
    relaxation: LinearRelaxation
    columns: Mapping[int, Indices]
    budget: Budget
    record: bool
    atoms: list[Atom]

    def __post_init__(self) -> None:
        self.signs = {pre: signs.copy() for pre, signs in enumerate(self.bounds.signs)}
        self.decided = 0
        self.refuted: list[Refuted] = []

    def run(self) -> Probed:
        places = self._places()
        enough = max(1.0, ENOUGH * self.bounds.undecided)
        progress = True
        while progress:
            progress, failures = False, 0
            for place in self._ordered(places):
                if self.budget.over or failures > PATIENCE:
                    return self.result()
                refuted = self._refuted_sides(place)
                if len(refuted) == 2:
                    return Probed(True, solves=self.relaxation.solves, refuted=tuple(self.refuted))
                failures = 0 if refuted else failures + 1
                if refuted:
                    self._decide(place, -refuted[0])
                    places.remove(place)
                    progress = True
                    if self.decided >= enough:
                        return self.result()
        return self.result()

    def result(self) -> Probed:
        relaxation = self.relaxation
        point = relaxation.point[: relaxation.model.inputs].copy()
        found = (self.signs, self.decided, point, relaxation.rows, relaxation.solves)
        return Probed(False, *found, tuple(self.refuted))

    def _decide(self, place: tuple[int, int, int], sign: int) -> None:
        pre, neuron, column = place
        self.signs[pre][neuron] = sign
        self.relaxation.fix(column, float(sign > 0))
        self.decided += 1

    def _places(self) -> list[tuple[int, int, int]]:
        """Pre-activation, neuron and column of every open neuron."""
        places: list[tuple[int, int, int]] = []
        for pre, columns in self.columns.items():
            open_ = np.flatnonzero(self.bounds.signs[pre] == 0)
            places += [(pre, i, c) for i, c in zip(open_.tolist(), columns.tolist(), strict=True)]
        return places

    def _ordered(self, places: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """The least decided first."""
        point = self.relaxation.point
        return sorted(places, key=lambda place: abs(point[place[2]] - 0.5))

    def _refuted_sides(self, place: tuple[int, int, int]) -> list[int]:
        sides, (pre, neuron, column) = [], place
        for side in (1, -1):
            value = float(side > 0)
            if abs(self.relaxation.point[column] - value) <= _WHOLE:
                continue
            self.relaxation.fix(column, value)
            if self.relaxation.refuted(nearest=False):
                sides.append(side)
                if self.record:
                    why = self.relaxation.refutation(self.atoms)
                    self.refuted.append(Refuted(pre, neuron, int(value), why))
            self.relaxation.release(column)
        return sides
