"""What an instance asks and what a witness of it means, in words for readers."""

from __future__ import annotations

from salver.families.instance import Facts

MEANINGS = {
    "vg_box": "The map is the same up to the tolerance, the class is another one.",
    "vg_paper": "The map is the same up to the tolerance, the class is another one.",
    "topk_rank": "The class is the same, the most important entries are others.",
    "cam_topk": "The most activated pixels are others.",
    "smoothgrad_topk": "The class is the same, the most important entries of the smoothed map are others.",
    "gradient_sign": "An entry of the gradient falls below the asked level.",
    "gradient_width": "An entry of the gradient moves by the asked width or more.",
    "planted_sat": "A violation was planted where attacks do not look, and was found.",
}
_OF_CLASSES = ("vg_box", "vg_paper")
"""Families whose condition on the map is joined by one on the class."""


def asked(facts: Facts) -> str:
    """The query as a question; sat answers it with yes."""
    inside = "" if facts.clip is None else f" and inside [{facts.clip[0]:g}, {facts.clip[1]:g}]"
    classes = ""
    if facts.family in _OF_CLASSES:
        *others, last = map(str, facts.targets)
        named = f"{', '.join(others)} or {last}" if others else last
        classes = f", and the network gives it class {named} rather than {facts.label}"
    explained = f" E is the map of {facts.gradient_of}." if "E" in facts.condition else ""
    return (
        f"Is there an input x within {facts.epsilon:g} of xhat in every entry{inside}, of which this holds: "
        f"{facts.condition}{classes}?{explained}"
    )


def meaning(family: str) -> str:
    """What a witness of a query of this family shows."""
    return MEANINGS.get(family, "The query's condition is met.")
