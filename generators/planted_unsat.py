"""planted_unsat: networks built so that whoever keeps the saliency keeps the class (known unsat).

Without the saliency condition the class does change in the box. The bound is proved in rational arithmetic
for the finished network when the instance is made; no solver takes part.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.planted_unsat import Gating, planted_drafts
from salver.families.source import NetworkParameters, PointFamily


class PlantedUnsatParameters(NetworkParameters):
    """What a suite may say about this family."""

    epsilon: float = Field(gt=0, description="radius of the input box; interval bounds must suffice on it")
    gates: int = Field(default=3, gt=0, description="gates that change the class and the saliency")
    delta_factor: float = Field(
        default=1.0, gt=0, description="delta in units of the largest provable change without gates"
    )


class PlantedUnsat(PointFamily):
    name = "planted_unsat"
    title = "gates that are built in so that there is no counterexample"
    falsified = "That a solver errs: these explanations are robust by construction."
    parameters = PlantedUnsatParameters
    nothing = (
        "interval bounds prove the class at no test point whose saliency moves",
        "lower epsilon, or choose a smaller network",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: PlantedUnsatParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        gating = Gating(params.epsilon, params.gates, params.delta_factor)
        yield from planted_drafts(factory, point, gating, seed)
