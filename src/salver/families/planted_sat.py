"""Counterexamples planted in trained networks, out of sight of gradients.

The idea is SoundnessBench's (Zhou et al., 2024): instances whose falsity is known to their maker and not to
an attack, so that a verifier which claims `unsat` is caught. Here the network is not trained for it; a
`needle` is grafted on, so the planted point satisfies the query by construction, with a margin, and the
network is as it was outside the needle's thin region. What cannot be confirmed in ONNX Runtime and in
rational arithmetic is an error, and what an attack finds is not used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient, logits_and_gradient
from salver.explain.ranking import UndefinedConditionError
from salver.explain.unroll import logit_combination
from salver.families.factory import InstanceFactory, Point
from salver.families.generator import InstanceDraft
from salver.families.instance import Planted, Vacuity
from salver.families.nearest import sample_delta_star
from salver.families.needle import HEIGHT, Shape, needle
from salver.families.other_class import SameMap
from salver.families.questions import LabelChanges, TopKChanges
from salver.families.ranking_measures import ranking_draft
from salver.families.search import Found, significant
from salver.nets.graft import graft
from salver.nets.network import lower
from salver.nets.onnx.writer import to_bytes, to_model
from salver.nets.program import Program
from salver.nets.runtime import Runtime
from salver.oracle.exact import exact_margin
from salver.solvers.attack.falsify import BATCH, attack
from salver.solvers.query import Budget, Query
from salver.spec.truth import Evidence, Truth

Array = npt.NDArray[np.float64]
Question = Literal["vg_box", "label", "topk_rank"]
CLEAR = 1e-4
"""Least margin of the query, and least |z|, at the planted point."""
STILL = 1e-9
"""Training leaves neurons without weights, whose z is the same at every x."""
DRAWS = 50
LEAD, ROOM = 0.2, 1.25
"""How far the planted class wins, in units of the gap closed; delta in units of the saliency's change."""


@dataclass(frozen=True)
class Planting:
    """What is planted: the question, the box's radius, the needle's shape, attack rounds, top-k size."""

    question: Question
    epsilon: float
    shape: Shape
    rounds: int
    k: int


@dataclass(frozen=True, eq=False)
class _PlantingPlan:
    """Where the needle goes: its point [n], weight [m], tilt [n], and the class it lets win (or -1)."""

    point: Array
    weight: Array
    tilt: Array
    change: float
    target: int


def planted_drafts(
    source: InstanceFactory, point: Point, planting: Planting, seed: int
) -> Iterator[InstanceDraft]:
    """At most one instance at a test point; none where no place for a needle is found or an attack succeeds.

    Raises:
        SalverError: the planted point does not satisfy the query as it was built to.
    """
    rng = np.random.default_rng([seed, point.index, len(planting.question)])
    lower_, upper = source.box(point.x, planting.epsilon)
    plan = _plan(source, point, (lower_, upper), planting, rng)
    if plan is None:
        return
    part = needle(lower_, upper, plan.point, planting.shape, plan.weight, plan.tilt, rng)
    classifier = graft(source.classifier, part, rng).classifier
    name = f"{source.name}-needle-{planting.question}-i{point.index}"
    try:
        draft = _draft(source.with_network(classifier, name), point, plan, planting, seed)
    except UndefinedConditionError:
        return
    check_planted(draft, plan.point)
    if draft.facts.expected is Truth.SAT or found_by_attack(draft, planting.rounds, seed):
        return
    planted = Planted(attack_missed=planting.rounds * BATCH)
    yield draft.with_facts(expected=Truth.SAT, evidence=Evidence.PLANTED, planted=planted)


def check_planted(draft: InstanceDraft, x: Array) -> None:
    """Confirms that `x` [n] satisfies a draft's query by `CLEAR` in single precision and over the rationals.

    Raises:
        SalverError: it does not, or a pre-activation there is within `CLEAR` of 0.
    """
    outputs = Runtime(to_bytes(to_model(draft.graph))).outputs(x)
    single = float(draft.prop.margin(outputs[None])[0])
    exact = float(exact_margin(draft.graph, draft.prop, x))
    nearest = nearest_sign_change(lower(draft.graph), x, (draft.prop.input_lower, draft.prop.input_upper))
    if not draft.prop.inputs_inside(x) or min(single, exact, nearest) < CLEAR:
        what = f"the planted point misses: margins {single:.3g} and {exact:.3g}, least |z| {nearest:.3g}"
        raise SalverError(what, draft.name, "choose another shape of needle or another epsilon")


