"""What a question and a method let be said, read from their records: a new one brings its options along."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from salver.core.errors import SalverError, suggestion
from salver.core.records import Kinds, Record, parse_options

# Registers the questions and the methods.
from salver.explain import methods  # noqa: F401
from salver.explain.explanation import METHODS, Explanation
from salver.families import questions  # noqa: F401
from salver.families.question import QUESTIONS, Question
from salver.points.options import plain


@dataclass(frozen=True)
class Entry:
    """One thing that may be said of a question or a method.

    Attributes:
        name: as a keyword of Python; an option of the command line has `-` for `_`.
        path: where it stands in the record, such as ("noise", "draws").
        owners: the questions and methods that have it.
        required: those of them that cannot do without.
        flag: whether it is true or false; many: whether it is a list.
    """

    name: str
    path: tuple[str, ...]
    owners: tuple[str, ...]
    required: frozenset[str]
    flag: bool = False
    many: bool = False


@cache
def all_entries() -> dict[str, Entry]:
    """Every entry of every question and method by name."""
    found: dict[str, Entry] = {}
    for kinds in (QUESTIONS, METHODS):
        for kind, record in kinds.known.items():
            for entry in _of_record(kind, record, _left_out(record, kinds)):
                known = found.get(entry.name, replace(entry, owners=(), required=frozenset()))
                owners, required = (*known.owners, kind), known.required | entry.required
                found[entry.name] = replace(entry, owners=owners, required=required)
    return found


def known_questions() -> list[str]:
    """Names of all questions."""
    return list(QUESTIONS.known)


def known_methods() -> list[str]:
    """Names of all methods."""
    return list(METHODS.known)


def chosen(word: object, kinds: Kinds, what: str) -> str:
    """The kind that a word names or is the only beginning of, such as `top-k` for `top-k-changes`.

    Raises:
        SalverError: there is none, or there are several.
    """
    if not isinstance(word, str):
        raise SalverError(f"{word!r:.60} is no name", what, f"give the name of a {what}")
    if word in kinds.known:
        return word
    begins = [kind for kind in kinds.known if kind.startswith(word)] if word else []
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise SalverError(f"{word!r} fits several", what, f"choose one of {', '.join(begins)}")
    # A beginning may be misspelt too: top-m for top-k.
    cut = {kind[: len(word)]: kind for kind in kinds.known}
    near = difflib.get_close_matches(word, [*kinds.known, *cut], 1)
    hint = f"did you mean {cut.get(near[0], near[0])}?" if near else suggestion(word, kinds.known)
    raise SalverError(f"there is none called {word!r}", what, hint)


def question_and_method(
    question: str | Question, method: str | Explanation, given: Mapping[str, Any]
) -> tuple[Question, Explanation]:
    """The records that names and entries describe; the method's is of logit 0.

    Raises:
        SalverError: no such question or method, an entry that belongs to neither, one that is missing, or a
            value that it cannot have.
    """
    names = (
        question.kind if isinstance(question, Question) else chosen(question, QUESTIONS, "question"),
        method.method if isinstance(method, Explanation) else chosen(method, METHODS, "method"),
    )
    given = {name: plain(value) for name, value in given.items()}
    whole = {
        kind
        for kind, said in zip(names, (question, method), strict=True)
        if isinstance(said, Question | Explanation)
    }
    for name in given:
        _refuse_foreign(name, names)
        if set(all_entries()[name].owners) & set(names) <= whole:
            raise SalverError("is in the record that was given", name, "leave it out, or give a name")
    asked = question if isinstance(question, Question) else _record(QUESTIONS, names[0], given)
    explained = method if isinstance(method, Explanation) else _record(METHODS, names[1], given)
    assert isinstance(asked, Question)
    assert isinstance(explained, Explanation)
    return asked, explained


def _left_out(record: type[Record], kinds: Kinds) -> frozenset[str]:
    """Entries that are said otherwise, or that nobody gives."""
    if issubclass(record, Question):
        return record.completed | {kinds.tag}
    return frozenset(Explanation.model_fields)


def _of_record(
    kind: str, record: type[Record], left_out: frozenset[str] = frozenset(), path: tuple[str, ...] = ()
) -> Iterator[Entry]:
    for name, field in record.model_fields.items():
        if name in left_out:
            continue
        place = (*path, name)
        inner = next((part for part in _parts(field) if _is_record(part)), None)
        if inner is not None:
            yield from _of_record(kind, inner, path=place)
            continue
        parts = _parts(field)
        needed = field.is_required() or (issubclass(record, Question) and name in record.needed)
        required = frozenset({kind} if needed else ())
        yield Entry(
            "_".join(place),
            place,
            (kind,),
            required,
            flag=bool in parts,
            many=any(get_origin(part) is tuple for part in parts),
        )


def _parts(field: FieldInfo) -> tuple[Any, ...]:
    kind = field.annotation
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _refuse_foreign(name: str, names: tuple[str, str]) -> None:
    known = all_entries()
    if name not in known:
        own = [entry.name for entry in known.values() if set(names) & set(entry.owners)]
        raise SalverError("there is no entry of that name", name, suggestion(name, own))
    owners = known[name].owners
    if not set(names) & set(owners):
        what = f"does not belong to {names[0]} or {names[1]}"
        raise SalverError(what, name, f"it is an entry of {', '.join(owners)}: leave it out")


def _record(kinds: Kinds, kind: str, given: Mapping[str, Any]) -> Record:
    raw: dict[str, Any] = {kinds.tag: kind}
    own = [entry for entry in all_entries().values() if kind in entry.owners]
    for entry in own:
        if entry.name not in given:
            if kind in entry.required:
                raise SalverError("is missing", entry.name, f"{kind} needs it")
            continue
        value, table = given[entry.name], raw
        for part in entry.path[:-1]:
            table = table.setdefault(part, {})
        table[entry.path[-1]] = value.split(",") if entry.many and isinstance(value, str) else value
    named = {entry.path[-1]: entry.name for entry in own}
    record: Record = parse_options(kinds.known[kind], raw, named)
    return record
