"""Exact Shapley values of a logit: every subset of the features is looked at, so there can be few.

phi_i = sum over S without i of |S|! (d - |S| - 1)! / d! (z(S with i) - z(S)), where z(S) is z at x with all
features but S at the baseline (Shapley, 1953; Lundberg and Lee, NeurIPS 2017, for baselines).
"""

from __future__ import annotations

import itertools
import math
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import MaskedSamples, refuse_too_many
from salver.explain.windows import FeatureCopies
from salver.nets.network import Network


@METHODS.register
class ShapleyValues(FeatureCopies):
    """Exact Shapley values of features against a baseline; d features take 2^d copies of the network."""

    paper = "Lundberg and Lee, NeurIPS 2017"
    elsewhere = ("ShapleyValues", "ShapleyValueSampling", "exact SHAP")
    short: ClassVar[str] = "shapley"

    method: Literal["shapley"] = "shapley"

    def coalitions(self, features: int) -> MaskedSamples:
        refuse_too_many(2.0**features)
        kept = np.array(list(itertools.product((0.0, 1.0), repeat=features)))
        size = kept.sum(axis=1).astype(int)
        share = np.array([1 / (features * math.comb(features - 1, k)) for k in range(features)])
        joined, left = share[np.maximum(size - 1, 0)], share[np.minimum(size, features - 1)]
        return MaskedSamples(kept, np.where(kept.T == 1, joined, -left))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """By the marginal contributions to subsets of the other features."""
        score = self.score_at(classifier, x)
        feature, _ = self.features(self.sides(classifier))
        count = int(feature.max()) + 1
        subsets = [s for size in range(count + 1) for s in itertools.combinations(range(count), size)]
        worth = {subset: score(np.isin(feature, subset).astype(np.float64)) for subset in subsets}
        values = np.zeros((len(x), count))
        for subset in subsets[:-1]:
            size = len(subset)
            factor = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            for one in set(range(count)).difference(subset):
                joined = tuple(sorted((*subset, one)))
                values[:, one] += factor * (worth[joined] - worth[subset])
        return self.spread(values, feature)

    @property
    def name(self) -> str:
        return f"exact Shapley values{self.of_features}"
