"""Builds smoothgrad_topk queries: can the top-k set of a SmoothGrad map change while the label stays?

The map is the one of `salver.families.smoothgrad`: the mean gradient of the logit of xhat's label over q
fixed noise draws. The measure of a point is epsilon*, the smallest radius at which sampling finds a
violation; it is an upper bound only, by which sets are balanced and never a proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.gradient import logits_and_gradient
from salver.explain.smoothgrad import Noise, smoothed_gradient, smoothgrad_network
from salver.explain.unroll import SaliencyMap, logit_combination
from salver.families import conditions
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts, Vacuity
from salver.families.known import known_answer
from salver.families.vanilla import Point
from salver.nets.network import Network, lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.program import Program
from salver.nets.runtime import Runtime
from salver.spec import Atom, Clause, Property, float32_down, float32_up
from salver.spec.truth import Evidence, Truth

Array = npt.NDArray[np.float64]
_RAYS, _RADII, _ROUNDS = 48, 32, 8
_LEAD = 1e-6
"""By how much a sampled violation must be clear of a tie, so that it survives binary32."""


def top_k_broken(first: int, inside: npt.NDArray[np.intp], size: int) -> Clause:
    """OR over i inside and j outside of Y[first + j] >= Y[first + i]: a tie counts as broken."""
    outside = np.setdiff1d(np.arange(size), inside)
    return tuple((Atom(first + int(j), ">=", other=first + int(i)),) for i in inside for j in outside)


@dataclass(frozen=True, eq=False)
class EpsilonStar:
    """The smallest sampled radius with a violation (inf when none), the point [n] there, evaluations."""

    value: float
    witness: Array | None
    samples: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """xhat, its top-k set (ascending indices), and the sampled epsilon*."""

    point: Point
    inside: npt.NDArray[np.intp]
    found: EpsilonStar


@dataclass(eq=False)
class SmoothGradQuery:
    """One classifier on one data set with one set of noise draws, from which instances are drafted."""

    classifier: Network
    name: str
    dataset: str
    input_shape: tuple[int, ...]
    clip: tuple[float, float]
    noise: Noise
    kind: SaliencyMap
    k: int
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        size = self.classifier.input_size
        if not 1 <= self.k < size:
            what = f"k = {self.k} is not between 1 and {size - 1}"
            raise SalverError(what, f"smoothgrad_topk on {self.name}", "choose another k")
        self.program = lower(self.classifier)
        self.draws = self.noise.values(size)
        self.graph = cache(self._graph)
        self._runtime = cache(lambda label: Runtime(to_bytes(to_model(self.graph(label)))))
        self._lowered = cache(lambda label: lower(self.graph(label)))

    def _graph(self, label: int) -> Network:
        return smoothgrad_network(self.classifier, self._combination(label), self.draws, self.kind)

    def _combination(self, label: int) -> Array:
        return logit_combination(self.classifier.output_size, label)

    def saliency(self, x: Array, label: int) -> tuple[Array, Array]:
        """Logits [batch, m] and the map [batch, n] at `x` [batch, n]."""
        logits, mean = smoothed_gradient(self.program, x, self._combination(label), self.draws)
        return logits, np.abs(mean) if self.kind == "abs" else mean

    def rank(self, point: Point, largest: float, seed: int) -> Ranking:
        """The top-k set at xhat and the sampled epsilon* up to the radius `largest`.

        Raises:
            UndefinedConditionError: a tie between ranks k and k + 1.
        """
        reference = self.saliency(point.x[None].astype(np.float64), point.label)[1][0]
        inside = conditions.top_k(reference, self.k)
        outside = np.setdiff1d(np.arange(len(reference)), inside)

        def broken(x: Array) -> npt.NDArray[np.bool_]:
            logits, saliency = self.saliency(x, point.label)
            others = np.delete(logits, point.label, axis=1).max(axis=1)
            lead = saliency[:, outside].max(axis=1) - saliency[:, inside].min(axis=1)
            return np.asarray((lead >= _LEAD) & (logits[:, point.label] - others >= _LEAD))

        rng = np.random.default_rng([seed, point.index])
        found = _sample_epsilon_star(
            point.x.astype(np.float64), self._directions, broken, largest, self.clip, rng
        )
        return Ranking(point, inside, found)

    def _directions(self, centre: Array, count: int, rng: np.random.Generator) -> Array:
        """Signs [count, n] along which neurons of some draw change fastest: sign gradients of random
        combinations of logits at noisy points, and random corners."""
        size, logits = len(centre), self.classifier.output_size
        points = centre + self.draws[rng.integers(len(self.draws), size=count)]
        _, gradient = logits_and_gradient(self.program, points, rng.standard_normal((count, logits)))
        corners = rng.choice([-1.0, 1.0], (count, size))
        return np.where((np.arange(count) % 2 == 0)[:, None] & (gradient != 0), np.sign(gradient), corners)

    def box(self, x: npt.NDArray[np.float32], epsilon: float) -> tuple[Array, Array]:
        """|x - xhat|_inf <= epsilon within the data range, rounded outwards to binary32.

        Raises:
            SalverError: epsilon is not positive and finite.
        """
        if not (np.isfinite(epsilon) and epsilon > 0):
            raise SalverError(
                f"epsilon {epsilon} is not positive", f"smoothgrad_topk on {self.name}", "give another"
            )
        centre = x.astype(np.float64)
        lower_ = np.asarray(np.maximum(float32_down(centre - epsilon), self.clip[0]))
        return lower_, np.asarray(np.minimum(float32_up(centre + epsilon), self.clip[1]))

    def draft(self, ranking: Ranking, epsilon: float, *, exact: bool = False) -> InstanceDraft:
        """One instance with everything that is known about its answer.

        Args:
            exact: find the answer by enumerating activation regions (small networks and few draws only).
        """
        point, label = ranking.point, ranking.point.label
        graph, logits = self.graph(label), self.classifier.output_size
        clauses = (
            *conditions.class_is(label, logits),
            top_k_broken(logits, ranking.inside, self.classifier.input_size),
        )
        prop = Property(*self.box(point.x, epsilon), clauses, graph.output_size)
        expected, evidence = known_answer(
            graph, prop, ranking.found.witness, exact, self._lowered(label), self._runtime(label)
        )
        stem = f"{self.name}-g{label}-{self.noise.stem}-{self.kind}"
        name = f"smooth-{stem}-i{point.index}-top{self.k}-e{epsilon:g}"
        facts = self._facts(ranking, epsilon, expected, evidence)
        return InstanceDraft(name, self.classifier, self.name, graph, f"smooth-{stem}", prop, facts)

    def _facts(self, ranking: Ranking, epsilon: float, expected: Truth, evidence: Evidence) -> Facts:
        point, star = ranking.point, ranking.found.value
        shown = "|E_q|" if self.kind == "abs" else "E_q"
        return Facts(
            family="smoothgrad_topk",
            network=self.name,
            dataset=self.dataset,
            index=point.index,
            label=point.label,
            gradient_of=f"z_{point.label}",
            condition=f"top-{self.k} set of {shown}(x) differs from that of {shown}(xhat), label kept",
            targets=(point.label,),
            epsilon=epsilon,
            clip=self.clip,
            input_shape=self.input_shape,
            logits=self.classifier.output_size,
            saliencies=self.classifier.input_size,
            tie_rule="a tie with an entry of the top-k set is a violation; a tie of logits keeps the label",
            expected=expected,
            evidence=evidence,
            vacuity=Vacuity(samples=ranking.found.samples),
            options={
                "map": self.kind,
                "k": self.k,
                "noise": self.noise.model_dump(),
                "epsilon_star_upper": star if np.isfinite(star) else None,
            },
        )


def _sample_epsilon_star(
    centre: Array,
    directions: Callable[[Array, int, np.random.Generator], Array],
    broken: Callable[[Array], npt.NDArray[np.bool_]],
    largest: float,
    clip: tuple[float, float],
    rng: np.random.Generator,
) -> EpsilonStar:
    """Rays from the centre [n] towards corners of the box, each looked at at many radii; then corners near
    the best ones, at radii below the best."""
    best, witness, samples = largest, None, 0
    radii = largest * np.geomspace(1e-3, 1.0, _RADII)
    rays = directions(centre, _RAYS, rng)
    for step in range(_ROUNDS):
        steps = (rays[:, None] * radii[None, :, None]).reshape(-1, len(centre))
        x = np.clip((centre + steps).astype(np.float32).astype(np.float64), *clip)
        hit = broken(x).reshape(len(rays), len(radii))
        samples += hit.size
        nearest = np.where(hit.any(axis=1), radii[np.argmax(hit, axis=1)], np.inf)
        if nearest.min() < best or (witness is None and np.isfinite(nearest.min())):
            ray = int(np.argmin(nearest))
            best = float(nearest[ray])
            witness = x[ray * len(radii) + int(np.argmax(hit[ray]))]
        if witness is None:
            rays = directions(centre, _RAYS, rng)
            continue
        order = np.argsort(nearest, kind="stable")[: _RAYS // 4]
        flip = rng.random((_RAYS, len(centre))) < rng.uniform(0, 0.5, (_RAYS, 1)) * 0.8**step
        parents = rays[order[rng.integers(len(order), size=_RAYS)]]
        rays = np.where(flip, rng.choice([-1.0, 0.0, 1.0], flip.shape), parents)
        radii = best * np.linspace(0.7, 1.0, 12)
    return EpsilonStar(best if witness is not None else np.inf, witness, samples)
