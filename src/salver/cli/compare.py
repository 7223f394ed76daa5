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
    from salver.judge.judged import judge_run
    from salver.judge.scoring import results_frame
    from salver.report.compared import compared_json, compared_table, side_of
    from salver.run.loaded import load_run
    from salver.run.manifest import find_run

    root = project_root()
    folders = [find_run(root, name) for name in (first, second)]
    runs = [judge_run(load_run(folder, root)) for folder in folders]
    compared = compare_frames(*(results_frame(found.rows, found.run.instances.by_id) for found in runs))
    differing = differences_between(*(found.run.manifest.machine for found in runs))
    sides = [side_of(found.run) for found in runs]
    if as_json:
        print(compared_json(compared, differing, sides))
        return
    print(compared_table(compared, sides))
    for line in differing:
        print(f"not the same machine or packages: {line}")
