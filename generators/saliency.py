"""saliency: any question about any map; every other family is a choice of the two with a search of its own.

    params = { network = "digits-gap", epsilons = [0.01], map = { method = "cam" },
               question = { kind = "entry-moves", delta = 0.5 } }

The map is that of the label of xhat. `epsilon_factors` are in units of the smallest radius at which random
search found what is asked. Points whose map gives the question no meaning are passed over. `maps` and
`questions` are lists of which every pair is asked at every point.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from salver.explain.methods import AnyExplanation
from salver.explain.ranking import UndefinedConditionError
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generator import BY_QUESTION, InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import AnyQuestion
from salver.families.source import PointFamily, RadiusParameters


class SaliencyParameters(RadiusParameters):
    """What a suite may say about this family."""

    map: AnyExplanation | None = Field(default=None, description="method and its entries; none for the class")
    question: AnyQuestion | None = Field(default=None, description="kind of question and its entries")
    maps: tuple[AnyExplanation, ...] = Field(default=(), description="several of `map`")
    questions: tuple[AnyQuestion, ...] = Field(default=(), description="several of `question`")
    most: float = Field(default=0.3, gt=0, description="radius up to which epsilon* is sought")

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.question is None) == (not self.questions):
            raise ValueError("give either question or questions")
        if self.map is not None and self.maps:
            raise ValueError("give either map or maps")
        return self


class Saliency(PointFamily):
    name = "saliency"
    title = "any question about any map"
    falsified = BY_QUESTION
    parameters = SaliencyParameters
    nothing = (
        "the question means something at no test point",
        "raise `most`, or choose another question",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: SaliencyParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        questions = params.questions or (params.question,)
        for chosen, question in product(params.maps or (params.map,), questions):
            assert question is not None
            explanation = chosen and chosen.of(point.label, chosen.minus)
            try:
                posed = factory.pose(point, question, explanation)
                yield from _at_radii(posed, params, seed)
            except UndefinedConditionError:
                continue


def _at_radii(posed: PosedQuestion, params: SaliencyParameters, seed: int) -> Iterator[InstanceDraft]:
    star = posed.radius(params.most, seed) if params.epsilon_factors else np.inf
    for epsilon in params.radii(star):
        found = posed.extreme(epsilon, seed)
        vacuity = Vacuity(epsilon_star_upper=star if np.isfinite(star) else None, extreme=found.value)
        yield posed.draft(epsilon, found, vacuity)
