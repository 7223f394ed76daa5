"""smoothgrad_topk: ranking stability of SmoothGrad with fixed noise draws (sibling of Levine et al., 2019).

An instance asks for a point of the box around xhat with the same label at which some entry outside the
top-k set of xhat's SmoothGrad map is at or above an entry inside it. Points with a tie at rank k are passed
over. The probabilistic certificate of the paper is `salver bench smoothgrad`, apart from these proofs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.smoothgrad import Noise
from salver.families.conditions import UndefinedConditionError
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.sampling import significant
from salver.families.smoothgrad import SmoothGradQuery
from salver.families.source import classifier_and_data, correct_points
from salver.families.vanilla import Point
from salver.nets.onnx.file import network_name


class SmoothGradTopKParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=10, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    draws: int = Field(default=4, ge=2, le=8, description="noise draws q of the mean")
    sigma: float = Field(default=0.1, gt=0, description="standard deviation of the noise")
    noise_seed: int = Field(default=0, ge=0, description="seed of the noise")
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    map: Literal["abs", "raw"] = Field(default="abs", description="rank absolute values, or signed ones")
    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box as they are")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in sampled epsilon*")
    largest: float = Field(default=0.5, gt=0, description="largest radius searched for a violation")
    smallest: float = Field(default=0.0, ge=0, description="points with a smaller epsilon* are passed over")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")


class SmoothGradTopK(Generator):
    name = "smoothgrad_topk"
    title = "top-k set of SmoothGrad with fixed noise draws, label kept"
    parameters = SmoothGradTopKParameters

    def instances(self, params: SmoothGradTopKParameters, seed: int) -> Iterator[InstanceDraft]:
        if not params.epsilons and not params.epsilon_factors:
            raise SalverError(
                "neither epsilons nor epsilon_factors given", "smoothgrad_topk", "give one of them"
            )
        classifier, data = classifier_and_data(
            params.network, params.dataset, seed, params.data_dir, self.name
        )
        noise = Noise(draws=params.draws, sigma=params.sigma, seed=params.noise_seed)
        query = SmoothGradQuery(
            classifier,
            network_name(Path(params.network)),
            data.name,
            data.input_shape,
            data.clip,
            noise,
            params.map,
            params.k,
        )
        used, seen = 0, set[bytes]()
        for index in correct_points(classifier, data, seed)[params.skip :]:
            if (same := data.test_x[index].tobytes()) in seen:
                continue
            seen.add(same)
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            drafts = list(_of_point(query, point, params, seed))
            yield from drafts
            used += bool(drafts)
            if used == params.points:
                return
        if used == 0:
            what = "no test point has a saliency with a strict rank k and a violation within reach"
            raise SalverError(
                what, f"smoothgrad_topk on {params.network}", "raise largest, or change k or sigma"
            )


def _of_point(
    query: SmoothGradQuery, point: Point, params: SmoothGradTopKParameters, seed: int
) -> Iterator[InstanceDraft]:
    try:
        ranking = query.rank(point, params.largest, seed)
    except UndefinedConditionError:
        return
    star = ranking.found.value
    if star < params.smallest:
        return
    relative = [significant(f * star) for f in params.epsilon_factors if np.isfinite(star)]
    for epsilon in dict.fromkeys([*params.epsilons, *relative]):
        yield query.draft(ranking, epsilon, exact=params.enumerate)
