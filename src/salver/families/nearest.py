"""Sampled bounds on delta*, the smallest delta with a violation: what an instance set is balanced by.

The bound is an upper bound only (a point was found); it is recorded as vacuity and never taken as proof.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from salver.explain.gradient import logits_and_gradient
from salver.families.factory import Box, PosedQuestion
from salver.families.search import Found, inside
from salver.spec import Ball

Array = npt.NDArray[np.float64]
_BATCH, _POOL = 24, 12


def sample_delta_star(posed: PosedQuestion, epsilon: float, seed: int, box: Box | None = None) -> Found:
    """Upper bound on delta* = min |E(x) - E(xhat)|_inf over the x of a box that have a class asked for.

    Sign-gradient steps find misclassified points, a walk back towards the centre and shrinking random
    steps then bring their map nearer. Of an absolute map the signed one is looked at.

    Args:
        box: bounds [n], [n] in place of what lies within `epsilon` of xhat.
    """
    maps = (posed.map.explanation, posed.compared_with)
    signed = [None if one is None else one.model_copy(update={"absolute": False}) for one in maps]
    posed = posed.factory.pose(posed.point, posed.question, *signed)
    rng = np.random.default_rng(seed * 100_003 + posed.point.index)
    ball = None if box else posed.factory.ball(posed.point.x, epsilon)
    search = _NearestSearch(posed, box or posed.factory.box(posed.point.x, epsilon), ball, rng)
    search.attack(_BATCH, steps=8)
    if search.best_point is None:
        return Found(np.inf, None, search.samples)
    search.walk_back(_BATCH)
    for scale in (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01):
        search.perturb(_BATCH, scale)
    return Found(search.best, search.best_point, search.samples)


class _NearestSearch:
    def __init__(self, posed: PosedQuestion, box: Box, ball: Ball | None, rng: np.random.Generator) -> None:
        self.posed, self.ball, self.rng = posed, ball, rng
        self.lower, self.upper = box
        self.centre, self.label = posed.point.centre, posed.point.label
        self.targets = list(posed.question.classes(self.label, posed.map.logits))
        self.best, self.samples = np.inf, 0
        self.best_point: Array | None = None
        self.pool: list[tuple[float, Array]] = []

    def observe(self, x: Array) -> tuple[Array, Array]:
        """Distance [batch] of violating points (inf for others), and the best target's logits' lead."""
        points = self._clip(x)
        logits, saliency = self.posed.map.values(points)
        lead = logits[:, self.targets].max(axis=1) - logits[:, self.label]
        distance = np.abs(saliency - self.posed.reference).max(axis=1)
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
        program, span = self.posed.factory.program, self.upper - self.lower
        x = np.tile(self.centre, (count, 1))
        x[count // 2 :] = self.lower + self.rng.random((count - count // 2, len(span))) * span
        size = np.geomspace(0.01, 0.5, max(count // 2, 1))
        sizes = np.concatenate([size, np.full(count - len(size), 0.3)])[:, None]
        for step in range(steps):
            logits, _, _ = program.evaluate(self._clip(x))
            target = np.array(self.targets)[np.argmax(logits[:, self.targets], axis=1)]
            direction = _one_hot(target, logits.shape[1]) - _one_hot([self.label] * count, logits.shape[1])
            _, gradient = logits_and_gradient(program, x, direction)
            rate = np.where(np.arange(count)[:, None] < len(size), 1.0, (1 + step) ** -0.5)
            x = np.clip(x + np.sign(gradient) * span * sizes * rate, self.lower, self.upper)
            self.observe(x)

    def walk_back(self, count: int) -> None:
        """Points between the centre and several violating points: nearer usually means more alike."""
        share = np.linspace(0.0, 1.0, max(count // 4, 2))[:, None]
        centre = self.centre
        self.observe(np.vstack([centre + share * (point - centre) for _, point in self.pool]))

    def perturb(self, count: int, scale: float) -> None:
        """Random steps in some coordinates, and steps towards other violating points."""
        span = self.upper - self.lower
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
        return inside(x, (self.lower, self.upper), self.ball)


def _one_hot(classes: Sequence[int] | npt.NDArray[np.int_], count: int) -> Array:
    return np.asarray(np.eye(count)[np.asarray(classes)])
