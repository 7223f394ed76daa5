"""The saliency map of a query at any point, with the class there: what every picture of an instance shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.explanation import Explained
from salver.families.instance import Facts, Instance
from salver.nets.network import Network, lower
from salver.nets.onnx.file import load_model
from salver.nets.onnx.reader import read_onnx
from salver.nets.runtime import Runtime

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """At one point: the map [s], the class the network gives, and the map's top-k set, if it ranks.

    Attributes:
        map: the entries that the query compares.
        label: index of the winning class; at a tie another one than the instance's label.
        top: indices of the k largest entries, largest first; empty where the query is not about ranks.
    """

    map: Array
    label: int
    top: tuple[int, ...]


class Maps:
    """Maps of one instance set, by ONNX Runtime; each network is read once.

    Args:
        set_folder: folder of the instance set.
    """

    def __init__(self, set_folder: Path) -> None:
        self._set_folder = set_folder
        self._runtimes: dict[str, Runtime] = {}
        self._networks: dict[str, Network] = {}

    def at(self, instance: Instance, x: Array) -> Seen:
        """What is seen at a point [n], such as a witness.

        Raises:
            SalverError: the query's network cannot be read or run.
        """
        return seen(instance.facts, self._outputs(instance, x))

    def at_xhat(self, instance: Instance, x: Array) -> Seen:
        """The same at the explained point: the map with which the query compares.

        Raises:
            SalverError: as `at`; the original network cannot be read.
        """
        facts = instance.facts
        outputs = self._outputs(instance, x)
        if facts.compared_with is None:
            return seen(facts, outputs)
        network = self._network(instance.network)
        _, compared = Explained(network, lower(network), facts.compared_with).values(x[None])
        return replace(seen(facts, outputs), map=compared[0], top=top_set(compared[0], facts))

    def shape(self, instance: Instance) -> tuple[int, ...]:
        """Shape of the map before flattening. Channels of a coloured image are kept: the map of a gradient
        has one value for each of them.

        Raises:
            SalverError: an activation map's network cannot be read.
        """
        facts = instance.facts
        shape: tuple[int, ...] = (facts.map_size,)
        if facts.explanation is not None:
            shape = facts.explanation.map_shape(self._network(instance.network), facts.input_shape)
        return shape if int(np.prod(shape)) == facts.map_size else (facts.map_size,)

    def _outputs(self, instance: Instance, x: Array) -> Array:
        path = self._set_folder / instance.onnx
        try:
            if instance.onnx not in self._runtimes:
                self._runtimes[instance.onnx] = Runtime(load_model(path).SerializeToString())
            return self._runtimes[instance.onnx].outputs(x)
        except RuntimeError as error:
            raise SalverError("ONNX Runtime cannot run it", str(path), "generate the set again") from error

    def _network(self, path: str) -> Network:
        if path not in self._networks:
            self._networks[path] = read_onnx(self._set_folder / path)
        return self._networks[path]


def seen(facts: Facts, outputs: Array) -> Seen:
    """What the outputs [m] of a query's network say."""
    values = facts.map_in(outputs)
    return Seen(values, _winner(outputs[: facts.logits], facts.label), top_set(values, facts))


def _winner(logits: Array, label: int) -> int:
    best = np.flatnonzero(logits == logits.max())
    others = best[best != label]
    return int(others[0]) if len(others) else label


def top_set(values: Array, facts: Facts) -> tuple[int, ...]:
    """The k largest entries of a map [s], largest first; empty where the question does not rank."""
    k = facts.question.ranked
    return tuple(np.argsort(-values, kind="stable")[:k].tolist()) if 0 < k < len(values) else ()
