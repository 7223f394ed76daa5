"""The answer to a question about one point: a verdict, a sentence that says it, and what it rests on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError, counted
from salver.families.question import winner
from salver.points.decide import Decided, Robustness
from salver.points.options import Solving
from salver.points.point_question import PointQuestion
from salver.report.axes import entry_name
from salver.spec import Norm, norm_of

if TYPE_CHECKING:
    from salver.points.picture import PointPicture
    from salver.report.side_by_side import Side

Array = npt.NDArray[np.float64]
MOST_NAMED = 6
"""Entries that a sentence names at most."""


@dataclass(frozen=True, eq=False)
class PointView:
    """What is seen at one input.

    Attributes:
        x: its values [n]; map: the explanation there [s]; logits: [m].
        label: the winning class; at a tie another one than that of the explained point.
        top: the k largest entries of the map, largest first; empty where the question does not rank.
    """

    x: Array
    map: Array
    logits: Array
    label: int
    top: tuple[int, ...]

    @property
    def values(self) -> dict[str, object]:
        """Input, class and map as values that JSON has."""
        return {"x": self.x.tolist(), "label": self.label, "map": self.map.tolist()}


@dataclass(frozen=True)
class PointProof:
    """A proof that an explanation is robust, which the checker has accepted, and the two files it is about.

    `salver-solve check-proof NETWORK QUERY PROOF` checks it again.
    """

    file: Path
    network: Path
    query: Path

    @property
    def values(self) -> dict[str, str]:
        """The three files as values that JSON has."""
        return {"file": str(self.file), "network": str(self.network), "query": str(self.query)}


class Shown(ABC):
    """An answer as a person meets it: printed, in a list, in a notebook, or in an `if`."""

    @property
    @abstractmethod
    def sentence(self) -> str:
        """The verdict in one plain sentence."""

    @property
    @abstractmethod
    def details(self) -> tuple[str, ...]:
        """What else is worth knowing, a line each."""

    @abstractmethod
    def plot(self) -> PointPicture:
        """A picture of it."""

    def _repr_html_(self) -> str:
        """What Jupyter shows."""
        return self.plot().fragment

    def __str__(self) -> str:
        return "\n".join((self.sentence, *self.details))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.sentence}>"

    def __bool__(self) -> bool:
        """Raises: SalverError: always. Otherwise an `if` would take what is not robust for a yes."""
        what = "is robust, not robust or undecided, and so neither true nor false"
        raise SalverError(what, type(self).__name__, "ask `answer.robust`, which is True, False or None")


@dataclass(frozen=True, eq=False, repr=False)
class RobustnessAnswer(Shown):
    """Whether the explanation at a point is robust within a radius.

    Attributes:
        robustness: the verdict.
        epsilon: the radius that was asked about.
        asked: the question, the network and the point.
        solving: who decided it, and within how many seconds; seconds: what it took.
        point: the explained input.
        counterexample: an input within the radius that shows the explanation is not robust, or None.
        margin: by how much the counterexample meets the condition, in the units of map and logits.
        reason: why nothing was decided.
        proof: of a robust explanation, where one was asked for.
    """

    robustness: Robustness
    epsilon: float
    asked: PointQuestion
    solving: Solving
    seconds: float
    point: PointView
    counterexample: PointView | None = None
    margin: float = 0.0
    reason: str = ""
    proof: PointProof | None = None

    @property
    def verdict(self) -> str:
        """`robust`, `not robust` or `undecided`."""
        return self.robustness.value

    @property
    def robust(self) -> bool | None:
        """Whether it is robust; None where that is not known."""
        return {Robustness.ROBUST: True, Robustness.NOT_ROBUST: False}.get(self.robustness)

    @property
    def values(self) -> dict[str, object]:
        """The answer as values that JSON has."""
        other, posed = self.counterexample, self.asked.posed
        explanation = posed.map.explanation
        return {
            "verdict": self.verdict, "sentence": self.sentence, "epsilon": self.epsilon,
            "norm": self.asked.norm,
            "question": posed.question.model_dump(mode="json"),
            "explanation": explanation and explanation.model_dump(mode="json"),
            "label": self.point.label, "map": self.point.map.tolist(), "map_shape": self.asked.map_shape,
            "distance": self.distance if other else None, "margin": self.margin if other else None,
            "counterexample": other and other.values, "proof": self.proof and self.proof.values,
            "solver": self.solving.solver, "seconds": round(self.seconds, 3), "reason": self.reason,
            "notes": self.asked.notes,
        }  # fmt: skip

    @property
    def witness(self) -> Array | None:
        """The counterexample in the shape of the point, or None."""
        return None if self.counterexample is None else self.counterexample.x.reshape(self.asked.given.shape)

    @property
    def maps(self) -> tuple[Array, ...]:
        """The map at the point and, where there is one, at the counterexample, in the shape of the map."""
        views = (self.point, self.counterexample)
        return tuple(view.map.reshape(self.asked.map_shape) for view in views if view is not None)

    @property
    def distance(self) -> float:
        """From the point to the counterexample, in the norm that was asked about; inf without one."""
        other = self.counterexample
        return float(norm_of(other.x - self.point.x, self.asked.norm)) if other else float("inf")

    @property
    def sentence(self) -> str:
        """The verdict in one plain sentence."""
        condition, solver = self.asked.posed.question.in_words, self.solving.solver
        near = f"within {self.epsilon:g}{euclidean(self.asked.norm)}"
        match self.robustness:
            case Robustness.ROBUST:
                checked = ", and its proof was checked" if self.proof else ""
                said = f"Robust: {near} there is no input at which {condition}; proved by {solver}{checked}"
            case Robustness.NOT_ROBUST if self.distance == 0:
                said = f"Not robust: already at the point itself {condition}"
            case Robustness.NOT_ROBUST:
                found = f"found {self.distance:.4g} away"
                said = f"Not robust: {near} there is an input at which {condition}; {found}"
            case _:
                said = (
                    f"Undecided after {self.seconds:.1f} s: {solver} found no input {near} at which "
                    f"{condition}, and no proof that there is none"
                )
        return f"{said}."

    @property
    def details(self) -> tuple[str, ...]:
        """What else is worth knowing, a line each."""
        lines = [f"question: {self.asked.posed.question.text}"]
        explanation = self.asked.posed.map.explanation
        if explanation is not None:
            lines.append(f"map: {explanation.text}")
        lines.append(f"class at the point: {self.class_name(self.point.label)}")
        if (other := self.counterexample) is not None:
            lines[-1] += f", at the counterexample: {self.class_name(other.label)}"
            lines += self._changes(other)
        if self.reason:
            lines.append(f"reason: {self.reason}")
        lines.append(f"solved in {self.seconds:.2f} s by {self.solving.solver}")
        return (*lines, *(f"note: {note}" for note in self.asked.notes))

    def _changes(self, other: PointView) -> list[str]:
        lines = []
        if self.point.top:
            left, entered = (
                sorted(set(a) - set(b)) for a, b in ((self.point.top, other.top), (other.top, self.point.top))
            )
            if left:
                k = len(self.point.top)
                lines.append(
                    f"out of the {k} largest: {self.named(left)}; among them instead: {self.named(entered)}"
                )
        if self.point.map.size:
            moved = float(np.abs(self.point.map - other.map).max())
            size = float(np.abs(self.point.map).max())
            lines.append(
                f"an entry of the map moves by up to {moved:.4g}; the largest at the point is {size:.4g}"
            )
        met = f"met with {self.margin:.3g} to spare" if self.margin > 0 else "just met: a tie counts"
        lines.append(f"the condition is {met}")
        return lines

    def class_name(self, label: int) -> str:
        """A class with its name where it has one."""
        names = self.asked.given.classes
        named = label < len(names) and names[label] != str(label)
        return f"{label} ({names[label]})" if named else str(label)

    def entry_name(self, entry: int) -> str:
        """An entry of the map: a feature's name, a pixel (row, column), or its number."""
        return entry_name(entry, self.asked.map_shape, self.asked.given.features)

    def named(self, entries: list[int]) -> str:
        """Some entries of the map by name."""
        names = [self.entry_name(entry) for entry in entries[:MOST_NAMED]]
        more = len(entries) - len(names)
        return ", ".join(names) + (f" and {counted(more, 'other')}" if more else "")

    def plot(self) -> PointPicture:
        """The point, its map, the counterexample, its map and the differences, as one HTML document."""
        from salver.points.picture import PointPicture
        from salver.report.side_by_side import SideBySide

        given, other = self.asked.given, self.counterexample
        sides = [self._side("point", self.point)]
        sides += [self._side("counterexample", other)] if other is not None else []
        shapes = given.shape, self.asked.map_shape
        scene = SideBySide(tuple(sides), *shapes, given.clip, self.epsilon, given.features)
        return PointPicture(self.sentence, scene, self.details)

    def _side(self, name: str, view: PointView) -> Side:
        from salver.report.side_by_side import Side

        return Side(name, f"class {self.class_name(view.label)}", view.x, view.map, view.top)


