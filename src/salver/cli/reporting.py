"""What `report` and `all` do between the command line and the stage that judges and reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.cli import completing
from salver.cli.options import Profile, RunNames, SelectionArguments, listed
from salver.core.errors import SalverError, suggestion

if TYPE_CHECKING:
    from salver.report.results import Results

FORMATS = ("text", "markdown", "latex", "csv")


@dataclass(frozen=True, kw_only=True)
class ReportArguments(SelectionArguments):
    """The command line of a report."""

    names: RunNames = None
    profile: Profile = "vnncomp2026"
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="verified and falsified shares by one or several of {keys}",
            autocompletion=completing.keys,
        ),
    ] = None
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="comma-separated columns of the printed table: {columns}",
            autocompletion=completing.columns,
        ),
    ] = None
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="of the printed table: text, markdown, latex or csv",
            autocompletion=completing.one_of(*FORMATS),
        ),
    ] = "text"
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="another folder for it, which is not there yet")
    ] = None


def report_stage(arguments: ReportArguments, as_json: bool) -> None:
    """Judges a stored run and writes its report; that of a part only into a folder of its own.

    Raises:
        SalverError: there is no such run, profile, column or format, or it cannot be judged.
    """
    from salver.core.files import refuse_existing, refuse_missing_parent
    from salver.core.project import project_root
    from salver.judge.scoring import find_profile
    from salver.report.printed import PrintOptions, printed
    from salver.report.results import report_json
    from salver.report.write import report_runs
    from salver.run.manifest import LATEST, find_run

    find_profile(arguments.profile)
    if arguments.format not in FORMATS:
        hint = suggestion(arguments.format, FORMATS)
        raise SalverError(f"no format {arguments.format[:60]!r}", "--format", hint)
    wanted = PrintOptions(
        listed(arguments.by, "--by"), listed(arguments.columns, "--columns"), arguments.format
    )
    wanted.refuse_unknown()
    selection, root = arguments.selection(), project_root()
    folders = [find_run(root, name) for name in arguments.names or (LATEST,)]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise SalverError("a run is named twice", "report", "name each once")
    if arguments.output is not None:
        refuse_missing_parent(arguments.output)
        refuse_existing(arguments.output)
    found, page = report_runs(folders, root, arguments.profile, selection, arguments.output)
    if as_json:
        print(report_json(found, page, wanted.by))
        return
    table = printed(found, wanted)
    if arguments.format != "text":
        print(table, end="")
        print(_where(page), file=sys.stderr)
        return
    for line in found.run.notices:
        print(f"{line}\n")
    print(table, end="")
    _print_findings(found, folders, root)
    print(_where(page))


def _where(page: Path | None) -> str:
    if page is None:
        return "report: not written, since it is not of one whole run; name a folder for it with --output"
    return f"report: {os.path.relpath(page)}"


def _print_findings(found: Results, folders: Sequence[Path], root: Path) -> None:
    """What a reader must know beside the figures, one line each."""
    from salver.report.results import proofs_sentence
    from salver.run.loaded import changed_sources

    for line in found.wrong:
        print(f"wrong: {line}")
    for line in found.doubts:
        print(f"doubt about the instance: {line}")
    for item in found.disagreements:
        print(f"disagreement: {item.instance}: {item.detail}")
    if told := proofs_sentence(found):
        print(told)
    for path in changed_sources(folders[0], root):
        print(f"note: {os.path.relpath(path)} is another file than when these instances were made from it")
