"""cam_topk: the k most activated pixels of a class activation map stay the same (Gu et al., CORGI, 2020).

An instance asks for a point of the box with xhat's label at which some pixel outside the top-k set of
CAM(xhat) is at or above some pixel inside. Points with tied ranks k and k + 1 are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from salver.errors import SalverError
from salver.generator import Generator, InstanceDraft, Parameters
from salver.saliency.cam_query import CamQuery
from salver.saliency.conditions import UndefinedConditionError
from salver.saliency.sampling import significant
from salver.saliency.source import classifier_and_data, correct_points
from salver.saliency.vanilla import Point, VanillaQuery


class CamTopkParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key or an ONNX classifier, with global average pooling")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=10, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in the sampled attack radius")
    most: float = Field(default=0.1, gt=0, description="radius up to which the attack radius is sought")
    k: int = Field(default=15, gt=0, description="size of the top-k set")
    same_label: bool = Field(default=True, description="the label of xhat must be kept")


class CamTopk(Generator):
    name = "cam_topk"
    title = "the top pixels of the class activation map stay the same"
    parameters = CamTopkParameters

    def instances(self, params: CamTopkParameters, seed: int) -> Iterator[InstanceDraft]:
        where = f"cam_topk on {params.network}"
        if not params.epsilons and not params.epsilon_factors:
            raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
        classifier, data = classifier_and_data(
            params.network, params.dataset, seed, params.data_dir, self.name
        )
        name = Path(params.network).stem
        source = VanillaQuery(classifier, name, data.name, data.input_shape, data.clip)
        used = 0
        for index in correct_points(classifier, data, seed)[params.skip :]:
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            drafts = list(_of_point(CamQuery(source, point, params.k, params.same_label), params, seed))
            yield from drafts
            used += bool(drafts)
            if used == params.points:
                return
        if used == 0:
            what = "no test point has a top-k set without ties that an attack can change"
            raise SalverError(what, where, "choose another k, or raise `most`")


def _of_point(query: CamQuery, params: CamTopkParameters, seed: int) -> Iterator[InstanceDraft]:
    try:
        radius = query.attack_radius(params.most, seed)
    except UndefinedConditionError:
        return
    relative = [significant(f * radius) for f in params.epsilon_factors if np.isfinite(radius)]
    for epsilon in dict.fromkeys([*params.epsilons, *relative]):
        yield query.draft(epsilon, radius, seed)
