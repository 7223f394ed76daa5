"""What is known in one part of a proof: ranges of every tensor, and the alternatives still open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from salver.proofs.ball import ExactBall
from salver.proofs.exact import MOST_PLACES, PLACES, Digits, Ints, Matrix, Unit, plus, zeros
from salver.proofs.graph import STEP, Abs, Affine, Gate, Graph, Relu, Times
from salver.proofs.onnx_file import UnsupportedNetworkError
from salver.proofs.vnnlib_file import ExactProperty

HUGE = 1e300
"""Stands for whatever is larger, where the size of a number alone matters."""
SMALL, LARGE = 8, 16
"""Tensors between 2^-SMALL and 2^LARGE in size need no more than `PLACES`."""


@dataclass(eq=False)
class Context:
    """Facts that hold for every x which satisfies the property, as far as one branch of a proof has come.

    Attributes:
        unit: of which all numbers are multiples.
        low, high: ranges per tensor and step, Python integers times the unit.
        alternatives: per clause of the property, the conjunctions that may still hold.
        closed: the facts contradict each other: the branch has no x.
        ball: in which every x lies, or None.
    """

    graph: Graph
    unit: Unit
    low: dict[str, Ints]
    high: dict[str, Ints]
    alternatives: list[set[int]]
    closed: bool = False
    ball: ExactBall | None = None

    @staticmethod
    def start(graph: Graph, prop: ExactProperty, unit: Unit | None = None) -> Context:
        """The whole box, with interval bounds, in the unit that fits its numbers (`fitting`).

        Raises:
            ValueError: the box has another size than the network's input, or a clause a missing output.
            UnsupportedNetworkError: products of numbers that large (see `fitting`).
        """
        if (len(prop.lower), prop.output_count) != (graph.network.input_size, graph.output_size):
            raise ValueError("the query is about a network of other sizes")
        unit, name = unit or fitting(graph, prop), graph.network.input
        low = {name: unit.ints(prop.lower).astype(object)}
        high = {name: unit.ints_up(prop.upper).astype(object)}
        for switch in graph.switches:
            size = graph.sizes[switch]
            low[STEP + switch], high[STEP + switch] = zeros(size), zeros(size) + unit.one
        alternatives = [set(range(len(clause))) for clause in prop.clauses]
        empty = any(below > above for below, above in zip(prop.lower, prop.upper, strict=True))
        empty = empty or (prop.ball is not None and prop.ball.square < 0)
        context = Context(graph, unit, low, high, alternatives, empty or not all(alternatives), prop.ball)
        context.propagate()
        return context

    def copy(self) -> Context:
        """A branch of its own."""
        low = {name: value.copy() for name, value in self.low.items()}
        high = {name: value.copy() for name, value in self.high.items()}
        left = [set(a) for a in self.alternatives]
        return Context(self.graph, self.unit, low, high, left, self.closed, self.ball)

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
            case Times(left, right) if left == right:
                low, high = self.low[left], self.high[left]
                nearest, farthest = np.maximum(np.maximum(low, -high), 0), np.maximum(-low, high)
                self.meet(name, self.unit.floor(nearest**2), -self.unit.floor(-(farthest**2)))
            case Times(left, right):
                ends = [
                    one * other
                    for one in (self.low[left], self.high[left])
                    for other in (self.low[right], self.high[right])
                ]
                least, most = np.minimum.reduce(ends), np.maximum.reduce(ends)
                self.meet(name, self.unit.floor(least), -self.unit.floor(-most))

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
        self.low[step] = np.maximum(self.low[step], self.unit.one * (self.low[name] > 0).astype(object))
        self.high[step] = np.minimum(self.high[step], self.unit.one * (self.high[name] > 0).astype(object))
        self.closed = self.closed or bool((self.low[step] > self.high[step]).any())

    def decide(self, switch: str, entry: int, side: int) -> None:
        """Adds z >= 0 with step 1 (`side` 1), or z <= 0 with step 0 (`side` 0), for one entry of `switch`."""
        step = STEP + switch
        if side:
            self.low[step][entry] = self.unit.one
            self.low[switch][entry] = max(self.low[switch][entry], 0)
        else:
            self.high[step][entry] = 0
            self.high[switch][entry] = min(self.high[switch][entry], 0)
        empty = self.low[switch][entry] > self.high[switch][entry]
        self.closed = self.closed or bool(empty or self.low[step][entry] > self.high[step][entry])
        self.settle(switch)

    def limit(self, entry: int, value: Any, side: int) -> None:
        """Adds x >= value (`side` 1) or x <= value (`side` 0) for one entry of the input.

        Raises:
            ValueError, TypeError: the value is no finite number.
        """
        name = self.graph.network.input
        low, high = self.low[name].copy(), self.high[name].copy()
        # Rounded outwards, so that nothing lies between the sides.
        (limit,) = (self.unit.ints if side else self.unit.ints_up)([value])
        (low if side else high)[entry] = int(limit)
        self.meet(name, low, high)

    def drop(self, clause: int, part: int) -> None:
        """One conjunction of a clause cannot hold."""
        self.alternatives[clause].discard(part)
        self.closed = self.closed or not self.alternatives[clause]

    def _interval(self, form: Affine) -> tuple[Ints, Ints]:
        one = np.array([self.unit.one], dtype=object)
        low, high = _both(form.bias, one, one)
        for source, matrix in form.terms:
            below, above = _both(matrix, self.low[source], self.high[source])
            low, high = low + below, high + above
        return low, high


def _both(matrix: Matrix, low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Interval product of an exact matrix with ranges, rounded outwards."""
    positive, negative = matrix.signs
    least, most = Digits(low[None]), Digits(-high[None])
    below = plus(positive.times(least), negative.times(most))
    above = plus(positive.times(most), negative.times(least))
    return below[0].astype(object), -above[0].astype(object)


def fitting(graph: Graph, prop: ExactProperty) -> Unit:
    """The unit for a query: finer where a tensor or the box is small, or a tensor large.

    Which unit it is has no part in whether a deduction is right, only in how strong it is; so floats do here.

    Raises:
        UnsupportedNetworkError: a product may be `HUGE`: some more of them, and no memory would hold it.
    """
    sides = [np.array([_near(value) for value in side]) for side in (prop.lower, prop.upper)]
    ranges = {graph.network.input: np.maximum(np.abs(sides[0]), np.abs(sides[1]))}
    ranges |= {STEP + switch: np.ones(graph.sizes[switch]) for switch in graph.switches}
    for name, form in graph.forms.items():
        match form:
            case Affine(terms, bias):
                ranges[name] = bias.sizes(np.ones(1))
                for source, matrix in terms:
                    ranges[name] = np.minimum(ranges[name] + matrix.sizes(ranges[source]), HUGE)
            case Gate(_, source) | Relu(source) | Abs(source):
                ranges[name] = ranges[source]
            case Times(left, right):
                with np.errstate(over="ignore"):
                    ranges[name] = ranges[left] * ranges[right]
                if (ranges[name] >= HUGE).any():
                    raise UnsupportedNetworkError(f"the product {name!r:.60} may be as large as {HUGE:g}")
    sizes = [float(size.max()) for size in (*ranges.values(), sides[1] - sides[0])]
    exponents = [math.frexp(size)[1] for size in sizes if size > 0.0]
    finer = max(0, -min(exponents, default=0) - SMALL) + max(0, max(exponents, default=0) - LARGE)
    return Unit(min(PLACES + finer, MOST_PLACES))


def _near(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return HUGE if value > 0 else -HUGE
