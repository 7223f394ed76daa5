"""KernelSHAP with fixed draws: Shapley values by least squares over random subsets of the features.

With subsets S_1, ..., S_q of the d features drawn beforehand, phi minimizes the sum of
(z(S_j) - z(none) - sum of phi over S_j)^2 where the sum of all phi is z(x) - z(none): the two ends have
infinite weight in the Shapley kernel. Sizes are drawn by that kernel, so that all draws weigh the same
(Lundberg and Lee, NeurIPS 2017). The solution of least squares is linear in z, by a fixed matrix.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import Draws, MaskedSamples
from salver.explain.windows import FeatureCopies
from salver.nets.network import Network


@METHODS.register
class KernelShap(FeatureCopies):
    """Shapley values by least squares over fixed draws of subsets.

    Attributes:
        draws: of subsets; x and the baseline are looked at besides.
    """

    paper = "Lundberg and Lee, NeurIPS 2017"
    elsewhere = ("KernelExplainer",)

    method: Literal["kernel-shap"] = "kernel-shap"
    draws: Draws

    def coalitions(self, features: int) -> MaskedSamples:
        """By least squares over all features but the last, which the sum of all decides."""
        drawn = self.drawn(features)
        kept = np.vstack([np.zeros((1, features)), np.ones((1, features)), drawn])
        # What z is above z(none), from z at all that is kept; of the last phi the sum of the others is known.
        above = np.hstack([-np.ones((len(drawn), 1)), np.zeros((len(drawn), 1)), np.eye(len(drawn))])
        total = np.concatenate([[-1.0, 1.0], np.zeros(len(drawn))])
        others = np.linalg.pinv(drawn[:, :-1] - drawn[:, -1:]) @ (above - np.outer(drawn[:, -1], total))
        return MaskedSamples(kept, np.vstack([others, total - others.sum(axis=0)]))

    def drawn(self, features: int) -> Array:
        """The subsets as 0 and 1 [draws, features]; none of them is empty or whole.

        Raises:
            SalverError: they do not determine the values.
        """
        rng = np.random.default_rng([self.draws.seed, 53])
        subsets = np.zeros((self.draws.count if features > 1 else 0, features))
        chances = np.array([1 / (k * (features - k)) for k in range(1, features)])
        for subset in subsets:
            size = rng.choice(np.arange(1, features), p=chances / chances.sum())
            subset[rng.permutation(features)[:size]] = 1.0
        if features > 1 and np.linalg.matrix_rank(subsets[:, :-1] - subsets[:, -1:]) < features - 1:
            what = f"{self.draws.count} draws do not determine the values of {features} features"
            raise SalverError(what, "draws_count", "take more, or fewer and larger groups of features")
        return subsets

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By the equations of the constrained minimum, with a multiplier for the sum."""
        score = self.score_at(classifier, x)
        feature, _ = self.features(self.sides(classifier))
        count = int(feature.max()) + 1
        drawn, none, whole = self.drawn(count), score(np.zeros(len(feature))), score(np.ones(len(feature)))
        above = np.reshape([score(subset[feature]) - none for subset in drawn], (len(drawn), len(x)))
        ones = np.ones((count, 1))
        left = np.block([[drawn.T @ drawn, ones], [ones.T, np.zeros((1, 1))]])
        right = np.vstack([drawn.T @ above, whole - none])
        return self.spread(np.linalg.solve(left, right)[:-1].T, feature)

    @property
    def name(self) -> str:
        return f"KernelSHAP ({self.draws.text}){self.of_features}"

    @property
    def short(self) -> str:
        return f"kernelshap-{self.draws.stem}"
