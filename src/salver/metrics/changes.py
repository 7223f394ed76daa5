"""Metrics of how far the map moves: Max-Sensitivity, Local Lipschitz Estimate, Relative Input Stability."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from salver.explain.ranking import UndefinedConditionError
from salver.metrics.metric import (
    METRICS,
    Array,
    Certifier,
    Criterion,
    Evaluated,
    ExplainedInput,
    Metric,
    Neighbourhood,
)
from salver.metrics.quotient import Quotient

SMALLEST = 1e-10
"""What Quantus adds to the denominator of its Lipschitz estimate."""


@METRICS.register
class MaxSensitivity(Metric):
    """The largest change of an entry, as a share of the map's largest entry."""

    kind: Literal["max-sensitivity"] = "max-sensitivity"
    title = "Max-Sensitivity"
    criterion = Criterion.SENSITIVITY
    formula = "max_j |E_j(x) - E_j(xhat)| / max_j |E_j(xhat)|"

    def refuse_undefined(self, here: ExplainedInput) -> None:
        if not here.map.any():
            what = "all entries of the map are 0"
            raise UndefinedConditionError(what, self.kind, "choose another point")

    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        return here.changes(seen.maps, _largest(here))

    def certified(self, here: ExplainedInput, certifier: Certifier) -> float:
        return certifier.most_change(_largest(here), here.within(here.epsilon))

    def of_original(self, here: ExplainedInput, seen: Evaluated) -> float:
        """The same with Euclidean norms."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1) / np.linalg.norm(here.map)
        return float(moved.max())


@METRICS.register
class LocalLipschitz(Quotient):
    """The largest change of an entry of the map by the distance of the input.

    Attributes:
        nearest: inputs count that are at least this share of the radius away.
    """

    kind: Literal["local-lipschitz"] = "local-lipschitz"
    title = "Local Lipschitz Estimate"
    criterion = Criterion.SENSITIVITY
    formula = "max_j |E_j(x) - E_j(xhat)| / |x - xhat|, for x at least `nearest` * epsilon away"
    nearest: float = Field(default=0.5, gt=0, lt=1)

    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        distances = here.distances(seen.x)
        far = distances >= self.nearest * here.epsilon
        moved = here.changes(seen.maps, np.ones_like(here.map))
        return np.where(far, moved / np.where(far, distances, 1.0), np.nan)

    def scaled(self, here: ExplainedInput) -> tuple[Array, float]:
        if not here.map.any():
            return np.ones_like(here.map), 1.0
        return _largest(here), float(np.abs(here.map).max())

    def ends(self, here: ExplainedInput) -> tuple[float, float]:
        return self.nearest * here.epsilon, here.epsilon

    def distances(self, here: ExplainedInput, x: Array) -> Array:
        return here.distances(x)

    def near(self, here: ExplainedInput, distance: float) -> Neighbourhood:
        return here.within(distance)

    def of_original(self, here: ExplainedInput, seen: Evaluated) -> float:
        """The same over all inputs, with Euclidean norms and without normalising the maps."""
        moved = np.linalg.norm(seen.maps - here.map, axis=1)
        return float((moved / (np.linalg.norm(seen.x - here.x, axis=1) + SMALLEST)).max())


@METRICS.register
class RelativeInputStability(Quotient):
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

    def values(self, here: ExplainedInput, seen: Evaluated) -> Array:
        counted = np.maximum(self.distances(here, seen.x), self.floor)
        return np.asarray(here.changes(seen.maps, self.sizes(here.map)) / counted)

    def scaled(self, here: ExplainedInput) -> tuple[Array, float]:
        return self.sizes(here.map), 1.0

    def ends(self, here: ExplainedInput) -> tuple[float, float]:
        return self.floor, float((here.epsilon / self.sizes(here.x)).max())

    def distances(self, here: ExplainedInput, x: Array) -> Array:
        return np.asarray((np.abs(x - here.x) / self.sizes(here.x)).max(axis=1))

    def near(self, here: ExplainedInput, distance: float) -> Neighbourhood:
        return Neighbourhood(np.minimum(here.epsilon, distance * self.sizes(here.x)), here.epsilon)

    def of_original(self, here: ExplainedInput, seen: Evaluated) -> float:
        """The same without a floor and with Euclidean norms, whatever class the inputs have."""
        map_moved = np.linalg.norm((seen.maps - here.map) / self.sizes(here.map), axis=1)
        moved = np.linalg.norm((seen.x - here.x) / self.sizes(here.x), axis=1)
        return float((map_moved / np.where(moved == 0, self.least, moved)).max())


def _largest(here: ExplainedInput) -> Array:
    """The largest size of an entry, for every entry [s]."""
    return np.full_like(here.map, np.abs(here.map).max())
