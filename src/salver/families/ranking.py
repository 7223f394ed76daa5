"""Builds ranking queries: a point with the label unchanged whose most salient features are others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from salver.explain.ranking import enough_departed, ranking_of, some_pair_flips, with_departures
from salver.explain.unroll import logit_combination, unroll
from salver.families import conditions
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts, Vacuity
from salver.families.known import known_answer
from salver.families.ranking_measures import EpsilonStarBound, Sampled, sample_epsilon_star, sample_measures
from salver.families.vanilla import Point
from salver.nets.network import Network, lower
from salver.nets.program import Program
from salver.solvers.attack.ranking_attack import RankingTarget
from salver.solvers.bounding.bounds import propagate
from salver.spec import Clause, Property, float32_down, float32_up
from salver.spec.truth import Evidence, Truth

Array = npt.NDArray[np.float64]
Of = tuple[int, int | None]
"""(class, class or None): gradient of z_a or of z_a - z_b."""


@dataclass(frozen=True, eq=False)
class RankingQuery:
    """One ranking at one point.

    Attributes:
        of: whose gradient; point: xhat; target: label, top-k set and how many members must be gone.
        graph: X -> Concat[logits, S], one for all points with the same `of`; program: the same, lowered.
    """

    of: Of
    point: Point
    target: RankingTarget
    graph: Network
    program: Program


class RankingSource:
    """One classifier on one data set, from which ranking instances are drafted.

    Args:
        name: of the network, in file names; dataset: its name; clip: the data range.
    """

    def __init__(
        self,
        classifier: Network,
        name: str,
        dataset: str,
        input_shape: tuple[int, ...],
        clip: tuple[float, float],
    ) -> None:
        self.classifier, self.name, self.dataset = classifier, name, dataset
        self.input_shape, self.clip = input_shape, clip
        self.plain = lower(classifier)
        self._graph = cache(self._unrolled)

    def _unrolled(self, of: Of) -> tuple[Network, Program]:
        graph = unroll(self.classifier, logit_combination(self.classifier.output_size, *of), "abs")
        return graph, lower(graph)

    def query(self, point: Point, k: int, leave: int, difference: bool) -> RankingQuery:
        """The ranking of a point's saliency.

        Args:
            k: size of the top-k set; leave: members that must be gone.
            difference: gradient of the label's logit minus the runner-up's, instead of the logit's.

        Raises:
            SalverError: k or `leave` do not fit the number of features.
            UndefinedConditionError: ranks k and k + 1 are tied.
        """
        x = point.x[None].astype(np.float64)
        logits = self.plain.evaluate(x)[0][0]
        others = [k_ for k_ in range(len(logits)) if k_ != point.label]
        runner_up = max(others, key=lambda c: float(logits[c])) if difference else None
        of: Of = (point.label, runner_up)
        graph, program = self._graph(of)
        saliency = program.evaluate(x)[0][0][len(logits) :]
        target = RankingTarget(point.label, len(logits), ranking_of(saliency, k, leave))
        return RankingQuery(of, point, target, graph, program)

    def epsilon_star(self, query: RankingQuery, most: float, seed: int) -> EpsilonStarBound:
        """Sampled upper bound on the smallest radius with a violation, see `sample_epsilon_star`."""
        centre = query.point.x.astype(np.float64)
        own = seed * 100_003 + query.point.index
        return sample_epsilon_star(query.program, query.target, centre, most, self.clip, own)

    def box(self, point: Point, epsilon: float) -> tuple[Array, Array]:
        """|x - xhat|_inf <= epsilon within the data range, rounded outwards to binary32 [n], [n]."""
        centre = point.x.astype(np.float64)
        low = np.maximum(float32_down(centre - epsilon), self.clip[0])
        return np.asarray(low), np.asarray(np.minimum(float32_up(centre + epsilon), self.clip[1]))

    def open_neurons(self, point: Point, epsilon: float) -> int:
        """ReLUs whose sign is not the same on the whole box by bounds; with 0 the saliency is constant."""
        return propagate(self.plain, *self.box(point, epsilon), outputs=False).undecided

    def draft(
        self, query: RankingQuery, epsilon: float, found: EpsilonStarBound, seed: int, *, exact: bool = False
    ) -> InstanceDraft:
        """One instance with everything that is known about its answer.

        Args:
            found: the nearest violation sampled; exact: enumerate the activation regions.
        """
        ranking, box = query.target.ranking, self.box(query.point, epsilon)
        k, leave = len(ranking.inside), ranking.leave
        graph, changed = query.graph, some_pair_flips(query.target.logits, ranking)
        a, b = query.of
        stem = f"{self.name}-g{a}" + ("" if b is None else f"m{b}") + "-abs"
        ranks = f"top{k}" if leave == 1 else f"top{k}leave{leave}"
        if leave > 1:
            graph = with_departures(query.graph, ranking)
            changed = enough_departed(query.target.logits, ranking)
            stem = f"{stem}-i{query.point.index}-{ranks}"
        kept = conditions.class_is(query.target.label, query.target.logits)
        clauses: tuple[Clause, ...] = (*kept, changed)
        prop = Property(*box, clauses, graph.output_size)
        expected, evidence = known_answer(graph, prop, found.witness, exact)
        measured = sample_measures(query.program, query.target, box, seed * 100_003 + query.point.index)
        facts = self._facts(query, epsilon, found, measured, expected, evidence)
        name = stem if leave > 1 else f"{stem}-i{query.point.index}-{ranks}"
        return InstanceDraft(f"{name}-e{epsilon:g}", self.classifier, self.name, graph, stem, prop, facts)

    def _facts(
        self,
        query: RankingQuery,
        epsilon: float,
        found: EpsilonStarBound,
        measured: Sampled,
        expected: Truth,
        evidence: Evidence,
    ) -> Facts:
        ranking, (a, b) = query.target.ranking, query.of
        k, leave = len(ranking.inside), ranking.leave
        what = f"of the top-{k} features of |E(xhat)| at least {leave} are no longer among the top {k}"
        options = {
            "map": "abs",
            "k": k,
            "stay": k - leave + 1,
            "inside": ranking.inside.tolist(),
            "extra_outputs": int(leave > 1),
            "open_neurons": self.open_neurons(query.point, epsilon),
            "epsilon_star_upper": found.value if np.isfinite(found.value) else None,
            "label_kept": measured.kept,
            "precision_at_k_mean": measured.precision_mean,
            "precision_at_k_min": measured.precision_min,
            "thickness_mean": measured.thickness_mean,
            "thickness_min": measured.thickness_min,
        }
        return Facts(
            family="topk_rank",
            network=self.name,
            dataset=self.dataset,
            index=query.point.index,
            label=query.point.label,
            gradient_of=f"z_{a}" + ("" if b is None else f" - z_{b}"),
            condition=what,
            targets=(query.point.label,),
            epsilon=epsilon,
            clip=self.clip,
            input_shape=self.input_shape,
            logits=query.target.logits,
            saliencies=self.classifier.input_size + int(leave > 1),
            tie_rule="ties S_j = S_i and z_k = z_l count as violations",
            expected=expected,
            evidence=evidence,
            vacuity=Vacuity(samples=found.samples),
            options=options,
        )
