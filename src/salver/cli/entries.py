"""Options of the command line that come from records, such as those of questions and methods."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main

from salver.cli import completing
from salver.cli.help_text import HelpfulCommand
from salver.cli.options import DataDir

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
NetworkFile = Annotated[Path, typer.Argument(help="ONNX (.onnx, .onnx.gz) or Keras (.keras, .h5) classifier")]
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


@dataclass(frozen=True, kw_only=True)
class MapArguments:
    """Which map of which network is asked about, and who decides."""

    network: NetworkFile
    norm: Annotated[
        str, typer.Option("--norm", help="of radii: linf, or l2 for the Euclidean distance of inputs")
    ] = "linf"
    method: Method = None
    label: Label = None
    minus: Minus = None
    absolute: Absolute = None
    input_range: InputRange = None
    output: OutputName = None
    data_dir: DataDir = None
    solver: Annotated[
        str, typer.Option("--solver", help="{solvers}", autocompletion=completing.embedded_solvers)
    ] = "hybrid"

    def said(self, *names: str) -> dict[str, Any]:
        """What was said of the map and the input, and the entries of these names; not what was left out."""
        given = {name: getattr(self, name) for name in (*ABOUT_MAP, *names)}
        return {name: value for name, value in given.items() if value is not None}


ABOUT_MAP = ("norm", "method", "label", "minus", "absolute", "input_range", "output", "data_dir")
SAID = "salver.entries"
"""Under which a command's context has what was said by further options: values by their names."""


class LateCommand(HelpfulCommand):
    """A command with further options, which are found when first asked for: finding them imports much.

    What is said by them is handed to the command as one mapping, `context.meta[SAID]`.
    """

    _own: list[Any]
    _late: list[Any] | None

    def late_options(self) -> list[inspect.Parameter]:
        """The further options, as parameters of a function that Typer would read."""
        return []

    @property
    def params(self) -> list[Any]:
        """The further parameters, then the command's own, such as `--json`; Typer adds to the list."""
        if self._late is None:
            self._late = _as_typer_reads(self.late_options())
            self._own[:0] = self._late
        return self._own

    @params.setter
    def params(self, own: list[Any]) -> None:
        self._own, self._late = own, None

    def invoke(self, ctx: Any) -> Any:
        """Takes what was said out of the command's own parameters."""
        said = {option.name: ctx.params.pop(option.name) for option in self._late or ()}
        ctx.meta[SAID] = {name: value for name, value in said.items() if value is not None}
        return super().invoke(ctx)


class MethodCommand(LateCommand):
    """A command that also has every option of every method."""

    of_questions = False

    def late_options(self) -> list[inspect.Parameter]:
        """One for every entry of a method, or of a question too; it is read when it is known whose it is."""
        from salver.points.entries import all_entries

        found = []
        for entry in all_entries().values():
            if not (self.of_questions or entry.methods):
                continue
            shown = f"{entry.option}/--no-{entry.option[2:]}" if entry.flag else entry.option
            owners = ", ".join(entry.owners if self.of_questions else entry.methods)
            means = "; ".join(filter(None, (entry.about, f"of {owners}", "" if entry.flag else entry.value)))
            default = f" (default: {entry.default})" if entry.default else ""
            heading = "Options of methods" if entry.methods else "Options of questions"
            about = typer.Option(shown, help=means + default, rich_help_panel=heading)
            kind: Any = Annotated[bool | None if entry.flag else str | None, about]
            found.append(late_option(entry.name, kind))
        return found


class QuestionCommand(MethodCommand):
    """The same with every option of every question too."""

    of_questions = True


def late_option(name: str, kind: Any, default: Any = None) -> inspect.Parameter:
    """An option of a `LateCommand`: `kind` is annotated with what Typer says of it."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _as_typer_reads(options: list[inspect.Parameter]) -> list[Any]:
    def taking(**_: object) -> None: ...

    taking.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    taking.__annotations__ = {option.name: option.annotation for option in options}
    app = typer.Typer(add_completion=False)
    app.command()(taking)
    return typer.main.get_command(app).params
