"""Sampled measures of a ranking: epsilon*, P@k and thickness, all seeded, none of them a proof.

epsilon* is the smallest radius at which a violation exists; the search returns an upper bound with the
point that shows it, and suites give radii in units of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generator import InstanceDraft
from salver.families.instance import RankingMeasures, Vacuity
from salver.families.questions import TopKChanges
from salver.families.search import Found
from salver.nets.program import Program
from salver.solvers.attack.ranking_attack import Attack, RankingTarget, er_loss, mse_loss, pair_loss
from salver.solvers.bounding.propagation import propagate
from salver.spec import norm_of

Array = npt.NDArray[np.float64]

ROUNDS, MISSES, SHARES = 12, 2, 20
_DRAWN = 256
CLEAR = 1e-5
"""Margin, in units of 1 + the largest saliency, that a violation must have to outlive single precision."""


def epsilon_star(posed: PosedQuestion, most: float, seed: int) -> Found:
    """Upper bound on the smallest radius with a violation, at most `most`.

    Each round attacks the box of the present bound with all three losses, then walks from every violating
    point back towards xhat; a smaller distance becomes the bound. Two rounds without progress end it.

    Args:
        posed: a question about ranks.
    """
    generator = np.random.default_rng([seed * 100_003 + posed.point.index, 29])
    search = _MeasureSearch(posed.map.lowered, _target(posed), posed.point, posed.factory, generator)
    misses = 0
    for _ in range(ROUNDS):
        before = search.best
        search.round(min(most, 0.98 * before))
        misses = 0 if search.best < 0.98 * before else misses + 1
        if misses == MISSES:
            break
    return Found(search.best, search.witness, search.samples)


def open_neurons(posed: PosedQuestion, epsilon: float) -> int:
    """ReLUs of the classifier whose sign is not the same on the whole box or ball by bounds."""
    box = posed.factory.box(posed.point.x, epsilon)
    ball = posed.factory.ball(posed.point.x, epsilon)
    return propagate(posed.factory.program, *box, outputs=False, ball=ball).undecided


def ranking_draft(posed: PosedQuestion, epsilon: float, found: Found, seed: int) -> InstanceDraft:
    """An instance of a question about ranks, with what the ranking does on its box.

    Args:
        found: the nearest violation sampled.
    """
    vacuity = Vacuity(epsilon_star_upper=found.finite, ranking=sample_measures(posed, epsilon, seed))
    return posed.draft(epsilon, found, vacuity)


def _target(posed: PosedQuestion) -> RankingTarget:
    if not isinstance(posed.question, TopKChanges):
        raise TypeError(f"{posed.question.kind} is no question about ranks")
    return RankingTarget(posed.point.label, posed.map.logits, posed.question.ranking)


def sample_measures(posed: PosedQuestion, epsilon: float, seed: int) -> RankingMeasures:
    """P@k and thickness on `_DRAWN` uniform points of the box or ball; those outside the range move in."""
    low, high = posed.factory.box(posed.point.x, epsilon)
    ball = posed.factory.ball(posed.point.x, epsilon)
    generator = np.random.default_rng([seed * 100_003 + posed.point.index, 31])
    if ball is None:
        x = low + generator.random((_DRAWN, len(low))) * (high - low)
    else:
        x = ball.projected(ball.uniform(_DRAWN, generator), low, high)
    target, unstable = _target(posed), open_neurons(posed, epsilon)
    outputs, _, _ = posed.map.lowered.evaluate(x)
    kept = target.lead(outputs) >= 0
    if not kept.any():
        return RankingMeasures(open_neurons=unstable)
    saliency = target.saliencies(outputs[kept])
    precision, thickness = target.ranking.precision_at_k(saliency), target.ranking.thickness(saliency)
    return RankingMeasures(
        label_kept=round(float(kept.mean()), 6),
        precision_mean=round(float(precision.mean()), 6),
        precision_min=round(float(precision.min()), 6),
        thickness_mean=round(float(thickness.mean()), 6),
        thickness_min=round(float(thickness.min()), 6),
        open_neurons=unstable,
    )


@dataclass
class _MeasureSearch:
    program: Program
    target: RankingTarget
    point: Point
    factory: InstanceFactory
    generator: np.random.Generator
    best: float = np.inf
    witness: Array | None = None
    samples: int = 0

    def __post_init__(self) -> None:
        self.centre = self.point.centre

    def round(self, radius: float) -> None:
        """Attacks the box or ball of one radius; every violating point is walked back at once."""
        least, most = self.factory.limits
        box = (np.maximum(self.centre - radius, least), np.minimum(self.centre + radius, most))
        ball = self.factory.ball(self.point.x, radius)
        reference = self.target.saliencies(self.program.evaluate(self.centre[None])[0][0])
        ranking = self.target.ranking
        attack = Attack.on(self.program, self.target, box, self.generator, ball)
        for loss in (pair_loss(ranking), er_loss(ranking), mse_loss(reference)):
            for points in attack.descend(attack.starts(self.generator, 16), loss, self.generator):
                broken = self._violating(points)
                if len(broken):
                    self._walk_back(broken[:4])
                    break

    def _violating(self, points: Array) -> Array:
        """Those of the points, rounded to binary32, that break the ranking with room; nearest is kept."""
        rounded = points.astype(np.float32).astype(np.float64)
        outputs, _, _ = self.program.evaluate(rounded)
        self.samples += len(rounded)
        room = CLEAR * (1.0 + np.abs(self.target.saliencies(outputs)).max(axis=1))
        broken = rounded[self.target.margin(outputs) >= room]
        if len(broken):
            distance = norm_of(broken - self.centre, self.factory.norm)
            nearest = int(np.argmin(distance))
            if distance[nearest] < self.best:
                self.best, self.witness = float(distance[nearest]), broken[nearest]
        return np.asarray(broken)

    def _walk_back(self, points: Array) -> None:
        shares = np.linspace(0.05, 1.0, SHARES)[:, None]
        self._violating(np.vstack([self.centre + shares * (x - self.centre) for x in points]))
