"""What a node of an ONNX file reads, and the kinds of things it may compute."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from salver.proofs.onnx_file import FileNode, NetworkFile, Shape, UnsupportedNetworkError

MOST_WEIGHTS = 1 << 26
"""Entries of one linear map."""


@dataclass(frozen=True, eq=False)
class LinearMap:
    """sum over terms of matrix @ tensor / divisor, plus bias [entries]; `shape` is that of the result."""

    shape: Shape
    terms: tuple[tuple[str, Any, int], ...]
    bias: Any = None


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Relu, Sign or Abs of one tensor, entry by entry."""

    kind: str
    source: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Product:
    """The product of two tensors of one shape, entry by entry."""

    left: str
    right: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class SameEntries:
    """The entries of `source` in the same order under another shape."""

    source: str
    shape: Shape


Meaning = LinearMap | Pointwise | Product | SameEntries


@dataclass(frozen=True, eq=False)
class NodeUse:
    """One node with what it reads."""

    file: NetworkFile
    node: FileNode
    shapes: dict[str, Shape]

    def refuse(self, what: str) -> UnsupportedNetworkError:
        return UnsupportedNetworkError(f"{self.node.kind} {self.node.output!r:.60}: {what}")

    def inputs(self, least: int, most: int) -> tuple[str, ...]:
        if not least <= len(self.node.inputs) <= most:
            raise self.refuse(f"{len(self.node.inputs)} inputs")
        return self.node.inputs

    def only(self, *names: str) -> dict[str, Any]:
        """The attributes. Raises: UnsupportedNetworkError: there is another one."""
        strange = set(self.node.attributes) - set(names)
        if strange:
            raise self.refuse(f"attribute {min(strange)!r:.40}")
        return self.node.attributes

    def variable(self, name: str) -> Shape:
        """Shape of a tensor that depends on the input."""
        if name not in self.shapes:
            raise self.refuse(f"{name!r:.60} is constant where a variable is expected")
        return self.shapes[name]

    def constant(self, name: str) -> Any:
        """A stored tensor of the network's number type."""
        value = self.file.constants.get(name)
        if value is None or value.dtype.kind != "f":
            raise self.refuse(f"{name!r:.60} is no constant of the network's type")
        return value

    def whole(self, name: str) -> tuple[int, ...]:
        """A stored list of whole numbers."""
        value = self.file.constants.get(name)
        if value is None or value.dtype.kind != "i" or value.ndim != 1:
            raise self.refuse(f"{name!r:.60} is no constant list of whole numbers")
        return tuple(int(number) for number in value)

    def integer(self, name: str, default: int) -> int:
        value = self.node.attributes.get(name, default)
        if type(value) is not int:
            raise self.refuse(f"attribute {name} is no whole number")
        return value

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        value = self.node.attributes.get(name, default)
        if not isinstance(value, tuple) or any(type(number) is not int for number in value):
            raise self.refuse(f"attribute {name} is no list of whole numbers")
        if len(value) != len(default):
            raise self.refuse(f"attribute {name} has {len(value)} numbers")
        return value

    def flag(self, name: str, default: int) -> bool:
        value = self.integer(name, default)
        if value not in (0, 1):
            raise self.refuse(f"attribute {name} is {value}")
        return bool(value)

    def axis(self, value: int, rank: int, past: int = 0) -> int:
        """An axis, counted from the end where negative."""
        if not -rank <= value < rank + past:
            raise self.refuse(f"axis {value} of {rank}")
        return value + rank if value < 0 else value


def places_of(shape: Shape) -> Any:
    return np.arange(math.prod(shape)).reshape(shape)
