"""topk_rank: whether the k most salient features stay the same (R2ET, Chen et al., NeurIPS 2024).

An instance asks for a point of the box around xhat with the same label at which members of the top-k set
of |E(xhat)| have left it. Points whose ranks k and k + 1 are tied, which includes a constant saliency, are
passed over, and so are boxes on which fewer than `min_open` ReLUs can change their sign by bounds: with
none the saliency is constant and the answer trivially `unsat`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from salver.explain.gradient import Gradient
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.questions import TopKChanges
from salver.families.ranking_measures import epsilon_star, open_neurons, ranking_draft
from salver.families.source import PointFamily, RadiusParameters


class TopkRankParameters(RadiusParameters):
    """What a suite may say about this family."""

    k: int = Field(default=5, gt=0, description="size of the top-k set")
    stay: int | None = Field(default=None, gt=0, description="members that must stay; all k when not given")
    gradient: Literal["logit", "difference"] = Field(
        default="logit", description="of the label's logit, or of its difference to the runner-up's"
    )
    most: float = Field(default=0.3, gt=0, description="radius up to which epsilon* is sought")
    min_open: int = Field(default=1, ge=0, description="ReLUs that bounds must leave open on a box")


class TopkRank(PointFamily):
    name = "topk_rank"
    title = "gradient: can the set of its k largest entries change?"
    falsified = TopKChanges.falsified
    parameters = TopkRankParameters
    nothing = (
        "no test point has a top-k set without ties and a box in which it can change",
        "choose another k, larger radii or another network",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: TopkRankParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        runner_up = factory.runner_up(point) if params.gradient == "difference" else None
        question = TopKChanges(k=params.k, stay=params.stay)
        posed = factory.pose(point, question, Gradient(logit=point.label, minus=runner_up, absolute=True))
        found = epsilon_star(posed, params.most, seed)
        for epsilon in params.radii(found.value):
            if open_neurons(posed, epsilon) >= params.min_open:
                yield ranking_draft(posed, epsilon, found, seed)
