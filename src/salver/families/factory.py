"""Where instances come from: a question about a map of a classifier, posed at a point, asked around it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.explanation import Explained, Explanation
from salver.explain.ranking import UndefinedConditionError
from salver.families.generator import InstanceDraft
from salver.families.instance import DataCard, Facts, Vacuity
from salver.families.known import known_answer
from salver.families.question import Question
from salver.families.search import Found, largest, significant
from salver.nets.network import Network, lower
from salver.nets.program import Program
from salver.spec import Ball, Norm, Property, ball_around, float32_down, float32_up
from salver.zoo.datasets import Clip, bounds

Array = npt.NDArray[np.float64]
Box = tuple[Array, Array]
RADIUS_STEPS = 10


@dataclass(frozen=True, eq=False)
class Point:
    """xhat: its index in the test set, its values [n], and its label.

    Attributes:
        label: the class that the network gives it, which is the one that is explained.
        data_label: the class that the data says, where that is another one.
    """

    index: int
    x: npt.NDArray[np.float32]
    label: int
    data_label: int | None = None

    @property
    def centre(self) -> Array:
        """The values in float64."""
        return self.x.astype(np.float64)


@dataclass(frozen=True, eq=False)
class InstanceFactory:
    """One classifier on one data set, about which a family asks.

    Attributes:
        family: whose instances these are.
        classifier, name: the network and its name in file names.
        dataset, input_shape, clip: name, shape of an input and ranges of the data.
        card: of data of one's own.
        norm: in which inputs lie within a radius of xhat.
        exact: whether answers are found by enumerating activation regions (small networks only).
    """

    family: str
    classifier: Network
    name: str
    dataset: str
    input_shape: tuple[int, ...]
    clip: Clip | None
    card: DataCard | None = None
    norm: Norm = "linf"
    exact: bool = False

    @cached_property
    def limits(self) -> Box:
        """Lowest and highest valid value of every input entry [n], [n]; infinite without a range."""
        return bounds(self.clip, self.classifier.input_size)

    @cached_property
    def program(self) -> Program:
        """The classifier, lowered."""
        return lower(self.classifier)

    @cached_property
    def explained(self) -> Any:
        """The classifier with a map of it, by explanation or None; each is made once."""
        return cache(lambda explanation: Explained(self.classifier, self.program, explanation))

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Winning class at each of x [batch, n]."""
        return np.asarray(np.argmax(self.program.evaluate(np.asarray(x, np.float64))[0], axis=1))

    def runner_up(self, point: Point) -> int:
        """The class that comes next to the label at xhat."""
        logits = self.program.evaluate(point.centre[None])[0][0]
        return max((k for k in range(len(logits)) if k != point.label), key=lambda k: float(logits[k]))

    def box(self, x: npt.NDArray[np.float32], epsilon: float) -> Box:
        """|x - xhat|_inf <= epsilon within the data range, rounded outwards to binary32 [n], [n].

        It holds all inputs within epsilon in the Euclidean norm, too, where `ball` says which.

        Raises:
            SalverError: epsilon is not positive and finite.
        """
        if not (np.isfinite(epsilon) and epsilon > 0):
            raise SalverError(f"epsilon {epsilon:g} is not positive", self.name, "give a larger one")
        centre = x.astype(np.float64)
        least, most = self.limits
        low, high = float32_down(centre - epsilon), float32_up(centre + epsilon)
        return np.asarray(np.maximum(low, least)), np.asarray(np.minimum(high, most))

    def ball(self, x: npt.NDArray[np.float32], epsilon: float) -> Ball | None:
        """|x - xhat|_2 <= epsilon where the norm is Euclidean, else None: then the box is all there is.

        Raises:
            SalverError: see `ball_around`.
        """
        return ball_around(x, epsilon) if self.norm == "l2" else None

    def pose(
        self,
        point: Point,
        question: Question,
        explanation: Explanation | None = None,
        compared_with: Explanation | None = None,
    ) -> PosedQuestion:
        """A question at a point.

        Args:
            explanation: which map; None for the class alone.
            compared_with: the map at xhat, where it is another one.

        Raises:
            SalverError: the classifier or the question does not take it; a map is asked about and none given.
            UndefinedConditionError: the map at xhat gives the question no meaning.
        """
        if explanation is None and question.needs_map:
            what = f"{question.kind} asks about a map, and none is named"
            raise SalverError(what, self.name, "name a method: map = { method = ... }")
        explanation, compared_with = self._completed(explanation), self._completed(compared_with)
        at_xhat = self.explained(compared_with or explanation)
        reference = at_xhat.at(point.centre)
        try:
            complete = question.at(reference, point.label, self.classifier.output_size)
        except UndefinedConditionError as error:
            ties = at_xhat.explanation.ties if question.ranked and at_xhat.explanation else ""
            raise UndefinedConditionError(error.what, error.where, ties or error.hint) from error
        return PosedQuestion(self, point, complete, self.explained(explanation), compared_with, reference)

    def _completed(self, explanation: Explanation | None) -> Explanation | None:
        return explanation and explanation.for_data(self.input_shape, *self.limits)

    def with_network(self, classifier: Network, name: str) -> InstanceFactory:
        """The same on another network of the same data."""
        return replace(self, classifier=classifier, name=name)


