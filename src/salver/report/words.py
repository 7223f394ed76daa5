"""What an instance asks, in words for readers."""

from __future__ import annotations

import numpy as np

from salver.families.instance import Facts
from salver.zoo.datasets import Clip


def _range(clip: Clip) -> str:
    pairs = {(float(low), float(high)) for low, high in np.asarray(clip).reshape(-1, 2)}
    if len(pairs) > 1:
        return "the range of its entry"
    ((low, high),) = pairs
    return f"[{low:g}, {high:g}]"


def asked(facts: Facts | None) -> str:
    """The query as a question; sat answers it with yes."""
    if facts is None:
        return "Is there an input that meets what the query's VNN-LIB file says?"
    inside = "" if facts.clip is None else f" and inside {_range(facts.clip)}"
    explained = f" E is {facts.explained}." if facts.map_size else ""
    way = "in every entry" if facts.norm == "linf" else "in the Euclidean norm"
    box = facts.region or f"within {facts.epsilon:g} of xhat {way}{inside}"
    return (
        f"Is there an input x {box}, of which this holds: "
        f"{facts.question.text}{facts.question.class_text(facts.label)}?{explained}"
    )
