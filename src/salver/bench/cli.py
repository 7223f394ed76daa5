"""The command `salver bench`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(help="Measure salver itself.", no_args_is_help=True)


def _names(text: str) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",") if name.strip()) or None


@bench_app.callback()
def _bench() -> None:
    """Measure salver itself."""


@bench_app.command()
def solvers(
    tables: Annotated[str, typer.Option("--tables", help="paper-1, paper-2, scaling; default: all")] = "",
    solvers: Annotated[
        str, typer.Option("--solvers", help="comma-separated; default: each table's own")
    ] = "",
    timeout: Annotated[float | None, typer.Option("--timeout", help="wall seconds a run")] = None,
    cores: Annotated[
        int | None, typer.Option("--cores", help="cores a run (default: each table's own)")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", help="slots of one core")] = len(
        os.sched_getaffinity(0)
    ),
    device: Annotated[str, typer.Option("--device", help="cpu or cuda")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="go on with each suite's latest run")] = False,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="your data folder")] = None,
) -> None:
    """Compare the solvers: both published tables and a scaling set, every solver on the same instances.

    Example: salver bench solvers --tables paper-1 --solvers hybrid,milp
    """
    from salver.bench.solvers import bench_solvers
    from salver.project import project_root
    from salver.run import RunOptions
    from salver.suite import parse_record

    asked = {"solvers": _names(solvers), "timeout": timeout, "cores": cores, "workers": workers}
    raw = {**asked, "device": device, "resume": resume}
    options = parse_record(RunOptions, raw, "command line")
    bench_solvers(project_root(), options, _names(tables), data_dir)


@bench_app.command()
def training(
    suite: Annotated[str, typer.Option("--suite", help="a suite of training pairs")] = "training-pairs",
    solver: Annotated[str, typer.Option("--solver", help="the solver that answers")] = "hybrid",
    timeout: Annotated[float | None, typer.Option("--timeout", help="wall seconds a run")] = None,
    cores: Annotated[int, typer.Option("--cores", help="cores a run")] = 1,
    workers: Annotated[int, typer.Option("--workers", "-j", help="slots of one core")] = len(
        os.sched_getaffinity(0)
    ),
    resume: Annotated[bool, typer.Option("--resume", help="go on with the suite's latest run")] = False,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="your data folder")] = None,
) -> None:
    """Compare training regimes: accuracy, attacks, and verified label, saliency and ranking robustness.

    Example: salver bench training --timeout 10
    """
    from salver.bench.training import bench_training
    from salver.project import project_root
    from salver.run import RunOptions
    from salver.suite import parse_record

    asked = {"solvers": (solver,), "timeout": timeout, "cores": cores, "workers": workers, "resume": resume}
    options = parse_record(RunOptions, asked, "command line")
    bench_training(project_root(), options, suite, data_dir)
