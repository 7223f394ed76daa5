"""`salver export`."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from salver.cli import completing
from salver.cli.json_output import print_json
from salver.cli.options import AsJson, RunName
from salver.core.errors import SalverError, counted, suggestion


def export(
    name: RunName,
    folder: Annotated[Path, typer.Argument(help="a folder that is not there yet")],
    to: Annotated[
        str,
        typer.Option("--to", help="whose form: vnncomp2026", autocompletion=completing.one_of("vnncomp2026")),
    ] = "vnncomp2026",
    benchmarks: Annotated[
        Path | None,
        typer.Option("--benchmarks", help="a second folder, for the instances as the scripts read them"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's results as VNN-COMP scores them. No solver is started.

    Example: salver export latest --to vnncomp2026 vnncomp2026_results
    """
    from salver.judge.judged import judge_run
    from salver.report.export import TARGETS, export_vnncomp
    from salver.run.loaded import named_run

    if to not in TARGETS:
        raise SalverError(f"no form {to[:60]!r} to export to", "--to", suggestion(to, TARGETS))
    done = export_vnncomp(judge_run(named_run(name)), folder, benchmarks)
    if as_json:
        print_json({"folder": str(folder), **asdict(done)})
        return
    for line in done.notes[1:]:
        print(line)
    for tool, rows in done.rows.items():
        counts = f"{counted(rows, 'row')}, {counted(done.witnesses[tool], 'counterexample')}"
        print(f"{tool}: {counts}")
    print(f"{done.benchmark}, VNN-LIB {done.version}: exported to {os.path.relpath(folder)}")
