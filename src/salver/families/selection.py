"""A part of an instance set: by name, family and network, the first few, or one of several shards."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from shlex import quote
from typing import Protocol, TypeVar

from pydantic import Field

from salver.core.errors import SalverError, counted, suggestion
from salver.core.records import Record

_SHARD = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})", re.ASCII)


class Shard(Record):
    """One of `of` parts that are disjoint and together complete; `number` counts from 1."""

    number: int = Field(ge=1)
    of: int = Field(ge=1)


class Selectable(Protocol):
    """What is selected from: instances and drafts of them."""

    @property
    def name(self) -> str:
        """File stem of the query."""

    @property
    def family(self) -> str:
        """Its family."""

    @property
    def subject(self) -> str:
        """Name of the network that it is about."""


S = TypeVar("S", bound=Selectable)


class Selection(Record):
    """What passes every filter, of that the first `limit`, and of these one shard.

    A pattern is a name, or a glob of names; of several one must fit.

    Attributes:
        only: patterns of instance names; family, network: patterns of theirs.
        limit: how many at most, in the order of the set; None for all.
    """

    only: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)
    shard: Shard | None = None

    @property
    def text(self) -> str:
        """As it is said on the command line; empty where all is taken."""
        said = [f"--{name} {quote(','.join(patterns))}" for name, patterns in self.filters if patterns]
        said += [f"--limit {self.limit}"] if self.limit is not None else []
        said += [f"--shard {self.shard.number}/{self.shard.of}"] if self.shard is not None else []
        return " ".join(said)

    @property
    def filters(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The patterns by what they are held against."""
        return ("only", self.only), ("family", self.family), ("network", self.network)

    def part_of(self, taken: int, whole: int) -> str:
        """`12 of 91 instances: --family vg_box`; empty where all is taken."""
        return f"{taken} of {counted(whole, 'instance')}: {self.text}" if self.text else ""


EVERYTHING = Selection()
_NAMES: dict[str, Callable[[Selectable], str]] = {
    "only": lambda one: one.name,
    "family": lambda one: one.family,
    "network": lambda one: one.subject,
}
_NOUNS = {"only": "instance has a name like", "family": "instance is of", "network": "instance is about"}


def read_shard(text: str) -> Shard:
    """A shard from `2/4`.

    Raises:
        SalverError: it is not written so, or there is no such part.
    """
    found = _SHARD.fullmatch(text)
    shard = Shard(number=int(found[1]), of=int(found[2])) if found else None
    if shard is None or shard.number > shard.of:
        raise SalverError(f"{text[:60]!r} is no shard", "--shard", "write 1/4 for the first of four")
    return shard


def fitting(items: Iterable[S], selection: Selection) -> Iterator[S]:
    """What is selected, one after another, in their order; see `select` for one that may not be empty."""
    fits = (one for one in items if all(_fits(one, *filter_) for filter_ in selection.filters))
    # Nobody has as many items as islice can count.
    first = fits if selection.limit is None else islice(fits, min(selection.limit, sys.maxsize))
    shard = selection.shard
    return first if shard is None else islice(first, shard.number - 1, None, shard.of)


def select(items: Sequence[S], selection: Selection, where: str = "") -> tuple[S, ...]:
    """What is selected, in its order.

    Args:
        where: whose items these are, for the error.

    Raises:
        SalverError: nothing is, or a pattern fits nothing; the nearest names are named.
    """
    for name, patterns in selection.filters:
        fitting_names([_NAMES[name](one) for one in items], name, patterns)
    found = tuple(fitting(items, selection))
    if not found:
        before = sum(1 for _ in fitting(items, selection.model_copy(update={"shard": None})))
        hint = f"only {before} fit, so use at most {before} shards" if before else "leave one of them out"
        raise SalverError(f"no instance is in {selection.text}", where, hint)
    return found


def fitting_names(names: Iterable[str], option: str, patterns: Sequence[str]) -> set[str]:
    """The names that a pattern fits; all where there is no pattern.

    Args:
        option: that the patterns were given by.

    Raises:
        SalverError: a pattern fits none.
    """
    known = list(dict.fromkeys(names))
    for pattern in patterns:
        if not any(_like(word, pattern) for word in known):
            what = f"no {_NOUNS[option]} {pattern[:60]!r}"
            raise SalverError(what, f"--{option}", suggestion(pattern, known, 4))
    return {word for word in known if not patterns or any(_like(word, pattern) for pattern in patterns)}


def _fits(one: Selectable, name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(_like(_NAMES[name](one), pattern) for pattern in patterns)


def _like(name: str, pattern: str) -> bool:
    # A name is always a pattern of itself, whatever marks of patterns it holds.
    return name == pattern or fnmatchcase(name, pattern)
