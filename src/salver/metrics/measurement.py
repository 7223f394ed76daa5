"""One metric at one point: what drawn inputs say, an attacked value, and a certified bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from pydantic import Field

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.explain.explanation import Explanation
from salver.metrics.gap import SMALL
from salver.metrics.metric import Evaluated, ExplainedInput, Metric
from salver.points.given import GivenPoint
from salver.points.options import PointOptions, Positive, Solving
from salver.points.point_question import PointQuestion
from salver.points.subject import Subject

DIGITS = 4
"""Significant digits of a printed number; a bound is rounded so that it stays one."""
DRAWS = 200
"""Inputs that Quantus draws around a point."""
ROUNDING = 1e-9
"""What double precision may do to two values of which one is not worse than the other."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """A metric at one point.

    Attributes:
        metric, index: which metric, at which of the points. asked: the map at the point. here: the same.
        sampled: the worst value among the draws.
        attacked: the worst value at an input that was replayed; never better than the true value.
        certified: no input of the box has a worse value; infinite, or the worst there is, without a bound.
        original: what the original says of the draws, in its own norm; NaN where it has no such metric.
        witness: the input with the attacked value, with logits and map in single precision; None where that
            is the value of the point itself.
        questions: how many were put to the solver; seconds: in all.
        reason: why the last question was not decided, or why the metric is not defined here.
        is_defined: whether the map gives the metric a meaning; the values are NaN where it does not.
    """

    metric: Metric
    index: int
    asked: PointQuestion
    here: ExplainedInput
    sampled: float
    attacked: float
    certified: float
    original: float
    witness: Evaluated | None = None
    questions: int = 0
    seconds: float = 0.0
    reason: str = ""
    is_defined: bool = True

    def __post_init__(self) -> None:
        apart = abs(self.attacked - self.certified) > ROUNDING * max(1.0, abs(self.attacked))
        if self.is_defined and apart and self.metric.is_worse(self.attacked, self.certified):
            what = f"{self.attacked:g} at an input contradicts a certificate of {self.certified:g}"
            raise SalverError(what, self.metric.kind, "this is a fault: please report it")

    @property
    def bounded(self) -> bool:
        """Whether the certificate excludes anything."""
        return math.isfinite(self.certified) if self.metric.largest_is_worst else self.certified > 0

    @property
    def closed(self) -> bool:
        """Whether the two ends are as near as is asked for."""
        share = self.metric.precision * max(self.certified, SMALL)
        near = share if self.metric.largest_is_worst else ROUNDING
        return self.bounded and abs(self.certified - self.attacked) <= near

    @property
    def values(self) -> dict[str, object]:
        """The row of a table, with numbers as they are."""
        return {
            "metric": self.metric.kind, "entries": self.metric.stated,
            "criterion": self.metric.criterion.value,
            "point": self.asked.given.origin, "label": self.here.label,
            "sampled": self.sampled, "attacked": self.attacked, "certified": self.certified,
            "original": self.original, "bounded": self.bounded, "closed": self.closed,
            "questions": self.questions, "seconds": round(self.seconds, 3), "reason": self.reason,
        }  # fmt: skip

    @property
    def sentence(self) -> str:
        """The interval in one plain sentence."""
        metric, name = self.metric, f"{self.metric.title} at {self.asked.given.origin}"
        if not self.is_defined:
            return f"{name} is not defined: {self.reason}."
        at, most = ("at least", "at most") if metric.largest_is_worst else ("at most", "at least")
        attacked, certified = printed(self.attacked, metric, attacked=True), printed(self.certified, metric)
        found = f"{name} is {at} {attacked}, at an input that was replayed (sampled: {rounded(self.sampled)})"
        if not self.bounded:
            return f"{found}; no bound is certified."
        return f"{found}, and {most} {certified}, which is certified."


class Sampling(Record):
    """The box around every point, and the inputs that are drawn in it.

    Attributes:
        epsilon: radius, in the units of the inputs.
        draws: how many inputs are drawn. seed: of the draws; point i has `seed + i`.
        count: how many rows of a data set are taken.
    """

    epsilon: Positive
    draws: int = Field(default=DRAWS, gt=0)
    seed: int = Field(default=0, ge=0)
    count: int = Field(default=10, gt=0)


@dataclass(frozen=True, eq=False)
class MetricsJob:
    """What is measured: every metric at every point.

    Attributes:
        subject, points: the network and the inputs.
        labels: the class that is explained at each point; None for the one that the network gives it.
        explanation: the map, of any logit. options: whether sizes of entries are looked at, and other things.
        sampling: the box around every point, and the inputs that are drawn in it.
        solving: who decides questions; the seconds are those of one metric at one point.
    """

    subject: Subject
    points: tuple[GivenPoint, ...]
    labels: tuple[int | None, ...]
    metrics: tuple[Metric, ...]
    explanation: Explanation
    options: PointOptions
    sampling: Sampling
    solving: Solving


def rounded(value: float) -> str:
    """A value with few digits that is no bound."""
    return "-" if math.isnan(value) else f"{value:.{DIGITS}g}"


def printed(value: float, metric: Metric, *, attacked: bool = False) -> str:
    """A value with few digits; rounded to the better side where it is `attacked`, else to the worse one."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "none"
    rounding = ROUND_CEILING if metric.largest_is_worst is not attacked else ROUND_FLOOR
    near = Context(prec=DIGITS, rounding=rounding).create_decimal(Decimal(repr(float(value))))
    return f"{float(near):.{DIGITS}g}"
