"""vg_box: vanilla-gradient saliency robustness of trained networks (Le et al., ACML 2024).

An instance asks for a point of the box around xhat whose saliency map is the one at xhat (within
delta, in sign, or in its top-k set) and whose class is another one. Points whose own saliency leaves
the condition undefined (tied ranks, nothing above the threshold) are passed over.
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
from salver.families.sampling import significant
from salver.families.source import classifier_and_data, correct_points
from salver.families.vanilla import Condition, Point, VanillaQuery, pairings
from salver.nets.onnx.file import network_name


class VgBoxParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key, or an ONNX file by its path from the suite")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=10, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box")
    deltas: tuple[float, ...] = Field(default=(), description="saliency tolerances as they are")
    delta_factors: tuple[float, ...] = Field(default=(), description="tolerances in sampled delta*")
    label: Literal["reference", "predicted"] = Field(default="reference", description="whose gradient")
    gradient: Literal["logit", "difference"] = Field(default="logit", description="of what")
    targets: Literal["all", "runner-up"] | int = Field(default="all", description="classes that may win")
    condition: Literal["box", "signs", "top-k"] = Field(default="box", description="what stays the same")
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    sign_threshold: float = Field(default=0.0, ge=0, description="smaller entries may change sign")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")
    keep_robust: bool = Field(default=False, description="keep points whose class sampling never changed")


class VgBox(Generator):
    name = "vg_box"
    title = "same saliency map, other class (vanilla gradient)"
    parameters = VgBoxParameters

    def instances(self, params: VgBoxParameters, seed: int) -> Iterator[InstanceDraft]:
        classifier, data = classifier_and_data(
            params.network, params.dataset, seed, params.data_dir, self.name
        )
        query = VanillaQuery(
            classifier, network_name(Path(params.network)), data.name, data.input_shape, data.clip
        )
        condition = Condition(params.condition, params.k, params.sign_threshold)
        used = 0
        for index in correct_points(classifier, data, seed)[params.skip :]:
            point = Point(index, data.test_x[index], int(data.test_y[index]))
            try:
                drafts = list(self._of_point(query, point, condition, params, seed))
            except UndefinedConditionError:
                continue
            yield from drafts
            used += bool(drafts)
            if used == params.points:
                return
        if used == 0:
            what = "no test point has another class within its box and a saliency the condition can compare"
            raise SalverError(what, f"vg_box on {params.network}", "raise epsilons or set keep_robust")

    def _of_point(
        self, query: VanillaQuery, point: Point, condition: Condition, params: VgBoxParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        for epsilon in params.epsilons:
            for pairing in pairings(query, point, params.label, params.gradient, params.targets):
                comparison = query.compare(pairing, point, epsilon, seed)
                if comparison.found.witness is None and not params.keep_robust:
                    continue
                box = condition.kind == "box"
                for delta in _tolerances(params, comparison.found.value) if box else [None]:
                    yield query.draft(comparison, condition, delta, exact=params.enumerate)


def _tolerances(params: VgBoxParameters, delta_star: float) -> list[float | None]:
    usable = np.isfinite(delta_star) and delta_star > 0
    relative = [significant(f * delta_star) for f in params.delta_factors if usable]
    chosen: list[float | None] = [*params.deltas, *relative]
    if not chosen and not params.delta_factors:
        raise SalverError("neither deltas nor delta_factors given", "vg_box", "give one of them")
    return chosen
