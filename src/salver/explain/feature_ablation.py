"""Feature ablation: by how much a logit falls when a feature is replaced by a baseline."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import MaskedSamples
from salver.explain.windows import FeatureCopies
from salver.nets.network import Network


@METHODS.register
class FeatureAblation(FeatureCopies):
    """z(x) - z(x with a feature at the baseline), for every feature."""

    paper = "Zeiler and Fergus, ECCV 2014"
    elsewhere = ("ablation", "leave one out")
    short: ClassVar[str] = "ablation"

    method: Literal["feature-ablation"] = "feature-ablation"

    def coalitions(self, features: int) -> MaskedSamples:
        kept = np.vstack([np.ones((1, features)), 1 - np.eye(features)])
        return MaskedSamples(kept, np.hstack([np.ones((features, 1)), -np.eye(features)]))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """One feature after the other."""
        score = self.score_at(classifier, x)
        feature, _ = self.features(self.sides(classifier))
        whole = score(np.ones(x.shape[1]))
        falls = [whole - score(np.where(feature == number, 0.0, 1.0)) for number in range(feature.max() + 1)]
        return self.spread(np.stack(falls, axis=1), feature)

    @property
    def name(self) -> str:
        return f"feature ablation{self.of_features}"
