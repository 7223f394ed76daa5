"""The command `salver` in this process: a new one would import pandas and torch again, for every call."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from salver.cli.__main__ import app
from salver.cli.calling import call
from salver.core import plugins


class Called(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def salver(project: Path, *arguments: str, check: bool = True) -> Called:
    """Runs a command line in a project.

    Args:
        check: whether a status other than 0 fails the test.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(project),
        mock.patch.dict(os.environ, {"SALVER_ROOT": str(project)}),
        mock.patch.object(plugins, "WARNED", set()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = call(app, arguments)
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
    assert not check or status == 0, err.getvalue()
    return Called(status, out.getvalue(), err.getvalue())
