"""What is known of a query's answer, and how it is known."""

from __future__ import annotations

from enum import StrEnum


class Truth(StrEnum):
    """Verdict of an instance whose answer is known. The query is the negated property: sat = falsified."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"


ANSWER_WORDS = {"sat": "falsified", "unsat": "verified"}
"""VNN-COMP's words for an answer, and ours for readers: the query is the negated property."""


def in_words(answer: str) -> str:
    """An answer for readers: verified, falsified, or the word that it is anyway."""
    return ANSWER_WORDS.get(answer, answer)


class Evidence(StrEnum):
    """How an expected verdict is known."""

    ENUMERATED = "enumerated"
    PLANTED = "planted"
    PROVED = "proved"
    UNKNOWN = "unknown"
