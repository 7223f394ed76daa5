"""The errors a user of salver should ever see: what is wrong, where, and how to mend it."""

from __future__ import annotations


class SalverError(Exception):
    """A problem the user can act on; the command line prints it as one line and exits with status 2.

    Args:
        what: what is wrong, in one clause without a full stop.
        where: file, suite, solver or option concerned; empty when `what` already says it.
        mend: what to do about it; empty only when nothing can be done.
    """

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(f"{text}; {self.mend}".split()) if self.mend else " ".join(text.split())


class FoundError(SalverError):
    """A check was done and its answer is no, such as for a damaged instance set; exit status 1."""


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: `1 complaint`, `2 complaints`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
