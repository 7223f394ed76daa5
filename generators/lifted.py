"""lifted: any question about any map, on the networks and boxes of a VNN-COMP benchmark.

    params = { benchmark = "acasxu", factors = [0.1], map = { method = "gradient" },
               question = { kind = "top-k-changes", k = 2 } }

xhat is the middle of a query's box, or a point of your own; the box is that of the query, whole or scaled
around xhat by a factor. The map is that of the class at xhat. `delta_shares` are tolerances in units of the
largest entry of the map at xhat. Boxes whose map gives the question no meaning are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.methods import AnyExplanation
from salver.explain.ranking import UndefinedConditionError
from salver.families.boxes import NamedBox, benchmark_folder, boxed_networks, point_in
from salver.families.factory import Box, InstanceFactory, Point, PosedQuestion
from salver.families.generator import BY_QUESTION, Generator, InstanceDraft, Parameters
from salver.families.instance import Vacuity
from salver.families.questions import AnyQuestion
from salver.families.search import significant

_Share = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LiftedParameters(Parameters):
    """What a suite may say about this family."""

    benchmark: str = Field(description="a folder below vnncomp/ in the data folder, or a path with a /")
    only: tuple[str, ...] = Field(
        default=(), description="patterns of network/query; all where none is given"
    )
    boxes: int = Field(default=1, gt=0, description="how many boxes to use of every network")
    point: str | None = Field(default=None, description="xhat as .npy; the middle of the box by default")
    factors: tuple[_Share, ...] = Field(
        default=(1.0,), min_length=1, description="sizes of the box around xhat"
    )
    map: AnyExplanation | None = Field(default=None, description="method and its entries; none for the class")
    question: AnyQuestion = Field(description="kind of question and its entries")
    delta_shares: tuple[_Share, ...] = Field(
        default=(), description="tolerances as shares of the largest |E(xhat)|"
    )
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")


@dataclass(frozen=True, eq=False)
class Asked:
    """A question at the point of a box, about a region around it.

    Attributes:
        region: lowest and highest inputs [n], [n].
        epsilon: half of its widest side.
        where: the region in words.
    """

    posed: PosedQuestion
    region: Box
    epsilon: float
    where: str


class Lifted(Generator):
    name = "lifted"
    title = "any question about any map, on networks and boxes of VNN-COMP"
    falsified = BY_QUESTION
    parameters = LiftedParameters

    def files(self, params: LiftedParameters) -> Iterator[Path]:
        yield from [Path(params.point)] if params.point else []
        for network in boxed_networks(benchmark_folder(params.benchmark, params.data_dir), params.only):
            yield from (network.file, *network.queries)

    def instances(self, params: LiftedParameters, seed: int) -> Iterator[InstanceDraft]:
        for asked in self.asked(params):
            found = asked.posed.extreme(asked.epsilon, seed, asked.region)
            vacuity = Vacuity(extreme=found.value)
            draft = asked.posed.draft(asked.epsilon, found, vacuity, box=asked.region)
            given = tuple(asked.posed.point.x.tolist()) if params.point else None
            yield draft.with_facts(clip=None, region=asked.where, xhat=given)

    def asked(self, params: LiftedParameters) -> Iterator[Asked]:
        """What the instances ask, before anything is searched in their regions."""
        folder, used = benchmark_folder(params.benchmark, params.data_dir), 0
        if params.delta_shares and params.question.tolerance is None:
            what = f"{params.question.kind} has no tolerance"
            raise SalverError(what, params.benchmark, "leave delta_shares out")
        for network in boxed_networks(folder, params.only):
            boxes = network.boxes(params.boxes)
            classifier, shape = network.read(boxes)
            for box in boxes:
                clip = (float(box.low.min()), float(box.high.max()))
                about = (classifier, network.name, folder.name, shape, clip)
                factory = InstanceFactory(self.name, *about, exact=params.enumerate)
                try:
                    asked = list(_of_box(factory, box, params))
                except UndefinedConditionError:
                    continue
                yield from asked
                used += len(asked)
        if not used:
            what = "the question means something on none of its boxes"
            raise SalverError(what, params.benchmark, "choose another question")


def _of_box(factory: InstanceFactory, box: NamedBox, params: LiftedParameters) -> Iterator[Asked]:
    x = point_in(box, params.point)
    point = Point(box.number, x, int(factory.predict(x[None])[0]))
    posed = factory.pose(point, params.question, params.map and params.map.of(point.label, params.map.minus))
    scale = float(np.abs(posed.reference).max(initial=0.0))
    questions = [posed.asking(delta=significant(share * scale)) for share in params.delta_shares] or [posed]
    for factor in params.factors:
        region = box.around(x, factor)
        epsilon = significant(float((region[1] - region[0]).max()) / 2)
        scaled = "" if factor == 1 else f", scaled by {factor:g} around xhat"
        where = f"in the box of {box.query.name.partition('.vnnlib')[0]}{scaled}"
        for question in questions:
            yield Asked(question, region, epsilon, where)
