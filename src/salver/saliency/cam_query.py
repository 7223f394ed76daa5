"""Drafts of class-activation-map instances: the top-k pixels of CAM change while the label stays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from salver.generator import InstanceDraft
from salver.model import Facts, Vacuity
from salver.nets.network import Network
from salver.nets.program import Program, lower
from salver.saliency.cam import cam_graph
from salver.saliency.conditions import class_is, top_k
from salver.saliency.extremes import Extreme, largest
from salver.saliency.known import known_answer
from salver.saliency.sampling import significant
from salver.saliency.vanilla import Point, VanillaQuery
from salver.spec import Atom, Clause, Property

Array = npt.NDArray[np.float64]
RADIUS_STEPS = 10


@dataclass(frozen=True, eq=False)
class CamQuery:
    """CAM of the label of one point, and its top-k set T.

    Attributes:
        same_label: a violation must keep the label.
    """

    source: VanillaQuery
    point: Point
    k: int
    same_label: bool

    @cached_property
    def graph(self) -> Network:
        """Raises: SalverError: see `cam_graph`."""
        return cam_graph(self.source.classifier, self.point.label)

    @cached_property
    def program(self) -> Program:
        return lower(self.graph)

    @cached_property
    def inside(self) -> npt.NDArray[np.intp]:
        """T, ascending. Raises: SalverError, UndefinedConditionError: see `top_k`."""
        logits = self.source.classifier.output_size
        return top_k(self.program.evaluate(self.point.x[None].astype(np.float64))[0][0, logits:], self.k)

    def margin(self, x: Array) -> Array:
        """How far points [batch, n] are inside the violation [batch]; >= 0 violates."""
        outputs = self.program.evaluate(x)[0]
        logits, cam = np.split(outputs, [self.source.classifier.output_size], axis=1)
        gap = np.delete(cam, self.inside, axis=1).max(axis=1) - cam[:, self.inside].min(axis=1)
        if not self.same_label:
            return np.asarray(gap)
        label = self.point.label
        kept = logits[:, label] - np.delete(logits, label, axis=1).max(axis=1)
        return np.asarray(np.where(kept >= 0, gap, np.minimum(gap, kept)))

    def attack(self, epsilon: float, seed: int) -> Extreme:
        """Random search for the deepest violation in the box of radius `epsilon`."""
        box = self.source.box(self.point.x, epsilon)
        centre = self.point.x.astype(np.float64)
        return largest(self.margin, *box, centre, seed * 100_003 + self.point.index)

    def attack_radius(self, most: float, seed: int) -> float:
        """Smallest radius at which the attack succeeds, by bisection; inf where it fails at `most`."""
        if self.attack(most, seed).value < 0:
            return float("inf")
        low, high = 0.0, most
        for _ in range(RADIUS_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.attack(middle, seed).value >= 0 else (middle, high)
        return significant(high)

    def draft(self, epsilon: float, radius: float, seed: int) -> InstanceDraft:
        """One instance; `radius` is the sampled attack radius, recorded beside it."""
        source, point, logits = self.source, self.point, self.source.classifier.output_size
        prop = Property(*source.box(point.x, epsilon), self._clauses(logits), self.graph.output_size)
        found = self.attack(epsilon, seed)
        expected, evidence = known_answer(self.graph, prop, found.point)
        facts = Facts(
            family="cam_topk",
            network=source.name,
            dataset=source.dataset,
            index=point.index,
            label=point.label,
            gradient_of=f"CAM_{point.label}",
            condition=f"top-{self.k} set of CAM changes",
            targets=(point.label,),
            epsilon=epsilon,
            clip=source.clip,
            input_shape=source.input_shape,
            logits=logits,
            saliencies=self.graph.output_size - logits,
            tie_rule="a tie CAM_j = CAM_i counts as a violation",
            expected=expected,
            evidence=evidence,
            vacuity=Vacuity(samples=found.samples),
            options={
                "map": "cam",
                "k": self.k,
                "same_label": self.same_label,
                "attack_radius": radius if np.isfinite(radius) else None,
            },
        )
        stem = f"{source.name}-cam{point.label}"
        kept = "" if self.same_label else "-any"
        name = f"{stem}-i{point.index}-e{epsilon:g}-top{self.k}{kept}"
        return InstanceDraft(name, source.classifier, source.name, self.graph, stem, prop, facts)

    def _clauses(self, logits: int) -> tuple[Clause, ...]:
        pixels = np.arange(self.graph.output_size - logits)
        outside = np.setdiff1d(pixels, self.inside).tolist()
        moved = tuple(
            (Atom(logits + j, ">=", other=logits + i),) for i in self.inside.tolist() for j in outside
        )
        return (moved, *(class_is(self.point.label, logits) if self.same_label else ()))
