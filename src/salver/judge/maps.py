"""The saliency map of a query at any point, with the class there: what every picture of an instance shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.explain.autograd import ACTIVATION_MAPS
from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import logit_combination
from salver.families.instance import Facts
from salver.judge.loaded import LoadedInstance
from salver.nets.network import Network, lower
from salver.nets.operators import Relu

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """At one point: the map [s], the class the network gives, and the map's top-k set where the family ranks.

    Attributes:
        map: the entries that the query compares.
        label: index of the winning class; at a tie another one than the instance's label.
        top: indices of the k largest entries, largest first; empty where the query is not about ranks.
    """

    map: Array
    label: int
    top: tuple[int, ...]


def seen_at(instance: LoadedInstance, x: Array) -> Seen:
    """What is seen at a point [n], such as a witness.

    Raises:
        SalverError: the query's network cannot be read or run.
    """
    return seen(instance.facts, instance.outputs(x))


def seen_at_xhat(instance: LoadedInstance, x: Array) -> Seen:
    """The same at the explained point: the map with which the query compares.

    Raises:
        SalverError: as `seen_at`; the original network cannot be read.
    """
    facts = instance.facts
    outputs = instance.outputs(x)
    if (of := reference_gradient_of(facts)) is not None:
        gradient = _gradient(instance.classifier, of, x)
        compared = np.abs(gradient) if facts.options.get("map") == "abs" else gradient
        outputs = np.concatenate([outputs[: facts.logits], compared, outputs[_end(facts, outputs) :]])
    return seen(facts, outputs)


def map_shape(instance: LoadedInstance) -> tuple[int, ...]:
    """Shape of the map before flattening. Channels of a coloured image are kept: the map of a gradient
    has one value for each of them.

    Raises:
        SalverError: an activation map's network cannot be read.
    """
    facts = instance.facts
    size = facts.saliencies - int(facts.options.get("extra_outputs", 0))
    if facts.options.get("map") in ACTIVATION_MAPS:
        nodes = instance.classifier.nodes
        features = [n for n in nodes if isinstance(n.operator, Relu) and len(n.shape) == 3]
        return tuple(features[-1].shape[1:])
    return facts.input_shape if int(np.prod(facts.input_shape)) == size else (size,)


def seen(facts: Facts, outputs: Array) -> Seen:
    """What the outputs [m] of a query's network say."""
    values = outputs[facts.logits : _end(facts, outputs)]
    return Seen(values, _winner(outputs[: facts.logits], facts.label), top_set(values, facts))


def reference_gradient_of(facts: Facts) -> str | None:
    """Which gradient the map at xhat is, where it is another one than the graph's; else None.

    A query about the predicted class compares the gradient for the class that wins at x with the gradient
    for xhat's own label.
    """
    if not facts.options.get("winner"):
        return None
    parts = facts.gradient_of.split(" - ")
    return f"z_{facts.label}" if len(parts) == 1 else f"z_{facts.label} - {parts[0]}"


def _gradient(network: Network, gradient_of: str, x: Array) -> Array:
    classes = [int(part.removeprefix("z_")) for part in gradient_of.split(" - ")]
    combination = logit_combination(network.output_size, classes[0], *classes[1:])
    return np.asarray(logits_and_gradient(lower(network), x[None], combination)[1][0])


def _end(facts: Facts, outputs: Array) -> int:
    return len(outputs) - int(facts.options.get("extra_outputs", 0))


def _winner(logits: Array, label: int) -> int:
    best = np.flatnonzero(logits == logits.max())
    others = best[best != label]
    return int(others[0]) if len(others) else label


def top_set(values: Array, facts: Facts) -> tuple[int, ...]:
    """The k largest entries of a map [s], largest first; empty where the family does not rank."""
    k = int(facts.options.get("k", 0))
    return tuple(np.argsort(-values, kind="stable")[:k].tolist()) if 0 < k < len(values) else ()
