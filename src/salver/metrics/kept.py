"""Metrics of what stays: the class where the map does (Consistency), and members of the top-k set."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.explain.ranking import MOST_PAIRS, ranking_of
from salver.families.other_class import SameMap
from salver.families.question import lead_of_others
from salver.families.questions import TopKChanges
from salver.metrics.metric import METRICS, Array, Certifier, Criterion, Evaluated, ExplainedInput, Metric
from salver.spec import float32_down, float32_up


@METRICS.register
class Consistency(Metric):
    """Whether an input with the same map has the same class: 1, or 0 where some input has another one.

    Attributes:
        tolerance: a map is the same where no entry moves by more than this share of the largest one.
    """

    kind: Literal["consistency"] = "consistency"
    title = "Consistency"
    criterion = Criterion.RELEVANCE
    formula = (
        "0 where x has another class and max_j |E_j(x) - E_j(xhat)| <= `tolerance` * max_j |E_j(xhat)|; "
        "else 1"
    )
    best = 1.0
    largest_is_worst = False
    tolerance: float = Field(default=0.1, ge=0, allow_inf_nan=False)

    def delta(self, here: ExplainedInput) -> float:
        """How far an entry may move, in the units of the map."""
        return self.tolerance * float(np.abs(here.map).max(initial=0.0))

    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        other = lead_of_others(seen.logits, here.label) >= 0
        return np.where(self._same(here, seen.maps) & other, 0.0, 1.0)

    def certified(self, here: ExplainedInput, certifier: Certifier) -> float:
        return 1.0 if certifier.excludes(SameMap(delta=self.delta(here))) else 0.0

    def of_original(self, here: ExplainedInput, seen: Evaluated) -> float:
        """The share of the inputs with the same map that have the same class; 0 without any."""
        same = self._same(here, seen.maps)
        kept = seen.logits.argmax(axis=1) == here.label
        return float((same & kept).sum() / (same.sum() + 1e-9))

    def _same(self, here: ExplainedInput, maps: Array) -> npt.NDArray[np.bool_]:
        """Which maps are the same, as the question says it: rounded outwards to binary32."""
        low, high = float32_down(here.map - self.delta(here)), float32_up(here.map + self.delta(here))
        return np.asarray(((maps >= low) & (maps <= high)).all(axis=1))


@METRICS.register
class TopKIntersection(Metric):
    """The share of the k largest entries that stay among them; ties count as gone.

    Attributes:
        k: size of the set.
    """

    kind: Literal["top-k-intersection"] = "top-k-intersection"
    title = "Top-K Intersection"
    criterion = Criterion.RELEVANCE
    formula = "|top-k set of E(x) and top-k set of E(xhat)| / k"
    best = 1.0
    largest_is_worst = False
    ranked = True
    original = ""
    k: int = 5

    def refuse_undefined(self, here: ExplainedInput) -> None:
        ranking_of(here.map, self.k)

    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        return ranking_of(here.map, self.k).precision_at_k(seen.maps)

    def certified(self, here: ExplainedInput, certifier: Certifier) -> float:
        """Asks for fewer than so many members that stay, from the most that a counterexample leaves open."""
        k, others = self.k, len(here.map) - self.k
        always = max(0, k - others)
        # The graph of the relaxed question compares all pairs, which large maps do not allow.
        fewest = k if k * others > MOST_PAIRS else always + 1
        stay = round(certifier.worst_found() * k)
        while stay >= fewest:
            if certifier.excludes(TopKChanges(k=k, stay=stay, same_label=False)):
                return stay / k
            stay = min(stay - 1, round(certifier.worst_found() * k))
        return always / k
