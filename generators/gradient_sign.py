"""gradient_sign: whether a gradient entry keeps its sign in a box (monotonicity; Shi et al., NeurIPS 2022).

With s the sign of E_j(xhat), an instance asks for a point with s E_j(x) <= level; level 0 is monotonicity.
`level_factors` place the level between E_j(xhat) (0) and the lowest value sampled (1) and beyond. Features
whose gradient is 0 at xhat or was never seen to move are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.explain.gradient import Gradient
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import SignChanges
from salver.families.search import significant
from salver.families.source import PointFamily, WithinParameters


class GradientSignParameters(WithinParameters):
    """What a suite may say about this family."""

    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box or ball")
    features: tuple[int, ...] = Field(default=(), description="which entries; the largest ones when empty")
    count: int = Field(default=2, gt=0, description="how many of the largest entries")
    levels: tuple[float, ...] = Field(default=(), description="levels as they are; 0 is monotonicity")
    level_factors: tuple[float, ...] = Field(
        default=(), description="levels as shares of the way from xhat's value to the lowest sampled"
    )


class GradientSign(PointFamily):
    name = "gradient_sign"
    title = "gradient: can an entry lose its sign, or fall to a level?"
    falsified = SignChanges.falsified
    parameters = GradientSignParameters
    nothing = ("no test point has a gradient entry that moves", "raise epsilons or choose other features")

    def of_point(
        self, factory: InstanceFactory, point: Point, params: GradientSignParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        gradient = Gradient(logit=point.label)
        at_xhat = factory.explained(gradient).values(point.centre[None])[1][0]
        largest = np.argsort(-np.abs(at_xhat), kind="stable")[: params.count].tolist()
        for epsilon in params.epsilons:
            for entry in params.features or largest:
                posed = factory.pose(point, SignChanges(entry=entry), gradient)
                here, found = abs(float(at_xhat[entry])), posed.extreme(epsilon, seed)
                if here == 0.0 or -found.value >= here:
                    continue
                relative = [significant(here + f * (-found.value - here)) for f in params.level_factors]
                for level in dict.fromkeys([*params.levels, *relative]):
                    vacuity = Vacuity(extreme=found.value)
                    yield posed.asking(level=level).draft(epsilon, found, vacuity)
