"""Output conditions of saliency queries as clauses over Y = Concat[logits, saliency].

All are the *negated* property's parts: together they ask for a point with the explanation unchanged
and the class changed (Le et al., ACML 2024, definition 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from salver.core.errors import SalverError
from salver.explain.ranking import UndefinedConditionError, top_k
from salver.spec import Atom, Clause, box_clauses, float32_down, float32_up

Array = npt.NDArray[np.float64]


def some_class_beats(label: int, targets: Sequence[int]) -> tuple[Clause, ...]:
    """OR over k in `targets` of z_k >= z_label."""
    return (tuple((Atom(k, ">=", other=label),) for k in targets),)


def class_is(label: int, logits: int) -> tuple[Clause, ...]:
    """z_label >= z_j for every other j."""
    return tuple(((Atom(label, ">=", other=j),),) for j in range(logits) if j != label)


def saliency_box(first: int, reference: Array, delta: float) -> tuple[Clause, ...]:
    """|Y[first + j] - reference[j]| <= delta for every j, rounded outwards to binary32.

    Raises:
        SalverError: delta is negative or not finite.
    """
    if not (np.isfinite(delta) and delta >= 0):
        raise SalverError(f"delta {delta} is no finite number >= 0", "saliency box", "give another delta")
    return box_clauses(first, float32_down(reference - delta), float32_up(reference + delta))


def same_signs(first: int, reference: Array, threshold: float) -> tuple[Clause, ...]:
    """Y[first + j] keeps the sign of reference[j] (0 allowed) wherever |reference[j]| > threshold.

    Raises:
        UndefinedConditionError: no entry is above the threshold, so the condition would be empty.
    """
    keep = np.flatnonzero(np.abs(reference) > threshold)
    if not len(keep):
        what = f"no saliency entry is above {threshold:g} in absolute value"
        raise UndefinedConditionError(what, "sign condition", "lower sign_threshold")
    return tuple(((Atom(first + int(j), ">=" if reference[j] > 0 else "<=", constant=0.0),),) for j in keep)


def same_top_k(first: int, reference: Array, k: int) -> tuple[Clause, ...]:
    """Every entry of the reference's top-k set stays at or above every entry outside it.

    Raises:
        SalverError: see `top_k`.
    """
    inside = top_k(reference, k)
    outside = np.setdiff1d(np.arange(len(reference)), inside)
    return tuple(((Atom(first + int(i), ">=", other=first + int(j)),),) for i in inside for j in outside)


def some_entry_moves(first: int, reference: Array, widths: Array | float) -> tuple[Clause, ...]:
    """|Y[first + j] - reference[j]| >= widths[j] for some j.

    Rounded away from xhat to binary32, so that a violation moves by the width or more.
    """
    low, high = float32_down(reference - widths), float32_up(reference + widths)
    moved = (
        (atom,)
        for j, (below, above) in enumerate(zip(low.tolist(), high.tolist(), strict=True), first)
        for atom in (Atom(j, "<=", constant=below), Atom(j, ">=", constant=above))
    )
    return (tuple(moved),)
