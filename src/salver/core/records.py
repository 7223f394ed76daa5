"""Frozen, strict records; data of a person becomes one, or an error that names the entry and a way out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from salver.core.errors import SalverError, suggestion
from salver.core.names import spelt

LONGEST = 60
"""Most characters of a value that an error quotes."""
_BOUNDS = {
    "greater_than": ("gt", "above", "too small"),
    "greater_than_equal": ("ge", "of at least", "too small"),
    "less_than": ("lt", "below", "too large"),
    "less_than_equal": ("le", "of at most", "too large"),
}
_LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type")
_TABLES = ("dict_type", "model_type", "model_attributes_type")
_KINDS = {
    "string": ("text", "write it in quotes"),
    "int": ("a whole number", "write a whole number"),
    "float": ("a number", "write a number"),
    "bool": ("true or false", "write true or false"),
    "path": ("a path", "write it in quotes"),
}


class Record(BaseModel):
    """Base of all records: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Record)


class Kinds:
    """Records of one base class, told apart by an entry `tag`: a field `Annotated[Base, kinds]` holds any.

    A record is registered by decorating it with `register`, before the annotation is first used.

    Args:
        refused: why there is no record of a name, where more is known than that there is none.
        listed_by: the command that lists the records, where there are many.
    """

    def __init__(
        self, tag: str, refused: Callable[[str], SalverError | None] = lambda _: None, listed_by: str = ""
    ) -> None:
        self.tag, self.refused, self.listed_by = tag, refused, listed_by
        self.known: dict[str, type[Record]] = {}

    def register(self, kind: type[R]) -> type[R]:
        """Adds a record under the default of its tag, and returns it."""
        self.known[kind.model_fields[self.tag].default] = kind
        return kind

    def suggestion(self, word: str) -> str:
        """What to write for a name that is none: the kind that is meant, or what there is to choose from.

        A name that others have for a kind (its `elsewhere`) goes before one that is near by spelling, and a
        beginning may be misspelt too: `top-m` for `top-k-changes`.
        """
        names = {kind: (kind, *getattr(record, "elsewhere", ())) for kind, record in self.known.items()}
        spellings = {spelt(name): kind for kind, all_names in names.items() for name in all_names}
        wanted = spelt(word)
        several = [kind for kind in sorted(self.known) if wanted and spelt(kind).startswith(wanted)]
        if len(several) > 1 and wanted not in spellings:
            return f"choose one of {', '.join(several)}"
        # Where several begin alike, the shortest is meant rather than one that is more of it.
        begins = {spelt(kind)[: len(wanted)]: kind for kind in sorted(self.known, key=len, reverse=True)}
        near = difflib.get_close_matches(wanted, {**begins, **spellings}, 1)
        meant = spellings.get(wanted) or "".join({**begins, **spellings}[one] for one in near)
        if meant:
            return f"did you mean {meant}?"
        listed = f"`{self.listed_by}` lists them" if self.listed_by else ""
        return listed or f"choose one of {', '.join(sorted(self.known))}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(kind) for name, kind in self.known.items()}
        known = core_schema.tagged_union_schema(choices, discriminator=self.tag)
        return core_schema.no_info_before_validator_function(self._refuse, known)

    def _refuse(self, raw: Any) -> Any:
        name = raw.get(self.tag) if isinstance(raw, Mapping) else None
        if isinstance(name, str) and name not in self.known:
            if error := self.refused(name):
                raise ValueError(f"{error.what}; {error.hint}")
            raise ValueError(f"{self.tag} {name!r:.{LONGEST}} is not a choice; {self.suggestion(name)}")
        return raw


_FIELDS: dict[type[Record], set[str]] = {}


def sharing_field_names(record: R) -> R:
    """The same record, sharing the set of its fields' names with others of its kind where all were given.

    Pydantic keeps a set for each, which takes more memory than all values of a small record.
    """
    kind = type(record)
    shared = _FIELDS.get(kind)
    if shared is None:
        shared = _FIELDS[kind] = set(kind.model_fields)
    if record.model_fields_set == shared:
        object.__setattr__(record, "__pydantic_fields_set__", shared)
    return record


def parse_record(kind: type[Any], raw: dict[str, Any], where: str) -> Any:
    """Validates raw data into a record.

    Raises:
        SalverError: the first violation, with the path of the entry. A misspelt entry goes before others,
            since it is why another one is missing.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        entry, what, hint = _violation(error, kind, raw)
        raise SalverError(f"{entry}: {what}" if entry else what, where, hint) from error


def parse_options(kind: type[Any], raw: dict[str, Any], named: Mapping[str, str] | None = None) -> Any:
    """The same for options of the command line, which an error names as they are typed.

    Args:
        named: options whose names do not follow from the record's entries.

    Raises:
        SalverError: the first violation.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        entry, what, hint = _violation(error, kind, raw)
        fields = [part for part in entry.split(".") if not part.isdigit()]
        field = fields[-1] or "command line"
        option = (named or {}).get(field, f"--{field.replace('_', '-')}")
        raise SalverError(what, option, hint) from error


def violation(error: ValidationError) -> tuple[str, str]:
    """What is wrong with a value, and how to put it right."""
    return _violation(error, None, None)[1:]


def first_violation(error: ValidationError) -> str:
    """What is wrong with data in one clause, for files that a program wrote."""
    entry, what, _ = _violation(error, None, None)
    return f"{entry}: {what}" if entry else what


