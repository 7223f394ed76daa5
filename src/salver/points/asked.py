"""A question about one network at one point, posed from what a person names or hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from salver.core.errors import SalverError
from salver.explain.explanation import Explanation
from salver.families.factory import InstanceFactory, Point, Posed
from salver.families.question import Question
from salver.points.entries import question_and_method
from salver.points.given import GivenPoint, given_point
from salver.points.subject import Subject, subject_of
from salver.zoo.datasets import DataSource

OWN_KEYWORDS = frozenset(
    {"dataset", "index", "data_dir", "method", "label", "minus", "absolute", "input_range", "output"}
)
"""Keywords of `ask` that are no entry of a question or a method."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A question that can be asked in boxes of any radius around one point.

    Attributes:
        subject, given: the network and the point.
        posed: the question about the map.
        notes: what was taken for granted, a sentence each.
    """

    subject: Subject
    given: GivenPoint
    posed: Posed
    notes: tuple[str, ...]

    @property
    def map_shape(self) -> tuple[int, ...]:
        """Shape of the map before flattening; (0,) where the question is about the class alone."""
        explanation = self.posed.map.explanation
        if explanation is None:
            return (0,)
        shape = explanation.map_shape(self.subject.network, self.given.shape)
        size = len(self.posed.reference)
        return shape if int(np.prod(shape)) == size else (size,)


def ask(
    model: Any,
    point: Any = None,
    question: str | Question = "top-k-changes",
    *,
    dataset: str | DataSource | None = None,
    index: int | None = None,
    data_dir: Path | None = None,
    method: str | Explanation = "gradient",
    label: int | None = None,
    minus: int | None = None,
    absolute: bool | None = None,
    input_range: tuple[float, float] | None = None,
    output: str | None = None,
    entries: Mapping[str, Any] | None = None,
) -> Asked:
    """Reads all that is named, and poses the question.

    Args:
        model: see `subject_of`.
        point, dataset, index, data_dir: see `given_point`.
        question, method, entries: see `question_and_method`.
        label: the class that is explained; None for the one that the network gives the point.
        minus: the class whose logit is subtracted.
        absolute: sizes of the map's entries in place of the entries; None for where the question ranks them.
        output: see `subject_of`.
        input_range: lowest and highest value of an entry; None for that of the data set, or none.

    Raises:
        SalverError: something that is named cannot be had, or does not fit the rest.
        UndefinedConditionError: the map at the point gives the question no meaning.
    """
    asked, explanation = question_and_method(question, method, entries or {})
    given = given_point(point, dataset, index, data_dir)
    given = given if input_range is None else given.within(*input_range)
    subject = subject_of(model, given.examples, output)
    if subject.network.input_size != given.x.size:
        what = f"{given.origin} has {given.x.size} entries, {subject.name} takes {subject.network.input_size}"
        raise SalverError(what, "point", f"give an input of the network{_declared(subject)}")
    subject.refuse_misread(given.x.astype(np.float64))
    given = given.shaped(subject.classifier.shape)
    described = (given.origin, given.shape, given.clip)
    factory = InstanceFactory("check", subject.network, subject.name, *described)
    winner = int(factory.predict(given.x[None])[0])
    explained = _explained(explanation, asked, winner, label, minus, absolute) if asked.needs_map else None
    posed = factory.pose(Point(0, given.x, winner), asked, explained)
    return Asked(subject, given, posed, (*subject.classifier.notes, *_notes(given, winner)))


def _explained(
    explanation: Explanation,
    asked: Question,
    winner: int,
    label: int | None,
    minus: int | None,
    absolute: bool | None,
) -> Explanation:
    sizes = explanation.absolute or asked.ranked > 0 if absolute is None else absolute
    return explanation.of(winner if label is None else label, minus).model_copy(update={"absolute": sizes})


def _declared(subject: Subject) -> str:
    return f", of shape {subject.classifier.shape}" if subject.classifier.shape else ""


def _notes(given: GivenPoint, winner: int) -> list[str]:
    notes = []
    low, high = (set(end.tolist()) for end in given.limits)
    if given.clip is None:
        notes.append("no range of the inputs is given, so none is assumed")
    elif len(low) == len(high) == 1:
        notes.append(f"inputs are from {low.pop():g} to {high.pop():g}")
    else:
        notes.append("every input has a range of its own, that of the data set")
    if given.stated is not None and given.stated != winner:
        notes.append(f"the data set says class {given.stated}, the network {winner}")
    return notes
