"""Builds vanilla-gradient queries: whose gradient, compared with which, within what, against whom.

The variants change the answer, so each is an option and each instance's facts name it:

- `reference`: E is the gradient for the label of xhat at every point (the paper's definition 3);
  `predicted`: E is the gradient for the class that wins at x, as a user who explains the prediction sees.
- gradient of a `logit` z_l, or of the `difference` z_l - z_k to the class k that wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import SaliencyMap, logit_combination, unroll
from salver.families import conditions
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts, Vacuity
from salver.families.known import known_answer
from salver.families.sampling import DeltaStarBound, Region, sample_delta_star
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.program import Program
from salver.nets.runtime import Runtime
from salver.spec import Clause, Property, float32_down, float32_up
from salver.spec.truth import Evidence, Truth

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Point:
    """xhat: its index in the test set, its values [n], and its label."""

    index: int
    x: npt.NDArray[np.float32]
    label: int


@dataclass(frozen=True)
class Pairing:
    """Which saliency is compared with which, and which classes may win.

    Attributes:
        of: (class, class or None): gradient of z_a or z_a - z_b at x.
        reference: the same at xhat.
        targets: classes that may win; `winner` asks that the single target wins against all classes.
    """

    label: int
    of: tuple[int, int | None]
    reference: tuple[int, int | None]
    targets: tuple[int, ...]
    winner: bool

    @property
    def text(self) -> str:
        return f"z_{self.of[0]}" + ("" if self.of[1] is None else f" - z_{self.of[1]}")

    @property
    def stem(self) -> str:
        """File-name part that names the gradient."""
        return f"g{self.of[0]}" + ("" if self.of[1] is None else f"m{self.of[1]}")


@dataclass(frozen=True)
class Condition:
    """What must stay the same; `k` and `sign_threshold` matter for their own kinds only."""

    kind: Literal["box", "signs", "top-k"]
    k: int = 5
    sign_threshold: float = 0.0

    def clauses(self, first: int, reference: Array, delta: float | None) -> tuple[Clause, ...]:
        """Clauses over the saliency entries, which start at output `first`."""
        if self.kind == "signs":
            return conditions.same_signs(first, reference, self.sign_threshold)
        if self.kind == "top-k":
            return conditions.same_top_k(first, np.abs(reference), self.k)
        if delta is None:
            raise SalverError("a saliency box needs a delta", "vg_box", "give deltas or delta_factors")
        return conditions.saliency_box(first, reference, delta)

    @property
    def map(self) -> SaliencyMap:
        """A top-k set ranks absolute values; the other conditions look at the gradient itself."""
        return "abs" if self.kind == "top-k" else "raw"

    def stem(self, delta: float | None) -> str:
        """File-name part that names the condition."""
        if self.kind == "box":
            return f"d{delta:g}"
        return "signs" if self.kind == "signs" else f"top{self.k}"

    def text(self, delta: float | None) -> str:
        """The condition in symbols, for the facts."""
        if self.kind == "signs":
            return f"sign E_j(x) = sign E_j(xhat) or 0 where |E_j(xhat)| > {self.sign_threshold:g}"
        if self.kind == "top-k":
            return f"top-{self.k} set of |E(x)| = that of |E(xhat)|"
        return f"|E(x) - E(xhat)|_inf <= {delta:g}"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A pairing at a point over a box [n], [n], with E(xhat) [n] and the nearest violation sampled."""

    pairing: Pairing
    point: Point
    epsilon: float
    box: tuple[Array, Array]
    reference: Array
    found: DeltaStarBound


def pairings(
    query: VanillaQuery,
    point: Point,
    label: Literal["reference", "predicted"],
    gradient: Literal["logit", "difference"],
    targets: Literal["all", "runner-up"] | int,
) -> Iterator[Pairing]:
    """The comparisons a set of options asks for at one point; one instance set each.

    Raises:
        SalverError: the target is the point's own label or no class.
    """
    own = point.label
    chosen = query.targets(point, targets)
    if label == "reference" and gradient == "logit":
        yield Pairing(own, (own, None), (own, None), chosen, winner=False)
        return
    for k in chosen:
        if label == "reference":
            yield Pairing(own, (own, k), (own, k), (k,), winner=False)
        elif gradient == "logit":
            yield Pairing(own, (k, None), (own, None), (k,), winner=True)
        else:
            yield Pairing(own, (k, own), (own, k), (k,), winner=True)


