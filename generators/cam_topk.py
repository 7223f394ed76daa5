"""cam_topk: the k most activated pixels of a class activation map stay the same (Gu et al., CORGI, 2020).

An instance asks for a point of the box with xhat's label at which some pixel outside the top-k set of
CAM(xhat) is at or above some pixel inside; with `within`, at which a pixel of that set is no longer among
the first `within`. Points with tied ranks k and k + 1 are passed over. The map is CAM or Grad-CAM.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.families.cam import CamQuery, MapKind
from salver.families.conditions import UndefinedConditionError
from salver.families.generator import Generator, InstanceDraft
from salver.families.sampling import significant
from salver.families.source import NetworkParameters, over_points
from salver.families.vanilla import Point, VanillaQuery


class CamTopkParameters(NetworkParameters):
    """What a suite may say about this family."""

    epsilons: tuple[float, ...] = Field(default=(), description="radii of the input box")
    epsilon_factors: tuple[float, ...] = Field(default=(), description="radii in the sampled attack radius")
    most: float = Field(default=0.1, gt=0, description="radius up to which the attack radius is sought")
    k: int = Field(default=15, gt=0, description="size of the top-k set")
    within: int | None = Field(default=None, gt=0, description="k2: the set must stay inside the top k2")
    map: MapKind = Field(default="cam", description="needs a pooling (cam) or a dense head (grad-cam)")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")
    same_label: bool = Field(default=True, description="the label of xhat must be kept")


class CamTopk(Generator):
    name = "cam_topk"
    title = "the top pixels of the class activation map stay the same"
    parameters = CamTopkParameters

    def instances(self, params: CamTopkParameters, seed: int) -> Iterator[InstanceDraft]:
        where = f"cam_topk on {params.network}"
        if not params.epsilons and not params.epsilon_factors:
            raise SalverError("neither epsilons nor epsilon_factors given", where, "give one of them")
        if params.within is not None and params.within < params.k:
            what = f"a top-{params.k} set is never inside a top-{params.within} set"
            raise SalverError(what, where, "choose within >= k")
        nothing = (
            "no test point has a top-k set without ties that an attack can change",
            "choose another k, or raise `most`",
        )
        yield from over_points(
            params, seed, self.name, lambda source, point: _of_point(source, point, params, seed), nothing
        )


def _of_point(
    source: VanillaQuery, point: Point, params: CamTopkParameters, seed: int
) -> Iterator[InstanceDraft]:
    query = CamQuery(source, point, params.k, params.same_label, params.within, params.map)
    try:
        radius = query.attack_radius(params.most, seed)
    except UndefinedConditionError:
        return
    relative = [significant(f * radius) for f in params.epsilon_factors if np.isfinite(radius)]
    for epsilon in dict.fromkeys([*params.epsilons, *relative]):
        yield query.draft(epsilon, radius, seed, params.enumerate)
