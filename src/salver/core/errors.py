"""The errors a user of salver should ever see: what is wrong, where, and how to put it right."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Self


class SalverError(Exception):
    """A problem the user can act on; the command line prints it as one line and exits with status 2.

    Args:
        what: what is wrong, in one clause without a full stop.
        where: file, suite, solver or option concerned; empty when `what` already says it.
        hint: what to do about it; empty only when nothing can be done.
    """

    def __init__(self, what: str, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(str(self))

    def within(self, place: str) -> Self:
        """The same error, told with the place that its own lies in, such as a family of a suite."""
        self.where = f"{place}: {self.where}" if self.where else place
        self.args = (str(self),)
        return self

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join(f"{text}; {self.hint}".split()) if self.hint else " ".join(text.split())


class FoundError(SalverError):
    """A check was done and its answer is no, such as for a damaged instance set; exit status 1."""


class StoppedError(SalverError):
    """A person stopped what was asked for before its end; exit status 130."""


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: `1 complaint`, `2 complaints`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def suggestion(word: str, known: Iterable[str], most: int = 30) -> str:
    """`did you mean ...?`, or where no known word is near, `most` words of what there is to choose from."""
    words = list(known)
    if near := difflib.get_close_matches(word, words, 1):
        return f"did you mean {near[0]}?"
    if len(words) == 1:
        return f"the only one is {words[0]}"
    more = f" and {counted(len(words) - most, 'other')}" if len(words) > most else ""
    return f"choose one of {', '.join(words[:most])}{more}" if words else ""


def plain_reason(error: Exception) -> str:
    """Why a file could not be read, in words that no library's are among."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it says it is larger than the memory"
    return "it is damaged or cut short"


_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make the disk writable, or choose a folder on another one",
    errno.EACCES: "change its permissions or choose another folder",
    errno.EPERM: "change its permissions or choose another folder",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of this path is a file, not a folder: choose another path",
    errno.EISDIR: "this is a folder: name a file",
    errno.EEXIST: "move what stands there away or choose another path",
    errno.ENOTEMPTY: "move what stands there away or choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a link leads back to itself: choose another path",
    errno.EMFILE: "raise the limit of open files with `ulimit -n`",
    errno.ENFILE: "close other programs: the machine has too many files open",
    errno.EIO: "check the disk",
    errno.EFBIG: "raise the limit of a file's size with `ulimit -f`",
    errno.ENXIO: "this is no regular file: choose another path",
}


def file_error(error: OSError, where: object, done: str = "written") -> SalverError:
    """The error of a person's file or folder, with the advice that fits its cause.

    Args:
        done: what could not be done: written, read or made.
    """
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "check the path" if done == "read" else "choose another folder")
    return SalverError(f"cannot be {done} ({reason})", str(where), advice)
