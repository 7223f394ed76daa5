"""vg_box: vanilla-gradient saliency robustness of trained networks (Le et al., ACML 2024).

An instance asks for a point of the box around xhat whose saliency map is the one at xhat (within
delta, in sign, or in its top-k set) and whose class is another one. Points whose own saliency leaves
the condition undefined (tied ranks, nothing above the threshold) are passed over.

The variants change the answer:

- label `reference`: E is the gradient for the label of xhat at every point (the paper's definition 3);
  `predicted`: E is the gradient for the class that wins at x, as a user who explains the prediction sees.
- gradient of a `logit` z_l, or of the `difference` z_l - z_k to the class k that wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generator import InstanceDraft
from salver.families.instance import Vacuity
from salver.families.nearest import sample_delta_star
from salver.families.other_class import SameMap, SameSigns, SameTopK
from salver.families.question import others
from salver.families.search import significant
from salver.families.source import PointFamily, WithinParameters

SAME = 1e-9
"""Maps that differ by this part of their largest entry are taken for equal where tolerances are chosen."""


class VgBoxParameters(WithinParameters):
    """What a suite may say about this family."""

    points: int = Field(default=10, gt=0, description="how many test points to use")
    epsilons: tuple[float, ...] = Field(min_length=1, description="radii of the input box or ball")
    deltas: tuple[float, ...] = Field(default=(), description="saliency tolerances as they are")
    delta_factors: tuple[float, ...] = Field(
        default=(), description="tolerances as multiples of a sampled delta*"
    )
    label: Literal["reference", "predicted"] = Field(
        default="reference",
        description="whose gradient: of the label of xhat, or of the class that wins at x",
    )
    gradient: Literal["logit", "difference"] = Field(
        default="logit", description="of the logit, or of its difference to the other class's"
    )
    targets: Literal["all", "runner-up"] | int = Field(default="all", description="classes that may win")
    condition: Literal["box", "signs", "top-k"] = Field(
        default="box", description="what of the map stays: within delta, signs, top-k set"
    )
    k: int = Field(default=5, gt=0, description="size of the top-k set")
    sign_threshold: float = Field(default=0.0, ge=0, description="entries below it may change sign")
    keep_robust: bool = Field(default=False, description="keep points whose class sampling never changed")


class VgBox(PointFamily):
    name = "vg_box"
    title = "gradient: can the class change while the map stays the same?"
    falsified = SameMap.falsified
    parameters = VgBoxParameters
    nothing = (
        "no test point has another class within its box and a saliency the condition can compare",
        "raise epsilons or set keep_robust",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: VgBoxParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        for epsilon in params.epsilons:
            for posed in _posed(factory, point, params):
                found = sample_delta_star(posed, epsilon, seed)
                if found.point is None and not params.keep_robust:
                    continue
                vacuity = Vacuity(delta_star_upper=found.finite)
                box = isinstance(posed.question, SameMap)
                for asked in _with_tolerances(posed, params, found.value) if box else [posed]:
                    yield asked.draft(epsilon, found, vacuity)


def _posed(factory: InstanceFactory, point: Point, params: VgBoxParameters) -> Iterator[PosedQuestion]:
    """What the options ask at one point: one question, or one for each class that may win."""
    own, targets = point.label, _targets(factory, point, params.targets)
    logit, winner = params.gradient == "logit", params.label == "predicted"
    for chosen in [targets] if logit and not winner else [(k,) for k in targets]:
        (k, *_) = chosen
        at_xhat = Gradient(logit=own, minus=None if logit else k, absolute=params.condition == "top-k")
        at_x = at_xhat.of(k, None if logit else own) if winner else at_xhat
        questions = {
            "box": SameMap(targets=chosen, winner=winner),
            "signs": SameSigns(targets=chosen, winner=winner, threshold=params.sign_threshold),
            "top-k": SameTopK(targets=chosen, winner=winner, k=params.k),
        }
        yield factory.pose(point, questions[params.condition], at_x, at_xhat if winner else None)


def _targets(
    factory: InstanceFactory, point: Point, chosen: Literal["all", "runner-up"] | int
) -> tuple[int, ...]:
    every = others(point.label, factory.classifier.output_size)
    if chosen == "all":
        return every
    if chosen == "runner-up":
        return (factory.runner_up(point),)
    if chosen not in every:
        what = f"target {chosen} is not another class than label {point.label}"
        raise SalverError(what, factory.name, 'use targets = "all"')
    return (int(chosen),)


def _with_tolerances(posed: PosedQuestion, params: VgBoxParameters, delta_star: float) -> list[PosedQuestion]:
    # Below this it is the rounding of maps that are the same: there is no tolerance to be relative to.
    least = SAME * float(np.abs(posed.reference).max(initial=0.0))
    usable = np.isfinite(delta_star) and delta_star > least
    relative = [significant(f * delta_star) for f in params.delta_factors if usable]
    if not params.deltas and not params.delta_factors:
        raise SalverError("neither deltas nor delta_factors given", "vg_box", "give one of them")
    return [posed.asking(delta=delta) for delta in (*params.deltas, *relative)]
