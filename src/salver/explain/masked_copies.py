"""Maps of masked inputs: fixed linear combinations of z at x * m + b * (1 - m) for fixed masks m.

Occlusion, feature ablation, RISE, Shapley values, KernelSHAP and LIME with fixed draws are all of that form:
E = W [z(x * m_1 + b * (1 - m_1)), ..., z(x * m_q + b * (1 - m_q))]. So the graph is copies of the classifier
and one linear map. It needs neither a gradient nor a product, and any verifier of ReLU networks takes it.
"""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.explain.baseline import Baseline, baseline_values, refuse_outside
from salver.explain.copies import copy_at, into_first_weights, part_behind
from salver.explain.explanation import CANCELLED, Array, Explained, Explanation, Form
from salver.nets.network import Network, evaluate, free_prefix, single
from salver.nets.operators import Abs, Concat, Linear, Node, Reshape, held

MOST_COPIES = 4096
"""Copies of the classifier in one graph."""
MOST_ENTRIES = 1 << 26
"""Entries of all masks together."""
MOST_WEIGHTS = 1 << 22
"""Weights of all copies' first layers, above which these are stored once, behind the masks."""
OF_AN_IMAGE = "or say the sides of an image, such as --shape 1,28,28 (in a suite shape = [1, 28, 28])"
"""What a person is told who asks for windows or grids where nothing says that the input is an image."""


class Draws(Record):
    """Fixed random draws.

    Attributes:
        count: how many.
        seed: of the draws; they do not depend on the network or the point.
    """

    count: int = Field(gt=0, le=MOST_COPIES, description="how many are drawn")
    seed: int = Field(default=0, ge=0, description="of the draws")

    @property
    def stem(self) -> str:
        """File-name part that names the draws."""
        return f"q{self.count}-n{self.seed}"

    @property
    def text(self) -> str:
        """The draws for readers."""
        return f"{self.count} draws, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class MaskedSamples:
    """q masks, and how a map is put together of what the classifier gives at the masked inputs.

    Attributes:
        kept: share of x in each entry of a masked input, the rest is the baseline's [q, n].
        weights: of the explained logit at the masked inputs [s, q], in the map's s entries.
    """

    kept: Array
    weights: Array

    def points(self, x: Array, baseline: Array) -> Array:
        """The masked inputs [q, batch, n] of x [batch, n]."""
        return self.kept[:, None] * x[None] + ((1 - self.kept) * baseline)[:, None]

    def distinct(self) -> MaskedSamples:
        """The same map with every mask once and without masks of weight 0."""
        kept, place = np.unique(self.kept, axis=0, return_inverse=True)
        weights = np.zeros((len(kept), len(self.weights)))
        np.add.at(weights, place.ravel(), self.weights.T)
        used = weights.any(axis=1)
        return MaskedSamples(kept[used], weights[used].T)


