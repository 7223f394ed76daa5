"""Occlusion: by how much a logit falls when a window of the input is replaced by a baseline."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import MaskedCopies, MaskedSamples, stem_of
from salver.explain.windows import Lengths, plain_grid, windows
from salver.nets.network import Network


@METHODS.register
class Occlusion(MaskedCopies):
    """z(x) - z(x with a window at the baseline), for every place of a sliding window.

    Attributes:
        window, stride: lengths; see `windows`. Without a stride windows lie side by side.
        grouped: one entry of the map for each place of the window, in place of one for each entry of the
            input, which is the mean over the windows that cover it.
    """

    paper = "Zeiler and Fergus, ECCV 2014"
    elsewhere = ("sliding window", "occlusion sensitivity")

    method: Literal["occlusion"] = "occlusion"
    window: Lengths = Field(min_length=1, description="sides of the window")
    stride: Lengths = Field(default=(), description="steps of the window; its sides by default")
    grouped: bool = Field(default=False, description="one entry of the map for each place of the window")

    def samples(self, sides: tuple[int, ...]) -> MaskedSamples:
        covered, _ = windows(sides, self.window, self.stride)
        places, size = covered.shape
        means = np.eye(places) if self.grouped else covered.T / covered.sum(axis=0)[:, None]
        kept = np.vstack([np.ones((1, size)), ~covered])
        return MaskedSamples(kept, np.hstack([np.ones((len(means), 1)), -means]))

    @property
    def ties(self) -> str:
        if self.grouped or not any(length > 1 for length in self.window):
            return ""
        return "entries of one window are equal: say --grouped, in a suite grouped = true"

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """One window after the other."""
        score = self.score_at(classifier, x)
        covered, _ = windows(self.sides(classifier), self.window, self.stride)
        whole = score(np.ones(x.shape[1]))
        falls = [whole - score(np.where(window, 0.0, 1.0)) for window in covered]
        if self.grouped:
            return np.stack(falls, axis=1)
        total = sum(fall[:, None] * window for fall, window in zip(falls, covered, strict=True))
        return np.asarray(total / covered.sum(axis=0))

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The grid of the windows where they are the map's entries."""
        if not self.grouped:
            return input_shape
        return plain_grid(windows(self.sides(classifier), self.window, self.stride)[1])

    @property
    def name(self) -> str:
        return f"occlusion by windows of {' x '.join(map(str, self.window))}"

    @property
    def short(self) -> str:
        parts = stem_of("w", self.window), stem_of("s", self.stride), "-grouped" * self.grouped
        return f"occlusion{''.join(parts)}"
