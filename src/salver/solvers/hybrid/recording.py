"""What the bounds of a node moved, noted in its journal for a proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from salver.solvers.bounding.bounds import Bounds
from salver.solvers.journal import Ends, Fact, Journal, Pass

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]

WORTH_NOTING = 1e-3
"""Ends of ranges that move by less than this share of the range show little."""


def record_pass(journal: Journal | None, kind: str, before: Bounds, after: Bounds) -> None:
    """Notes a pass by what moved between two bounds."""
    if journal is not None:
        ends = tuple(_moved(before, after))
        journal.passes.append(Pass(kind, len(journal.refuted), after.undecided, ends))


def record_cut(journal: Journal, facts: Sequence[Fact], ends: Sequence[Ends], undecided: int) -> None:
    """Notes what facts moved, which cut the box."""
    journal.passes.append(Pass("cut", len(journal.refuted), undecided, tuple(ends), tuple(facts)))


def ends_of_cuts(
    pre: int, open_: Indices, ranges: tuple[Array, Array], found: Array, multipliers: Array
) -> list[Ends]:
    """Ends of open neurons that facts moved.

    Args:
        ranges: of all neurons, before.
        found: lower bounds of the open ones, then of minus them [2k]; multipliers: of the facts [2k, facts].
    """
    low, high = (side[open_] for side in ranges)
    known = np.concatenate([low, -high])
    worth = _worth_noting(known, found, np.tile(high - low, 2)) & multipliers.any(axis=1)
    at = np.flatnonzero(worth)
    if not len(at):
        return []
    entries = np.concatenate([open_, open_])[at]
    return [Ends("pre", pre, entries, at < len(open_), sparse.csr_array(multipliers[at].astype(np.float32)))]


def _moved(before: Bounds, after: Bounds) -> Iterator[Ends]:
    """The ends that differ; where `after` is infeasible, of what it has."""
    for number in range(min(len(before.pre_lower), len(after.pre_lower))):
        sides = (before.pre_lower[number], before.pre_upper[number])
        yield from _between("pre", number, sides, (after.pre_lower[number], after.pre_upper[number]))
    for kind, low, high, new_low, new_high in (
        ("value", before.value_lower, before.value_upper, after.value_lower, after.value_upper),
        ("block", before.block_lower, before.block_upper, after.block_lower, after.block_upper),
    ):
        for number in sorted((low.keys() & high.keys() & new_low.keys() & new_high.keys()) - {-1}):
            yield from _between(
                kind, number, (low[number], high[number]), (new_low[number], new_high[number])
            )


def _between(
    kind: str, number: int, before: tuple[Array, Array], after: tuple[Array, Array]
) -> Iterator[Ends]:
    width = before[1] - before[0]
    lower = np.flatnonzero(_worth_noting(before[0], after[0], width))
    upper = np.flatnonzero(_worth_noting(-before[1], -after[1], width))
    if len(lower) or len(upper):
        entries = np.concatenate([lower, upper])
        yield Ends(kind, number, entries, np.arange(len(entries)) < len(lower))


def _worth_noting(known: Array, found: Array, width: Array) -> Flags:
    """Which lower bounds, or minus upper ones, say more than what was known, or decide a sign."""
    return (
        (found - known > WORTH_NOTING * width) | ((known < 0) & (found >= 0)) | ((known <= 0) & (found > 0))
    )
