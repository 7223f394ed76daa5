"""Drafts of class-activation-map instances: the top-k pixels change while the label stays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.cam import cam_graph
from salver.explain.grad_cam import grad_cam_graph
from salver.explain.ranking import Ranking, some_pair_flips, someone_overtaken, with_overtakers
from salver.families.conditions import class_is, top_k
from salver.families.extremes import Extreme, largest
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts, Vacuity
from salver.families.known import known_answer
from salver.families.sampling import significant
from salver.families.vanilla import Point, VanillaQuery
from salver.nets.network import Network, lower
from salver.nets.program import Program
from salver.spec import Clause, Property

Array = npt.NDArray[np.float64]
MapKind = Literal["cam", "grad-cam", "grad-cam-relu"]
RADIUS_STEPS = 10
_SYMBOLS: dict[MapKind, str] = {"cam": "CAM", "grad-cam": "Grad-CAM", "grad-cam-relu": "ReLU Grad-CAM"}


@dataclass(frozen=True, eq=False)
class CamQuery:
    """CAM of the label of one point, and its top-k set T.

    Attributes:
        same_label: a violation must keep the label.
        within: k2 >= k: a violation is a member of T with k2 other pixels at or above it. None: k2 = k,
            which is any change of the set.
        kind: which map.
    """

    source: VanillaQuery
    point: Point
    k: int
    same_label: bool
    within: int | None = None
    kind: MapKind = "cam"

    @property
    def by(self) -> int:
        """r = k2 - k + 1: pixels outside T that some member of T must have at or above it.

        Raises:
            SalverError: k2 is below k.
        """
        within = self.k if self.within is None else self.within
        if within < self.k:
            raise SalverError(
                f"a top-{self.k} set is never inside a top-{within} set", "cam_topk", "choose within >= k"
            )
        return within - self.k + 1

    @cached_property
    def graph(self) -> Network:
        """X -> Concat[logits, map]. Raises: SalverError: see `cam_graph`, `grad_cam_graph`."""
        if self.kind == "cam":
            return cam_graph(self.source.classifier, self.point.label)
        return grad_cam_graph(self.source.classifier, self.point.label, self.kind == "grad-cam-relu")

    @cached_property
    def ranking(self) -> Ranking:
        """T and the other pixels.

        Raises:
            SalverError: see `top_k` and `by`; k2 is not below the number of pixels.
            UndefinedConditionError: ranks k and k + 1 are tied.
        """
        pixels = self.graph.output_size - self.source.classifier.output_size
        if self.by > 1 and self.within is not None and self.within >= pixels:
            what = f"all {pixels} pixels are always among the first {self.within}"
            raise SalverError(what, "cam_topk", f"choose within < {pixels}")
        return Ranking(self.inside, np.setdiff1d(np.arange(pixels), self.inside))

    @cached_property
    def asked(self) -> Network:
        """The network of the instance: with the counts behind the map where k2 > k."""
        return self.graph if self.by == 1 else with_overtakers(self.graph, self.ranking)

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
        outside = cam[:, self.ranking.outside]
        rank = outside.shape[1] - self.by
        gap = np.partition(outside, rank, axis=1)[:, rank] - cam[:, self.inside].min(axis=1)
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

    def draft(self, epsilon: float, radius: float, seed: int, exact: bool = False) -> InstanceDraft:
        """One instance; `radius` is the sampled attack radius, recorded beside it.

        Args:
            exact: enumerate the activation regions.
        """
        source, point, logits = self.source, self.point, self.source.classifier.output_size
        prop = Property(*source.box(point.x, epsilon), self._clauses(logits), self.asked.output_size)
        found = self.attack(epsilon, seed)
        expected, evidence = known_answer(self.asked, prop, found.point, exact)
        symbol, relaxed = _SYMBOLS[self.kind], self.by > 1
        facts = Facts(
            family="cam_topk",
            network=source.name,
            dataset=source.dataset,
            index=point.index,
            label=point.label,
            gradient_of=f"{symbol}_{point.label}",
            condition=f"top-{self.k} set of {symbol} "
            + (f"leaves the top {self.within}" if relaxed else "changes"),
            targets=(point.label,),
            epsilon=epsilon,
            clip=source.clip,
            input_shape=source.input_shape,
            logits=logits,
            saliencies=self.asked.output_size - logits,
            tie_rule="a tie CAM_j = CAM_i counts as a violation",
            expected=expected,
            evidence=evidence,
            vacuity=Vacuity(samples=found.samples),
            options=self._options(radius),
        )
        stem = f"{source.name}-{self.kind.replace('-', '')}{point.label}"
        kept = "" if self.same_label else "-any"
        if relaxed:
            stem = f"{stem}-i{point.index}-top{self.k}in{self.within}"
            name = f"{stem}-e{epsilon:g}{kept}"
        else:
            name = f"{stem}-i{point.index}-e{epsilon:g}-top{self.k}{kept}"
        return InstanceDraft(name, source.classifier, source.name, self.asked, stem, prop, facts)

    def _options(self, radius: float) -> dict[str, Any]:
        relaxed = {"within": self.within, "inside": self.inside.tolist(), "extra_outputs": self.k}
        return {
            "map": self.kind,
            "k": self.k,
            "same_label": self.same_label,
            "attack_radius": radius if np.isfinite(radius) else None,
            **(relaxed if self.by > 1 else {}),
        }

    def _clauses(self, logits: int) -> tuple[Clause, ...]:
        kept = class_is(self.point.label, logits) if self.same_label else ()
        if self.by > 1:
            return (someone_overtaken(logits, self.ranking, self.by), *kept)
        return (some_pair_flips(logits, self.ranking), *kept)
