"""RISE with fixed masks: the mean of random masks, weighted by the logit of the masked input.

E = 1 / (p N) sum_i z(x * m_i + b * (1 - m_i)) m_i (Petsiuk et al., "RISE", BMVC 2018, eq. 6; with logits for
probabilities). A mask of an image is a small grid of 0 and 1, enlarged by bilinear interpolation to one cell
more than the image and cut at a random place, alike for all channels.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from salver.core.errors import SalverError
from salver.explain.explanation import METHODS, Array
from salver.explain.masked_copies import OF_AN_IMAGE, Draws, MaskedCopies, MaskedSamples, refuse_too_many
from salver.nets.network import Network


class RandomMasks(Draws):
    """Fixed random masks.

    Attributes:
        cells: of a mask's grid along each direction of an image; 0 for one a pixel or feature.
        keep: probability p with which a cell is kept.
    """

    cells: int = Field(
        default=0, ge=0, description="of a mask along each side of an image; 0 for one a pixel or feature"
    )
    keep: float = Field(default=0.5, gt=0, lt=1, description="chance with which a cell is kept")

    def values(self, sides: tuple[int, ...]) -> Array:
        """The masks [count, n], every value a binary32 number.

        Raises:
            SalverError: cells where the input is no image, or more of them than pixels.
        """
        rng = np.random.default_rng([self.seed, 61])
        image = sides[1:] or sides
        if self.cells and (len(image) == 1 or self.cells > min(image)):
            shape = " x ".join(map(str, image))
            what = f"{self.cells} do not fit inputs of {shape}"
            hint = f"give 0 for one a feature, {OF_AN_IMAGE}" if len(image) == 1 else "choose fewer"
            raise SalverError(what, "masks_cells", hint)
        refuse_too_many(self.count, math.prod(sides))
        masks = [self._mask(rng, image) for _ in range(self.count)]
        repeated = np.repeat(np.array(masks)[:, None], math.prod(sides) // math.prod(image), axis=1)
        return repeated.reshape(self.count, -1).astype(np.float32).astype(np.float64)

    def _mask(self, rng: np.random.Generator, image: tuple[int, ...]) -> Array:
        if not self.cells:
            return (rng.random(image) < self.keep).astype(np.float64)
        mask = (rng.random((self.cells, self.cells)) < self.keep).astype(np.float64)
        for axis, side in enumerate(image):
            cell = math.ceil(side / self.cells)
            places = (np.arange(side) + rng.integers(cell) + 0.5) * self.cells / (
                (self.cells + 1) * cell
            ) - 0.5
            mask = _between(mask, places, axis)
        return mask

    @property
    def stem(self) -> str:
        return f"{super().stem}-c{self.cells}-p{self.keep:g}"


def _between(mask: Array, places: Array, axis: int) -> Array:
    """Linear interpolation along an axis at places in units of its entries, whose ends go on outside."""
    places = np.clip(places, 0, mask.shape[axis] - 1)
    low = np.floor(places).astype(int)
    high, share = np.minimum(low + 1, mask.shape[axis] - 1), places - low
    share = share[:, None] if axis == 0 else share
    return np.asarray((1 - share) * mask.take(low, axis) + share * mask.take(high, axis))


@METHODS.register
class Rise(MaskedCopies):
    """The mean of fixed random masks, weighted by the logit of the masked input."""

    paper = "Petsiuk et al., BMVC 2018"

    method: Literal["rise"] = "rise"
    masks: RandomMasks

    def samples(self, sides: tuple[int, ...]) -> MaskedSamples:
        kept = self.masks.values(sides)
        return MaskedSamples(kept, kept.T / (self.masks.keep * self.masks.count))

    def signed_reference(self, classifier: Network, x: npt.NDArray[Any]) -> Array:
        """One mask after the other."""
        score = self.score_at(classifier, x)
        masks = self.masks.values(self.sides(classifier))
        mean = np.mean([score(mask)[:, None] * mask for mask in masks], axis=0)
        return np.asarray(mean / self.masks.keep)

    @property
    def name(self) -> str:
        masks = self.masks
        grid = f"{masks.cells} x {masks.cells} cells, " if masks.cells else ""
        return f"RISE ({masks.text}, {grid}kept with {masks.keep:g})"

    @property
    def short(self) -> str:
        return f"rise-{self.masks.stem}"
