"""Sampled bounds on delta*, the smallest delta with a violation: what an instance set is balanced by.

The bound is an upper bound only (a point was found); it is recorded as vacuity and never taken as proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.explain.gradient import logits_and_gradient
from salver.nets.program import Program

Array = npt.NDArray[np.float64]
_POOL = 12


@dataclass(frozen=True, eq=False)
class Region:
    """The points among which a violation is sought.

    Attributes:
        lower, upper, centre: float64 [n], binary32 values.
        label: class that must not be beaten; targets: classes that may beat it.
        coefficients: [m], the combination of logits whose gradient is the saliency at a point.
        reference: [n], the saliency it is compared with.
    """

    lower: Array
    upper: Array
    centre: Array
    label: int
    targets: tuple[int, ...]
    coefficients: Array
    reference: Array


@dataclass(frozen=True, eq=False)
class DeltaStarBound:
    """The nearest violation seen: its saliency distance (inf when none), the point [n], evaluations."""

    value: float
    witness: Array | None
    samples: int


def sample_delta_star(classifier: Program, region: Region, seed: int, effort: int = 24) -> DeltaStarBound:
    """Upper bound on delta* = min |E(x) - reference|_inf over misclassified x of the region.

    Sign-gradient steps find misclassified points, a walk back towards the centre and shrinking random
    steps then bring their saliency nearer. `effort` is the batch size.
    """
    search = _Search(classifier, region, np.random.default_rng(seed))
    search.attack(effort, steps=8)
    if search.best_point is None:
        return DeltaStarBound(np.inf, None, search.samples)
    search.walk_back(effort)
    for scale in (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01):
        search.perturb(effort, scale)
    return DeltaStarBound(search.best, search.best_point, search.samples)


class _Search:
    def __init__(self, classifier: Program, region: Region, rng: np.random.Generator) -> None:
        self.classifier, self.region, self.rng = classifier, region, rng
        self.best, self.samples = np.inf, 0
        self.best_point: Array | None = None
        self.pool: list[tuple[float, Array]] = []

    def observe(self, x: Array) -> tuple[Array, Array]:
        """Distance [batch] of violating points (inf for others), and the best target's logits' lead."""
        points = self._clip(x)
        logits, saliency = logits_and_gradient(self.classifier, points, self.region.coefficients)
        lead = logits[:, list(self.region.targets)].max(axis=1) - logits[:, self.region.label]
        distance = np.abs(saliency - self.region.reference).max(axis=1)
        distance = np.where(lead >= 1e-6, distance, np.inf)
        nearest = int(np.argmin(distance))
        self.samples += len(points)
        self._remember(points, distance)
        if distance[nearest] < self.best:
            self.best, self.best_point = float(distance[nearest]), points[nearest]
        return distance, lead

    def attack(self, count: int, steps: int) -> None:
        """Sign-gradient steps of many sizes: small ones from the centre cross the nearest boundary, where
        the saliency is often unchanged; large ones from random points leave hard classes."""
        region = self.region
        span = region.upper - region.lower
        x = np.tile(region.centre, (count, 1))
        x[count // 2 :] = region.lower + self.rng.random((count - count // 2, len(span))) * span
        size = np.geomspace(0.01, 0.5, max(count // 2, 1))
        sizes = np.concatenate([size, np.full(count - len(size), 0.3)])[:, None]
        for step in range(steps):
            logits, _, _ = self.classifier.evaluate(self._clip(x))
            target = np.array(region.targets)[np.argmax(logits[:, list(region.targets)], axis=1)]
            direction = _one_hot(target, logits.shape[1]) - _one_hot([region.label] * count, logits.shape[1])
            _, gradient = logits_and_gradient(self.classifier, x, direction)
            rate = np.where(np.arange(count)[:, None] < len(size), 1.0, (1 + step) ** -0.5)
            x = np.clip(x + np.sign(gradient) * span * sizes * rate, region.lower, region.upper)
            self.observe(x)

    def walk_back(self, count: int) -> None:
        """Points between the centre and several violating points: nearer usually means more alike."""
        share = np.linspace(0.0, 1.0, max(count // 4, 2))[:, None]
        centre = self.region.centre
        self.observe(np.vstack([centre + share * (point - centre) for _, point in self.pool]))

    def perturb(self, count: int, scale: float) -> None:
        """Random steps in some coordinates, and steps towards other violating points."""
        span = self.region.upper - self.region.lower
        start = np.stack([self.pool[i % len(self.pool)][1] for i in range(count)])
        noise = self.rng.uniform(-scale, scale, start.shape) * span
        sparse = self.rng.random(start.shape) < self.rng.random((count, 1)) ** 2
        other = start[self.rng.permutation(count)]
        mixed = self.rng.random(start.shape) < self.rng.random((count, 1)) * (
            self.rng.random((count, 1)) < 0.5
        )
        self.observe(np.where(mixed, other, start) + noise * sparse)

    def _remember(self, points: Array, distance: Array) -> None:
        """Keeps the nearest violating points of different saliency, so that no single basin is all."""
        found = [(float(d), p) for d, p in zip(distance, points, strict=True) if np.isfinite(d)]
        kept: dict[float, Array] = {}
        for value, point in sorted([*self.pool, *found], key=lambda pair: pair[0]):
            kept.setdefault(round(value, 6), point)
        self.pool = list(kept.items())[:_POOL]

    def _clip(self, x: Array) -> Array:
        nearest = x.astype(np.float32).astype(np.float64)
        return np.asarray(np.clip(nearest, self.region.lower, self.region.upper))


def _one_hot(classes: Sequence[int] | npt.NDArray[np.int_], count: int) -> Array:
    return np.asarray(np.eye(count)[np.asarray(classes)])


def significant(value: float, digits: int = 3) -> float:
    """`value` rounded to `digits` significant digits: what a suite writes as delta or epsilon."""
    return float(f"{value:.{digits - 1}e}") if np.isfinite(value) else value
