"""`salver bench`: the measurements in a project's `experiments/`, which are no part of the package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import typer

from salver.core.errors import SalverError
from salver.core.project import CHECKOUT, project_root


def bench_commands() -> typer.Typer:
    """The commands of `experiments/`; without a checkout that has it, one command that says so."""
    root = next((folder for folder in _places() if (folder / "experiments" / "cli.py").is_file()), None)
    if root is None:
        return _missing()
    if str(root) not in sys.path:
        # At the end, so that no folder of the project hides a package.
        sys.path.append(str(root))
    commands: typer.Typer = importlib.import_module("experiments.cli").bench_app
    return commands


def _places() -> list[Path]:
    try:
        return [project_root(), CHECKOUT]
    except SalverError:
        return [CHECKOUT]


def _missing() -> typer.Typer:
    app = typer.Typer(help="Measure salver itself (in a checkout).", invoke_without_command=True)

    @app.callback()
    def bench() -> None:
        """Measure salver itself (in a checkout)."""
        what = "the measurements are no part of the installed package"
        raise SalverError(what, "bench", "work in a checkout or set SALVER_ROOT to one")

    return app
