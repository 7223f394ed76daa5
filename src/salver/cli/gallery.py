"""`salver gallery`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from salver.cli.options import DataDir, RunName


def gallery(
    name: RunName = "latest",
    per_network: Annotated[
        int, typer.Option("--per-network", min=1, help="instances of each family and network at most")
    ] = 3,
    data_dir: DataDir = None,
) -> None:
    """Draw what falsified instances of a run look like.

    xhat and the witness stand beside their saliency maps.

    Example: salver gallery latest --per-network 5
    """
    from salver.judge.judged import judge_run
    from salver.report.gallery import write_gallery
    from salver.run.loaded import named_run

    page, shown = write_gallery(judge_run(named_run(name, data_dir)), per_network)
    print(f"gallery: {shown} falsified instances in {os.path.relpath(page)}")
