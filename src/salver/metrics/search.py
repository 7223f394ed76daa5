"""Certificates and counterexamples about one explained input, from questions to a solver."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from salver.explain.explanation import Explanation
from salver.families.conditions import some_entry_moves
from salver.families.factory import Box
from salver.families.question import Question
from salver.families.search import Found, largest
from salver.metrics.gap import Gap
from salver.metrics.metric import Array, Evaluated, ExplainedInput, Metric, Neighbourhood
from salver.points.decide import QueryFolder, Robustness, decide, inner_region, map_by_definition
from salver.points.options import Solving
from salver.points.point_question import PointQuestion
from salver.solvers.query import Budget
from salver.spec import Ball, Clause, Property, float32_down, float32_up

SHARE, LEAST_S = 1 / 3, 0.05
"""Of the time that is left one question gets this much, but no less than so many seconds."""
STEPS, WAY = 60, 33
"""Most questions about one change, and how many inputs on the way to another one are looked at."""


class EntryMovesByShare(Question):
    """Some entry moves by `level` times its weight or more.

    Attributes:
        weights: a positive number for every entry.
    """

    kind: Literal["entry-moves-by-share"] = "entry-moves-by-share"
    level: float
    weights: tuple[float, ...]
    meaning = "An entry of the map moves by the asked share of its weight or more."

    @property
    def text(self) -> str:
        return f"|E_j(x) - E_j(xhat)| >= {self.level:g} w_j for some j"

    @property
    def stem(self) -> str:
        return f"s{self.level:g}"

    def clauses(self, reference: Array, label: int, logits: int) -> tuple[Clause, ...]:
        return some_entry_moves(logits, reference, self.level * np.array(self.weights))

    def score(self, logits: Array, maps: Array, reference: Array, label: int) -> Array:
        return np.asarray((np.abs(maps - reference) / np.array(self.weights)).max(axis=1))


@dataclass(frozen=True, eq=False)
class EarlierFindings:
    """What searches about the metrics before this one found at the same point.

    Attributes:
        candidates: inputs [n] that some metric is bad at.
        excluded: changes of a map that no input near the point reaches, by explanation and weights.
    """

    candidates: list[Array] = field(default_factory=list)
    excluded: dict[tuple[Explanation | None, bytes], list[tuple[Neighbourhood, float]]] = field(
        default_factory=dict
    )

    def bound(self, key: tuple[Explanation | None, bytes], near: Neighbourhood) -> float:
        """The least change that is excluded for these inputs; inf where none is."""
        known = self.excluded.get(key, ())
        return min((change for other, change in known if other.holds(near)), default=math.inf)


class PointSearch:
    """Questions about one metric at one point, within a budget; see `Certifier`.

    Args:
        asked: any question about the metric's map at the point.
        folder: for the files of queries. known: of other metrics at the point; what is found is added.
    """

    def __init__(
        self,
        metric: Metric,
        asked: PointQuestion,
        here: ExplainedInput,
        solving: Solving,
        folder: Path,
        known: EarlierFindings,
    ) -> None:
        self.metric, self.asked, self.here, self.solving, self.folder = metric, asked, here, solving, folder
        self.known = known
        self.budget, self.questions = Budget(solving.timeout), 0
        self.found: Evaluated | None = None
        # Without another input there is still the point itself, where nothing changes.
        self.considered = [self.seen(here.x[None])]
        self.worst = metric.best
        self.reason = ""
        self._staged: QueryFolder | None = None

    @property
    def over(self) -> bool:
        return self.budget.over

    def region(self, near: Neighbourhood) -> tuple[Box, Ball | None]:
        """A box [n], [n], and a ball where the norm is Euclidean, rounded inwards; queries hold more."""
        return inner_region(self._narrowed(near), near.radius)

    def _narrowed(self, near: Neighbourhood) -> PointQuestion:
        """The same with the range of every entry cut to what it may become."""
        centre, (low, high) = self.here.x, self.asked.given.limits
        low = np.maximum(float32_down(centre - near.entries), low)
        high = np.minimum(float32_up(centre + near.entries), high)
        clip = tuple(zip(low.tolist(), high.tolist(), strict=True))
        posed, given = self.asked.posed, replace(self.asked.given, clip=clip)
        return replace(
            self.asked, given=given, posed=replace(posed, factory=replace(posed.factory, clip=clip))
        )

    def seen(self, x: Array) -> Evaluated:
        """What there is at inputs [q, n], in double precision."""
        return Evaluated(x, *self.asked.posed.map.values(x))

    def replayed(self, x: Array) -> tuple[Evaluated, Evaluated]:
        """The same at one input [n], by ONNX Runtime on the graph, and by the definition of the map."""
        posed = self.asked.posed
        outputs, m = posed.map.runtime.outputs(x), posed.map.logits
        logits = posed.factory.program.evaluate(x[None])[0]
        by_definition = Evaluated(x[None], logits, map_by_definition(self.asked, x)[None])
        return Evaluated(x[None], outputs[None, :m], outputs[None, m:]), by_definition

    def consider(self, x: Array) -> None:
        """Takes an input [n] within the radius as a candidate for the attacked value.

        What counts is the better of its values in single and in double precision: rounding may carry an input
        over a kink.
        """
        single, double = self.replayed(self._worst_on_the_way(x))
        self.considered.append(double)
        if self.here.distances(double.x)[0] > self.here.epsilon:  # a query is rounded outwards
            return
        values = [float(self.metric.values(self.here, seen)[0]) for seen in (single, double)]
        if np.isnan(values).any():
            return
        value = min(values) if self.metric.largest_is_worst else max(values)
        if self.metric.is_worse(value, self.worst):
            self.worst, self.found = value, single
            self.known.candidates.append(double.x[0])

    def _worst_on_the_way(self, x: Array) -> Array:
        """Of the inputs between the explained one and an input [n] the one with the worst value."""
        shares = np.linspace(1.0, 0.0, WAY)[:, None]
        way = (self.here.x + shares * (x - self.here.x)).astype(np.float32).astype(np.float64)
        way[0] = x
        scores = self._score(self.metric.values(self.here, self.seen(way)))
        return np.asarray(way[int(np.argmax(scores))])

    def _score(self, values: Array) -> Array:
        """What a search raises: the larger the worse; minus infinity for an input that is left out."""
        sign = 1.0 if self.metric.largest_is_worst else -1.0
        return np.where(np.isnan(values), -np.inf, sign * values)

    def attack(self, draws: Evaluated) -> None:
        """Takes what is known, the worst of the draws and what a random search finds as candidates."""
        for x in tuple(self.known.candidates):
            self.consider(x)
        own = self._score(self.metric.values(self.here, draws))
        if np.isfinite(own).any():
            self.consider(draws.x[int(np.argmax(own))])
        for near in self.metric.hopeful(self.here):
            found = self._search(lambda x: self._score(self.metric.values(self.here, self.seen(x))), near)
            if found.point is not None and np.isfinite(found.value):
                self.consider(found.point)

    def _search(self, score: Callable[[Array], Array], near: Neighbourhood) -> Found:
        seed = self.solving.seed * 100_003 + self.asked.posed.point.index
        box, ball = self.region(near)
        return largest(score, *box, self.here.x, seed, ball)

    def worst_found(self) -> float:
        return self.worst

    def candidates(self) -> Evaluated:
        rows = ((seen.x, seen.logits, seen.maps) for seen in self.considered)
        return Evaluated(*map(np.concatenate, zip(*rows, strict=True)))

    def excludes(self, question: Question) -> bool:
        return self._decided(question, self.here.within(self.here.epsilon))[0] is not None

    def most_change(self, weights: Array, near: Neighbourhood) -> float:
        gap = Gap(self._most_found(weights, near), self.known_change(weights, near))
        for _ in range(STEPS):
            level = gap.next()
            if level is None or self.budget.over:
                break
            excluded, witness = self._asked_change(level, weights, near)
            if excluded is not None:
                gap = gap.with_high(excluded)
            elif witness is not None:
                gap = gap.with_low(self._change_at(witness, weights))
            else:
                gap = gap.with_vain(level)
        return gap.high

    def known_change(self, weights: Array, near: Neighbourhood) -> float:
        return self.known.bound(self._key(weights), near)

    def excluded_change(self, level: float, weights: Array, near: Neighbourhood) -> float | None:
        known = self.known_change(weights, near)
        return known if known <= level else self._asked_change(level, weights, near)[0]

    def _key(self, weights: Array) -> tuple[Explanation | None, bytes]:
        return self.asked.posed.map.explanation, weights.tobytes()

    def _asked_change(
        self, level: float, weights: Array, near: Neighbourhood
    ) -> tuple[float | None, Array | None]:
        """A change of about this level that no input reaches, or an input that reaches it, or neither."""
        question = EntryMovesByShare(level=level, weights=tuple(weights.tolist()))
        prop, witness = self._decided(question, near)
        if prop is None:
            return None, witness
        change = self._least_excluded(prop, weights)
        self.known.excluded.setdefault(self._key(weights), []).append((near, change))
        return change, None

    def _least_excluded(self, prop: Property, weights: Array) -> float:
        """The change that no input reaches, read off the numbers of the query, which are binary32."""
        (clause,), first = prop.clauses, self.asked.posed.map.logits
        places = np.array([atoms[0].left - first for atoms in clause])
        ends = np.array([atoms[0].constant for atoms in clause])
        widths = np.abs(ends - self.here.map[places]) / weights[places]
        return math.nextafter(float(widths.max()), math.inf)

    def _change_at(self, x: Array, weights: Array) -> float:
        return min(float(self.here.changes(seen.maps, weights)[0]) for seen in self.replayed(x))

    def _most_found(self, weights: Array, near: Neighbourhood) -> float:
        """The largest change at candidates near the point, and by a random search."""
        (low, high), ball = self.region(near)
        boxed = [x for x in self.known.candidates if ((low <= x) & (x <= high)).all()]
        inside = [x for x in boxed if ball is None or ball.holds(x)]
        search = self._search(lambda x: self.here.changes(self.seen(x).maps, weights), near)
        found = [*inside, *([] if search.point is None else [search.point])]
        return max((self._change_at(x, weights) for x in found), default=0.0)

    def _decided(self, question: Question, near: Neighbourhood) -> tuple[Property | None, Array | None]:
        """The query where it has no solution, or a solution that was replayed, or neither."""
        if self.budget.over:
            self.reason = "its time was over"
            return None, None
        staged = self._stage(question, near)
        share = Budget(max(SHARE * self.budget.left, LEAST_S))
        decided = decide(staged, near.radius, self.solving, share)
        self.questions += 1
        if decided.robustness is Robustness.ROBUST:
            return staged.asked.posed.within(near.radius), None
        if decided.witness is None:
            self.reason = decided.reason
            return None, None
        self.consider(decided.witness)
        return None, decided.witness

    def _stage(self, question: Question, near: Neighbourhood) -> QueryFolder:
        asked = self._narrowed(near)
        posed = asked.posed
        complete = question.at(posed.reference, posed.point.label, posed.map.logits)
        asked = replace(asked, posed=replace(posed, question=complete))
        if self._staged is not None and self._staged.asked.posed.graph is asked.posed.graph:
            self._staged = self._staged.asking(asked)
        else:
            self._staged = QueryFolder(asked, self.folder)
        return self._staged
