"""What an instance asks, in words for readers."""

from __future__ import annotations

from salver.families.instance import Facts


def asked(facts: Facts | None) -> str:
    """The query as a question; sat answers it with yes."""
    if facts is None:
        return "Is there an input that meets what the query's VNN-LIB file says?"
    inside = "" if facts.clip is None else f" and inside [{facts.clip[0]:g}, {facts.clip[1]:g}]"
    explained = f" E is {facts.explained}." if facts.map_size else ""
    box = facts.region or f"within {facts.epsilon:g} of xhat in every entry{inside}"
    return (
        f"Is there an input x {box}, of which this holds: "
        f"{facts.question.text}{facts.question.class_text(facts.label)}?{explained}"
    )
