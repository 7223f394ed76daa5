"""The saliency map of a query at any point, with the class there: what every picture of an instance shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from salver.explain.explanation import Explained
from salver.families.instance import Facts
from salver.families.question import winner
from salver.judge.loaded import LoadedInstance
from salver.nets.network import lower

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MapAtPoint:
    """At one point: the map [s], the class the network gives, and the map's top-k set, if it ranks.

    Attributes:
        map: the entries that the query compares.
        label: index of the winning class; at a tie another one than the instance's label.
        top: indices of the k largest entries, largest first; empty where the query is not about ranks.
    """

    map: Array
    label: int
    top: tuple[int, ...]


def map_at(instance: LoadedInstance, x: Array) -> MapAtPoint:
    """What is seen at a point [n], such as a witness.

    Raises:
        SalverError: the query's network cannot be read or run.
    """
    return map_of_outputs(instance.facts, instance.outputs(x))


def map_at_xhat(instance: LoadedInstance, x: Array) -> MapAtPoint:
    """The same at the explained point: the map with which the query compares.

    Raises:
        SalverError: as `map_at`; the original network cannot be read.
    """
    facts = instance.facts
    at_x = map_of_outputs(facts, instance.outputs(x))
    if facts.compared_with is None:
        return at_x
    network = instance.classifier
    _, compared = Explained(network, lower(network), facts.compared_with).values(x[None])
    return replace(at_x, map=compared[0], top=facts.question.top(compared[0]))


def map_shape(instance: LoadedInstance) -> tuple[int, ...]:
    """Shape of the map before flattening. Channels of a coloured image are kept: the map of a gradient
    has one value for each of them.

    Raises:
        SalverError: an activation map's network cannot be read.
    """
    facts = instance.facts
    shape: tuple[int, ...] = (facts.map_size,)
    if facts.explanation is not None:
        shape = facts.explanation.map_shape(instance.classifier, facts.input_shape)
    return shape if int(np.prod(shape)) == facts.map_size else (facts.map_size,)


def map_of_outputs(facts: Facts, outputs: Array) -> MapAtPoint:
    """What the outputs [m] of a query's network say."""
    values = facts.map_in(outputs)
    return MapAtPoint(values, winner(outputs[: facts.logits], facts.label), facts.question.top(values))
