"""What a question and a method let be said, read from their records: a new one brings its options along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from salver.core.command_line import nearest
from salver.core.errors import SalverError, suggestion
from salver.core.records import Kinds, Record, parse_options

# Registers the questions and the methods.
from salver.explain import methods  # noqa: F401
from salver.explain.explanation import METHODS, Explanation
from salver.families import questions  # noqa: F401
from salver.families.question import QUESTIONS, Question
from salver.points.options import PointOptions, plain


@dataclass(frozen=True)
class Entry:
    """One thing that may be said of a question or a method.

    Attributes:
        name: as a keyword of Python; an option of the command line has `-` for `_`.
        path: where it stands in the record, such as ("noise", "draws").
        owners: the questions and methods that have it.
        required: those of them that cannot do without.
        value: what it may be, such as `whole number`; about: what it means, where its record says so.
        default: what it is where it is not said, as it would be written; empty where its owners differ.
        flag: whether it is true or false; many: whether it is a list.
    """

    name: str
    path: tuple[str, ...]
    owners: tuple[str, ...]
    required: frozenset[str]
    value: str
    about: str = ""
    default: str = ""
    flag: bool = False
    many: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """Those of the owners that are methods."""
        return tuple(owner for owner in self.owners if owner in METHODS.known)

    @property
    def option(self) -> str:
        """As on the command line."""
        return f"--{self.name.replace('_', '-')}"


@cache
def all_entries() -> dict[str, Entry]:
    """Every entry of every question and method by name."""
    found: dict[str, Entry] = {}
    for kinds in (QUESTIONS, METHODS):
        for kind, record in kinds.known.items():
            for entry in _of_record(kind, record, _left_out(record, kinds)):
                known = found.get(entry.name, replace(entry, owners=(), required=frozenset()))
                about = known.about if entry.about in known.about else f"{known.about}, or {entry.about}"
                owners, required = (*known.owners, kind), known.required | entry.required
                default = entry.default if entry.default == known.default else ""
                found[entry.name] = replace(
                    entry, owners=owners, required=required, default=default, about=about
                )
    return found


def entries_of(method: str) -> list[Entry]:
    """The entries of one method."""
    record = METHODS.known[method]
    return list(_of_record(method, record, _left_out(record, METHODS)))


def known_questions() -> list[str]:
    """Names of all questions."""
    return list(QUESTIONS.known)


def known_methods() -> list[str]:
    """Names of all methods."""
    return list(METHODS.known)


def chosen(word: object, kinds: Kinds, what: str) -> str:
    """The kind that a word names or is the only beginning of, such as `top-k` for `top-k-changes`.

    Raises:
        SalverError: there is none, there are several, or it is a method that is known not to be supported.
    """
    if not isinstance(word, str):
        raise SalverError(f"{word!r:.60} is no name", what, f"give the name of a {what}")
    if word in kinds.known:
        return word
    if refused := kinds.refused(word):
        raise SalverError(refused.what, what, refused.hint)
    begins = [kind for kind in kinds.known if kind.startswith(word)] if word else []
    if len(begins) == 1:
        return begins[0]
    if begins:
        raise SalverError(f"{word!r:.60} is the beginning of several {what}s", "", kinds.suggestion(word))
    raise SalverError(f"no {what} is called {word!r:.60}", hint=kinds.suggestion(word))


def question_and_method(
    question: str | Question, method: str | Explanation, given: Mapping[str, Any]
) -> tuple[Question, Explanation]:
    """The records that names and entries describe; the method's is of logit 0.

    Raises:
        SalverError: no such question or method, an entry that belongs to neither, one that is missing, or a
            value that it cannot have.
    """
    given = {name: plain(value) for name, value in given.items()}
    names = {_name(question, QUESTIONS, "question"): question, _name(method, METHODS, "method"): method}
    _refuse_misplaced(given, names)
    asked, explained = (
        said if isinstance(said, Record) else _record(kinds, name, given)
        for kinds, (name, said) in zip((QUESTIONS, METHODS), names.items(), strict=True)
    )
    assert isinstance(asked, Question)
    assert isinstance(explained, Explanation)
    return asked, explained


def method_of(method: str | Explanation, given: Mapping[str, Any]) -> Explanation:
    """The record of logit 0 that the name of a method and its entries describe, or that is given.

    Raises:
        SalverError: as `question_and_method`.
    """
    given = {name: plain(value) for name, value in given.items()}
    name = _name(method, METHODS, "method")
    _refuse_misplaced(given, {name: method})
    explained = method if isinstance(method, Explanation) else _record(METHODS, name, given)
    assert isinstance(explained, Explanation)
    return explained


def _listed(value: str) -> list[Any]:
    """The parts of a list with commas, or of a list of such lists with semicolons."""
    return value.split(",") if ";" not in value else [part.split(",") for part in value.split(";")]


def _name(said: str | Record, kinds: Kinds, what: str) -> str:
    return str(getattr(said, kinds.tag)) if isinstance(said, Record) else chosen(said, kinds, what)


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
        yield Entry(
            "_".join(place),
            place,
            (kind,),
            frozenset({kind} if needed else ()),
            " or ".join(dict.fromkeys(word for part in parts if (word := _word(part)))),
            field.description or "",
            "" if needed else _written(field.default),
            flag=bool in parts,
            many=any(get_origin(part) is tuple for part in parts),
        )


def _word(kind: Any) -> str:
    """What a value of a type is called."""
    if get_origin(kind) is Annotated:
        return _word(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = _word(get_args(kind)[0])
        return f"{inner}; such lists with semicolons" if inner.endswith("commas") else f"{inner}s with commas"
    return {bool: "yes or no", int: "whole number", float: "number", str: "text", NoneType: ""}.get(
        kind, "text"
    )


def _written(default: Any) -> str:
    if default is None or isinstance(default, bool):
        return {None: "none", True: "yes", False: "no"}[default]
    if not isinstance(default, tuple):
        return f"{default:g}" if isinstance(default, float) else str(default)
    nested = any(isinstance(part, tuple) for part in default)
    return (";" if nested else ",").join(map(_written, default)) or "none"


def _parts(field: FieldInfo) -> tuple[Any, ...]:
    kind = field.annotation
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _refuse_misplaced(given: Mapping[str, Any], names: Mapping[str, str | Record]) -> None:
    """Refuses entries that belong to none of the named kinds, or only to one that is given as a record."""
    known = all_entries()
    for name in given:
        if name not in known:
            own = [entry.name for entry in known.values() if names.keys() & set(entry.owners)]
            near = nearest(name, [*own, *PointOptions.model_fields])
            raise SalverError("there is no entry of that name", name, near or suggestion(name, own))
        owners = names.keys() & set(known[name].owners)
        if not owners:
            what = f"does not belong to {' or '.join(names)}"
            hint = f"it is an entry of {', '.join(known[name].owners)}: leave it out"
            raise SalverError(what, name, hint)
        if all(isinstance(names[owner], Record) for owner in owners):
            raise SalverError("is in the record that was given", name, "leave it out, or give a name")


def _record(kinds: Kinds, kind: str, given: Mapping[str, Any]) -> Record:
    raw: dict[str, Any] = {kinds.tag: kind}
    own = [entry for entry in all_entries().values() if kind in entry.owners]
    if missing := [entry.name for entry in own if kind in entry.required and entry.name not in given]:
        what, them = ("is missing", "it") if len(missing) == 1 else ("are missing", "them")
        raise SalverError(what, " and ".join(missing), f"{kind} needs {them}")
    for entry in own:
        if entry.name not in given:
            continue
        value, table = given[entry.name], raw
        for part in entry.path[:-1]:
            table = table.setdefault(part, {})
        table[entry.path[-1]] = _listed(value) if entry.many and isinstance(value, str) else value
    named = {entry.path[-1]: entry.name for entry in own}
    record: Record = parse_options(kinds.known[kind], raw, named)
    return record
