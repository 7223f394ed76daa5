"""SmoothGrad with fixed noise draws as one graph: the mean of q unrolled gradients at shifted inputs.

SmoothGrad (Smilkov et al., 2017) averages the gradient over Gaussian noise around x. With q draws n_j that
are fixed beforehand, E_q(x) = (1/q) sum_j E(x + n_j) is a deterministic map of x that a network can compute.
Noisy inputs are not clipped to the data range: the noise of Levine, Singla and Feizi (2019) is not either.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.core.records import Record
from salver.explain.autograd import gradient_by_autograd
from salver.explain.copies import copy_at, part_behind, weighted_sum
from salver.explain.explanation import METHODS, Array, Explained, Explanation, Form
from salver.explain.gradient import logits_and_gradient
from salver.explain.unroll import SaliencyMap, unroll
from salver.nets.network import Network, free_prefix, single
from salver.nets.operators import Abs, Concat, Node
from salver.nets.program import Program


class Noise(Record):
    """q fixed draws from N(0, sigma^2 I), in the units of the input.

    Attributes:
        draws: q.
        sigma: standard deviation.
        seed: of the draws; they do not depend on the network or the point.
    """

    draws: int = Field(gt=0, description="how many gradients are averaged")
    sigma: float = Field(gt=0, allow_inf_nan=False, description="standard deviation of the noise")
    seed: int = Field(default=0, ge=0, description="of the noise")

    def values(self, size: int) -> Array:
        """The draws [q, size], every value a binary32 number."""
        standard = np.random.default_rng([self.seed, 29]).standard_normal((self.draws, size))
        return (self.sigma * standard).astype(np.float32).astype(np.float64)

    @property
    def stem(self) -> str:
        """File-name part that names the draws."""
        return f"q{self.draws}-s{self.sigma:g}-n{self.seed}"


@METHODS.register
class SmoothGrad(Explanation):
    """The mean gradient over the noise draws.

    The sums x + n_j are not rounded to binary32, since a query is meant over the reals.
    """

    form = Form.MASKS
    paper = "Smilkov et al., 2017"

    method: Literal["smoothgrad"] = "smoothgrad"
    noise: Noise

    def graph(self, classifier: Network) -> Network:
        """See `smoothgrad_network`."""
        kind: SaliencyMap = "abs" if self.absolute else "raw"
        draws = self.shifts(classifier.input_size)
        return smoothgrad_network(classifier, self.combination(classifier.output_size), draws, kind)

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By automatic differentiation at every shifted point."""
        combination, points = self.combination(classifier.output_size), x.astype(np.float64)
        found = [gradient_by_autograd(classifier, combination, points + d) for d in self.shifts(x.shape[1])]
        return np.asarray(np.mean(found, axis=0))

    def values(self, explained: Explained, x: Array) -> tuple[Array, Array]:
        """By reverse accumulation."""
        combination = self.combination(explained.logits)
        draws = self.shifts(x.shape[1])
        logits, mean = smoothed_gradient(explained.program, x, combination, draws)
        return logits, np.abs(mean) if self.absolute else mean

    def shifts(self, size: int) -> Array:
        return self.noise.values(size)

    @property
    def kinks_at_relus(self) -> bool:
        return False

    @property
    def name(self) -> str:
        noise = self.noise
        return f"SmoothGrad ({noise.draws} draws, sigma {noise.sigma:g}, seed {noise.seed})"

    @property
    def short(self) -> str:
        return "g"

    def graph_name(self, network: str) -> str:
        kind = "abs" if self.absolute else "raw"
        return f"smooth-{network}-g{self.logits_stem}-{self.noise.stem}-{kind}"


def smoothgrad_network(
    classifier: Network, coefficients: Array, draws: Array, kind: SaliencyMap = "abs"
) -> Network:
    """The network X [n] -> Concat[logits(X) [m], mean gradient [n]]; the logits are those without noise.

    Args:
        classifier: feed-forward ReLU network with m outputs.
        coefficients: float64 [m]; the gradient is taken of their inner product with the logits.
        draws: [q, n] of binary32 numbers.
        kind: the mean gradient as it is, or its absolute values.

    Raises:
        SalverError: no draws, or draws of another size; else as `unroll`.
    """
    size = classifier.input_size
    if draws.ndim != 2 or len(draws) == 0 or draws.shape[1] != size:
        what = f"noise has shape {draws.shape}, expected (q, {size}) with q > 0"
        raise SalverError(what, "smoothgrad", "give at least one draw per input entry")
    unrolled = unroll(classifier, coefficients, "raw")
    gradient = part_behind(unrolled, unrolled.nodes[-1].inputs[1])
    nodes = list(classifier.nodes)
    parts = []
    names = free_prefix(classifier.shapes, "draw"), free_prefix(classifier.shapes, "smoothgrad")
    for number, draw in enumerate(draws):
        copy = copy_at(gradient, f"{names[0]}{number}_", np.ones(size), draw)
        nodes += copy
        parts.append(copy[-1].name)
    shares = np.full(len(parts), 1 / len(parts))
    saliency = weighted_sum(nodes, parts, shares, (size,), names[1])
    if kind == "abs":
        nodes.append(Node(f"{names[1]}_abs", Abs(), (saliency,), (size,)))
        saliency = nodes[-1].name
    shape = (classifier.output_size + size,)
    nodes.append(Node(f"{names[1]}_output", Concat(), (classifier.output, saliency), shape))
    return single(Network(classifier.input, size, tuple(nodes), nodes[-1].name))


def smoothed_gradient(
    classifier: Program, x: Array, coefficients: Array, draws: Array
) -> tuple[Array, Array]:
    """Logits [batch, m] at `x` [batch, n], and the mean [batch, n] of the gradients at x + draws[j]."""
    logits, _, _ = classifier.evaluate(x)
    batch, size = x.shape
    points = (x[None] + draws[:, None]).reshape(-1, size)
    _, gradient = logits_and_gradient(classifier, points, coefficients)
    return logits, np.asarray(gradient.reshape(len(draws), batch, size).mean(axis=0))