def nearest_sign_change(program: Program, x: Array, box: tuple[Array, Array]) -> float:
    """Least |z| at `x` [n] over the neurons that move between the corners of the box at all."""
    zs = np.hstack(program.evaluate(np.stack([x, *box]))[1])
    moving = np.ptp(zs, axis=0) > STILL
    return float(np.abs(zs[0, moving]).min(initial=np.inf))


def found_by_attack(draft: InstanceDraft, rounds: int, seed: int) -> bool:
    """Whether `falsify` finds a counterexample in a number of rounds of `BATCH` restarts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "query.onnx"
        path.write_bytes(to_bytes(to_model(draft.graph)))
        query = Query(path, draft.graph, draft.prop)
        return attack(query, Budget(float("inf")), seed, rounds) is not None


def _plan(
    source: InstanceFactory,
    point: Point,
    box: tuple[Array, Array],
    planting: Planting,
    rng: np.random.Generator,
) -> _PlantingPlan | None:
    """The first of some random points of the box at which a needle does what is asked."""
    label, logits = point.label, source.classifier.output_size
    others = [k for k in range(logits) if k != label]
    combination = logit_combination(logits, label)
    centre = logits_and_gradient(source.program, point.centre[None], combination)[1][0]
    for _ in range(DRAWS):
        share = rng.uniform(0.05, 0.95, len(centre))
        x = (box[0] + share * (box[1] - box[0])).astype(np.float32).astype(np.float64)
        target = int(rng.choice(others))
        values, gradient = logits_and_gradient(source.program, x[None], combination)
        gap = float(values[0, label] - values[0, target])
        change = float(np.abs(gradient[0] - centre).max())
        if nearest_sign_change(source.program, x, box) < 10 * CLEAR or gap <= 0 or change == 0:
            continue
        if planting.question == "topk_rank":
            plan = _ranking_plan(x, centre, gradient[0], planting.k, label, logits)
            if plan is None:
                continue
            return plan
        weight = np.zeros(logits)
        weight[target] = (1 + LEAD) * gap / HEIGHT
        return _PlantingPlan(x, weight, np.zeros(len(x)), change, target)
    return None


def _ranking_plan(
    x: Array, centre: Array, there: Array, k: int, label: int, logits: int
) -> _PlantingPlan | None:
    """Raises an entry outside the top-k set over one inside: a tilted needle on the label's own logit."""
    order = np.argsort(-np.abs(centre), kind="stable")
    inside, outside = order[:k], order[k:]
    low = float(np.abs(there[inside]).min())
    best = int(outside[np.abs(there[outside]).argmax()])
    missing = low - abs(float(there[best]))
    if missing <= 0:
        return None
    weight, tilt = np.zeros(logits), np.zeros(len(x))
    weight[label] = 4.0
    tilt[best] = (1 if there[best] >= 0 else -1) * (missing + LEAD * low) / weight[label]
    return _PlantingPlan(x, weight, tilt, 0.0, -1)


def _draft(
    own: InstanceFactory, point: Point, plan: _PlantingPlan, planting: Planting, seed: int
) -> InstanceDraft:
    epsilon, gradient = planting.epsilon, Gradient(logit=point.label)
    if planting.question == "label":
        asked = own.pose(point, LabelChanges())
        found = asked.extreme(epsilon, seed)
        return asked.draft(epsilon, found, Vacuity(extreme=found.value))
    if planting.question == "topk_rank":
        absolute = gradient.model_copy(update={"absolute": True})
        asked = own.pose(point, TopKChanges(k=planting.k), absolute)
        return ranking_draft(asked, epsilon, Found(np.inf), seed)
    asked = own.pose(point, SameMap(delta=significant(ROOM * plan.change)), gradient)
    found = sample_delta_star(asked, epsilon, seed)
    return asked.draft(epsilon, found, Vacuity(delta_star_upper=found.finite))