@dataclass(frozen=True, eq=False)
class PosedQuestion:
    """A question about a map at one point, to be asked on boxes of any radius.

    Attributes:
        map: the classifier with its map E.
        compared_with: the map at xhat where it is another one; reference: its value there [s].
    """

    factory: InstanceFactory
    point: Point
    question: Question
    map: Explained
    compared_with: Explanation | None
    reference: Array

    @cached_property
    def graph(self) -> Network:
        """The network of the instance: the map's, with what the question derives from it."""
        return self.question.network(self.map.graph)

    def asking(self, **changes: float) -> PosedQuestion:
        """The same with other entries of the question, such as its tolerance."""
        return replace(self, question=self.question.model_copy(update=changes))

    def score(self, x: Array) -> Array:
        """What a search for a violation raises [batch], at x [batch, n]; see `Question.score`."""
        return self.question.score(*self.map.values(x), self.reference, self.point.label)

    def extreme(self, epsilon: float, seed: int, box: Box | None = None) -> Found:
        """The largest score that a random search finds within `epsilon`, or in `box`."""
        ball = None if box else self.factory.ball(self.point.x, epsilon)
        box = box or self.factory.box(self.point.x, epsilon)
        return largest(self.score, *box, self.point.centre, seed * 100_003 + self.point.index, ball)

    def radius(self, most: float, seed: int) -> float:
        """Sampled upper bound on the smallest radius with a violation, by bisection.

        inf where none is found at the radius `most`.
        """
        enough = self.question.enough
        if self.extreme(most, seed).value < enough:
            return float("inf")
        low, high = 0.0, most
        for _ in range(RADIUS_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.extreme(middle, seed).value >= enough else (middle, high)
        return significant(high)

    def within(self, epsilon: float) -> Property:
        """The query over the inputs within a radius.

        Raises:
            SalverError: as `InstanceFactory.box` and `ball_around`.
        """
        x = self.point.x
        return self.prop(self.factory.box(x, epsilon), self.factory.ball(x, epsilon))

    def prop(self, box: Box, ball: Ball | None = None) -> Property:
        """The query over a box [n], [n], and over a ball in it."""
        logits = self.map.logits
        clauses = self.question.clauses(self.reference, self.point.label, logits)
        outputs = logits + len(self.reference) + self.question.extra_outputs
        return Property(*box, clauses, outputs, ball)

    def draft(
        self,
        epsilon: float,
        found: Found,
        vacuity: Vacuity | None = None,
        *,
        box: Box | None = None,
        name: str | None = None,
    ) -> InstanceDraft:
        """One instance with everything that is known about its answer.

        Args:
            found: where a search came out; its point may show that the answer is sat.
            vacuity: what else was measured.
            box: bounds [n], [n] in place of what lies within epsilon of xhat.
            name: file stem, or a layout as in `Question.layout`, in place of the question's.
        """
        factory, index = self.factory, self.point.index
        prop = self.within(epsilon) if box is None else self.prop(box)
        forms = (self.map.lowered, self.map.runtime) if self.graph is self.map.graph else ()
        expected, evidence = known_answer(self.graph, prop, found.point, factory.exact, *forms)
        explanation = self.map.explanation and self.map.explanation.as_stored(factory.classifier)
        compared = self.compared_with and self.compared_with.as_stored(factory.classifier)
        graph = f"{factory.name}-logits" if explanation is None else explanation.graph_name(factory.name)
        layout = name or self.question.layout
        named = self.question.file_name(layout, network=factory.name, map=graph, index=index, epsilon=epsilon)
        named = f"{named}-l2" if prop.ball is not None else named
        if self.question.extra_outputs:
            graph = f"{graph}-i{index}-{self.question.stem}"
        facts = Facts(
            family=factory.family,
            network=factory.name,
            dataset=factory.dataset,
            index=index,
            label=self.point.label,
            data_label=self.point.data_label,
            explanation=explanation,
            compared_with=compared,
            question=self.question,
            epsilon=epsilon,
            norm="linf" if prop.ball is None else "l2",
            clip=factory.clip,
            input_shape=factory.input_shape,
            logits=self.map.logits,
            saliencies=self.graph.output_size - self.map.logits,
            expected=expected,
            evidence=evidence,
            vacuity=self._vacuity(found, vacuity or Vacuity()),
        )
        return InstanceDraft(
            named, factory.classifier, factory.name, self.graph, graph, prop, facts, card=factory.card
        )

    def _vacuity(self, found: Found, measured: Vacuity) -> Vacuity:
        scale, delta = float(np.abs(self.reference).max(initial=0.0)), self.question.tolerance
        share = delta / scale if delta is not None and scale > 0 else None
        return measured.model_copy(update={"samples": found.samples, "delta_over_saliency": share})
