"""Which points a family asks about: named ones, or some in a seeded order."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from salver.core.errors import SalverError
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import Parameters
from salver.zoo.datasets import Dataset

BATCH = 256
"""Rows that a network is asked about at once."""


class NamedPoints(Parameters):
    """Points of the data by their numbers, or the first ones in a seeded order."""

    points: int = Field(default=5, gt=0, description="how many test points to use")
    skip: int = Field(default=0, ge=0, description="how many candidate points to pass over first")
    indices: tuple[int, ...] = Field(default=(), description="the test points themselves, counted from 0")

    @model_validator(mode="after")
    def _named_or_counted(self) -> Self:
        if self.named and (both := sorted({"points", "skip"} & self.model_fields_set)):
            raise ValueError(f"{both[0]} has no meaning where indices or point name the points; leave it out")
        if len(set(self.indices)) < len(self.indices):
            raise ValueError("indices name a point twice")
        return self

    @property
    def named(self) -> bool:
        """Whether the points are named one by one."""
        return bool(self.indices)

    @property
    def wanted(self) -> int:
        """How many points are asked for."""
        return (len(self.indices) or 1) if self.named else self.points

    def unused(self, used: Collection[int]) -> str:
        """What to say where some points asked for give no instance."""
        if not self.named:
            return super().unused(used)
        left = ", ".join(str(index) for index in self.indices if index not in used)
        return f"nothing can be asked at {left} of the points named"


class PointChoice(NamedPoints):
    """Also a point of one's own, and whether the network must be right.

    The label of a point is the class that the network gives it, which is the class that is explained. Of a
    misclassified point the facts also hold the data's own label.
    """

    which: Literal["correct", "misclassified", "all"] | None = Field(
        default=None, description="points to choose from; correct ones, or those that are named"
    )
    point: Path | None = Field(default=None, description="one input of your own in an .npy file")
    point_label: int | None = Field(default=None, ge=0, description="its class; the network's when not given")

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.indices and self.point is not None:
            raise ValueError("indices and point both name points; give one of them")
        if self.point_label is not None and self.point is None:
            raise ValueError("point_label is the class of `point`, which is not given")
        return self

    @property
    def named(self) -> bool:
        """Whether the points are named one by one."""
        return bool(self.indices) or self.point is not None


def chosen_points(params: PointChoice, factory: InstanceFactory, data: Dataset, seed: int) -> Iterator[Point]:
    """The points that the parameters name, or all that may be chosen, in a seeded order.

    Raises:
        SalverError: there is no such point, or none that may be chosen.
    """
    if params.named:
        order = np.array(params.indices or [0])
        _refuse_missing(order, data)
    else:
        order = np.random.default_rng([seed, 17]).permutation(len(data.test_x))
    which = params.which or ("all" if params.named else "correct")
    candidates = 0
    for point in _seen(order, params, factory, data):
        if which == "all" or (point.data_label is None) == (which == "correct"):
            candidates += 1
            if candidates > params.skip:
                yield point
        elif params.named:
            done = "misclassifies" if which == "correct" else "classifies correctly"
            what = f"{factory.name} {done} point {point.index} of {data.name}"
            raise SalverError(what, f'which = "{which}"', "leave `which` out, or name other points")
    _refuse_none(params, candidates, data, factory.name)


def _seen(
    order: npt.NDArray[np.intp], params: PointChoice, factory: InstanceFactory, data: Dataset
) -> Iterator[Point]:
    """Points as the network sees them, looked at a few hundred at a time: seldom are all of them needed."""
    unlabelled = params.point is not None and params.point_label is None
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        for index, given in zip(rows.tolist(), factory.predict(data.test_x[rows]).tolist(), strict=True):
            own = int(data.test_y[index])
            yield Point(index, data.test_x[index], given, None if unlabelled or own == given else own)


def _refuse_missing(order: npt.NDArray[np.intp], data: Dataset) -> None:
    rows = len(data.test_x)
    for index in order.tolist():
        if not 0 <= index < rows:
            what, hint = f"there is no point {index}", f"it has points 0 to {rows - 1}"
            raise SalverError(what, f"indices of {data.name}", hint)


def _refuse_none(params: PointChoice, candidates: int, data: Dataset, name: str) -> None:
    kind = {"misclassified": "misclassified ", "all": ""}.get(params.which or "", "correctly classified ")
    if candidates == 0 and params.which == "misclassified":
        raise SalverError(f"{name} misclassifies no point of {data.name}", "which", "choose correct points")
    if candidates == 0:
        hint = "compare the order of its classes, and how inputs are scaled, with its training"
        raise SalverError(f"classifies no point of {data.name} correctly", name, hint)
    if params.skip >= candidates:
        what = f"{data.name} has {candidates} {kind}points, and all are passed over"
        raise SalverError(what, f"skip = {params.skip}", f"choose a number below {candidates}")
