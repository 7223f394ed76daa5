"""What an instance asks, and what became of it, in words for readers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salver.families.instance import Facts
from salver.families.other_class import OtherClass
from salver.spec.truth import Truth
from salver.zoo.datasets import Clip

_VOWELS = ("a", "e", "i", "o", "u", "8", "11", "18")


def _range(clip: Clip) -> str:
    pairs = {(float(low), float(high)) for low, high in np.asarray(clip).reshape(-1, 2)}
    if len(pairs) > 1:
        return "the range of its entry"
    ((low, high),) = pairs
    return f"[{low:g}, {high:g}]"


def asked(facts: Facts | None) -> str:
    """The query as a question in symbols; an input that meets it falsifies the instance."""
    if facts is None:
        return "Is there an input that meets what the query's VNN-LIB file says?"
    inside = "" if facts.clip is None else f" and inside {_range(facts.clip)}"
    explained = f" E is {facts.explained}." if facts.map_size else ""
    way = "in every entry" if facts.norm == "linf" else "in the Euclidean norm"
    box = facts.region or f"within {facts.epsilon:g} of xhat {way}{inside}"
    holds = f"{facts.question.text}{_class_text(facts)}"
    return f"Is there an input x {box}, of which this holds: {holds}?{explained}"


def _class_text(facts: Facts) -> str:
    """What is asked of the class; all other classes are not listed."""
    text = facts.question.class_text(facts.label)
    every = len(facts.question.classes(facts.label, facts.logits)) == facts.logits - 1
    return f", and the network gives it another class than {facts.label}" if text and every else text


def question(facts: Facts | None, classes: Sequence[str] = ()) -> str:
    """The query as a question without symbols.

    Args:
        classes: names of the classes, where they have some.
    """
    if facts is None:
        return "Is there an input that meets what the query asks for?"
    way = "" if facts.norm == "linf" else ", in the Euclidean norm,"
    where = facts.region or f"near the explained one (by {facts.epsilon:g} at most in each entry)"
    if facts.region is None and way:
        where = f"within {facts.epsilon:g}{way} of the explained one"
    targets = facts.question.classes(facts.label, facts.logits)
    words = facts.question.in_words
    if isinstance(facts.question, OtherClass) and len(targets) < facts.logits - 1:
        named = " or ".join(_class(target, classes) for target in targets)
        words = words.replace(
            "the class is another one", f"the class is {named} and not {_class(facts.label, classes)}"
        )
    return f"Is there an input {where} at which {words}?"


def _class(label: int, classes: Sequence[str]) -> str:
    return classes[label] if label < len(classes) else str(label)


def headline(facts: Facts, truth: Truth, classes: Sequence[str] = (), reached: int | None = None) -> str:
    """An instance and what became of it, in one clause.

    Args:
        truth: the answer that is known.
        classes: names of the classes, where they have some.
        reached: the class at the witness, where there is one.
    """
    subject, asks = _one(facts.label, classes, facts), facts.question
    subject = subject[:1].upper() + subject[1:]
    if not isinstance(asks, OtherClass):
        clause = asks.in_words
        match truth:
            case Truth.SAT:
                return f"{subject} near which {clause}"
            case Truth.UNSAT:
                return f"{subject} near which it never happens that {clause}"
        return f"{subject}, and not known whether near it {clause}"
    kept = asks.kept.replace("no entry of the map moves by more than", "its map stays within")
    kept = kept.replace("the map", "its map")
    targets = asks.classes(facts.label, facts.logits)
    lone = _reached(targets[0], classes, facts) if len(targets) == 1 else "another class"
    match truth:
        case Truth.SAT:
            became = lone if reached in (None, facts.label) else _reached(reached, classes, facts)
            return f"{subject} that becomes {became} while {kept}"
        case Truth.UNSAT:
            return f"{subject} that never becomes {lone} while {kept}"
    return f"{subject}, and not known whether it becomes {lone} while {kept}"


def _reached(label: int, classes: Sequence[str], facts: Facts) -> str:
    one = _one(label, classes, facts)
    return one.removeprefix("an input of ")


def _one(label: int, classes: Sequence[str], facts: Facts) -> str:
    """`a 5`, `a ship`; of a table `an input of class benign`."""
    name = _class(label, classes)
    if len(facts.input_shape) < 3:
        return f"an input of class {name}"
    return f"{'an' if name.lower().startswith(_VOWELS[:5]) or name in _VOWELS else 'a'} {name}"
