"""Expected gradients (GradientSHAP) with fixed draws: gradients between references and x.

Draw j takes a reference b_j, noise n_j and a place a_j in [0, 1]; the map is the mean over the draws of
(x + n_j - b_j) g(a_j (x + n_j) + (1 - a_j) b_j) (Erion et al., "Improving performance of deep learning models
with axiomatic attribution priors", Nature Machine Intelligence 2021; Captum's `GradientShap`). Without the
first factor it is piecewise constant, the local map. The graph has one product for each entry: with
o_j = n_j - b_j the map is x mean(g_j) + mean(o_j g_j), whose second part is piecewise constant.
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from salver.core.records import Record
from salver.explain.baseline import Baseline, baseline_values, refuse_outside
from salver.explain.explanation import METHODS, Array, Form
from salver.explain.places import MOST_PLACES, Copies, PlacedGradients, Places
from salver.nets.operators import Add, Mul

NAME = "references_baselines"
"""What the references are called where a person gives them."""


class References(Record):
    """q fixed draws of a reference, a place on the line from it to x, and noise.

    Attributes:
        baselines: the references to draw from, each one number or one an entry.
        draws: q.
        sigma: standard deviation of the noise on x.
        seed: of the draws; they do not depend on the network or the point.
    """

    baselines: tuple[Baseline, ...] = Field(
        default=((0.0,),), min_length=1, description="the references that are drawn from"
    )
    draws: int = Field(gt=0, le=MOST_PLACES, description="how many gradients are averaged")
    sigma: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="standard deviation of the noise on x"
    )
    seed: int = Field(default=0, ge=0, description="of the draws")

    def drawn(self, size: int) -> tuple[Array, Array, Array]:
        """Places [q], references [q, size] and noise [q, size], every value a binary32 number.

        Raises:
            SalverError: a reference does not fit the size.
        """
        rng = np.random.default_rng([self.seed, 31])
        known = np.array([baseline_values(one, size, NAME) for one in self.baselines])
        places, which = rng.uniform(size=self.draws), rng.integers(len(known), size=self.draws)
        noise = self.sigma * rng.standard_normal((self.draws, size))
        return _single(places), known[which], _single(noise)

    @property
    def text(self) -> str:
        """The draws for readers."""
        noise = f", sigma {self.sigma:g}" if self.sigma else ""
        return f"{self.draws} draws{noise}, seed {self.seed}"

    @property
    def stem(self) -> str:
        """File-name part that names the draws and the references."""
        digest = hashlib.sha256(repr(self.baselines).encode()).hexdigest()[:8]
        known = "" if self.baselines == ((0.0,),) else f"-b{digest}"
        return f"q{self.draws}{f'-s{self.sigma:g}' if self.sigma else ''}-n{self.seed}{known}"


class _FromReferences(PlacedGradients):
    references: References

    def places(self, size: int) -> Places:
        """a_j (x + n_j) + (1 - a_j) b_j."""
        places, known, noise = self.references.drawn(size)
        shifts = places[:, None] * noise + (1 - places)[:, None] * known
        count = self.references.draws
        return Places.rounded(places, shifts, np.full(count, 1 / count))

    def for_data(self, shape: tuple[int, ...], low: Array, high: Array) -> Self:
        """The same. Raises: SalverError: a reference is outside of the range."""
        for baseline in self.references.baselines:
            refuse_outside(baseline, low, high, NAME)
        return self

    def graph_name(self, network: str) -> str:
        kind = "-abs" if self.absolute else ""
        return f"{network}-{self.short}-{self.logits_stem}-{self.references.stem}{kind}"


@METHODS.register
class LocalExpectedGradients(_FromReferences):
    """Expected gradients without the factor x + n_j - b_j."""

    form = Form.MASKS
    paper = "Erion et al., Nature Machine Intelligence 2021"
    short: ClassVar[str] = "localeg"

    method: Literal["local-expected-gradients"] = "local-expected-gradients"

    @property
    def name(self) -> str:
        return f"local expected gradients ({self.references.text})"


@METHODS.register
class ExpectedGradients(_FromReferences):
    """Expected gradients."""

    form = Form.PRODUCTS
    paper = "Erion et al., Nature Machine Intelligence 2021"
    elsewhere = ("GradientShap", "GradientExplainer", "EG")
    short: ClassVar[str] = "eg"

    method: Literal["expected-gradients"] = "expected-gradients"

    def combined(self, gradients: Array, x: Array) -> Array:
        offsets = self._offsets(x.shape[1])
        return super().combined(gradients * (x + offsets[:, None]), x)

    def assembled(self, copies: Copies) -> str:
        offsets, weights = self._offsets(copies.size), self.places(copies.size).weights
        mean = copies.weighted(weights)
        if (offsets == offsets[0]).all():
            return copies.emit(Mul(), copies.affine(copies.input, 1.0, offsets[0]), mean)
        product = copies.emit(Mul(), copies.input, mean)
        return copies.emit(Add(), product, copies.weighted(weights[:, None] * offsets))

    def _offsets(self, size: int) -> Array:
        """o_j [q, size]."""
        _, known, noise = self.references.drawn(size)
        return noise - known

    @property
    def name(self) -> str:
        return f"expected gradients ({self.references.text})"


def _single(values: Any) -> Array:
    return np.asarray(values, np.float32).astype(np.float64)
