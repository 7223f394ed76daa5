"""Up to which radius an explanation is robust, and from which it is broken: bisection within a budget."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.families.search import significant
from salver.points.answer import PointProof, RobustnessAnswer, Shown, answer, euclidean
from salver.points.check import prove, refuse_proof
from salver.points.decide import QueryFolder, Robustness, decide
from salver.points.enclosure import Enclosure, widest
from salver.points.options import Bisection, Solving
from salver.points.point_question import PointQuestion
from salver.solvers.query import Budget
from salver.spec import norm_of

if TYPE_CHECKING:
    from salver.points.picture import PointPicture

Array = npt.NDArray[np.float64]
DIGITS = 4
"""Significant digits of a radius that is asked about, so that what is certified is what is printed."""
SHARE = 1 / 3
"""Of the time that is left one question gets this much."""
STEPS = 60


@dataclass(frozen=True, eq=False, repr=False)
class RadiusAnswer(Shown):
    """Up to which radius the explanation at a point is robust.

    Attributes:
        certified: within this radius there is no counterexample; 0 where that is known of no radius.
        attacked: distance of the nearest counterexample found; inf where none was.
        most: the largest radius that was looked at.
        asked, solving: the question, and who answered it; seconds: in all; questions: how many boxes.
        nearest: the answer with that counterexample, or else the one at the certified radius or at `most`.
        proof: for the certified radius, where one was asked for.
    """

    certified: float
    attacked: float
    most: float
    asked: PointQuestion
    solving: Solving
    seconds: float
    questions: int
    nearest: RobustnessAnswer
    proof: PointProof | None = None

    @property
    def robust(self) -> bool | None:
        """Whether some radius is certified; False where the point itself breaks it, else None."""
        if self.attacked == 0:
            return False
        return True if self.certified > 0 else None

    @property
    def values(self) -> dict[str, object]:
        """The answer as values that JSON has: both radii, and the answer for the nearest counterexample."""
        return {
            "certified": self.certified,
            "attacked": None if math.isinf(self.attacked) else self.attacked,
            "sentence": self.sentence,
            "most": self.most,
            "norm": self.asked.norm,
            "questions": self.questions,
            "seconds": round(self.seconds, 3),
            "proof": self.proof and self.proof.values,
            "nearest": self.nearest.values,
        }

    @property
    def witness(self) -> Array | None:
        """The nearest counterexample in the shape of the point, or None."""
        return self.nearest.witness

    @property
    def maps(self) -> tuple[Array, ...]:
        """As `RobustnessAnswer.maps`, at the nearest counterexample."""
        return self.nearest.maps

    @property
    def sentence(self) -> str:
        """Both radii in one plain sentence."""
        condition, solver = self.asked.posed.question.in_words, self.solving.solver
        if self.attacked == 0:
            return f"Robust at no radius: already at the point itself {condition}."
        checked = ", and its proof was checked" if self.proof else ""
        norm = euclidean(self.asked.norm)
        robust = f"Robust up to {self.certified:g}{norm}, proved by {solver}{checked}"
        lower = robust if self.certified > 0 else "No radius was certified"
        if math.isinf(self.attacked):
            return f"{lower}; no input up to {self.most:g} away{norm} was found at which {condition}."
        return f"{lower}; broken at {rounded_up(self.attacked):g}{norm}, where {condition}."

    @property
    def details(self) -> tuple[str, ...]:
        """What else is worth knowing, a line each."""
        lines = [line for line in self.nearest.details if not line.startswith(("solved in ", "reason: "))]
        return (*lines, f"{self.questions} radii were asked about in {self.seconds:.1f} s")

    def plot(self) -> PointPicture:
        """The point and the nearest counterexample, as `RobustnessAnswer.plot`."""
        return replace(self.nearest.plot(), sentence=self.sentence, details=self.details)


def find_radius(
    asked: PointQuestion,
    solving: Solving,
    bisection: Bisection,
    proof: Path | None = None,
    *,
    force: bool = False,
) -> RadiusAnswer:
    """Bisects the radius until both ends are near each other or the time is over.

    A counterexample lowers the upper end to its own distance. Where a radius stays undecided, larger ones are
    attacked and smaller ones certified.

    Args:
        solving: its seconds are for all questions together.
        bisection: the largest radius that is looked at, which without one is the width of the inputs' range
            in the norm, or else the size of the input, at least 1; and the distance of the two ends, as a
            share of the upper, at which it is enough.
        proof, force: as `check_within`, for the certified radius.

    Raises:
        SalverError: as `check_within`.
    """
    if proof is not None:
        refuse_proof(proof, solving, asked, force=force)
    top = _widest(asked) if bisection.most is None else bisection.most
    with TemporaryDirectory(prefix="salver-radius-") as folder:
        return _Questions(QueryFolder(asked, Path(folder)), solving, top).run(bisection.precision, proof)


def next_radius(known: Enclosure, most: float, precision: float) -> float | None:
    """The radius to ask about next; None where both ends are as near as asked.

    Args:
        known: certified up to its low end, attacked at its high one.
        most: the largest radius that is looked at.
        precision: distance of the ends as a share of the upper.
    """
    start, end = widest(known.gaps(most))
    if end - start <= precision * min(known.high, most):
        return None
    middle = significant((start + end) / 2, DIGITS)
    return middle if start < middle < end else None


def rounded_up(value: float) -> float:
    """To `DIGITS` significant digits, never below the value."""
    near = significant(value, DIGITS)
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1) if value > 0 else 0.0
    return near if near >= value else significant(near + unit, DIGITS)


def _widest(asked: PointQuestion) -> float:
    low, high = asked.given.limits
    if asked.given.clip is not None:
        return float(norm_of(high - low, asked.norm))
    return max(1.0, float(norm_of(asked.given.x.astype(np.float64), asked.norm)))


class _Questions:
    """The questions about one point, one after the other."""

    def __init__(self, staged: QueryFolder, solving: Solving, most: float) -> None:
        self.staged, self.solving, self.most = staged, solving, most
        self.budget, self.since = Budget(solving.timeout), time.monotonic()
        self.known, self.questions = Enclosure(), 0
        self.last: RobustnessAnswer | None = None

    def run(self, precision: float, proof: Path | None) -> RadiusAnswer:
        radius: float | None = self.most
        while radius is not None and self.questions < STEPS and not (self.questions and self.budget.over):
            self.ask(radius)
            if self.known.high == 0:
                break
            radius = next_radius(self.known, self.most, precision)
        assert self.last is not None
        written = self.proved(proof) if proof is not None and self.known.low > 0 else None
        found, seconds = self.known, time.monotonic() - self.since
        asked, questions = self.staged.asked, self.questions
        return RadiusAnswer(
            found.low,
            found.high,
            self.most,
            asked,
            self.solving,
            seconds,
            questions,
            self.last,
            written,
        )

    def ask(self, radius: float) -> None:
        """One question; what follows from its answer."""
        share = Budget(max(SHARE * self.budget.left, 0.05))
        decided = decide(self.staged, radius, self.solving, share, nearest=True)
        self.questions += 1
        asked = self.staged.asked
        if decided.robustness is Robustness.ROBUST:
            self.known = self.known.with_low(radius)
        elif decided.robustness is Robustness.UNDECIDED:
            self.known = self.known.with_vain(radius)
            if decided.witness is not None:  # of a larger radius it says that it is broken
                radius = float(norm_of(decided.witness - asked.posed.point.centre, asked.norm))
                decided = replace(decided, robustness=Robustness.NOT_ROBUST, reason="")
        said = answer(asked, radius, self.solving, decided, self.solving.timeout - self.budget.left)
        if decided.robustness is Robustness.NOT_ROBUST:
            if 0 < self.known.low >= said.distance:
                what = f"a counterexample {said.distance:g} away contradicts a certificate"
                raise SalverError(what, self.solving.solver, "this is a fault: please report it")
            self.known = self.known.with_high(said.distance)
        if self.last is None or said.distance <= self.last.distance:
            self.last = said

    def proved(self, proof: Path) -> PointProof | None:
        """A proof for the certified radius, which is decided once more for what a proof can use."""
        budget = Budget(max(self.budget.left, self.solving.timeout * SHARE))
        decided = decide(self.staged, self.known.low, self.solving, budget, record=True)
        if decided.robustness is not Robustness.ROBUST:
            return None
        return prove(self.staged, self.known.low, decided, budget, proof)
