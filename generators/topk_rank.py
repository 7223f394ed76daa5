"""topk_rank: whether the k most salient features stay the same (R2ET, Chen et al., NeurIPS 2024).

An instance asks for a point of the box around xhat with the same label at which members of the top-k set
of |E(xhat)| have left it. Points whose ranks k and k + 1 are tied, which includes a constant saliency, are
passed over, and so are boxes on which fewer than `min_open` ReLUs can change their sign by bounds: with
none the saliency is constant and the answer trivially `unsat`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.families.conditions import UndefinedConditionError
from salver.families.generator import Generator, InstanceDraft, Parameters
from salver.families.ranking import RankingSource
from salver.families.sampling import significant
from salver.families.source import classifier_and_data, correct_points
from salver.families.vanilla import Point
from salver.nets.onnx.file import network_name


class TopkRankParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    stay: int | None = Field(default=None, gt=0, description="members that must stay; all k when not given")
    gradient: Literal["logit", "difference"] = Field(
        default="logit", description="of the label, or minus next"
    )
    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in sampled epsilon*")
    most: float = Field(default=0.3, gt=0, description="radius up to which epsilon* is sought")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")
    min_open: int = Field(default=1, ge=0, description="ReLUs that bounds must leave open on a box")


class TopkRank(Generator):
    name = "topk_rank"
    title = "the k most salient features stay the same (ranking of |gradient|)"
    parameters = TopkRankParameters

    def instances(self, params: TopkRankParameters, seed: int) -> Iterator[InstanceDraft]:
        where = f"topk_rank on {params.network}"
        leave = _checked(params, where)
        classifier, data = classifier_and_data(
            params.network, params.dataset, seed, params.data_dir, self.name
        )
        name = network_name(Path(params.network))
        source = RankingSource(classifier, name, data.name, data.input_shape, data.clip)
        used = 0
        for index in correct_points(classifier, data, seed)[params.skip :]:
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            drafts = list(_of_point(source, point, leave, params, seed))
            yield from drafts
            used += bool(drafts)
            if used == params.points:
                return
        if used == 0:
            what = "no test point has a top-k set without ties and a box in which it can change"
            raise SalverError(what, where, "choose another k, larger radii or another network")


def _checked(params: TopkRankParameters, where: str) -> int:
    """How many members must be gone, of options that fit together."""
    if not params.epsilons and not params.epsilon_factors:
        raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
    if not all(np.isfinite(v) and v > 0 for v in (*params.epsilons, *params.epsilon_factors)):
        raise SalverError("a radius is not positive", where, "give numbers above 0")
    stay = params.k if params.stay is None else params.stay
    if stay > params.k:
        raise SalverError(f"{stay} of {params.k} members cannot stay", where, "choose stay <= k")
    return params.k - stay + 1


def _of_point(
    source: RankingSource, point: Point, leave: int, params: TopkRankParameters, seed: int
) -> Iterator[InstanceDraft]:
    try:
        query = source.query(point, params.k, leave, params.gradient == "difference")
    except UndefinedConditionError:
        return
    found = source.epsilon_star(query, params.most, seed)
    relative = [f * found.value for f in params.epsilon_factors if np.isfinite(found.value)]
    for epsilon in dict.fromkeys([*params.epsilons, *map(significant, relative)]):
        if source.open_neurons(point, epsilon) >= params.min_open:
            yield source.draft(query, epsilon, found, seed, exact=params.enumerate)
