"""An l2 attack on the top-K set of a sparsified SmoothGrad map, after Ghorbani, Abid and Zou (2019).

Their top-k attack descends on the sum of the map over its top-K set. h is a step function, so the slope of
its mean is estimated from the samples themselves: grad E[h(x + sigma n)] = E[h(x + sigma n) n] / sigma.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from experiments.sparsified import Smoothing, top_set, worst_overlap

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effort:
    """Draws per estimate of the slope, steps of each descent, and random directions tried beside it."""

    draws: int = 1024
    steps: int = 5
    random: int = 3


@dataclass(frozen=True, eq=False)
class Target:
    """What is attacked: the top `k` of the map `smoothed` [n] of a point, by no more than `rho` in l2.

    Attributes:
        x: the point [n], attacked without regard to a data range, as the certificate allows.
        label: class that must win at the new point; None lets it change.
    """

    x: Array
    smoothed: Array
    k: int
    rho: float
    label: int | None = None

    @cached_property
    def inside(self) -> npt.NDArray[np.intp]:
        """The top set."""
        return top_set(self.smoothed, self.k)


def attack(smoothing: Smoothing, target: Target, seed: Sequence[int], effort: Effort = Effort()) -> Array:
    """The point [n] with |point - x|_2 <= rho whose map keeps the least of the target's top set.

    Args:
        smoothing: with exactly one count.
        seed: of the attack's own samples.
    """
    rng, label = np.random.default_rng(list(seed)), target.label
    best, best_key = target.x, _quality(smoothing, target.x, target.inside, effort.draws, rng)
    for point in _candidates(smoothing, target, effort, rng):
        if label is not None and int(np.argmax(smoothing.classifier.evaluate(point[None])[0])) != label:
            continue
        key = _quality(smoothing, point, target.inside, effort.draws, rng)
        if key < best_key:
            best, best_key = point, key
    return best


def _candidates(
    smoothing: Smoothing, target: Target, effort: Effort, rng: np.random.Generator
) -> list[Array]:
    x, rho = target.x, target.rho
    found = [x + rho * _unit(rng.standard_normal(len(x))) for _ in range(effort.random)]
    for weights in _objectives(target.smoothed, target.inside):
        move = np.zeros(len(x))
        for step in range(effort.steps):
            standard = rng.standard_normal((effort.draws, len(x)))
            (marks,) = smoothing.marks(x + move, standard)
            score = marks @ weights
            slope = (score - score.mean()) @ standard
            move = rho * _unit(move - rho * _unit(slope) / (1 + step))
            found.append(x + move)
    return found


def _objectives(smoothed: Array, inside: npt.NDArray[np.intp]) -> list[Array]:
    """What is descended on: the sum over the top-K set; and its weakest half against the nearest rivals."""
    whole = np.zeros(len(smoothed))
    whole[inside] = 1.0
    half = (len(inside) + 1) // 2
    order = np.argsort(-smoothed, kind="stable")
    edge = np.zeros(len(smoothed))
    edge[order[len(inside) - half : len(inside)]] = 1.0
    edge[order[len(inside) : len(inside) + half]] = -1.0
    return [whole, edge]


def _quality(
    smoothing: Smoothing, point: Array, inside: npt.NDArray[np.intp], draws: int, rng: np.random.Generator
) -> tuple[int, float]:
    """Overlap of the top sets, then the mass on the original one: the attack wants both small."""
    (marks,) = smoothing.marks(point, rng.standard_normal((draws, len(point))))
    mean = marks.mean(axis=0)
    return worst_overlap(inside, mean), float(mean[inside].sum())


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
