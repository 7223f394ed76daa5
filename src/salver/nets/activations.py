"""Which ReLUs of a network are its activations, and which are parts of another piecewise linear operator.

Readers write maxima, clips and leaky ReLUs with ReLUs (`nets.onnx.piecewise`, `nets.max_pool`). Methods that
treat the signal at a ReLU in a way of their own must know them, in a file that was written again too. So they
are known by what they compute, for a tensor y and numbers a and b:

    y + Relu(p - y), y + Relu(b - y), y - Relu(y - b)    maximum, minimum, clamp with one bound
    a y + (1 - a) Relu(y)                                leaky ReLU
    Relu(y) + Relu(-y)                                   of a maximum or minimum of tensors
    Relu(b - Relu(y))                                    clip between two bounds, hard sigmoid
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.nets.network import Network
from salver.nets.operators import Add, Node, Relu, Reshape, Scale, Sign, Sub

Array = npt.NDArray[np.float64]
Reading = tuple[Node, int, Array]
"""An operator that reads a tensor times a factor, and as which of its inputs."""
CLOSE = 1e-6
"""Rounding of slopes to single precision."""


def activations(network: Network) -> frozenset[str]:
    """Names of the ReLUs that are activations of their own; masks Relu(Sign(z)) are none.

    Raises:
        SalverError: a ReLU is read as an activation and as a part of another operator.
    """
    return _Search(network).activations()


class _Search:
    """A network by makers and readers of its tensors."""

    def __init__(self, network: Network) -> None:
        self.made_by = {node.name: node for node in network.nodes}
        self.readers: dict[str, list[tuple[Node, int]]] = defaultdict(list)
        for node in network.nodes:
            for place, name in enumerate(node.inputs):
                self.readers[name].append((node, place))
        self.relus = [node for node in network.nodes if isinstance(node.operator, Relu)]
        self.output = network.output

    def activations(self) -> frozenset[str]:
        sums = {node.name: [self._joins(node, *one) for one in self._read(node.name)] for node in self.relus}
        clips = {
            node.name: inner
            for node in self.relus
            if not any(sums[node.name]) and (inner := self._inside_clip(node)) is not None
        }
        found = set[str]()
        for node in self.relus:
            if node.name in clips or isinstance(self._maker(node.inputs[0]), Sign):
                continue
            readers = [reader.name for reader, _, _ in self._read(node.name)]
            parts = [
                joins or clips.get(reader) == node.name
                for joins, reader in zip(sums[node.name], readers, strict=True)
            ]
            if not any(parts):
                found.add(node.name)
            elif not all(parts) or node.name == self.output:
                what = f"the ReLU {node.name!r:.60} is an activation and also a part of another operator"
                hint = "write the maximum, clip or leaky ReLU that reads it with an operator of its own"
                raise SalverError(what, "network", hint)
        return frozenset(found)

    def _maker(self, name: str) -> Any:
        return self.made_by[name].operator if name in self.made_by else None

    def _read(self, name: str, factor: Any = 1.0) -> Iterator[Reading]:
        """Who reads a tensor, through elementwise maps."""
        for node, place in self.readers[name]:
            match node.operator:
                case Scale():
                    yield from self._read(node.name, factor * node.operator.scale.ravel().astype(np.float64))
                case Reshape():
                    yield from self._read(node.name, factor)
                case _:
                    yield node, place, np.asarray(factor, np.float64)

    def _line(self, name: str) -> tuple[str, Any, Any]:
        """A tensor as scale * root + shift, with a root that is made otherwise."""
        node = self.made_by.get(name)
        match node and node.operator:
            case Scale(scale=scale, shift=shift) if node is not None:
                root, inner, moved = self._line(node.inputs[0])
                factor = scale.ravel().astype(np.float64)
                return root, factor * inner, factor * moved + shift.ravel()
            case Reshape() if node is not None:
                return self._line(node.inputs[0])
        return name, np.ones(1), np.zeros(1)

    def _slope(self, name: str, of: str, differences: bool = True) -> Any:
        """The factor of `of` in a tensor that is an elementwise map of it, or a difference of such.

        None for any other tensor.
        """
        if name == of:
            return np.ones(1)
        node = self.made_by.get(name)
        match node and node.operator:
            case Scale(scale=scale) if node is not None:
                inner = self._slope(node.inputs[0], of, differences)
                return None if inner is None else scale.ravel().astype(np.float64) * inner
            case Reshape() if node is not None:
                return self._slope(node.inputs[0], of, differences)
            case Sub() if node is not None and differences:
                left, right = (self._slope(part, of, False) for part in node.inputs)
                return left if right is None else -right if left is None else left - right
        return None

    def _joins(self, relu: Node, reader: Node, place: int, factor: Array) -> bool:
        """Whether the sum that reads a ReLU makes it a part of another operator."""
        if not isinstance(reader.operator, Add | Sub) or (isinstance(reader.operator, Sub) and place == 0):
            return False
        argument, other = relu.inputs[0], reader.inputs[1 - place]
        sign = reader.operator.sign * factor
        bend = self._slope(argument, other)
        if bend is not None:  # other + sign * Relu(bend * other + ...)
            return _close(sign * bend * (sign * bend + 1.0), 0.0)
        straight = self._slope(other, argument, differences=False)
        if straight is not None:  # straight * argument + sign * Relu(argument)
            return _close((straight + sign - 1.0) / np.maximum(1.0, np.abs(straight)), 0.0)
        root, own, _ = self._line(other)
        twin = self.made_by.get(root)
        if twin is None or not isinstance(twin.operator, Relu) or twin is relu:
            return False
        one, minus = self._line(argument), self._line(twin.inputs[0])
        mirrored = one[0] == minus[0] and _close(one[1] + minus[1], 0.0) and _close(one[2] + minus[2], 0.0)
        return mirrored and _close(own - sign, 0.0)

    def _inside_clip(self, relu: Node) -> str | None:
        """The ReLU of which this one is b - Relu(y), rectified."""
        root, scale, shift = self._line(relu.inputs[0])
        if isinstance(self._maker(root), Relu) and _close(scale, -1.0) and (shift > 0).all():
            return root
        return None


def _close(values: Any, wanted: float) -> bool:
    return bool((np.abs(np.asarray(values) - wanted) <= CLOSE).all())
