"""cam_topk: the k most activated pixels of a class activation map stay the same (Gu et al., CORGI, 2020).

An instance asks for a point of the box with xhat's label at which some pixel outside the top-k set of
CAM(xhat) is at or above some pixel inside; with `within`, at which a pixel of that set is no longer among
the first `within`. Points with tied ranks k and k + 1 are passed over. The map is CAM, Grad-CAM, HiResCAM or
LayerCAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, StrictInt

from salver.explain.activation_map import LayerMap
from salver.explain.cam import Cam
from salver.explain.grad_cam import GradCam
from salver.explain.hirescam import HiResCam
from salver.explain.layercam import LayerCam
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import TopKChanges
from salver.families.source import PointFamily, RadiusParameters


class CamTopkParameters(RadiusParameters):
    """What a suite may say about this family."""

    most: float = Field(default=0.1, gt=0, description="radius up to which epsilon* is sought")
    k: int = Field(default=15, gt=0, description="size of the top-k set")
    within: int | None = Field(default=None, gt=0, description="k2: the set must stay inside the top k2")
    map: Literal["cam", "grad-cam", "grad-cam-relu", "hirescam", "layercam"] = Field(
        default="cam", description="cam needs a pooling; the others take any network with convolutions"
    )
    layer: StrictInt | str | None = Field(
        default=None, description="name or number of a tensor over an image; the last ReLU by default"
    )
    same_label: bool = Field(default=True, description="the label of xhat must be kept")


class CamTopk(PointFamily):
    name = "cam_topk"
    title = "activation map: can its top pixels change?"
    falsified = (
        "The network seems to look at other pixels of a nearly equal image, though its class is the same."
    )
    parameters = CamTopkParameters
    nothing = (
        "no test point has a top-k set without ties that an attack can change",
        "choose another k, or raise `most`",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: CamTopkParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        question = TopKChanges(k=params.k, within=params.within, same_label=params.same_label)
        posed = factory.pose(point, question, _map(params).of(point.label))
        radius = posed.radius(params.most, seed)
        vacuity = Vacuity(epsilon_star_upper=radius if np.isfinite(radius) else None)
        name = None if posed.question.extra_outputs else "{map}-i{index}-e{epsilon:g}-{stem}"
        for epsilon in params.radii(radius):
            found = posed.extreme(epsilon, seed)
            yield posed.draft(epsilon, found, vacuity, name=name)


def _map(params: CamTopkParameters) -> LayerMap:
    match params.map:
        case "cam":
            return Cam(layer=params.layer)
        case "hirescam":
            return HiResCam(layer=params.layer)
        case "layercam":
            return LayerCam(layer=params.layer)
        case _:
            return GradCam(layer=params.layer, rectified=params.map == "grad-cam-relu")
