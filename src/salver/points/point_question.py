"""A question about one network at one point, posed from what a person names or hands over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.core.errors import SalverError
from salver.explain.explanation import Explanation
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.question import Question
from salver.families.source import refuse_other_order
from salver.nets.affine import UnsupportedQueryError
from salver.points.entries import question_and_method
from salver.points.given import GivenPoint, given_point
from salver.points.options import PointOptions, option_record
from salver.points.subject import Subject, subject_of
from salver.spec import Norm


@dataclass(frozen=True, eq=False)
class PointQuestion:
    """A question that can be asked in boxes, or balls, of any radius around one point.

    Attributes:
        subject, given: the network and the point.
        posed: the question about the map.
        notes: what was taken for granted, a sentence each.
    """

    subject: Subject
    given: GivenPoint
    posed: PosedQuestion
    notes: tuple[str, ...]

    @property
    def norm(self) -> Norm:
        """In which inputs lie within a radius."""
        return self.posed.factory.norm

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
    model: Any, point: Any = None, question: str | Question = "top-k-changes", **given: Any
) -> PointQuestion:
    """Reads all that is named, and poses the question.

    Args:
        model: see `subject_of`. point: see `given_point`.
        question: its name, the beginning of it, or its record.
        given: `method` (a name or a record; default `gradient`), `dataset` (see `given_point`), what
            `PointOptions` has, and the entries of question and method.

    Raises:
        SalverError: something that is named cannot be had, or does not fit the rest.
        UndefinedConditionError: the map at the point gives the question no meaning.
    """
    method, dataset = given.pop("method", None), given.pop("dataset", None)
    options = option_record(
        PointOptions, {k: given.pop(k) for k in set(given) & set(PointOptions.model_fields)}
    )
    asked, explanation = question_and_method(question, method or "gradient", given)
    if not asked.needs_map:
        _refuse_about_map(asked, method, options)
    seen = given_point(point, dataset, options.index, options.data_dir)
    subject = subject_of(model, seen.examples, options.output)
    return ask_of(subject, seen, asked, explanation, options)


def ask_of(
    subject: Subject,
    seen: GivenPoint,
    asked: Question,
    explanation: Explanation,
    options: PointOptions,
    factory: InstanceFactory | None = None,
) -> PointQuestion:
    """Poses a question about what was read.

    Args:
        explanation: of any logit; `options` says which one is explained.
        factory: of the same subject and data, from a question about another point, so that what was made of
            the network serves again.

    Raises:
        SalverError, UndefinedConditionError: as `ask`.
    """
    seen = seen if options.input_range is None else seen.within(*options.input_range)
    if subject.network.input_size != seen.x.size:
        what = f"{seen.origin} has {seen.x.size} entries, {subject.name} takes {subject.network.input_size}"
        raise SalverError(what, "point", f"give an input of the network{_declared(subject)}")
    subject.refuse_misread(seen.x.astype(np.float64))
    refuse_other_order(subject.classifier.shape, seen.shape, seen.origin, subject.name)
    seen = seen.shaped(subject.classifier.shape)
    if factory is None:
        described = (seen.origin, seen.shape, seen.clip)
        factory = InstanceFactory("check", subject.network, subject.name, *described, norm=options.norm)
    with unsupported_in_one_line(subject.name):
        winner = int(factory.predict(seen.x[None])[0])
        explained = _explained(explanation, asked, winner, options) if asked.needs_map else None
        posed = factory.pose(Point(0, seen.x, winner), asked, explained)
    notes = _notes(seen, winner, subject.network.output_size)
    return PointQuestion(subject, seen, posed, (*subject.classifier.notes, *notes))


@contextlib.contextmanager
def unsupported_in_one_line(where: str) -> Iterator[None]:
    """What salver cannot do with a network is one line for people."""
    try:
        yield
    except UnsupportedQueryError as error:
        hint = "docs/networks.md lists what salver takes; or choose another solver or method"
        raise SalverError(f"is not supported ({error})", where, hint) from error


def _refuse_about_map(asked: Question, method: object, options: PointOptions) -> None:
    """Refuses what says something about a map where the question is about the class alone."""
    stated = {name: getattr(options, name) for name in ("label", "minus", "absolute")} | {"method": method}
    for name, value in stated.items():
        if value is not None:
            raise SalverError(f"{asked.kind} asks about no map", name, "leave it out")


def _explained(explanation: Explanation, asked: Question, winner: int, options: PointOptions) -> Explanation:
    ranked = explanation.absolute or asked.ranked > 0
    sizes = ranked if options.absolute is None else options.absolute
    logit = winner if options.label is None else options.label
    return explanation.of(logit, options.minus).model_copy(update={"absolute": sizes})


def _declared(subject: Subject) -> str:
    return f", of shape {subject.classifier.shape}" if subject.classifier.shape else ""


def _notes(given: GivenPoint, winner: int, outputs: int) -> list[str]:
    notes = []
    if outputs == 1:
        notes.append(
            "the network has one output, so its class is always 0; one of two classes gives two scores"
        )
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
