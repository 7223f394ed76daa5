"""The command `salver` in this process: a new one imports pandas, torch and Altair again, for every call."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pandas as pd
import typer.main

from salver.cli import app as commands
from salver.cli.calling import call
from salver.core import plugins
from salver.judge.columns import SOLVED
from salver.judge.scoring import results_frame
from salver.report import write
from salver.report.figures.background import Drawing, drawn_here
from salver.report.figures.plot import Plot
from tests.builders.judged_runs import INSTANCES, judged

app = typer.main.get_command(commands.app)
"""Made once: from its functions, as a process does it, takes longer than most that it is asked."""


class Called(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def _drawing_here() -> Iterator[Callable[[pd.DataFrame], Drawing]]:
    """Like `background_drawing`, whose own tests are `tests/report/test_background.py`."""
    yield lambda frame: partial(drawn_here, frame)


@cache
def _some_plots() -> list[Plot]:
    return drawn_here(write.shown_in_plots(results_frame(judged(), INSTANCES, dict.fromkeys(INSTANCES, 8))))


@contextlib.contextmanager
def _drawing_nothing_new() -> Iterator[Callable[[pd.DataFrame], Drawing]]:
    """The plots of one made-up run for all that have some: drawing takes half of a small report."""
    yield lambda frame: lambda: _some_plots() if frame["outcome"].isin(SOLVED).any() else []


def salver(
    project: Path, *arguments: str, check: bool = True, folder: Path | None = None, draws: bool = False
) -> Called:
    """Runs a command line in a project.

    Args:
        check: whether a status other than 0 fails the test.
        folder: where the caller stands; None for the project itself.
        draws: whether a report has the plots of its run, and not those of a made-up one.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder or project),
        mock.patch.dict(os.environ, {"SALVER_ROOT": str(project)}),
        mock.patch.object(plugins, "WARNED", set()),
        mock.patch.object(write, "background_drawing", _drawing_here if draws else _drawing_nothing_new),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = call(app, arguments)
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
    assert not check or status == 0, err.getvalue()
    return Called(status, out.getvalue(), err.getvalue())
