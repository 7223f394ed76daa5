"""`salver compare`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from salver.cli import completing
from salver.cli.options import AsJson, RunName, listed
from salver.core.errors import SalverError


def compare(
    first: RunName,
    second: Annotated[
        str | None, typer.Argument(help="another run, of the same suite", autocompletion=completing.runs)
    ] = None,
    networks: Annotated[
        str | None, typer.Option("--networks", help="two networks of the first run, in place of a second")
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option("--solver", help="networks under this solver alone", autocompletion=completing.solver),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs, or two networks of a run, with intervals.

    The second is held against the first.

    Example: salver compare scaling-20260101T120000 latest
    """
    if networks is None and solver is not None:
        raise SalverError("is for networks", "--solver", "name two with --networks, or leave it out")
    if networks is not None:
        if second is not None:
            raise SalverError("compares networks of one run", "--networks", "leave the second run out")
        _networks(first, networks, solver, as_json)
    elif second is not None:
        _runs(first, second, as_json)
    else:
        hint = "name a second run, or two networks of this one with --networks"
        raise SalverError("there is nothing to compare it with", first, hint)


def _runs(first: str, second: str, as_json: bool) -> None:
    from salver.judge.compare import compare as compare_frames
    from salver.judge.compare import differences_between
    from salver.judge.judged import judge_run
    from salver.judge.scoring import results_frame
    from salver.report.compared import compared_json, compared_table, side_of
    from salver.run.loaded import named_run

    named = [named_run(name) for name in (first, second)]
    if named[0].folder == named[1].folder:
        what = f"both are the run {named[0].folder.name}; `salver runs` lists the others"
        print(f"salver: note: {what}", file=sys.stderr)
    runs = [judge_run(run) for run in named]
    compared = compare_frames(*(results_frame(found.rows) for found in runs))
    differing = differences_between(*(found.run.manifest.machine for found in runs))
    sides = [side_of(found.run) for found in runs]
    if as_json:
        print(compared_json(compared, differing, sides))
        return
    print(compared_table(compared, sides))
    for line in differing:
        print(f"not the same machine or packages: {line}")


def _networks(name: str, networks: str, solver: str | None, as_json: bool) -> None:
    from salver.judge.judged import judge_run
    from salver.judge.networks import compare_networks
    from salver.judge.scoring import results_frame
    from salver.report.compared import networks_json, networks_table, side_of
    from salver.run.loaded import named_run

    both = listed(networks, "--networks") or ()
    if len(both) != 2:
        raise SalverError(f"{networks[:60]!r} are not two networks", "--networks", "give two with a comma")
    found = judge_run(named_run(name))
    instances = found.run.instances.by_id
    frame = results_frame(found.rows, instances)
    compared = compare_networks(frame, instances, (both[0], both[1]), solver)
    side = side_of(found.run)
    print(networks_json(compared, side) if as_json else networks_table(compared, side))
