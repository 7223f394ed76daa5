"""`salver metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from salver.cli import completing
from salver.cli.entries import SAID, MapArguments
from salver.cli.options import AsJson, listed, with_options

ABOUT_METRICS = ("k", "tolerance", "nearest", "floor", "least")
"""Entries of metrics, handed on where they are said."""


@dataclass(frozen=True, kw_only=True)
class MetricsArguments(MapArguments):
    """What `salver metrics` measures, of which network and points, and what it leaves behind."""

    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            help="name, file or folder: the data of the points",
            autocompletion=completing.data_sets,
        ),
    ]
    epsilon: Annotated[float, typer.Option("--epsilon", "-e", help="radius: largest change of an entry")]
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            help="comma-separated names or their beginnings: {metrics} (default: all)",
            autocompletion=completing.metrics,
        ),
    ] = None
    points: Annotated[
        int, typer.Option("--points", "-n", min=1, help="the first N rows of the data set's test part")
    ] = 10
    k: Annotated[int | None, typer.Option("--k", help="size of the top-k set (default: 5)")] = None
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="a map is the same within this share of its largest entry (0.1)"),
    ] = None
    nearest: Annotated[
        float | None,
        typer.Option("--nearest", help="Lipschitz estimates are of inputs this share of epsilon away (0.5)"),
    ] = None
    floor: Annotated[
        float | None,
        typer.Option("--floor", help="a relative change of the input counts as this at least (0.01)"),
    ] = None
    least: Annotated[
        float | None, typer.Option("--least", help="stands for an entry 0 that is divided by (1e-6)")
    ] = None
    timeout: Annotated[float, typer.Option("--timeout", help="wall seconds for a metric at a point")] = 2.0
    draws: Annotated[int, typer.Option("--draws", help="inputs that are drawn around a point")] = 200
    seed: Annotated[int, typer.Option("--seed", help="of the draws and of attacks")] = 0
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="new folder for a page, a table and the witnesses")
    ] = None


@with_options
def metrics(arguments: MetricsArguments, context: typer.Context, as_json: AsJson = False) -> None:
    """Measure how robust maps are, certified.

    Consistency, Max-Sensitivity, Local Lipschitz Estimate, Relative Input Stability, Top-K Intersection.

    Example: salver metrics net.onnx --dataset digits --epsilon 0.02 --points 10 -o metrics
    """
    from salver.cli.json_output import print_json
    from salver.cli.progress import counting
    from salver.metrics.measure import job_of, measurements
    from salver.metrics.measured import Measured
    from salver.metrics.page import refuse_folder

    if arguments.folder is not None:
        refuse_folder(arguments.folder)
    limits = {name: getattr(arguments, name) for name in ("solver", "timeout", "draws", "seed", "epsilon")}
    job = job_of(
        arguments.network,
        None,
        listed(arguments.metrics, "--metrics"),
        dataset=arguments.dataset,
        count=arguments.points,
        **limits,
        **arguments.said(*ABOUT_METRICS),
        **context.meta[SAID],
    )
    rows = []
    with counting("measuring") as tell:
        for row in measurements(job):
            rows.append(row)
            tell(len(rows))
    found = Measured(job, tuple(rows))
    if arguments.folder is not None:
        found.save(arguments.folder)
    if as_json:
        print_json(found.values)
        return
    print(found)
    if arguments.folder is not None:
        print(f"{arguments.folder / 'index.html'}: every metric with its worst witness")
