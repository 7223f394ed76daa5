"""One check of a runner and its outcome, in words for somebody who has just written that runner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One line of `salver test-runner`: what was asked of the runner, and what came of it."""

    subject: str
    status: Literal["ok", "FAIL", "skip"]
    detail: str

    def __str__(self) -> str:
        return f"{self.status:4} {self.subject}: {self.detail}"


class BrokenError(Exception):
    """What a runner got wrong, and how to put it right; becomes a failed check."""


def checked(subject: str, ask: Callable[[], str]) -> Check:
    """Runs one check: `ask` returns a detail, or raises `BrokenError` or whatever the runner raises."""
    try:
        return Check(subject, "ok", ask())
    except BrokenError as error:
        return Check(subject, "FAIL", str(error))
    except Exception as error:  # a runner may raise anything
        return Check(subject, "FAIL", f"the runner raised {type(error).__name__}: {error}")


def require(condition: object, what: str) -> None:
    """Raises BrokenError with `what` unless the condition holds."""
    if not condition:
        raise BrokenError(what)
