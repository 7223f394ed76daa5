"""What one copy of a network says about another: neurons of first layers that read x along one direction.

Copies of a network at other inputs repeat the rows of its first layer: z_i = t_i (w . x) + b_i with one w. A
range of any of them, as a decided sign gives, is a range of w . x and so one of all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.nets.affine import ROUNDING, dense
from salver.nets.program import Program
from salver.solvers.bounding.bounds import Array, Bounds, Signs
from salver.solvers.bounding.relaxation import TINY

Indices = npt.NDArray[np.intp]
_CELLS = 16_000_000
"""Entries of the first layers above which nothing is looked for."""
_DIGITS = 9
"""Decimal digits to which directions are compared; what they differ by is accounted for."""


@dataclass(frozen=True, eq=False)
class AlignedNeurons:
    """Neurons that read x along a direction which others read too.

    Attributes:
        first: the pre-activations that read nothing but x, and sizes: how many neurons each has.
        place: which of their neurons, counted through [k].
        direction: number of the direction w [k].
        scale, shift: t and b of z = t (w . x) + b, up to rest . |x| and rounding [k].
        rest: entrywise bounds on what the rows differ by from t w [k, n].
        size: sums of absolute values that b was added up from [k].
    """

    first: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Indices
    direction: Indices
    scale: Array
    shift: Array
    rest: Array
    size: Array

    def together(self, parts: Mapping[int, npt.NDArray[Any]] | Sequence[npt.NDArray[Any]]) -> Any:
        """The entries of the first layers, one after the other."""
        return np.concatenate([parts[number] for number in self.first])

    def apart(self, whole: npt.NDArray[Any]) -> dict[int, Any]:
        """The same by pre-activation."""
        return dict(zip(self.first, np.split(whole, np.cumsum(self.sizes)[:-1]), strict=True))


@lru_cache(maxsize=1)
def aligned_neurons(program: Program) -> AlignedNeurons | None:
    """The neurons of the first layers of copies; None where there are no copies."""
    first = [number for number, pre in enumerate(program.pre) if pre.affine.terms.keys() == {-1}]
    maps = [program.pre[number].affine for number in first]
    if not maps or sum(affine.size for affine in maps) * program.input_size > _CELLS:
        return None
    rows = np.vstack([dense(affine.terms[-1]) for affine in maps])
    scale = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    unit = rows / np.where(scale != 0.0, scale, 1.0)[:, None]
    _, which, direction, count = np.unique(
        np.round(unit, _DIGITS) + 0.0, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.flatnonzero((scale != 0.0) & (count[direction] > 1))
    if not len(place):
        return None
    sizes = np.vstack([dense(affine.absolute[-1]) for affine in maps])
    rest = np.abs(rows - scale[:, None] * unit[which[direction]]) + ROUNDING * sizes
    shift = np.concatenate([affine.constant for affine in maps])
    size = np.concatenate([affine.magnitude({-1: np.zeros(program.input_size)}) for affine in maps])
    return AlignedNeurons(
        tuple(first),
        tuple(affine.size for affine in maps),
        place,
        np.asarray(direction[place], np.intp),
        scale[place],
        shift[place],
        rest[place],
        size[place],
    )


def implied_by_copies(
    program: Program, signs: Mapping[int, Signs], within: Bounds
) -> tuple[dict[int, Signs], Bounds] | None:
    """Signs and bounds of first layers with all that those of their copies say; None where they contradict.

    Args:
        signs: decided, closed on their side.
        within: bounds over the box of which `signs` are a part.
    """
    aligned = aligned_neurons(program)
    if aligned is None:
        return dict(signs), within
    known = aligned.together(signs)
    whole_low, whole_high = aligned.together(within.pre_lower), aligned.together(within.pre_upper)
    whole_low = np.where(known > 0, np.maximum(whole_low, 0.0), whole_low)
    whole_high = np.where(known < 0, np.minimum(whole_high, 0.0), whole_high)
    low, high = _narrowed(aligned, whole_low[aligned.place], whole_high[aligned.place], within)
    if (low > high).any():
        return None
    whole_low[aligned.place], whole_high[aligned.place] = low, high
    decided = np.where(whole_low > 0, 1, np.where(whole_high <= 0, -1, 0))
    found = {**signs, **aligned.apart(np.where(known != 0, known, decided).astype(np.int8))}
    lows, highs = aligned.apart(whole_low), aligned.apart(whole_high)
    return found, replace(
        within,
        pre_lower=[lows.get(number, old) for number, old in enumerate(within.pre_lower)],
        pre_upper=[highs.get(number, old) for number, old in enumerate(within.pre_upper)],
    )


def _narrowed(aligned: AlignedNeurons, low: Array, high: Array, within: Bounds) -> tuple[Array, Array]:
    """Ranges [k] of the neurons, each with all that the others along its direction leave of w . x."""
    t, b, direction = aligned.scale, aligned.shift, aligned.direction
    largest = np.maximum(np.abs(within.input_lower), np.abs(within.input_upper))
    reach = np.maximum(np.abs(low), np.abs(high))
    error = aligned.rest @ largest + 2.0 * ROUNDING * (aligned.size + reach) + TINY
    ends = np.sort(np.stack([(low - error - b) / t, (high + error - b) / t]), axis=0)
    least, most = np.full(direction.max() + 1, -np.inf), np.full(direction.max() + 1, np.inf)
    np.maximum.at(least, direction, ends[0])
    np.minimum.at(most, direction, ends[1])
    ends = np.sort(np.stack([least[direction] * t, most[direction] * t]), axis=0)
    # What is not a number bounds nothing.
    return np.fmax(low, ends[0] + b - error), np.fmin(high, ends[1] + b + error)