@dataclass(eq=False)
class VanillaQuery:
    """One classifier on one data set, from which instances are drafted."""

    classifier: Network
    name: str
    dataset: str
    input_shape: tuple[int, ...]
    clip: tuple[float, float]
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.program = lower(self.classifier)
        self.graph = cache(self._graph)
        self._runtime = cache(lambda of, kind: Runtime(to_bytes(to_model(self.graph(of, kind)))))
        self._lowered = cache(lambda of, kind: lower(self.graph(of, kind)))

    def _graph(self, of: tuple[int, int | None], kind: SaliencyMap) -> Network:
        return unroll(self.classifier, self._combination(of), kind)

    def _combination(self, of: tuple[int, int | None]) -> Array:
        return logit_combination(self.classifier.output_size, *of)

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Winning class at each of `x` [batch, n]."""
        logits = self.program.evaluate(np.asarray(x, np.float64))[0]
        return np.asarray(np.argmax(logits, axis=1))

    def targets(self, point: Point, chosen: Literal["all", "runner-up"] | int) -> tuple[int, ...]:
        """Classes other than the label that may win.

        Raises:
            SalverError: a target that is no other class.
        """
        others = [k for k in range(self.classifier.output_size) if k != point.label]
        if chosen == "all":
            return tuple(others)
        if chosen == "runner-up":
            logits = self.program.evaluate(point.x[None].astype(np.float64))[0][0]
            return (max(others, key=lambda k: float(logits[k])),)
        if chosen not in others:
            what = f"target {chosen} is not another class than label {point.label}"
            raise SalverError(what, f"vg_box on {self.name}", 'use targets = "all"')
        return (int(chosen),)

    def box(self, x: npt.NDArray[np.float32], epsilon: float) -> tuple[Array, Array]:
        """|x - xhat|_inf <= epsilon within the data range, rounded outwards to binary32.

        Raises:
            SalverError: epsilon is not positive and finite.
        """
        if not (np.isfinite(epsilon) and epsilon > 0):
            raise SalverError(f"epsilon {epsilon} is not positive", f"vg_box on {self.name}", "give another")
        centre = x.astype(np.float64)
        lower_ = np.asarray(np.maximum(float32_down(centre - epsilon), self.clip[0]))
        return lower_, np.asarray(np.minimum(float32_up(centre + epsilon), self.clip[1]))

    def reference(self, pairing: Pairing, point: Point) -> Array:
        """E(xhat) [n]."""
        x = point.x[None].astype(np.float64)
        _, gradient = logits_and_gradient(self.program, x, self._combination(pairing.reference))
        return np.asarray(gradient[0])

    def compare(self, pairing: Pairing, point: Point, epsilon: float, seed: int) -> Comparison:
        """Samples one comparison over the box of radius `epsilon`."""
        lower_, upper = self.box(point.x, epsilon)
        return self.compare_within(pairing, point, epsilon, (lower_, upper), seed)

    def compare_within(
        self, pairing: Pairing, point: Point, epsilon: float, box: tuple[Array, Array], seed: int
    ) -> Comparison:
        """As `compare`, over a given box [n], [n] of binary32 bounds."""
        reference = self.reference(pairing, point)
        region = Region(
            *box,
            point.x.astype(np.float64),
            pairing.label,
            pairing.targets,
            self._combination(pairing.of),
            reference,
        )
        found = sample_delta_star(self.program, region, seed * 100_003 + point.index)
        return Comparison(pairing, point, epsilon, box, reference, found)

    def draft(
        self,
        comparison: Comparison,
        condition: Condition,
        delta: float | None,
        *,
        exact: bool = False,
        name: str | None = None,
    ) -> InstanceDraft:
        """One instance with everything that is known about its answer.

        Args:
            exact: find the answer by enumerating activation regions.
            name: file stem; made from the options when None.
        """
        pairing, kind = comparison.pairing, condition.map
        graph = self.graph(pairing.of, kind)
        prop = Property(*comparison.box, self._clauses(comparison, condition, delta), graph.output_size)
        of = comparison.pairing.of
        cached = (self._lowered(of, kind), self._runtime(of, kind))
        expected, evidence = known_answer(
            self.graph(of, kind), prop, comparison.found.witness, exact, *cached
        )
        stem = f"{self.name}-{pairing.stem}" + ("-abs" if kind == "abs" else "")
        whom = "all" if len(pairing.targets) > 1 else f"t{pairing.targets[0]}"
        generated = f"{stem}-i{comparison.point.index}-e{comparison.epsilon:g}-{condition.stem(delta)}-{whom}"
        facts = self._facts(comparison, condition, delta, expected, evidence)
        return InstanceDraft(name or generated, self.classifier, self.name, graph, stem, prop, facts)

    def _clauses(
        self, comparison: Comparison, condition: Condition, delta: float | None
    ) -> tuple[Clause, ...]:
        pairing, logits = comparison.pairing, self.classifier.output_size
        if pairing.winner:
            wins = conditions.class_is(pairing.targets[0], logits)
        else:
            wins = conditions.some_class_beats(pairing.label, pairing.targets)
        return (*condition.clauses(logits, comparison.reference, delta), *wins)

    def _facts(
        self,
        comparison: Comparison,
        condition: Condition,
        delta: float | None,
        expected: Truth,
        evidence: Evidence,
    ) -> Facts:
        pairing, found = comparison.pairing, comparison.found
        scale = float(np.abs(comparison.reference).max())
        return Facts(
            family="vg_box",
            network=self.name,
            dataset=self.dataset,
            index=comparison.point.index,
            label=comparison.point.label,
            gradient_of=pairing.text,
            condition=condition.text(delta),
            targets=pairing.targets,
            epsilon=comparison.epsilon,
            delta=delta,
            clip=self.clip,
            input_shape=self.input_shape,
            logits=self.classifier.output_size,
            saliencies=self.classifier.input_size,
            expected=expected,
            evidence=evidence,
            vacuity=Vacuity(
                delta_over_saliency=delta / scale if delta is not None and scale > 0 else None,
                delta_star_upper=found.value if np.isfinite(found.value) else None,
                samples=found.samples,
            ),
            options={"map": condition.map, "winner": pairing.winner},
        )
