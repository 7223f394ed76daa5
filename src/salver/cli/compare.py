"""`salver compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from salver.cli import completing
from salver.cli.options import AsJson, RunName


def compare(
    first: RunName,
    second: Annotated[
        str, typer.Argument(help="another run, of the same suite", autocompletion=completing.runs)
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two runs pair by pair, with intervals. The second is held against the first.

    Example: salver compare scaling-20260101T120000 latest
    """
    from salver.core.project import project_root
    from salver.judge.compare import compare as compare_frames
    from salver.judge.compare import differences_between
    from salver.judge.scoring import results_frame
    from salver.report.compared import compared_json, compared_table
    from salver.report.judging import judge_all
    from salver.run.run_suite import find_run

    root = project_root()
    folders = [find_run(root, name) for name in (first, second)]
    runs = [judge_all(folder, root) for folder in folders]
    compared = compare_frames(*(results_frame(found.runs) for found in runs))
    differing = differences_between(*(found.run.machine for found in runs))
    sides = [found.side(folder.name) for found, folder in zip(runs, folders, strict=True)]
    if as_json:
        print(compared_json(compared, differing, sides))
        return
    print(compared_table(compared, sides))
    for line in differing:
        print(f"not the same machine or packages: {line}")
