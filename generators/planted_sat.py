"""planted_sat: networks in which a counterexample was planted that gradient attacks do not find.

After SoundnessBench (Zhou et al., 2024): `sat` by construction, so a solver that claims `unsat` errs. The
planted point is confirmed in ONNX Runtime and in rational arithmetic when the instance is made, and is
written nowhere; instances which `attack_rounds` rounds of `falsify` solve are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.needle import Shape
from salver.families.planted_sat import Planting, Question, planted_drafts
from salver.families.source import NetworkParameters, PointFamily


class PlantedSatParameters(NetworkParameters):
    """What a suite may say about this family."""

    question: Question = Field(default="vg_box", description="vg_box, label or topk_rank")
    epsilon: float = Field(gt=0, description="radius of the input box")
    directions: int = Field(default=6, gt=0, description="directions along which the needle is hidden")
    wells: int = Field(default=4, gt=0, description="wells along each; one is the right one")
    attack_rounds: int = Field(default=40, ge=0, description="rounds of 32 restarts that must miss it")
    k: int = Field(default=5, gt=0, description="size of the top-k set (topk_rank)")


class PlantedSat(PointFamily):
    name = "planted_sat"
    title = "a counterexample that is built in, out of sight of gradients"
    falsified = "Nothing about a real network: the counterexample was built in, to find solvers that err."
    parameters = PlantedSatParameters
    nothing = (
        "no test point takes a counterexample that an attack misses",
        "choose another epsilon, or more directions and wells",
    )

    def of_point(
        self, factory: InstanceFactory, point: Point, params: PlantedSatParameters, seed: int
    ) -> Iterator[InstanceDraft]:
        shape = Shape(params.directions, params.wells)
        planting = Planting(params.question, params.epsilon, shape, params.attack_rounds, params.k)
        yield from planted_drafts(factory, point, planting, seed)
