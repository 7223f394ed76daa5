"""Maps made of the gradient at fixed places around x: SmoothGrad, integrated gradients and their like.

A place is a point scale * x + shift, affine in x. The graph holds a copy of the unrolled gradient for each. A
place that is x itself shares the masks with the classifier's logits, equal places share one copy, and a place
that does not move with x (scale 0) has a constant gradient.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.explain.autograd import gradient_by_autograd
from salver.explain.copies import copy_at, part_behind, weighted_sum
from salver.explain.explanation import CANCELLED, Array, Explained, Explanation
from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import unroll
from salver.nets.network import Network, evaluate, free_prefix, single
from salver.nets.operators import Abs, Concat, Node, Operator, Scale, held

MOST_PLACES = 1024
"""Copies of the classifier and its gradient in one graph."""
MOST_ENTRIES = 1 << 22
"""Of all points at which gradients are taken at once."""


@dataclass(frozen=True, eq=False)
class Places:
    """q points scale * x + shift with a weight each.

    Attributes:
        scales: [q], shifts: [q, n]; binary32 numbers, so that a file has the very points.
        weights: [q].
    """

    scales: Array
    shifts: Array
    weights: Array

    @classmethod
    def rounded(cls, scales: npt.ArrayLike, shifts: npt.ArrayLike, weights: npt.ArrayLike) -> Places:
        """With scales and shifts rounded to binary32."""
        scales, shifts = (np.asarray(part, np.float32).astype(np.float64) for part in (scales, shifts))
        return cls(scales, shifts, np.asarray(weights, np.float64))

    def at(self, x: Array) -> Array:
        """The points [q, batch, n] of x [batch, n], in float64."""
        return np.asarray(self.scales[:, None, None] * x + self.shifts[:, None])


class PlacedGradients(Explanation):
    """What the methods of this kind have in common; by default a map is the weighted sum of the gradients."""

    @abstractmethod
    def places(self, size: int) -> Places:
        """The places for inputs of this size. Raises: SalverError: the method does not fit it."""

    def combined(self, gradients: Array, x: Array) -> Array:
        """E [batch, n] before any absolute value, from the gradients [q, batch, n] at the places of x."""
        return np.asarray(np.tensordot(self.places(x.shape[1]).weights, gradients, 1))

    def assembled(self, copies: Copies) -> str:
        """The same in the graph: the tensor that holds it."""
        return copies.weighted(self.places(copies.size).weights)

    def graph(self, classifier: Network) -> Network:
        """The network X [n] -> Concat[logits [m], E [n]].

        Raises:
            SalverError: as `unroll`, or the method does not fit the input.
        """
        places = self.places(classifier.input_size)
        copies = Copies(classifier, self.combination(classifier.output_size), places, self.stem)
        return copies.built(self.assembled(copies), self.absolute)

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation at every place."""
        combination, points = self.combination(classifier.output_size), x.astype(np.float64)
        places = self.places(x.shape[1]).at(points)
        gradients = [gradient_by_autograd(classifier, combination, place) for place in places]
        return self.combined(np.asarray(gradients), points)

    def values(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """By reverse accumulation at all places at once, for as many points as fit in memory."""
        rows = max(1, MOST_ENTRIES // (len(self.places(x.shape[1]).scales) * x.shape[1]))
        found = np.empty_like(x)
        for part in (slice(first, first + rows) for first in range(0, len(x), rows)):
            found[part] = self.combined(self._gradients(explained, x[part]), x[part])
        return explained.program.evaluate(x)[0], np.abs(found) if self.absolute else found

    def rounding(self, explained: Explained, x: Array) -> Array:
        """By the gradients that are combined."""
        return self.rounding_of(self._gradients(explained, x[None])[:, 0], x)

    def rounding_of(self, gradients: Array, x: Array) -> Array:
        """The same [n] from the gradients [q, n] at the places of x [n], of which each is combined alone."""
        total = np.zeros(len(x))
        for place in np.eye(len(gradients)):
            total += np.abs(self.combined((place[:, None] * gradients)[:, None], x[None])[0])
        return CANCELLED * total

    def _gradients(self, explained: Explained, x: Array) -> Array:
        """At all places [q, batch, n] of x [batch, n]."""
        points, combination = self.places(x.shape[1]).at(x), self.combination(explained.logits)
        _, found = logits_and_gradient(explained.program, points.reshape(-1, x.shape[1]), combination)
        return found.reshape(points.shape)

    def looks_at(self, x: Array) -> Array:
        """The places that move with x."""
        places = self.places(len(x))
        return np.asarray(places.at(x[None])[places.scales != 0, 0])

    @property
    def stem(self) -> str:
        """Begins the names of tensors of the graph."""
        return self.method.replace("-", "_")

    @property
    def kinks_at_relus(self) -> bool:
        return False


class Copies:
    """A classifier with its gradient at places, and what is added behind them.

    Attributes:
        nodes: so far. size: n. input: name of the input tensor.
        gradients: of each place the tensor of the gradient, or a constant [n].
    """

    def __init__(self, classifier: Network, coefficients: Array, places: Places, stem: str) -> None:
        unrolled = unroll(classifier, coefficients)
        logits, saliency = unrolled.nodes[-1].inputs
        here = (places.scales == 1) & ~places.shifts.any(axis=1)
        start = unrolled.nodes[:-1] if here.any() else part_behind(unrolled, logits).nodes
        self.network, self.nodes = replace(unrolled, output=logits), list(start)
        self.size, self.input = unrolled.input_size, unrolled.input
        self.stem = free_prefix(unrolled.shapes, stem)
        gradient, prefix = part_behind(unrolled, saliency), free_prefix(unrolled.shapes, "place")
        found: dict[bytes, str | Array] = {}
        self.gradients: list[str | Array] = []
        for scale, shift, is_x in zip(places.scales, places.shifts, here, strict=True):
            key = np.append(shift, scale).tobytes()
            if key not in found and is_x:
                found[key] = saliency
            elif key not in found and scale == 0:
                found[key] = np.asarray(evaluate(gradient, shift)[0])
            elif key not in found:
                copy = copy_at(gradient, f"{prefix}{len(found)}_", np.full(self.size, scale), shift)
                self.nodes += copy
                found[key] = copy[-1].name
            self.gradients.append(found[key])

    @property
    def varying(self) -> list[str]:
        """The gradients where none is constant."""
        return [part for part in self.gradients if isinstance(part, str)]

    def emit(self, operator: Operator, *inputs: str) -> str:
        """Appends an operator that keeps the input's shape, and names its tensor."""
        name = f"{self.stem}{len(self.nodes)}"
        self.nodes.append(Node(name, operator, inputs, (self.size,)))
        return name

    def affine(self, source: str, scale: npt.ArrayLike, shift: npt.ArrayLike) -> str:
        """scale * source + shift, each a number or [n]; the source itself where that is the same."""
        factor, offset = (np.broadcast_to(np.asarray(part, np.float64), self.size) for part in (scale, shift))
        if (factor == 1).all() and not offset.any():
            return source
        return self.emit(Scale(held(factor), held(offset)), source)

    def weighted(self, weights: Array, parts: Sequence[str | Array] | None = None) -> str:
        """The sum of weights[k] times the gradient at place k, for weights [q] or [q, n].

        Args:
            parts: in place of the gradients.
        """
        total: dict[str, Array] = {}
        shift = np.zeros(self.size)
        for weight, part in zip(weights, self.gradients if parts is None else parts, strict=True):
            if isinstance(part, str):
                total[part] = np.asarray(total.get(part, 0.0) + weight)
            else:
                shift = shift + weight * part
        if not total:
            return self.affine(self.input, 0.0, shift)
        terms, factors = list(total), list(total.values())
        if weights.ndim > 1:
            terms = [self.affine(*term, 0.0) for term in zip(terms, factors, strict=True)]
            factors = [np.ones(())] * len(terms)
        name = weighted_sum(self.nodes, terms, factors, (self.size,), f"{self.stem}{len(self.nodes)}")
        return self.affine(name, 1.0, shift)

    def built(self, saliency: str, absolute: bool) -> Network:
        """The network X -> Concat[logits, map], or its absolute values."""
        if absolute:
            saliency = self.emit(Abs(), saliency)
        logits = self.network.output
        output = Node(
            f"{self.stem}_output", Concat(), (logits, saliency), (self.network.output_size + self.size,)
        )
        return single(
            replace(self.network, nodes=(*self.nodes, output), output=output.name), "gradient network"
        )
