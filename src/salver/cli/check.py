"""`salver check`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salver.cli import completing
from salver.cli.entries import SAID, MapArguments, Score
from salver.cli.options import AsJson, with_options

if TYPE_CHECKING:
    from salver.points.answer import RobustnessAnswer
    from salver.points.radius import RadiusAnswer

ROBUST, NOT_ROBUST, UNDECIDED = 0, 1, 3
"""Exit statuses beside 2, which is that of every command that could not do what it was asked."""
CHECK_S, RADIUS_S = 10.0, 60.0
"""Seconds where none are given."""


@dataclass(frozen=True, kw_only=True)
class CheckArguments(MapArguments):
    """What `salver check` asks, of which network and point, and what it leaves behind."""

    epsilon: Annotated[
        float | None, typer.Option("--epsilon", "-e", help="radius: largest change of an input entry")
    ] = None
    radius: Annotated[
        bool, typer.Option("--radius", help="find up to which radius it is robust, and where it is broken")
    ] = False
    precision: Annotated[
        float, typer.Option("--precision", help="of --radius: how near its two ends come, as a share")
    ] = 0.05
    point: Annotated[Path | None, typer.Option("--point", help="the input: .npy, .csv or an image")] = None
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="name, file or folder: the data of the input",
            autocompletion=completing.data_sets,
        ),
    ] = None
    index: Annotated[int | None, typer.Option("--index", help="row of the data set, in place of --point")] = (
        None
    )
    question: Annotated[
        str,
        typer.Option(
            "--question",
            "-q",
            help="name or its beginning: {questions}",
            autocompletion=completing.questions,
        ),
    ] = "top-k-changes"
    score: Score = None
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="wall seconds (default: 10, with --radius 60)")
    ] = None
    seed: Annotated[int, typer.Option("--seed", help="of the search for counterexamples")] = 0
    picture: Annotated[Path | None, typer.Option("--picture", help="to write: .html, .svg, .png or .pdf")] = (
        None
    )
    witness: Annotated[Path | None, typer.Option("--witness", help="counterexample to write: .npy")] = None
    proof: Annotated[
        Path | None,
        typer.Option("--proof", help="proof to write, where robust; with FILE.onnx and FILE.vnnlib"),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="replace files that are there")] = False


@with_options
def check(arguments: CheckArguments, context: typer.Context, as_json: AsJson = False) -> int:
    """Say whether the explanation of one input is robust.

    Exit status 0: robust, or some radius is; 1: not robust; 3: undecided; 2: not done.

    Example: salver check net.onnx --point x.npy --question top-k --k 5 --epsilon 0.02 --picture out.html
    """
    from salver.cli.json_output import print_json
    from salver.points.check import check_within
    from salver.points.options import Bisection, Solving, Within, option_record
    from salver.points.point_question import ask
    from salver.points.radius import find_radius

    _refuse_outputs(arguments)
    default = RADIUS_S if arguments.radius else CHECK_S
    seconds = default if arguments.timeout is None else arguments.timeout
    limits = {"solver": arguments.solver, "timeout": seconds, "seed": arguments.seed}
    solving, epsilon = option_record(Solving, limits), arguments.epsilon
    wanted = {"most": epsilon, "precision": arguments.precision}
    bisection = option_record(Bisection, wanted) if arguments.radius else None
    within = None if arguments.radius else option_record(Within, {"epsilon": epsilon})
    stated = arguments.said("dataset", "index", "score") | context.meta[SAID]
    asked = ask(arguments.network, arguments.point, arguments.question, **stated)
    proof, force = arguments.proof, arguments.force
    found: RobustnessAnswer | RadiusAnswer
    if within is None:
        assert bisection is not None
        found = find_radius(asked, solving, bisection, proof, force=force)
    else:
        found = check_within(asked, within.epsilon, solving, proof, force=force)
    _write(arguments, found)
    if as_json:
        print_json(found.values)
    else:
        print(found)
    return {True: ROBUST, False: NOT_ROBUST, None: UNDECIDED}[found.robust]


def _refuse_outputs(arguments: CheckArguments) -> None:
    """Refuses, before anything is solved, what could not be done or written.

    Raises:
        SalverError: no radius is given, or a file named for output cannot be had.
    """
    from salver.core.errors import SalverError
    from salver.core.files import refuse_output

    if arguments.epsilon is None and not arguments.radius:
        raise SalverError("no radius is given", "--epsilon", "give one, or have it found with --radius")
    if arguments.picture is not None:
        # Drawing takes a second to import.
        from salver.points.picture import refuse_picture

        refuse_picture(arguments.picture, force=arguments.force)
    if arguments.witness is not None:
        if arguments.witness.suffix != ".npy":
            raise SalverError("is no name of an array", str(arguments.witness), "let it end in .npy")
        refuse_output(arguments.witness, force=arguments.force, inputs=[arguments.network], option="--force")


def _write(arguments: CheckArguments, found: RobustnessAnswer | RadiusAnswer) -> None:
    """The files that were asked for; a counterexample only where there is one."""
    import io

    import numpy as np

    from salver.core.files import write_atomically

    if arguments.picture is not None:
        found.plot().save(arguments.picture, force=arguments.force)
    if arguments.witness is not None and found.witness is not None:
        stream = io.BytesIO()
        np.save(stream, found.witness.astype(np.float32), allow_pickle=False)
        write_atomically(arguments.witness, stream.getvalue())
