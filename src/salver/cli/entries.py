"""Options of the command line that come from the records of questions and methods."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
import typer.main

from salver.cli import completing
from salver.cli.help_text import HelpfulCommand

Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        help="name or its beginning, of `salver methods` (default: gradient)",
        autocompletion=completing.methods,
    ),
]
Label = Annotated[
    int | None, typer.Option("--label", help="class that is explained (default: the network's)")
]
Absolute = Annotated[
    bool | None,
    typer.Option("--abs/--signed", help="sizes of the map's entries (default: where they are ranked)"),
]
InputRange = Annotated[
    tuple[float, float] | None,
    typer.Option("--range", help="lowest and highest input (default: the data set's)"),
]
Minus = Annotated[int | None, typer.Option("--minus", help="class whose logit is subtracted")]
OutputName = Annotated[
    str | None, typer.Option("--output-name", help="which of a network's outputs holds the scores")
]
Score = Annotated[
    str | None,
    typer.Option(
        "--score",
        help="what is explained; a logit is all there is (default: logit)",
        autocompletion=completing.one_of("logit"),
    ),
]
SAID = "salver.entries"
"""Under which a command's context has what was said of question and method: values by the entries' names."""


class MethodCommand(HelpfulCommand):
    """A command that also has every option of every method, found when first asked for."""

    of_questions = False
    _own: list[Any]
    _complete: bool

    @property
    def params(self) -> list[Any]:
        """The command's own parameters, then those of questions and methods."""
        if not self._complete:
            self._complete = True
            self._own += _options(self.of_questions)
        return self._own

    @params.setter
    def params(self, own: list[Any]) -> None:
        self._own, self._complete = own, False

    def invoke(self, ctx: Any) -> Any:
        """Hands what was said of question and method to the command as one mapping."""
        from salver.points.entries import all_entries

        said = {name: ctx.params.pop(name) for name in all_entries() if name in ctx.params}
        ctx.meta[SAID] = {name: value for name, value in said.items() if value is not None}
        return super().invoke(ctx)


class QuestionCommand(MethodCommand):
    """The same with every option of every question too."""

    of_questions = True


def _options(of_questions: bool) -> list[Any]:
    """An option for every entry of a method, or of a question too; values are read when it is known whose."""
    from salver.points.entries import all_entries

    def entries(**_: object) -> None: ...

    parameters = []
    for entry in all_entries().values():
        if not (of_questions or entry.methods):
            continue
        shown = f"{entry.option}/--no-{entry.option[2:]}" if entry.flag else entry.option
        owners = ", ".join(entry.owners if of_questions else entry.methods)
        means = "; ".join(filter(None, (entry.about, f"of {owners}", "" if entry.flag else entry.value)))
        default = f" (default: {entry.default})" if entry.default else ""
        heading = "Options of methods" if entry.methods else "Options of questions"
        about = typer.Option(shown, help=means + default, rich_help_panel=heading)
        kind: Any = Annotated[bool | None if entry.flag else str | None, about]
        parameters.append(
            inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        )
    entries.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    entries.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app = typer.Typer(add_completion=False)
    app.command()(entries)
    return typer.main.get_command(app).params
