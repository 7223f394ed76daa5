"""`salver generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salver.cli.json_output import print_json
from salver.cli.options import AsJson, DataDir, SuiteKey
from salver.cli.stages import generated_set, print_generated


def generate(
    suite: SuiteKey,
    data_dir: DataDir = None,
    force: Annotated[bool, typer.Option("--force", help="even when the set is up to date")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="another folder, which is not there yet")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a suite's instance set below instances/. One that is up to date stays as it is.

    Example: salver generate digits
    """
    from salver.families.suite import read_suite

    chosen = read_suite(suite)
    found = generated_set(chosen, data_dir, force=force, output=output)
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