class MaskedCopies(Explanation):
    """What the methods of this kind have in common.

    Attributes:
        baseline: b, what takes the place of what is masked: one number, or one an entry.
        shape: of an input before flattening, (channels, height, width) for images; what the data or the
            network say, where it is left out.
    """

    form = Form.FORWARD

    baseline: Baseline = Field(
        default=(0.0,), description="what takes the place of what is masked: one number, or one an entry"
    )
    shape: tuple[int, ...] = Field(
        default=(), description="channels, height and width of an image, where nothing else says them"
    )

    @abstractmethod
    def samples(self, sides: tuple[int, ...]) -> MaskedSamples:
        """The masks and weights for inputs with these sides: three of an image, else one.

        Raises:
            SalverError: the method does not fit such inputs.
        """

    def graph(self, classifier: Network) -> Network:
        """See `masked_network`."""
        combination = self.combination(classifier.output_size)
        baseline = baseline_values(self.baseline, classifier.input_size)
        samples = _distinct(self, self.sides(classifier))
        return masked_network(classifier, combination, samples, baseline, self.absolute)

    def values(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """By the classifier's program at all masked inputs at once."""
        weights, scores = self._scores(explained, x)
        signed = (weights @ scores).T
        return explained.program.evaluate(x)[0], np.abs(signed) if self.absolute else signed

    def rounding(self, explained: Explained, x: Array) -> Array:
        """By the scores that are added up."""
        weights, scores = self._scores(explained, x[None])
        return np.asarray(CANCELLED * (np.abs(weights) @ np.abs(scores))[:, 0])

    def _scores(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """Weights [s, q] and the explained logit [q, batch] at the masked inputs of x [batch, n]."""
        samples = _distinct(self, self.sides(explained.classifier))
        points = samples.points(x, baseline_values(self.baseline, x.shape[1]))
        logits = explained.program.evaluate(points.reshape(-1, x.shape[1]))[0]
        scores = logits @ self.combination(explained.logits)
        return samples.weights, scores.reshape(len(points), len(x))

    def for_data(self, shape: tuple[int, ...], low: Array, high: Array) -> Self:
        """With the shape of the data, where none is given.

        Raises:
            SalverError: the baseline is outside of the range, or the method does not fit the shape.
        """
        found = self if self.shape else self.model_copy(update={"shape": shape})
        refuse_outside(found.baseline, low, high)
        found.samples(found._given_sides(len(low)))
        return found

    def score_at(self, classifier: Network, x: npt.NDArray[Any]) -> Callable[[Array], Array]:
        """The explained logit [batch] at x [batch, n] of which shares [n] are kept; for definitions."""
        points, combination = x.astype(np.float64), self.combination(classifier.output_size)
        baseline = baseline_values(self.baseline, x.shape[1])
        return lambda kept: np.asarray(
            evaluate(classifier, points * kept + baseline * (1 - kept)) @ combination
        )

    def sides(self, classifier: Network) -> tuple[int, ...]:
        """(channels, height, width) of an image, or (n,).

        Raises:
            SalverError: the record's shape is that of other inputs.
        """
        if self.shape:
            return self._given_sides(classifier.input_size)
        first = next((node for node in classifier.nodes if classifier.input in node.inputs), None)
        if first is not None and isinstance(first.operator, Reshape) and len(first.shape) == 3:
            return first.shape
        return (classifier.input_size,)

    def _given_sides(self, size: int) -> tuple[int, ...]:
        if math.prod(self.shape) != size:
            shape = " x ".join(map(str, self.shape))
            raise SalverError(f"{shape} is not that of {size} entries", "shape", "give the shape of an input")
        image = self.shape if len(self.shape) == 3 else (1, *self.shape)
        return image if len(image) == 3 and min(image[1:]) > 1 else (size,)

    @property
    def kinks_at_relus(self) -> bool:
        return False

    def graph_name(self, network: str) -> str:
        kind = "-abs" if self.absolute else ""
        return f"{network}-{self.short}-{self.logits_stem}{stem_of('b', self.baseline)}{kind}"


@lru_cache(maxsize=8)
def _distinct(explanation: MaskedCopies, sides: tuple[int, ...]) -> MaskedSamples:
    """The samples of a map, which a search asks for at every step."""
    return explanation.samples(sides).distinct()


def stem_of(letter: str, numbers: tuple[float, ...]) -> str:
    """File-name part for a list of numbers: nothing for a single 0, a digest for more than three."""
    if numbers in ((), (0.0,)):
        return ""
    if len(numbers) <= 3:
        return f"-{letter}{'x'.join(f'{number:g}' for number in numbers)}"
    return f"-{letter}{hashlib.sha256(repr(numbers).encode()).hexdigest()[:8]}"


def refuse_too_many(copies: float, entries: int = 1) -> None:
    """Refuses masks that are too many, before they are made.

    Args:
        entries: of a mask.

    Raises:
        SalverError: more than `MOST_COPIES` copies, or masks of more than `MOST_ENTRIES` entries together.
    """
    hint = "choose fewer draws, larger windows, or fewer features (--patch or --groups)"
    if copies > MOST_COPIES:
        raise SalverError(f"needs {copies:g} copies of the network, more than {MOST_COPIES}", "map", hint)
    if copies * entries > MOST_ENTRIES:
        raise SalverError(f"needs {copies:g} masks of {entries} entries, which are too many", "map", hint)


def masked_network(
    classifier: Network, combination: Array, samples: MaskedSamples, baseline: Array, absolute: bool = False
) -> Network:
    """The network X [n] -> Concat[logits [m], W [z at every masked input] [s]].

    A mask that keeps all of x is the classifier up to its last layer, and one that keeps nothing of it is a
    constant. The biases of the logits are a constant of the map, too (`_picked`).

    Args:
        combination: of the logits [m]; z is their inner product.
        samples: distinct masks with their weights. baseline: [n].
        absolute: absolute values of the map.

    Raises:
        SalverError: more than `MOST_COPIES` masks, or a weight that leaves the range of binary32.
    """
    refuse_too_many(len(samples.kept))
    whole, nothing = (samples.kept == 1).all(axis=1), (samples.kept == 0).all(axis=1)
    prefix, own = free_prefix(classifier.shapes, "copy"), free_prefix(classifier.shapes, "masked_")
    copied = ~(whole | nothing)
    picked, factors, offset = _picked(classifier, combination, own)
    bare = evaluate(classifier, baseline)[0] @ combination - offset
    bias = samples.weights.sum(axis=1) * offset + samples.weights[:, nothing].sum(axis=1) * bare
    nodes, parts, weights = list(classifier.nodes), [], []
    if whole.any() or not copied.any():
        nodes.append(picked.nodes[-1])
        parts.append(picked.output)
        weights.append(np.outer(samples.weights[:, whole].sum(axis=1), factors))
    for copy in _copies(picked, samples.kept[copied], baseline, prefix):
        nodes += copy
        parts.append(copy[-1].name)
    weights += [np.outer(column, factors) for column in samples.weights[:, copied].T]
    combined, size = np.hstack(weights), len(bias)
    source = parts[0]
    if len(parts) > 1:
        source = f"{own}scores"
        nodes.append(Node(source, Concat(), tuple(parts), (combined.shape[1],)))
    nodes.append(Node(f"{own}map", Linear(held(combined), held(bias)), (source,), (size,)))
    if absolute:
        nodes.append(Node(f"{own}abs", Abs(), (nodes[-1].name,), (size,)))
    output = Node(
        f"{own}output", Concat(), (classifier.output, nodes[-1].name), (classifier.output_size + size,)
    )
    return single(Network(classifier.input, classifier.input_size, (*nodes, output), output.name))


def _picked(classifier: Network, combination: Array, prefix: str) -> tuple[Network, Array, float]:
    """The network with only the logits that count, their coefficients, and what their biases add.

    The biases are left out of the network. Most maps are differences of scores, in which single precision
    would lose as many digits as they are larger than the map.
    """
    rows, part = np.flatnonzero(combination), part_behind(classifier, classifier.output)
    *before, last = part.nodes
    name, factors = f"{prefix}picked", combination[rows]
    if isinstance(last.operator, Linear):
        weight, bias = last.operator.weight[rows], last.operator.bias[rows]
        dense = replace(last, name=name, operator=Linear(weight, np.zeros_like(bias)), shape=(len(rows),))
        offset = float(bias.astype(np.float64) @ factors)
        return replace(part, nodes=(*before, dense), output=name), factors, offset
    picking = Node(name, Linear.picking(rows, len(combination)), (part.output,), (len(rows),))
    return replace(part, nodes=(*part.nodes, picking), output=name), factors, 0.0


def _copies(network: Network, kept: Array, baseline: Array, prefix: str) -> list[list[Node]]:
    """The network at masked inputs; masks go into the weights of dense first layers, where these stay small.

    So a network of dense layers stays one.
    """
    copies = [
        copy_at(network, f"{prefix}{number}_", mask, (1 - mask) * baseline)
        for number, mask in enumerate(kept)
    ]
    if not copies:
        return []
    first = into_first_weights(copies[0])[0].operator
    small = len(copies) * sum(array.size for array in first.arrays().values()) <= MOST_WEIGHTS
    return [into_first_weights(copy) for copy in copies] if small else copies
