"""Properties that others verify of the same networks, on the same graphs: for comparison with saliency.

- sign of a gradient entry (monotonicity: Shi et al., "Efficiently computing local Lipschitz constants of
  neural networks via bound propagation", NeurIPS 2022): is there an x with s E_j(x) <= t, s = sign E_j(xhat)?
- width of a gradient (Wicker et al., "Robust explanation constraints for neural networks", ICLR 2023): is
  there an x with |E_j(x) - E_j(xhat)| >= delta for some j?
- the label alone: is there an x in the box with z_k >= z_l for some k?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import logit_combination
from salver.families.conditions import some_class_beats
from salver.families.extremes import Extreme, largest
from salver.families.generator import InstanceDraft
from salver.families.instance import Facts, Vacuity
from salver.families.known import known_answer
from salver.families.sampling import significant
from salver.families.vanilla import Point, VanillaQuery
from salver.nets.network import Network
from salver.spec import Atom, Clause, Property, float32_down, float32_up

Array = npt.NDArray[np.float64]
RADIUS_STEPS = 10


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A classifier and the box of radius `epsilon` [n], [n] around a point, with E(xhat) [n]."""

    source: VanillaQuery
    point: Point
    epsilon: float
    lower: Array
    upper: Array
    reference: Array

    @classmethod
    def of(cls, source: VanillaQuery, point: Point, epsilon: float) -> Neighbourhood:
        """Raises: SalverError: epsilon is not positive and finite."""
        coefficients = logit_combination(source.classifier.output_size, point.label)
        centre = point.x.astype(np.float64)
        reference = logits_and_gradient(source.program, centre[None], coefficients)[1][0]
        return cls(source, point, epsilon, *source.box(point.x, epsilon), reference)

    def gradient(self, x: Array) -> Array:
        """E [batch, n] at x [batch, n]."""
        coefficients = logit_combination(self.source.classifier.output_size, self.point.label)
        return logits_and_gradient(self.source.program, x, coefficients)[1]

    def lead(self, x: Array) -> Array:
        """max over k of z_k - z_l [batch]."""
        logits = self.source.program.evaluate(x)[0]
        others = np.delete(logits, self.point.label, axis=1)
        return np.asarray(others.max(axis=1) - logits[:, self.point.label])

    def widest(self, seed: int) -> Extreme:
        """Largest |E_j(x) - E_j(xhat)| seen."""
        return self._largest(lambda x: np.abs(self.gradient(x) - self.reference).max(axis=1), seed)

    def lowest(self, feature: int, seed: int) -> Extreme:
        """Largest -s E_j(x) seen, s the sign of E_j(xhat)."""
        side = np.sign(self.reference[feature])
        return self._largest(lambda x: -side * self.gradient(x)[:, feature], seed)

    def nearest_class(self, seed: int) -> Extreme:
        """Largest lead of another class seen."""
        return self._largest(self.lead, seed)

    def _largest(self, score: Any, seed: int) -> Extreme:
        centre = self.point.x.astype(np.float64)
        return largest(score, self.lower, self.upper, centre, seed * 100_003 + self.point.index)


def width_draft(place: Neighbourhood, delta: float, found: Extreme, exact: bool) -> InstanceDraft:
    """Does some gradient entry move by at least delta?"""
    logits = place.source.classifier.output_size
    # Rounded away from xhat, so that a violation moves by delta or more.
    low, high = float32_down(place.reference - delta), float32_up(place.reference + delta)
    moved = tuple(
        (atom,)
        for j, (below, above) in enumerate(zip(low.tolist(), high.tolist(), strict=True))
        for atom in (Atom(logits + j, "<=", constant=below), Atom(logits + j, ">=", constant=above))
    )
    options = {"sampled_width": found.value}
    text = f"|E_j(x) - E_j(xhat)| >= {delta:g} for some j"
    return _gradient_draft(
        "gradient_width", place, (moved,), text, f"w{delta:g}", found, options, delta, exact
    )


