"""label_robustness: the plain baseline of the field, on the classifier alone.

An instance asks for a point of the box with another class. `epsilon_factors` are in units of the smallest
radius at which sampling found one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from salver.errors import SalverError
from salver.generator import Generator, InstanceDraft, Parameters
from salver.saliency.peers import Neighbourhood, label_draft, label_radius
from salver.saliency.sampling import significant
from salver.saliency.source import classifier_and_data, correct_points
from salver.saliency.vanilla import Point, VanillaQuery


class LabelRobustnessParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key, or the path of an ONNX classifier")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in the smallest one sampled")
    most: float = Field(default=0.5, gt=0, description="radius up to which another class is sought")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")


class LabelRobustness(Generator):
    name = "label_robustness"
    title = "another class in the box (the plain baseline)"
    parameters = LabelRobustnessParameters

    def instances(self, params: LabelRobustnessParameters, seed: int) -> Iterator[InstanceDraft]:
        classifier, data = classifier_and_data(
            params.network, params.dataset, seed, params.data_dir, self.name
        )
        name = Path(params.network).stem
        source = VanillaQuery(classifier, name, data.name, data.input_shape, data.clip)
        used = 0
        for index in correct_points(classifier, data, seed)[params.skip :]:
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            drafts = list(_of_point(source, point, params, seed))
            yield from drafts
            used += bool(drafts)
            if used == params.points:
                return
        if used == 0:
            raise SalverError(
                "sampling found another class at no test point",
                f"label_robustness on {params.network}",
                "raise `most` or give epsilons",
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
