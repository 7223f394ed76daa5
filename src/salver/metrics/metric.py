"""What every metric has in common: its value at inputs near the explained one, and how it is certified."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from salver.core.records import Kinds, Record
from salver.families.question import Question
from salver.metrics.gap import PRECISION
from salver.spec import Norm, norm_of

Array = npt.NDArray[np.float64]


METRICS = Kinds("kind")
"""Every metric's record by name."""


class Criterion(StrEnum):
    """A criterion of ISO/IEC 24029-2:2023 (formal methods for the robustness of neural networks)."""

    STABILITY = "stability"
    SENSITIVITY = "sensitivity"
    RELEVANCE = "relevance"


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Inputs with what the network and the map give there: x [q, n], logits [q, m], maps [q, s]."""

    x: Array
    logits: Array
    maps: Array


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Inputs near the explained one.

    Attributes:
        entries: by how much each entry may change [n].
        radius: how far they may be away, in the norm of the question.
    """

    entries: Array
    radius: float

    def holds(self, other: Neighbourhood) -> bool:
        """Whether it has all inputs of another one."""
        return other.radius <= self.radius and bool((other.entries <= self.entries).all())


@dataclass(frozen=True, eq=False)
class ExplainedInput:
    """The explained input xhat.

    Attributes:
        x: its values [n]. map: E(xhat) [s], in double precision.
        label: the class that the network gives it.
        epsilon: radius around it, in the units of its entries. norm: of distances from it.
    """

    x: Array
    map: Array
    label: int
    epsilon: float
    norm: Norm = "linf"

    def distances(self, x: Array) -> Array:
        """Distances of inputs [q, n] in the norm."""
        return norm_of(x - self.x, self.norm)

    def within(self, radius: float) -> Neighbourhood:
        """The inputs that are no farther away."""
        return Neighbourhood(np.full(len(self.x), radius), radius)

    def changes(self, maps: Array, weights: Array) -> Array:
        """max_j |E_j - E_j(xhat)| / w_j of maps [q, s] with positive weights [s]."""
        return np.asarray((np.abs(maps - self.map) / weights).max(axis=1))


class Certifier(Protocol):
    """Certificates about one explained input; only an `unsat` that has one counts."""

    @property
    def over(self) -> bool:
        """Whether the time for questions is over."""

    def excludes(self, question: Question) -> bool:
        """Whether it is certain that no input within the radius meets the question's condition. One that does
        is among the candidates for the attacked value."""

    def worst_found(self) -> float:
        """The worst value so far at an input that was replayed."""

    def candidates(self) -> Evaluated:
        """Inputs at which this metric or another one was found to be bad."""

    def known_change(self, weights: Array, near: Neighbourhood) -> float:
        """A change that max_j |E_j - E_j(xhat)| / w_j is known to reach at none of these inputs, or inf."""

    def excluded_change(self, level: float, weights: Array, near: Neighbourhood) -> float | None:
        """A change that max_j |E_j - E_j(xhat)| / w_j reaches at none of these inputs, about as large as
        `level` or smaller; None where none is known. An input that reaches it is among the candidates."""

    def most_change(self, weights: Array, near: Neighbourhood) -> float:
        """No smaller than max_j |E_j - E_j(xhat)| / w_j at any of these inputs; inf without a bound."""


class Metric(Record):
    """A number that says how much an explanation changes near the explained input.

    It is the worst of the values at the inputs within a radius. A metric is one subclass that gives `kind` a
    default and is registered in `METRICS`.

    Attributes:
        kind: which metric.
        title: as in the literature; criterion: what it touches; formula: its value for one input x.
        best: the value where nothing changes. largest_is_worst: whether the largest value is the metric.
        ranked: whether sizes of entries are looked at unless something else is said.
        original: whose definition `of_original` is.
        precision: distance of the two ends that is near enough, as a share of the certified one.
    """

    kind: str
    title: ClassVar[str]
    criterion: ClassVar[Criterion]
    formula: ClassVar[str]
    best: ClassVar[float] = 0.0
    largest_is_worst: ClassVar[bool] = True
    ranked: ClassVar[bool] = False
    original: ClassVar[str] = "Quantus"
    precision: ClassVar[float] = 2 * PRECISION

    @property
    def stated(self) -> str:
        """Entries that are not as they are by default, such as `k=8`."""
        fields = type(self).model_fields.items()
        return ", ".join(
            f"{name}={getattr(self, name):g}"
            for name, field in fields
            if getattr(self, name) != field.default
        )

    @abstractmethod
    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        """The value at every input [q]; NaN where the definition leaves an input out."""

    def hopeful(self, here: ExplainedInput) -> list[Neighbourhood]:
        """Where a search is likely to find bad values."""
        return [here.within(here.epsilon)]

    @abstractmethod
    def certified(self, here: ExplainedInput, certifier: Certifier) -> float:
        """A bound that no input of the box is worse than; infinite, or the worst value, where none is known.

        Raises:
            SalverError: the metric's entries do not fit the map.
        """

    def refuse_undefined(self, here: ExplainedInput) -> None:
        """Refuses a map that gives the metric no meaning.

        Raises:
            SalverError: the metric's entries do not fit the map.
            UndefinedConditionError: the map gives it no meaning.
        """

    def of_original(self, here: ExplainedInput, seen: Evaluated) -> float:
        """What the original says of these inputs, in its own norm; NaN where there is none."""
        return float("nan")

    def worst(self, values: Array | Sequence[float]) -> float:
        """The worst of some values, without those left out; `best` where none is left."""
        known = [value for value in values if not np.isnan(value)]
        return float((max if self.largest_is_worst else min)(known, default=self.best))

    def is_worse(self, value: float, other: float) -> bool:
        """Whether a value is worse than another one."""
        return value > other if self.largest_is_worst else value < other
