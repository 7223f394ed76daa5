"""Networks in which the saliency condition provably keeps the class, and would not be missed.

Gates are grafted onto a trained network: relu(w.x - t) on pixels of their own, active in a part of the box
away from xhat. An open gate lifts another class, by enough to win, and enters the label's logit too, so
that E moves by more than delta at one of the gate's pixels. Hence whoever keeps the saliency keeps all
gates shut, and there the network is the trained one, whose class interval bounds prove. Both halves are
shown for the finished float32 network in rational interval arithmetic, and a point with another class (in
breach of the saliency condition) in rational arithmetic, when the instance is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.gradient import Gradient
from salver.families.conditions import some_class_beats
from salver.families.factory import InstanceFactory, Point, PosedQuestion
from salver.families.generator import InstanceDraft
from salver.families.instance import Planted, Vacuity
from salver.families.nearest import sample_delta_star
from salver.families.other_class import SameMap
from salver.families.search import significant
from salver.nets.graft import Grafted, GraftedPart, graft
from salver.nets.operators import Linear
from salver.oracle.exact import exact_outputs
from salver.oracle.intervals import RationalBounds, Signs, refuted
from salver.spec import Property
from salver.spec.truth import Evidence, Truth

Array = npt.NDArray[np.float64]
PIXELS = 6
"""Pixels a gate reads; no two gates read the same."""
COPIES = (1.0, 0.5)
"""A gate is several neurons, each a multiple of the first by a power of two, and so exactly."""
STILL = 1e-9
"""A change of E up to this part of its size is the rounding of a map that is constant on the box."""
THRESHOLD, SAFE, LIFT = 0.4, 1.5, 0.5
"""Where between xhat and its corner a gate opens; how far past delta E moves; by how much a class wins."""


@dataclass(frozen=True)
class Gating:
    """What is planted: the box's radius, how many gates, and delta in units of the provable change of E."""

    epsilon: float
    gates: int
    delta_factor: float


@dataclass(frozen=True, eq=False)
class PlantedGate:
    """One gate relu(row.x + bias), 1 at its corner of the box: lifts the target and label logits.

    Attributes:
        row: float64 [n] of binary32 numbers; bias: a binary32 number; corner: point [n] at which it is 1.
        target, lift, shift: the class it lifts, by how much, and by how much the label.
    """

    row: Array
    bias: float
    corner: Array
    target: int
    lift: float
    shift: float


def planted_drafts(
    source: InstanceFactory, point: Point, gating: Gating, seed: int
) -> Iterator[InstanceDraft]:
    """At most one instance at a test point: none where interval bounds do not prove the trained class.

    Raises:
        SalverError: the finished network does not do what it was built for.
    """
    rng = np.random.default_rng([seed, point.index, gating.gates])
    posed = source.pose(point, SameMap(), Gradient(logit=point.label))
    moved = _provable_change(posed, gating.epsilon)
    if moved is None or moved.max() <= STILL * np.abs(posed.reference).max(initial=1.0):
        return
    delta = significant(gating.delta_factor * float(moved.max()))
    gates = _gates(source, point, gating, delta + moved, rng)
    if delta == 0 or len(gates) < gating.gates:
        return
    grafted = graft(source.classifier, _part(gates, point.label, source.classifier.output_size), rng)
    name = f"{source.name}-gates-i{point.index}"
    own = source.with_network(grafted.classifier, name)
    asked = own.pose(point, SameMap(delta=delta), Gradient(logit=point.label))
    found = sample_delta_star(asked, gating.epsilon, seed)
    draft = asked.draft(gating.epsilon, found, Vacuity(delta_star_upper=found.finite))
    check_planted(draft, grafted, gates)
    planted = Planted(gates=gating.gates)
    yield draft.with_facts(expected=Truth.UNSAT, evidence=Evidence.PLANTED, planted=planted)


def check_planted(draft: InstanceDraft, grafted: Grafted, gates: Sequence[PlantedGate]) -> None:
    """Proves a draft `unsat`, and that it would not be without its saliency condition.

    Either all gates are shut or one of them is open; interval bounds refute the query in each case.

    Raises:
        SalverError: one of the cases is not refuted, the copies of a gate are none, or no gate changes the
            class.
    """
    groups = grafted.rows.reshape(len(gates), len(COPIES))
    where, hint = draft.name, "choose a smaller epsilon, fewer gates or another delta_factor"
    if not all(_same_sign(grafted, group) for group in groups):
        raise SalverError("the neurons of a gate are no multiples of each other", where, hint)
    for case in _cases(grafted.tensor, groups):
        if not refuted(draft.graph, draft.prop, case):
            what = "all gates shut" if not any(case.values()) else "a gate open"
            raise SalverError(f"bounds do not refute the query with {what}", where, hint)
    for gate in gates:
        logits = exact_outputs(draft.classifier, gate.corner)
        inside = draft.prop.inputs_inside(gate.corner)
        if not inside or logits[gate.target] <= logits[draft.facts.label]:
            raise SalverError("an open gate does not change the class", where, hint)


