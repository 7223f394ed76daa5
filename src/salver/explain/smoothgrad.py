"""SmoothGrad with fixed noise draws as one graph: the mean of q unrolled gradients at shifted inputs.

SmoothGrad (Smilkov et al., 2017) averages the gradient over Gaussian noise around x. With q draws n_j that
are fixed beforehand, E_q(x) = (1/q) sum_j E(x + n_j) is a deterministic map of x that a network can compute.
Noisy inputs are not clipped to the data range: the noise of Levine, Singla and Feizi (2019) is not either.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from salver.core.records import Record
from salver.explain.explanation import METHODS, Array, Form
from salver.explain.places import MOST_PLACES, PlacedGradients, Places


class Noise(Record):
    """q fixed draws from N(0, sigma^2 I), in the units of the input.

    Attributes:
        draws: q.
        sigma: standard deviation.
        seed: of the draws; they do not depend on the network or the point.
    """

    draws: int = Field(gt=0, le=MOST_PLACES, description="how many gradients are averaged")
    sigma: float = Field(gt=0, allow_inf_nan=False, description="standard deviation of the noise")
    seed: int = Field(default=0, ge=0, description="of the noise")

    def values(self, size: int) -> Array:
        """The draws [q, size], every value a binary32 number."""
        standard = np.random.default_rng([self.seed, 29]).standard_normal((self.draws, size))
        return (self.sigma * standard).astype(np.float32).astype(np.float64)

    def places(self, size: int) -> Places:
        """x + n_j, all with weight 1/q."""
        count = self.draws
        return Places(np.ones(count), self.values(size), np.full(count, 1 / count))

    @property
    def text(self) -> str:
        """The draws for readers."""
        return f"{self.draws} draws, sigma {self.sigma:g}, seed {self.seed}"

    @property
    def stem(self) -> str:
        """File-name part that names the draws."""
        return f"q{self.draws}-s{self.sigma:g}-n{self.seed}"


class OfDraws(PlacedGradients):
    """A map made of the gradients at the noise draws."""

    noise: Noise

    def places(self, size: int) -> Places:
        return self.noise.places(size)


@METHODS.register
class SmoothGrad(OfDraws):
    """The mean gradient over the noise draws.

    The sums x + n_j are not rounded to binary32, since a query is meant over the reals.
    """

    form = Form.MASKS
    paper = "Smilkov et al., 2017"
    elsewhere = ("NoiseTunnel", "SG", "smooth gradient")
    short: ClassVar[str] = "g"

    method: Literal["smoothgrad"] = "smoothgrad"

    def combined(self, gradients: Array, x: Array) -> Array:
        return np.asarray(gradients.mean(axis=0))

    @property
    def name(self) -> str:
        return f"SmoothGrad ({self.noise.text})"

    def graph_name(self, network: str) -> str:
        kind = "abs" if self.absolute else "raw"
        return f"smooth-{network}-g{self.logits_stem}-{self.noise.stem}-{kind}"
