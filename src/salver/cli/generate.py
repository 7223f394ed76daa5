"""`salver generate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from salver.cli.json_output import print_json
from salver.cli.options import AsJson, DataDir, SelectionArguments, SuiteKey, with_options
from salver.cli.stages import generated_set, print_generated


@dataclass(frozen=True, kw_only=True)
class GenerateArguments(SelectionArguments):
    """The command line of `generate`."""

    suite: SuiteKey
    data_dir: DataDir = None
    force: Annotated[bool, typer.Option("--force", help="even when the set is up to date")] = False
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="another folder, which is not there yet")
    ] = None


@with_options
def generate(arguments: GenerateArguments, as_json: AsJson = False) -> None:
    """Write a suite's instance set below instances/. One that is up to date stays as it is.

    A part of it, such as one family, goes into a folder of its own (--output).

    Example: salver generate digits
    """
    from salver.families.suite import read_complete_suite

    chosen = read_complete_suite(arguments.suite)
    found = generated_set(
        chosen,
        arguments.data_dir,
        force=arguments.force,
        output=arguments.output,
        selection=arguments.selection(),
    )
    if not as_json:
        print_generated(chosen, found)
        return
    made = found.made
    print_json(
        {
            "suite": chosen.key, "folder": str(found.folder), "instances": len(found.manifest.instances),
            "generated": found.is_new, "date": made and made.date, "notes": made.notes if made else (),
        }
    )  # fmt: skip
