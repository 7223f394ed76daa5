"""A needle: a part of a network that is 0 everywhere but in a thin region around one point.

Along each of some random directions u a comb w(u.x) has several wells with flat bottoms, of which one, the
one under the chosen point x*, is deepest. The needle relu(HEIGHT + tilt.(x - x*) - sum of all combs) is
positive only where every direction is in its deepest well; everywhere else it is 0 and so is its gradient,
and what a smooth surrogate of it sees is a landscape of wells^directions combinations that look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salver.nets.graft import GraftedPart

Array = npt.NDArray[np.float64]
SPACING, FLAT, PEAK, SHALLOW, HEIGHT = 0.6, 0.02, 0.5, 0.15, 0.1
"""In standard deviations of u.x over the box: between wells, half a bottom; and values of the comb at
its peaks, at the bottoms of other wells (0 under the point), and of the needle at the point."""


@dataclass(frozen=True)
class Shape:
    """How many directions, and how many wells along each."""

    directions: int
    wells: int


def needle(
    lower: Array,
    upper: Array,
    point: Array,
    shape: Shape,
    weight: Array,
    tilt: Array,
    rng: np.random.Generator,
) -> GraftedPart:
    """The needle at `point` [n] of the box [n], [n], whose value enters the logits by `weight` [m].

    Args:
        tilt: gradient [n] of the needle's value inside its region.
    """
    spread = (upper - lower) / np.sqrt(12.0)
    directions = rng.normal(size=(shape.directions, len(point)))
    directions /= np.linalg.norm(directions * spread, axis=1)[:, None]
    rows, biases, second, level = [], [], [], 0.0
    for u in directions:
        at, values = _comb(shape.wells, rng)
        at = at + u @ point
        slopes = np.concatenate([[-1.0], np.diff(values) / np.diff(at), [1.0]])
        # Beyond its ends the comb rises with slope 1; its first piece is the flat bottom of a well, and
        # each later corner changes the slope.
        rows += [-u, *[u] * (len(at) - 1)]
        biases += [at[0], *(-at[1:])]
        second += [-1.0, *(-np.diff(slopes)[1:])]
        level += float(values[0])
    constant = HEIGHT - level
    if tilt.any():
        # tilt.(x - x*) by a neuron that is active on the whole box.
        low = float(np.minimum(tilt * lower, tilt * upper).sum()) - HEIGHT
        rows.append(tilt)
        biases.append(-low)
        second.append(1.0)
        constant -= float(tilt @ point) - low
    joined, size = np.array(second)[None], len(weight)
    return GraftedPart(
        np.array(rows), np.array(biases), joined, np.array([constant]), weight[:, None], np.zeros(size)
    )


def _comb(wells: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Corners of the comb: places relative to its deepest well, and values there."""
    own = int(rng.integers(wells))
    at, values = [], []
    for number in range(wells):
        middle = (number - own) * SPACING
        bottom = 0.0 if number == own else SHALLOW
        if number:
            at.append(middle - SPACING / 2)
            values.append(PEAK)
        at += [middle - FLAT, middle + FLAT]
        values += [bottom, bottom]
    return np.array(at), np.array(values)
