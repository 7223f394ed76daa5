"""What is known in one part of a proof: ranges of every tensor, and the alternatives still open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salver.proofs.exact import ONE, Ints, Matrix, ints, ints_up, zeros
from salver.proofs.graph import STEP, Abs, Affine, Gate, Graph, Relu
from salver.spec import Property


@dataclass(eq=False)
class Context:
    """Facts that hold for every x which satisfies the property, as far as one branch of a proof has come.

    Attributes:
        low, high: ranges per tensor and step, integers times 2^-PLACES.
        alternatives: per clause of the property, the conjunctions that may still hold.
        closed: the facts contradict each other: the branch has no x.
    """

    graph: Graph
    low: dict[str, Ints]
    high: dict[str, Ints]
    alternatives: list[set[int]]
    closed: bool = False

    @staticmethod
    def start(graph: Graph, prop: Property) -> Context:
        """The whole box, with interval bounds."""
        name = graph.network.input
        low, high = {name: ints(prop.input_lower)}, {name: ints_up(prop.input_upper)}
        for switch in graph.switches:
            size = graph.sizes[switch]
            low[STEP + switch], high[STEP + switch] = zeros(size), zeros(size) + ONE
        alternatives = [set(range(len(clause))) for clause in prop.clauses]
        context = Context(graph, low, high, alternatives, not all(alternatives))
        context.propagate()
        return context

    def copy(self) -> Context:
        """A branch of its own."""
        low = {name: value.copy() for name, value in self.low.items()}
        high = {name: value.copy() for name, value in self.high.items()}
        return Context(self.graph, low, high, [set(a) for a in self.alternatives], self.closed)

    def propagate(self) -> None:
        """Interval bounds of every tensor, in order, met with what is known."""
        self.settle(self.graph.network.input)
        for name, form in self.graph.forms.items():
            if isinstance(form, Affine):
                self.meet(name, *self._interval(form))
            else:
                self._renew(name)

    def refresh(self) -> None:
        """Ranges of every ReLU, gate and Abs from those of what they read."""
        for name, form in self.graph.forms.items():
            if not isinstance(form, Affine):
                self._renew(name)

    def _renew(self, name: str) -> None:
        match self.graph.forms[name]:
            case Relu(source):
                on = self.high[STEP + source]
                self.meet(name, np.maximum(self.low[source], 0), np.maximum(self.high[source], 0) * (on > 0))
            case Gate(switch, value):
                sure, may = self.low[STEP + switch] > 0, self.high[STEP + switch] > 0
                low, high = self.low[value] * may, self.high[value] * may
                self.meet(
                    name, np.where(sure, low, np.minimum(low, 0)), np.where(sure, high, np.maximum(high, 0))
                )
            case Abs(source):
                low, high = self.low[source], self.high[source]
                self.meet(name, np.maximum(np.maximum(low, -high), 0), np.maximum(-low, high))

    def meet(self, name: str, low: Ints, high: Ints) -> None:
        """Intersects the ranges of a tensor with others that hold, and draws the conclusions."""
        self.low[name] = np.maximum(self.low[name], low) if name in self.low else low
        self.high[name] = np.minimum(self.high[name], high) if name in self.high else high
        self.closed = self.closed or bool((self.low[name] > self.high[name]).any())
        self.settle(name)

    def settle(self, name: str) -> None:
        """z > 0 turns the step of z on, z <= 0 turns it off."""
        step = STEP + name
        if step not in self.low:
            return
        self.low[step] = np.maximum(self.low[step], ONE * (self.low[name] > 0))
        self.high[step] = np.minimum(self.high[step], ONE * (self.high[name] > 0))
        self.closed = self.closed or bool((self.low[step] > self.high[step]).any())

    def decide(self, switch: str, entry: int, side: int) -> None:
        """Adds z >= 0 with step 1 (`side` 1), or z <= 0 with step 0 (`side` 0), for one entry of `switch`."""
        step = STEP + switch
        if side:
            self.low[step][entry] = ONE
            self.low[switch][entry] = max(self.low[switch][entry], 0)
        else:
            self.high[step][entry] = 0
            self.high[switch][entry] = min(self.high[switch][entry], 0)
        empty = self.low[switch][entry] > self.high[switch][entry]
        self.closed = self.closed or bool(empty or self.low[step][entry] > self.high[step][entry])
        self.settle(switch)

    def drop(self, clause: int, part: int) -> None:
        """One conjunction of a clause cannot hold."""
        self.alternatives[clause].discard(part)
        self.closed = self.closed or not self.alternatives[clause]

    def _interval(self, form: Affine) -> tuple[Ints, Ints]:
        low, high = _both(form.bias, np.array([ONE], dtype=object), np.array([ONE], dtype=object))
        for source, matrix in form.terms:
            below, above = _both(matrix, self.low[source], self.high[source])
            low, high = low + below, high + above
        return low, high


def _both(matrix: Matrix, low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Interval product of an exact matrix with ranges, rounded outwards."""
    positive, negative = matrix.signs
    below = positive.times(low[None]) + negative.times(-high[None])
    above = positive.times(-high[None]) + negative.times(low[None])
    return below[0], -above[0]