def _violation(error: ValidationError, kind: type[Any] | None, raw: Any) -> tuple[str, str, str]:
    """The entry that is wrong, what is wrong with it, and how to put it right.

    Args:
        raw: the data; None where it is not at hand, and the entry's place is told as pydantic has it.
    """
    found = error.errors(include_url=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    entry = _place(first, raw)
    what, hint = _words(first, kind)
    # A value that fits none of several types is told once, with all that it could be.
    others = [
        _words(one, kind)[1] for one in found if one["loc"] != first["loc"] and _place(one, raw) == entry
    ]
    return entry, what, ", or ".join(dict.fromkeys([hint, *others]))


def _place(error: ErrorDetails, raw: Any) -> str:
    """The path of an entry as it stands in the data, without the kinds that pydantic puts between."""
    if raw is None:
        return ".".join(str(part)[:LONGEST] for part in error["loc"])
    *above, last = error["loc"] or ("",)
    parts, inside = [], raw
    for part in above:
        if (isinstance(inside, Mapping) and part in inside) or isinstance(part, int):
            parts.append(part)
            inside = inside[part]
    named = isinstance(inside, Mapping) and (last in inside or error["type"] == "missing")
    if named or (isinstance(last, int) and isinstance(inside, list | tuple)):
        parts.append(last)
    return ".".join(str(part)[:LONGEST] for part in parts)


def _words(error: ErrorDetails, kind: type[Any] | None) -> tuple[str, str]:
    """What is wrong, and how to put it right."""
    type_, context, given = error["type"], error.get("ctx", {}), _quoted(error["input"])
    if type_ == "extra_forbidden":
        return "no entry has this name", suggestion(str(error["loc"][-1]), _siblings(kind, error["loc"]))
    if type_ == "missing":
        return "is missing", "add this entry"
    if type_ in _BOUNDS:
        key, word, wrong = _BOUNDS[type_]
        number = str(error["input"])[:LONGEST]
        what = "is not a number" if number.lower() == "nan" else f"is {wrong}"
        return f"{number} {what}", f"give a number {word} {context[key]:g}"
    if type_ in _LISTS:
        return f"{given} is not a list", f"write [{given}]"
    if type_ in _TABLES:
        return f"{given} is not a table of entries", "write it as { name = value, ... }"
    if type_ in ("literal_error", "enum"):
        choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        return f"{given} is not a choice", _choice(str(error["input"]), choices)
    if type_ == "union_tag_invalid":
        choices = str(context["expected_tags"]).replace("'", "").split(", ")
        return f"{_tag(context)} {context['tag']!r} is not a choice", _choice(context["tag"], choices)
    if type_ == "union_tag_not_found":
        return "does not say of which kind it is", f"add the entry {_tag(context)}"
    if type_ == "finite_number":
        return f"{given} is not a finite number", "give a finite number"
    if type_ == "too_short":
        return f"holds {context['actual_length']} values", f"give at least {context['min_length']}"
    if type_ == "too_long":
        return f"holds too many values ({context['actual_length']})", f"give at most {context['max_length']}"
    if type_ == "string_too_short":
        return "is empty", "give it a value"
    if type_ == "string_pattern_mismatch":
        return f"{given} is not written as it must be", _pattern(context["pattern"])
    if type_ == "value_error":
        what, _, hint = str(context["error"]).partition("; ")
        return what, hint or "correct this entry"
    name, hint = _KINDS.get(type_.partition("_")[0], ("", "correct this entry"))
    return (f"{given} is not {name}", hint) if name else (error["msg"], hint)


def _choice(given: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(given, choices, 1) or difflib.get_close_matches(
        given.lower(), choices, 1
    )
    return f"did you mean {near[0]}?" if near else f"choose {' or '.join(choices)}"


def _pattern(pattern: str) -> str:
    if pattern.startswith(r"^\d{4}-\d{2}"):
        return "write YYYY-MM-DD"
    if pattern.startswith("^http"):
        return "write https://..."
    return "use letters, digits and _ . + - and begin with a letter or digit"


def _siblings(kind: type[Any] | None, loc: tuple[int | str, ...]) -> list[str]:
    """The entries that may stand where a misspelt one does."""
    fields: Any = getattr(kind, "model_fields", {})
    kinds: Mapping[str, type[Record]] = {}
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        if part in kinds:
            fields, kinds = kinds[part].model_fields, {}
            continue
        field = fields.get(part)
        kinds = kinds_in(field)
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())] if field is not None else []
        fields = next((one.model_fields for one in inner if hasattr(one, "model_fields")), {})
    return [name for name in fields if name not in ("data_dir", "key")]


def _tag(context: Mapping[str, Any]) -> str:
    return str(context["discriminator"]).strip("'")


def kinds_in(field: Any) -> Mapping[str, type[Record]]:
    """The kinds of record that a field may hold, where it is annotated with `Kinds`."""
    parts = getattr(getattr(field, "annotation", None), "__args__", ())
    marks = [
        *getattr(field, "metadata", ()),
        *(m for part in parts for m in getattr(part, "__metadata__", ())),
    ]
    return next((mark.known for mark in marks if isinstance(mark, Kinds)), {})


def _quoted(value: object) -> str:
    """A value as it is written in a file."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
