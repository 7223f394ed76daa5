"""`salver families`."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from salver.cli import completing
from salver.cli.json_output import print_json
from salver.cli.options import AsJson


def families(
    name: Annotated[
        str | None, typer.Argument(help="one family (default: all)", autocompletion=completing.families)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the instance families; with a name, its options and their choices.

    Example: salver families topk_rank
    """
    from salver.core.plugins import choose
    from salver.families.registry import generators

    known = generators()
    chosen = known if name is None else {name: choose(name, known, "family")}
    if as_json:
        told = {key: (kind.title, kind.falsified) for key, kind in chosen.items()}
        print_json(
            [
                {"family": key, "title": title, "falsified": falsified, "options": _options(chosen[key])}
                for key, (title, falsified) in told.items()
            ]
        )
        return
    for key, kind in chosen.items():
        print("\n".join(_page(key, kind, whole=name is not None)))
    if name is None:
        print("\n`salver families NAME` lists the options of one.")


def _page(name: str, kind: Any, whole: bool) -> list[str]:
    """What a family asks, what falsified means, and where it is the one asked for its options."""
    from salver.core.records import kinds_in

    lines = [f"{name}: {kind.title}"]
    lines += [f"  falsified means: {kind.falsified}"] if kind.falsified else []
    for option in _options(kind) if whole else ():
        lines.append(f"  {option['name']:16} {option['description']} ({_values(option)})")
    questions = kinds_in(kind.parameters.model_fields.get("question")) if whole else {}
    lines += ["  the questions:"] if questions else []
    lines += [f"    {word:14} {getattr(record, 'falsified', '')}" for word, record in questions.items()]
    return lines


def _values(option: dict[str, Any]) -> str:
    """What an option may be, and what it is where a suite does not say."""
    default = "required" if option["required"] else f"default {_written(option['default'])}"
    return f"{', '.join(option['choices'])}; {default}" if option["choices"] else default


def _written(default: object) -> str:
    """A default as a suite would write it."""
    if default is None or isinstance(default, bool):
        return {None: "none", True: "true", False: "false"}[default]
    return str(list(default)) if isinstance(default, tuple) else str(default)


def _options(kind: Any) -> list[dict[str, Any]]:
    """The options of a family that a suite sets; the data folder is the command line's."""
    from salver.core.records import kinds_in

    return [
        {
            "name": key,
            "description": option.description,
            "required": option.is_required(),
            "default": None if option.is_required() else option.default,
            "choices": _choices(option.annotation) or sorted(kinds_in(option)),
        }
        for key, option in kind.parameters.model_fields.items()
        if key != "data_dir"
    ]


def _choices(annotation: Any) -> list[str]:
    """The words that an option takes, such as the three of `condition`; none where it takes any value."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return [str(part) for part in parts]
    if get_origin(annotation) in (Union, UnionType):
        words = [word for part in parts for word in _choices(part)]
        return [*words, *(["a number"] if words and int in parts else [])]
    return []
