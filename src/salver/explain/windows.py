"""Windows over an input, and features as groups of its entries."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field

from salver.core.errors import SalverError
from salver.explain.baseline import listed
from salver.explain.explanation import Array
from salver.explain.masked_copies import (
    MOST_COPIES,
    OF_AN_IMAGE,
    MaskedCopies,
    MaskedSamples,
    refuse_too_many,
    stem_of,
)
from salver.nets.network import Network

Lengths = Annotated[tuple[Annotated[int, Field(gt=0)], ...], BeforeValidator(listed), Field(max_length=3)]
"""A field of a record: `window = 3`, `window = [2, 4]` or `window = [1, 2, 4]`."""


def windows(
    sides: tuple[int, ...], window: tuple[int, ...], stride: tuple[int, ...] = (), name: str = "window"
) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Which entries each place of a sliding window covers [places, n], and the grid of the places.

    The last window of a row may be cut by the border, as in Captum's Occlusion, so that all is covered.

    Args:
        sides: (channels, height, width) or (n,).
        window: one length for both directions of an image, or height and width, both over all channels, or
            three lengths; of a table one.
        stride: alike; the window's lengths where it is left out.
        name: of the window, for errors.

    Raises:
        SalverError: a window that does not fit, or a stride that leaves entries out.
    """
    lengths = _lengths(sides, window, name, sides)
    steps = _lengths(sides, stride, "stride", lengths) if stride else lengths
    shape = " x ".join(map(str, sides))
    if any(length > side for length, side in zip(lengths, sides, strict=True)):
        what = f"{' x '.join(map(str, lengths))} is larger than the input, which is {shape}"
        raise SalverError(what, name, "choose a smaller one")
    if any(step > length for step, length in zip(steps, lengths, strict=True)):
        what = f"{' x '.join(map(str, steps))} is longer than the window and leaves entries out"
        raise SalverError(what, "stride", "choose a shorter one")
    grid = tuple(
        math.ceil((side - length) / step) + 1
        for side, length, step in zip(sides, lengths, steps, strict=True)
    )
    refuse_too_many(math.prod(grid), math.prod(sides))
    covered = np.zeros((math.prod(grid), *sides), bool)
    for part, place in zip(covered, itertools.product(*map(range, grid)), strict=True):
        starts = [number * step for number, step in zip(place, steps, strict=True)]
        part[tuple(slice(at, at + length) for at, length in zip(starts, lengths, strict=True))] = True
    return covered.reshape(len(covered), -1), grid


def _lengths(
    sides: tuple[int, ...], given: tuple[int, ...], what: str, whole: tuple[int, ...]
) -> tuple[int, ...]:
    """One length a side; along the channels the whole where it is not said."""
    if len(sides) == 3 and len(given) in (1, 2):
        return (whole[0], *(given if len(given) == 2 else given * 2))
    if len(given) != len(sides):
        kind = "an image" if len(sides) == 3 else "inputs without a shape"
        hint = "give one to three" if len(sides) == 3 else f"give one, {OF_AN_IMAGE}"
        raise SalverError(f"has {len(given)} lengths for {kind}", what, hint)
    return given


def plain_grid(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Without a single channel in front: the shape of a map of windows."""
    return grid[1:] if len(grid) == 3 and grid[0] == 1 else grid


class FeatureCopies(MaskedCopies):
    """A method that takes features as a whole: each is one entry of the input, or a group of them.

    Attributes:
        patch: lengths of patches that divide the input, each a feature; as `windows` has them.
        groups: in place of it a number for each entry [n]; entries with the same one are a feature.
        grouped: one entry of the map for each feature, in the order of their numbers, in place of one for
            each entry of the input.
    """

    patch: Lengths = Field(default=(), description="sides of patches of the input, each a feature")
    groups: tuple[int, ...] = Field(default=(), description="the number of its feature for every entry")
    grouped: bool = Field(default=False, description="one entry of the map for each feature")

    @abstractmethod
    def coalitions(self, features: int) -> MaskedSamples:
        """The map of inputs that are the features themselves: masks [q, features], weights [features, q].

        Raises:
            SalverError: the method does not take so many.
        """

    def samples(self, sides: tuple[int, ...]) -> MaskedSamples:
        feature, _ = self.features(sides)
        count = int(feature.max()) + 1
        if count > MOST_COPIES:
            hint = "give patches or groups of entries that are one"
            raise SalverError(f"{count} are more than {MOST_COPIES}", "features", hint)
        found = self.coalitions(count)
        refuse_too_many(len(found.kept), len(feature))
        weights = found.weights if self.grouped else found.weights[feature]
        return MaskedSamples(found.kept[:, feature], weights)

    def features(self, sides: tuple[int, ...]) -> tuple[npt.NDArray[np.intp], tuple[int, ...]]:
        """The feature that every entry belongs to [n], numbered from 0, and the features' own shape.

        Raises:
            SalverError: groups of another number of entries, patches that do not fit, or both.
        """
        size = math.prod(sides)
        if self.patch and self.groups:
            raise SalverError("patches are given too", "groups", "give one of them")
        if self.patch:
            covered, grid = windows(sides, self.patch, name="patch")
            return np.argmax(covered, axis=0), plain_grid(grid)
        if not self.groups:
            return np.arange(size), sides
        if len(self.groups) != size:
            what = f"holds {len(self.groups)} numbers for {size} entries"
            raise SalverError(what, "groups", "give the number of its feature for every entry")
        known, feature = np.unique(np.array(self.groups), return_inverse=True)
        return np.asarray(feature.ravel(), np.intp), (len(known),)

    @property
    def ties(self) -> str:
        if self.grouped or not (self.patch or self.groups):
            return ""
        return "entries of one feature are equal: say --grouped, in a suite grouped = true"

    def spread(self, values: Array, feature: npt.NDArray[np.intp]) -> Array:
        """The map [batch, s] of features' values [batch, d], as `grouped` says."""
        return values if self.grouped else values[:, feature]

    def map_shape(self, classifier: Network, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The features' own shape where they are the map's entries."""
        return self.features(self.sides(classifier))[1] if self.grouped else input_shape

    @property
    def of_features(self) -> str:
        """The features for readers, such as ` of 2 x 2 patches`."""
        if self.patch:
            return f" of {' x '.join(map(str, self.patch))} patches"
        return f" of {len(set(self.groups))} groups" if self.groups else ""

    def graph_name(self, network: str) -> str:
        parts = stem_of("p", self.patch), stem_of("f", self.groups), "-grouped" * self.grouped
        return super().graph_name(network) + "".join(parts)