def _cases(tensor: str, groups: npt.NDArray[np.intp]) -> Iterator[Signs]:
    yield {(tensor, int(row)): False for row in groups.ravel()}
    for group in groups:
        yield {(tensor, int(row)): True for row in group}


def _same_sign(grafted: Grafted, group: npt.NDArray[np.intp]) -> bool:
    """Whether a group's rows and biases are positive multiples of its first, by powers of two."""
    node = next(n for n in grafted.classifier.nodes if n.name == grafted.tensor)
    if not isinstance(node.operator, Linear):
        return False
    rows = np.column_stack([node.operator.weight[group], node.operator.bias[group]]).astype(np.float64)
    largest = int(np.abs(rows[0]).argmax())
    ratios = rows[:, largest] / rows[0, largest]
    powers = np.exp2(np.round(np.log2(np.abs(ratios))))
    return bool((ratios == powers).all() and (rows == powers[:, None] * rows[0]).all())


def _provable_change(posed: PosedQuestion, epsilon: float) -> Array | None:
    """Bound [n] on |E(x) - E(xhat)| over the box, or None when bounds do not prove the class on it."""
    box, logits, label = posed.factory.box(posed.point.x, epsilon), posed.map.logits, posed.point.label
    for target in posed.question.classes(label, logits):
        wins = some_class_beats(label, (target,))
        if not refuted(posed.factory.classifier, Property(*box, wins, logits), {}):
            return None
    graph = posed.graph
    low, high = RationalBounds.of(graph, Property(*box, (), graph.output_size), {}).values[graph.output]
    ends = [np.array([float(v) for v in side[logits:]]) for side in (low, high)]
    return np.asarray(np.maximum(*(np.abs(end - posed.reference) for end in ends)))


def _gates(
    source: InstanceFactory, point: Point, gating: Gating, least: Array, rng: np.random.Generator
) -> list[PlantedGate]:
    """Gates on pixels of their own; `least` [n] is what E must move by at one of them."""
    lower, upper = source.box(point.x, gating.epsilon)
    centre = point.x.astype(np.float64)
    others = [k for k in range(source.classifier.output_size) if k != point.label]
    # A pixel at the end of the data range can move one way only, or not at all; the corner must lie off the
    # centre.
    order = rng.permutation(len(centre))
    order = order[upper[order] > lower[order]]
    gates = []
    for number in range(min(gating.gates, len(order) // PIXELS)):
        pixels = order[number * PIXELS : (number + 1) * PIXELS]
        away = np.where(upper[pixels] > centre[pixels], 1.0, -1.0)
        both = (upper[pixels] > centre[pixels]) & (lower[pixels] < centre[pixels])
        away = np.where(both, rng.choice((-1.0, 1.0), PIXELS), away)
        weight = away * rng.uniform(0.5, 1.5, PIXELS)
        corner = centre.copy()
        corner[pixels] = np.where(away > 0, upper[pixels], lower[pixels])
        start, end = float(weight @ centre[pixels]), float(weight @ corner[pixels])
        height = (1 - THRESHOLD) * (end - start)
        row = np.zeros(len(centre))
        row[pixels] = (weight / height).astype(np.float32)
        bias = float(np.float32(-(start + THRESHOLD * (end - start)) / height))
        target = others[int(rng.integers(len(others)))]
        shift = SAFE * float(least[pixels[0]]) / abs(float(row[pixels[0]]))
        logits = source.program.evaluate(corner[None])[0][0]
        lift = float(logits[point.label] - logits[target]) + shift + LIFT
        gates.append(PlantedGate(row, bias, corner, target, lift, shift))
    return gates


def _part(gates: Sequence[PlantedGate], label: int, logits: int) -> GraftedPart:
    """Per gate its copies, and one neuron behind them that is active on the whole box."""
    first = np.array([gate.row * copy for gate in gates for copy in COPIES])
    biases = np.array([gate.bias * copy for gate in gates for copy in COPIES])
    second = np.zeros((len(gates), len(first)))
    head = np.zeros((logits, len(gates)))
    for number, gate in enumerate(gates):
        for position, copy in enumerate(COPIES):
            second[number, number * len(COPIES) + position] = 1 / (copy * len(COPIES))
        head[gate.target, number] = gate.lift
        head[label, number] = gate.shift
    behind = np.full(len(gates), 0.5)
    return GraftedPart(first, biases, second, behind, head, -(head @ behind))
