"""label_robustness: the plain baseline of the field, on the classifier alone.

An instance asks for a point of the box with another class. `epsilon_factors` are in units of the smallest
radius at which sampling found one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.families.generator import Generator, InstanceDraft
from salver.families.peers import Neighbourhood, label_draft, label_radius
from salver.families.sampling import significant
from salver.families.source import NetworkParameters, over_points
from salver.families.vanilla import Point, VanillaQuery


class LabelRobustnessParameters(NetworkParameters):
    """What a suite may say about this family."""

    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in the smallest one sampled")
    most: float = Field(default=0.5, gt=0, description="radius up to which another class is sought")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")


class LabelRobustness(Generator):
    name = "label_robustness"
    title = "another class in the box (the plain baseline)"
    parameters = LabelRobustnessParameters

    def instances(self, params: LabelRobustnessParameters, seed: int) -> Iterator[InstanceDraft]:
        nothing = ("sampling found another class at no test point", "raise `most` or give epsilons")
        yield from over_points(
            params, seed, self.name, lambda source, point: _of_point(source, point, params, seed), nothing
        )


def _of_point(
    source: VanillaQuery, point: Point, params: LabelRobustnessParameters, seed: int
) -> Iterator[InstanceDraft]:
    if not params.epsilons and not params.epsilon_factors:
        where = f"label_robustness on {source.name}"
        raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
    smallest = label_radius(source, point, params.most, seed) if params.epsilon_factors else np.inf
    relative = [significant(f * smallest) for f in params.epsilon_factors if np.isfinite(smallest)]
    for epsilon in dict.fromkeys([*params.epsilons, *relative]):
        place = Neighbourhood.of(source, point, epsilon)
        yield label_draft(place, place.nearest_class(seed), params.enumerate)