def answer(
    asked: PointQuestion,
    epsilon: float,
    solving: Solving,
    decided: Decided,
    seconds: float,
    proof: PointProof | None = None,
) -> RobustnessAnswer:
    """The answer that a decision gives."""
    posed = asked.posed
    logits = posed.factory.program.evaluate(posed.point.centre[None])[0][0]
    here = _view(asked, posed.point.centre, logits, posed.reference)
    other = None
    if (
        decided.robustness is Robustness.NOT_ROBUST
        and decided.witness is not None
        and decided.outputs is not None
    ):
        first, size = posed.map.logits, len(posed.reference)
        there = decided.outputs
        other = _view(asked, decided.witness, there[:first], there[first : first + size])
    return RobustnessAnswer(
        decided.robustness,
        epsilon,
        asked,
        solving,
        seconds,
        here,
        other,
        decided.margin,
        decided.reason,
        proof,
    )


def _view(asked: PointQuestion, x: Array, logits: Array, values: Array) -> PointView:
    posed = asked.posed
    return PointView(x, values, logits, winner(logits, posed.point.label), posed.question.top(values))


def euclidean(norm: Norm) -> str:
    """What follows a radius in a sentence: the largest change of an entry goes without saying."""
    return " in the Euclidean norm" if norm == "l2" else ""
