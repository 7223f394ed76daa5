"""gradient_width: how far the gradient can move in a box (Wicker et al., ICLR 2023).

An instance asks for a point at which some entry of E is delta or more away from E(xhat). Boxes on which
the gradient was never seen to move are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import EntryMoves
from salver.families.search import significant
from salver.families.source import PointFamily, WithinParameters


class GradientWidthParameters(WithinParameters):
    """What a suite may say about this family."""

    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box or ball")
    deltas: tuple[float, ...] = Field(default=(), description="movements as they are")
    delta_factors: tuple[float, ...] = Field(
        default=(), description="movements as shares of the widest one sampled"
    )


class GradientWidth(PointFamily):
    name = "gradient_width"
    title = "gradient: can an entry move by delta?"
    falsified = EntryMoves.falsified
    parameters = GradientWidthParameters
    nothing = ("the gradient moves at no test point", "raise epsilons")

    def of_point(
        self, factory: InstanceFactory, point: Point, params: GradientWidthParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        posed = factory.pose(point, EntryMoves(), Gradient(logit=point.label))
        for epsilon in params.epsilons:
            found = posed.extreme(epsilon, seed)
            if found.value <= 0:
                continue
            relative = [significant(factor * found.value) for factor in params.delta_factors]
            for delta in dict.fromkeys([*params.deltas, *relative]):
                if not (np.isfinite(delta) and delta > 0):
                    raise SalverError(f"delta {delta} is not positive", "gradient_width", "give another")
                vacuity = Vacuity(extreme=found.value)
                yield posed.asking(delta=delta).draft(epsilon, found, vacuity)
