"""smoothgrad_topk: ranking stability of SmoothGrad with fixed noise draws (sibling of Levine et al., 2019).

An instance asks for a point of the box around xhat with the same label at which some entry outside the
top-k set of xhat's SmoothGrad map is at or above an entry inside it. Points with a tie at rank k are passed
over. The probabilistic certificate of the paper is `salver bench smoothgrad`, apart from these proofs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from salver.explain.smoothgrad import Noise, SmoothGrad
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.questions import TopKChanges
from salver.families.rays import along_rays
from salver.families.source import PointFamily, RadiusParameters


class SmoothGradTopKParameters(RadiusParameters):
    """What a suite may say about this family."""

    points: int = Field(default=10, gt=0, description="how many test points to use")
    draws: int = Field(default=4, ge=2, le=8, description="noise draws q of the mean")
    sigma: float = Field(default=0.1, gt=0, description="standard deviation of the noise")
    noise_seed: int = Field(default=0, ge=0, description="seed of the noise")
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    map: Literal["abs", "raw"] = Field(default="abs", description="rank absolute values, or signed ones")
    largest: float = Field(default=0.5, gt=0, description="largest radius searched for a violation")
    smallest: float = Field(default=0.0, ge=0, description="points with a smaller epsilon* are passed over")


class SmoothGradTopK(PointFamily):
    name = "smoothgrad_topk"
    title = "SmoothGrad with fixed noise: can its top-k set change?"
    falsified = "The same as for topk_rank: averaging over noise did not make the top of the map stable."
    parameters = SmoothGradTopKParameters
    nothing = (
        "no test point has a saliency with a strict rank k and a violation within reach",
        "raise largest, or change k or sigma",
    )

    def instances(self, params: SmoothGradTopKParameters, seed: int) -> Iterator[InstanceDraft]:
        self.seen: set[bytes] = set()
        yield from super().instances(params, seed)

    def of_point(
        self, factory: InstanceFactory, point: Point, params: SmoothGradTopKParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        if (same := point.x.tobytes()) in self.seen:
            return
        self.seen.add(same)
        noise = Noise(draws=params.draws, sigma=params.sigma, seed=params.noise_seed)
        explanation = SmoothGrad(logit=point.label, noise=noise, absolute=params.map == "abs")
        posed = factory.pose(point, TopKChanges(k=params.k), explanation)
        found = along_rays(posed, params.largest, seed)
        if found.value >= params.smallest:
            for epsilon in params.radii(found.value):
                yield posed.draft(epsilon, found, Vacuity(epsilon_star_upper=found.finite))
