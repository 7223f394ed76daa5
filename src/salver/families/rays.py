"""Sampled bounds on epsilon*, the smallest radius with a violation, along rays from xhat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from salver.explain.gradient import logits_and_gradient
from salver.families.factory import PosedQuestion
from salver.families.question import lead_of_others
from salver.families.search import Found
from salver.spec import norm_of

Array = npt.NDArray[np.float64]
_RAYS, _RADII, _ROUNDS = 48, 32, 8
_LEAD = 1e-6
"""By how much a sampled violation must be clear of a tie, so that it survives binary32."""


def along_rays(posed: PosedQuestion, most: float, seed: int) -> Found:
    """Upper bound on the smallest radius with the label kept and a score above 0, at most `most`.

    Rays from xhat [n] towards corners of the box are looked at at many radii; then corners near the best
    ones, at radii below the best.
    """
    centre, limits = posed.point.centre, posed.factory.limits
    rng = np.random.default_rng([seed, posed.point.index])
    best, witness, samples = most, None, 0
    radii = most * np.geomspace(1e-3, 1.0, _RADII)
    rays = _directions(posed, rng)
    for step in range(_ROUNDS):
        units = rays / np.maximum(norm_of(rays, posed.factory.norm), 1.0)[:, None]
        steps = (units[:, None] * radii[None, :, None]).reshape(-1, len(centre))
        x = np.clip((centre + steps).astype(np.float32).astype(np.float64), *limits)
        hit = _broken(posed, x).reshape(len(rays), len(radii))
        samples += hit.size
        nearest = np.where(hit.any(axis=1), radii[np.argmax(hit, axis=1)], np.inf)
        if nearest.min() < best or (witness is None and np.isfinite(nearest.min())):
            ray = int(np.argmin(nearest))
            best = float(nearest[ray])
            witness = x[ray * len(radii) + int(np.argmax(hit[ray]))]
        if witness is None:
            rays = _directions(posed, rng)
            continue
        order = np.argsort(nearest, kind="stable")[: _RAYS // 4]
        flip = rng.random((_RAYS, len(centre))) < rng.uniform(0, 0.5, (_RAYS, 1)) * 0.8**step
        parents = rays[order[rng.integers(len(order), size=_RAYS)]]
        rays = np.where(flip, rng.choice([-1.0, 0.0, 1.0], flip.shape), parents)
        radii = best * np.linspace(0.7, 1.0, 12)
    return Found(best if witness is not None else np.inf, witness, samples)


def _broken(posed: PosedQuestion, x: Array) -> npt.NDArray[np.bool_]:
    logits, maps = posed.map.values(x)
    score = posed.question.score(logits, maps, posed.reference, posed.point.label)
    return np.asarray((score >= _LEAD) & (lead_of_others(logits, posed.point.label) <= -_LEAD))


def _directions(posed: PosedQuestion, rng: np.random.Generator) -> Array:
    """Signs [rays, n] along which neurons change fastest where the map looks: sign gradients of random
    combinations of logits there, and random corners."""
    centre, logits = posed.point.centre, posed.map.logits
    looks = centre[None]
    if posed.map.explanation is not None:
        looks = posed.map.explanation.looks_at(centre)
    points = looks[rng.integers(len(looks), size=_RAYS)]
    program = posed.factory.program
    _, gradient = logits_and_gradient(program, points, rng.standard_normal((_RAYS, logits)))
    corners = rng.choice([-1.0, 1.0], (_RAYS, len(centre)))
    return np.where((np.arange(_RAYS) % 2 == 0)[:, None] & (gradient != 0), np.sign(gradient), corners)
