"""Metrics of how far the map moves, in the maximum norm: Max-Sensitivity, Local Lipschitz Estimate, and
Relative Input Stability.

Near a kink of the network a map jumps within no distance at all, so a quotient of changes has no bound over
all inputs of a box. Both quotients are therefore taken over the inputs that are at least a share of the
radius away. A bound then follows from those on the change within boxes of radii R_1 < ... < R_m = epsilon:
an input between R_i and R_(i+1) away has a quotient of at most (largest change within R_(i+1)) / R_i.
"""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.explain.ranking import UndefinedConditionError
from salver.metrics.metric import METRICS, Array, Certifier, Criterion, Here, Metric, Seen

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
        return certifier.most_change(_largest(here), here.epsilon)

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same with Euclidean norms."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1) / np.linalg.norm(here.map)
        return float(moved.max())


class _Quotient(Metric):
    """A change of the map by a change of the input.

    Attributes:
        nearest: inputs count that are at least this share of the radius away.
    """

    nearest: float = Field(default=0.5, gt=0, lt=1)

    def far(self, here: Here, seen: Seen, values: Array) -> Array:
        """The values of inputs that are far enough away; NaN for others."""
        return np.where(here.distances(seen.x) >= self.nearest * here.epsilon, values, np.nan)

    def shells(self, epsilon: float) -> list[tuple[float, float]]:
        """Inner and outer radii that together reach from the nearest input that counts to the farthest."""
        least = self.nearest * epsilon
        count = max(1, math.ceil(-math.log2(self.nearest) - 1e-9))
        ends = [max(least, epsilon / 2**step) for step in range(count + 1)]
        return [(inner, outer) for outer, inner in itertools.pairwise(ends)]


@METRICS.register
class LocalLipschitz(_Quotient):
    """The largest change of an entry of the map by the largest change of an entry of the input."""

    kind: Literal["local-lipschitz"] = "local-lipschitz"
    title = "Local Lipschitz Estimate"
    criterion = Criterion.SENSITIVITY
    formula = "max_j |E_j(x) - E_j(xhat)| / max_i |x_i - xhat_i|, for x at least `nearest` * epsilon away"

    def values(self, here: Here, seen: Seen) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = here.changes(seen.maps, np.ones_like(here.map)) / here.distances(seen.x)
        return self.far(here, seen, quotients)

    def certified(self, here: Here, certifier: Certifier) -> float:
        if not here.map.any():
            weights, scale = np.ones_like(here.map), 1.0
        else:
            weights, scale = _largest(here), float(np.abs(here.map).max())
        bounds = (
            certifier.most_change(weights, outer) * scale / inner
            for inner, outer in self.shells(here.epsilon)
        )
        return _above(max(bounds))

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same over all inputs, with Euclidean norms and without normalising the maps."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1)
        return float((moved / (np.linalg.norm(seen.x - here.x, axis=1) + SMALLEST)).max())


@METRICS.register
class RelativeInputStability(_Quotient):
    """The largest relative change of an entry of the map by the largest relative change of the input.

    Attributes:
        least: what stands in for an entry that is 0 where it would be divided by.
    """

    kind: Literal["relative-input-stability"] = "relative-input-stability"
    title = "Relative Input Stability"
    criterion = Criterion.SENSITIVITY
    formula = (
        "max_j |(E_j(x) - E_j(xhat)) / E_j(xhat)| / max_i |(x_i - xhat_i) / xhat_i|, with `least` for an "
        "entry that is 0, for x at least `nearest` * epsilon away"
    )
    least: float = Field(default=1e-6, gt=0, allow_inf_nan=False)

    def sizes(self, entries: Array) -> Array:
        """What changes of the entries are divided by."""
        return np.where(entries == 0, self.least, np.abs(entries))

    def values(self, here: Here, seen: Seen) -> Array:
        moved = (np.abs(seen.x - here.x) / self.sizes(here.x)).max(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            quotients = here.changes(seen.maps, self.sizes(here.map)) / moved
        return self.far(here, seen, quotients)

    def hopeful(self, here: Here) -> npt.NDArray[np.bool_]:
        """Entries that are not 0: a change of the others is divided by next to nothing."""
        return np.asarray(here.x != 0)

    def certified(self, here: Here, certifier: Certifier) -> float:
        # An input that is d away has an entry with a relative change of at least d / largest.
        weights, largest = self.sizes(here.map), float(self.sizes(here.x).max())
        bounds = (
            certifier.most_change(weights, outer) * largest / inner
            for inner, outer in self.shells(here.epsilon)
        )
        return _above(max(bounds))

    def of_original(self, here: Here, seen: Seen) -> float:
        """The same over all inputs, with Euclidean norms, whatever class the inputs have."""
        map_moved = np.linalg.norm((seen.maps - here.map) / self.sizes(here.map), axis=1)
        moved = np.linalg.norm((seen.x - here.x) / self.sizes(here.x), axis=1)
        return float((map_moved / np.where(moved == 0, self.least, moved)).max())


def _largest(here: Here) -> Array:
    """The largest size of an entry, for every entry [s]."""
    return np.full_like(here.map, np.abs(here.map).max())


def _above(value: float) -> float:
    """No less than the exact value of a few roundings that led to this one."""
    return value * (1 + 1e-12)