def sign_draft(
    place: Neighbourhood, feature: int, level: float, found: Extreme, exact: bool
) -> InstanceDraft:
    """Does a gradient entry, in the direction of its sign at xhat, fall to `level` or below?"""
    logits = place.source.classifier.output_size
    positive = place.reference[feature] > 0
    bound = float(float32_down(np.array(level)) if positive else float32_up(np.array(-level)))
    atom = Atom(logits + feature, "<=" if positive else ">=", constant=bound)
    sign = "" if positive else "-"
    options = {"feature": feature, "level": level, "sampled_lowest": -found.value}
    text = f"{sign}E_{feature}(x) <= {level:g}"
    stem = f"f{feature}-l{level:g}"
    return _gradient_draft("gradient_sign", place, (((atom,),),), text, stem, found, options, None, exact)


def label_draft(place: Neighbourhood, found: Extreme, exact: bool) -> InstanceDraft:
    """Is another class reached in the box? The graph is the classifier alone."""
    source, label = place.source, place.point.label
    targets = _others(source, label)
    return _draft(
        "label_robustness", place, source.classifier, f"{source.name}-logits",
        some_class_beats(label, targets), "none: the label alone", f"{source.name}-label", found,
        {"map": "none", "sampled_lead": found.value}, None, exact,
    )  # fmt: skip


def label_radius(source: VanillaQuery, point: Point, most: float, seed: int) -> float:
    """Sampled upper bound on the smallest radius with another class, by bisection; inf without any."""
    if Neighbourhood.of(source, point, most).nearest_class(seed).value < 0:
        return float("inf")
    low, high = 0.0, most
    for _ in range(RADIUS_STEPS):
        middle = (low + high) / 2
        if Neighbourhood.of(source, point, middle).nearest_class(seed).value >= 0:
            high = middle
        else:
            low = middle
    return significant(high)


def _others(source: VanillaQuery, label: int) -> tuple[int, ...]:
    return tuple(k for k in range(source.classifier.output_size) if k != label)


def _gradient_draft(
    family: str,
    place: Neighbourhood,
    clauses: Sequence[Clause],
    text: str,
    stem: str,
    found: Extreme,
    options: dict[str, Any],
    delta: float | None,
    exact: bool,
) -> InstanceDraft:
    graph = place.source.graph((place.point.label, None), "raw")
    name = f"{place.source.name}-g{place.point.label}"
    described = {"map": "raw", **options}
    return _draft(
        family, place, graph, name, tuple(clauses), text, f"{name}-{stem}", found, described, delta, exact
    )


def _draft(
    family: str,
    place: Neighbourhood,
    graph: Network,
    graph_name: str,
    clauses: tuple[Clause, ...],
    text: str,
    stem: str,
    found: Extreme,
    options: dict[str, Any],
    delta: float | None,
    exact: bool,
) -> InstanceDraft:
    source, point = place.source, place.point
    prop = Property(place.lower, place.upper, clauses, graph.output_size)
    expected, evidence = known_answer(graph, prop, found.point, exact)
    scale = float(np.abs(place.reference).max())
    facts = Facts(
        family=family,
        network=source.name,
        dataset=source.dataset,
        index=point.index,
        label=point.label,
        gradient_of=f"z_{point.label}" if graph is not source.classifier else "none",
        condition=text,
        targets=_others(source, point.label),
        epsilon=place.epsilon,
        delta=delta,
        clip=source.clip,
        input_shape=source.input_shape,
        logits=source.classifier.output_size,
        saliencies=graph.output_size - source.classifier.output_size,
        tie_rule="values that reach their bound count as violations",
        expected=expected,
        evidence=evidence,
        vacuity=Vacuity(
            delta_over_saliency=delta / scale if delta is not None and scale > 0 else None,
            samples=found.samples,
        ),
        options=options,
    )
    name = f"{stem}-i{point.index}-e{place.epsilon:g}"
    return InstanceDraft(name, source.classifier, source.name, graph, graph_name, prop, facts)
