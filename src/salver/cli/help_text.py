"""How `--help` is laid out: commands and options below headings, kinds of values in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import typer
import typer.core

from salver.cli import completing
from salver.cli.options import INSTANCES
from salver.core.errors import SalverError

_TYPES = {
    "str": "text",
    "int": "number",
    "int range": "number",
    "float": "number",
    "float range": "number",
    "float,float": "number number",
    "dir": "folder",
    "list[str]": "text",
}
CHOICES: dict[str, Callable[[str], list[str]]] = {
    "{questions}": completing.questions,
    "{solvers}": completing.embedded_solvers,
    "{metrics}": completing.metrics,
    "{keys}": completing.keys,
    "{columns}": completing.columns,
}
"""What a help text may name in place of a list, which is put there when the help is asked for."""
_TYPE = re.compile(r"<([^<>]+)>(?:\.\.\.)?")
_LIMIT = re.compile(r"x>=([\d.]+)")
_EXTRA = re.compile(r"\s+\[([^\[\]]*)\]$")
Row = tuple[str, str]
F = TypeVar("F", bound=Callable[..., Any])


class HelpfulCommand(typer.core.TyperCommand):
    """A command whose options stand below the heading that `rich_help_panel` gives each.

    An error about an entry names its option, such as `--noise-draws` for what is `noise_draws` in Python.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SalverError as error:
            options = {one.name: one.opts[0] for one in self.params if one.param_type_name == "option"}
            error.where = " and ".join(options.get(name, name) for name in error.where.split(" and "))
            raise


class HelpfulGroup(typer.core.TyperGroup):
    """Commands below the heading that `rich_help_panel` gives each."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self.get_params(ctx), ctx, formatter)
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        limit = formatter.width - 6 - max(len(name) for name, _ in found)
        _write_sections(
            (
                (
                    getattr(command, "rich_help_panel", None) or "Commands",
                    (name, command.get_short_help_str(limit)),
                )
                for name, command in found
                if command is not None
            ),
            formatter,
        )


class Commands(typer.Typer):
    """Commands with such a help, none in colour."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=HelpfulGroup, **settings)

    def command(
        self, name: str | None = None, *, cls: Any = HelpfulCommand, **settings: Any
    ) -> Callable[[F], F]:
        """Registers a function, as Typer's own does."""
        decorated: Callable[[F], F] = super().command(name, cls=cls, **settings)
        return decorated


def _write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    rows: list[tuple[str, Row]] = []
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is not None:
            own = "Arguments" if parameter.param_type_name == "argument" else "Options"
            heading = getattr(parameter, "rich_help_panel", None) or own
            rows.append((heading, _in_words(*record)))
    _write_sections(rows, formatter)


def _write_sections(rows: Iterable[tuple[str, Row]], formatter: Any) -> None:
    """Sections in the order in which their headings first appear, behind those that always go first."""
    sections: dict[str, list[Row]] = {heading: [] for heading in ("Arguments", "Options", INSTANCES)}
    for heading, row in rows:
        sections.setdefault(heading, []).append(row)
    for heading, listed in sections.items():
        if listed:
            with formatter.section(heading):
                formatter.write_dl(listed)


def _in_words(shown: str, about: str) -> Row:
    """A row without the words of a programming language: `<number>` for `<int range>`."""
    for mark, choices in CHOICES.items():
        about = about.replace(mark, ", ".join(choices(""))) if mark in about else about
    shown = _TYPE.sub(lambda found: f"<{_TYPES.get(found[1], found[1])}>", shown)
    return shown, _EXTRA.sub(r" (\1)", _LIMIT.sub(r"at least \1", about))
