"""LIME with fixed draws: the coefficients of a linear model of z around x, over features being there or not.

Subsets S_1, ..., S_q of the features are drawn beforehand, each feature with probability 1/2, and the first
is all of x. The model minimizes sum_j w_j (z(S_j) - c - sum of beta over S_j)^2 + ridge |beta|^2 with
w_j = exp(-D_j^2 / (2 width^2)) and D_j the cosine distance of S_j from all features, as in the authors' code
for images (Ribeiro et al., KDD 2016). Draws and weights are fixed and there is no lasso: beta is linear in z.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import Draws, MaskedSamples
from salver.explain.windows import FeatureCopies
from salver.nets.network import Network


@METHODS.register
class Lime(FeatureCopies):
    """Coefficients of a weighted ridge regression with an intercept over fixed draws of subsets.

    Attributes:
        draws: of subsets, of which the first is all of x.
        width: of the kernel by which subsets weigh less the farther they are from x.
        ridge: weight of the coefficients' squares; 0 for plain weighted least squares.
    """

    paper = "Ribeiro et al., KDD 2016"
    elsewhere = ("LimeTabular", "LimeImage", "LimeBase")

    method: Literal["lime"] = "lime"
    draws: Draws
    width: float = Field(
        default=0.25, gt=0, allow_inf_nan=False, description="of the kernel that weighs near draws more"
    )
    ridge: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="weight of the coefficients' squares"
    )

    def coalitions(self, features: int) -> MaskedSamples:
        """By the normal equations of deviations from the weighted means."""
        kept, weights = self.drawn(features)
        away = kept - weights @ kept / weights.sum()
        normal = away.T @ (weights[:, None] * away) + self.ridge * np.eye(features)
        return MaskedSamples(kept, np.linalg.solve(normal, away.T * weights))

    def drawn(self, features: int) -> tuple[Array, Array]:
        """The subsets as 0 and 1 [draws, features], and their weights [draws].

        Raises:
            SalverError: they do not determine the coefficients.
        """
        rng = np.random.default_rng([self.draws.seed, 59])
        kept = rng.integers(2, size=(self.draws.count, features)).astype(np.float64)
        kept[0] = 1.0
        distance = 1 - np.sqrt(kept.mean(axis=1))
        weights = np.exp(-(distance**2) / (2 * self.width**2))
        away = np.sqrt(weights)[:, None] * (kept - weights @ kept / weights.sum())
        if self.ridge == 0 and np.linalg.matrix_rank(away) < features:
            what = f"{self.draws.count} draws do not determine the coefficients of {features} features"
            raise SalverError(what, "draws_count", "take more, or a ridge above 0")
        return kept, weights

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By least squares over the draws, with a row more for every coefficient's square."""
        score = self.score_at(classifier, x)
        feature, _ = self.features(self.sides(classifier))
        count = int(feature.max()) + 1
        kept, weights = self.drawn(count)
        at = np.stack([score(subset[feature]) for subset in kept])
        root = np.sqrt(weights)[:, None]
        squares = np.hstack([np.zeros((count, 1)), np.sqrt(self.ridge) * np.eye(count)])
        left = np.vstack([root * np.hstack([np.ones((len(kept), 1)), kept]), squares])
        right = np.vstack([root * at, np.zeros((count, len(x)))])
        return self.spread(np.linalg.lstsq(left, right)[0][1:].T, feature)

    @property
    def name(self) -> str:
        return f"LIME ({self.draws.text}, width {self.width:g}, ridge {self.ridge:g}){self.of_features}"

    @property
    def short(self) -> str:
        return f"lime-{self.draws.stem}-w{self.width:g}-r{self.ridge:g}"
