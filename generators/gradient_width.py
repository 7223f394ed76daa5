"""gradient_width: how far the gradient can move in a box (Wicker et al., ICLR 2023).

An instance asks for a point at which some entry of E is delta or more away from E(xhat). Boxes on which
the gradient was never seen to move are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from salver.errors import SalverError
from salver.generator import Generator, InstanceDraft, Parameters
from salver.saliency.peers import Neighbourhood, width_draft
from salver.saliency.sampling import significant
from salver.saliency.source import classifier_and_data, correct_points
from salver.saliency.vanilla import Point, VanillaQuery


class GradientWidthParameters(Parameters):
    """What a suite may say about this family."""

    network: str = Field(description="a zoo key, or the path of an ONNX classifier")
    dataset: str | None = Field(default=None, description="data set of an ONNX classifier")
    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box")
    deltas: tuple[float, ...] = Field(default=(), description="movements as they are")
    delta_factors: tuple[float, ...] = Field(default=(), description="movements in the widest one sampled")
    enumerate: bool = Field(default=False, description="find the exact answer (small networks only)")


class GradientWidth(Generator):
    name = "gradient_width"
    title = "some gradient entry moves by delta in the box"
    parameters = GradientWidthParameters

    def instances(self, params: GradientWidthParameters, seed: int) -> Iterator[InstanceDraft]:
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
                "the gradient moves at no test point", f"gradient_width on {params.network}", "raise epsilons"
            )


def _of_point(
    source: VanillaQuery, point: Point, params: GradientWidthParameters, seed: int
) -> Iterator[InstanceDraft]:
    for epsilon in params.epsilons:
        place = Neighbourhood.of(source, point, epsilon)
        found = place.widest(seed)
        if found.value <= 0:
            continue
        relative = [significant(factor * found.value) for factor in params.delta_factors]
        for delta in dict.fromkeys([*params.deltas, *relative]):
            if not (np.isfinite(delta) and delta > 0):
                raise SalverError(f"delta {delta} is not positive", "gradient_width", "give another")
            yield width_draft(place, delta, found, params.enumerate)
