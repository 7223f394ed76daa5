"""label_robustness: the plain baseline of the field, on the classifier alone.

An instance asks for a point of the box with another class. `epsilon_factors` are in units of the smallest
radius at which sampling found one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import LabelChanges
from salver.families.source import PointFamily, RadiusParameters


class LabelRobustnessParameters(RadiusParameters):
    """What a suite may say about this family."""

    most: float = Field(default=0.5, gt=0, description="radius up to which another class is sought")


class LabelRobustness(PointFamily):
    name = "label_robustness"
    title = "no map: can the class change?"
    falsified = LabelChanges.falsified
    parameters = LabelRobustnessParameters
    nothing = ("sampling found another class at no test point", "raise `most` or give epsilons")

    def of_point(
        self, factory: InstanceFactory, point: Point, params: LabelRobustnessParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        posed = factory.pose(point, LabelChanges())
        star = posed.radius(params.most, seed) if params.epsilon_factors else np.inf
        for epsilon in params.radii(star):
            found = posed.extreme(epsilon, seed)
            yield posed.draft(epsilon, found, Vacuity(extreme=found.value))
