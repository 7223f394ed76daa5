"""What is known of a query's answer, and how it is known."""

from __future__ import annotations

from enum import StrEnum


class Truth(StrEnum):
    """Verdict of an instance whose answer is known. The query is the negated property: sat = falsified."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """How an expected verdict is known."""

    ENUMERATED = "enumerated"
    PLANTED = "planted"
    PROVED = "proved"
    UNKNOWN = "unknown"
