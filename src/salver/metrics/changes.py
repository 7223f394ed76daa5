"""Metrics of how far the map moves, in the maximum norm: Max-Sensitivity, Local Lipschitz Estimate, and
Relative Input Stability.

Near a kink of the network a map jumps within no distance at all, so a quotient of changes has no bound over
all inputs of a box. The first quotient is therefore taken over the inputs that are at least a share of the
radius away, and in the second a change of the input counts as no less than a floor. Bounds follow from those
on the change within smaller boxes: with radii R_1 < ... < R_m = epsilon, an input between R_i and R_(i+1)
away has a quotient of at most (largest change within R_(i+1)) / R_i.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
from pydantic import Field

from salver.explain.ranking import UndefinedConditionError
from salver.metrics.metric import METRICS, Array, Certifier, Criterion, Here, Metric, Seen

SHELL = 4.0
"""From one relative change to the next."""
SMALLEST = 1e-10
"""What Quantus adds to the denominator of its Lipschitz estimate."""


@METRICS.register
class MaxSensitivity(Metric):
    """The largest change of an entry, as a share of the map's largest entry."""

    kind: Literal["max-sensitivity"] = "max-sensitivity"
    title = "Max-Sensitivity"
    criterion = Criterion.SENSITIVITY
    formula = "max_j |E_j(x) - E_j(xhat)| / max_j |E_j(xhat)|"

    def refuse_undefined(self, here: Here) -> None:
        if not here.map.any():
            what = "all entries of the map are 0"
            raise UndefinedConditionError(what, self.kind, "choose another point")

    def values(self, here: Here, seen: Seen) -> Array:
        return here.changes(seen.maps, _largest(here))

    def certified(self, here: Here, certifier: Certifier) -> float:
        return certifier.most_change(_largest(here), np.full(len(here.x), here.epsilon))

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same with Euclidean norms."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1) / np.linalg.norm(here.map)
        return float(moved.max())


@METRICS.register
class LocalLipschitz(Metric):
    """The largest change of an entry of the map by the largest change of an entry of the input.

    Attributes:
        nearest: inputs count that are at least this share of the radius away.
    """

    kind: Literal["local-lipschitz"] = "local-lipschitz"
    title = "Local Lipschitz Estimate"
    criterion = Criterion.SENSITIVITY
    formula = "max_j |E_j(x) - E_j(xhat)| / max_i |x_i - xhat_i|, for x at least `nearest` * epsilon away"
    nearest: float = Field(default=0.5, gt=0, lt=1)

    def shells(self, epsilon: float) -> list[tuple[float, float]]:
        """Inner and outer radii that together reach from the nearest input that counts to the farthest."""
        least = self.nearest * epsilon
        count = max(1, math.ceil(-math.log2(self.nearest) - 1e-9))
        ends = [max(least, epsilon / 2**step) for step in range(count + 1)]
        return [(inner, outer) for outer, inner in itertools.pairwise(ends)]

    def values(self, here: Here, seen: Seen) -> Array:
        distances = here.distances(seen.x)
        far = distances >= self.nearest * here.epsilon
        moved = here.changes(seen.maps, np.ones_like(here.map))
        return np.where(far, moved / np.where(far, distances, 1.0), np.nan)

    def certified(self, here: Here, certifier: Certifier) -> float:
        if not here.map.any():
            weights, scale = np.ones_like(here.map), 1.0
        else:
            weights, scale = _largest(here), float(np.abs(here.map).max())
        bounds = (
            certifier.most_change(weights, np.full(len(here.x), outer)) * scale / inner
            for inner, outer in self.shells(here.epsilon)
        )
        return _above(max(bounds))

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same over all inputs, with Euclidean norms and without normalising the maps."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1)
        return float((moved / (np.linalg.norm(seen.x - here.x, axis=1) + SMALLEST)).max())


@METRICS.register
class RelativeInputStability(Metric):
    """The largest relative change of an entry of the map by the largest relative change of the input.

    Attributes:
        floor: a relative change of the input counts as at least this, as in the paper (Agarwal et al., 2022).
        least: what stands in for an entry that is 0 where it would be divided by, as in Quantus.
    """

    kind: Literal["relative-input-stability"] = "relative-input-stability"
    title = "Relative Input Stability"
    criterion = Criterion.SENSITIVITY
    formula = (
        "max_j |(E_j(x) - E_j(xhat)) / E_j(xhat)| / max(max_i |(x_i - xhat_i) / xhat_i|, `floor`), with "
        "`least` for an entry that is 0"
    )
    floor: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    least: float = Field(default=1e-6, gt=0, allow_inf_nan=False)

    def sizes(self, entries: Array) -> Array:
        """What changes of the entries are divided by."""
        return np.where(entries == 0, self.least, np.abs(entries))

    def values(self, here: Here, seen: Seen) -> Array:
        moved = (np.abs(seen.x - here.x) / self.sizes(here.x)).max(axis=1)
        return np.asarray(here.changes(seen.maps, self.sizes(here.map)) / np.maximum(moved, self.floor))

    def reach(self, here: Here, change: float) -> Array:
        """By how much every entry may change so that no relative change is larger."""
        return np.minimum(here.epsilon, change * self.sizes(here.x))

    def hopeful(self, here: Here) -> list[Array]:
        changes = (self.floor * SHELL**step for step in range(4))
        return [*super().hopeful(here), *(self.reach(here, change) for change in changes)]

    def certified(self, here: Here, certifier: Certifier) -> float:
        """From bounds on the change of the map where the relative change of the input is below d, 4 d, ...

        What is further away than that needs no bound of its own as soon as the one for the whole box will do.
        """
        weights, inner, worst = self.sizes(here.map), self.floor, 0.0
        anywhere = certifier.most_change(weights, np.full(len(here.x), here.epsilon))
        farthest = float((here.epsilon / self.sizes(here.x)).max())
        while inner < farthest and anywhere / inner > worst:
            within = certifier.most_change(weights, self.reach(here, SHELL * inner))
            worst = max(worst, min(within, anywhere) / inner)
            inner *= SHELL
        return _above(max(worst, anywhere / inner))

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same without a floor and with Euclidean norms, whatever class the inputs have."""
        map_moved = np.linalg.norm((seen.maps - here.map) / self.sizes(here.map), axis=1)
        moved = np.linalg.norm((seen.x - here.x) / self.sizes(here.x), axis=1)
        return float((map_moved / np.where(moved == 0, self.least, moved)).max())


def _largest(here: Here) -> Array:
    """The largest size of an entry, for every entry [s]."""
    return np.full_like(here.map, np.abs(here.map).max())


def _above(value: float) -> float:
    """No less than the exact value of a few roundings that led to this one."""
    return value * (1 + 1e-12)
