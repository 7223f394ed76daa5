"""`salver bench`: the measurements in a project's `experiments/`, which are no part of the package."""

from __future__ import annotations

import importlib
import sys

import typer

from salver.core.errors import SalverError
from salver.core.project import project_root


def bench_commands() -> typer.Typer:
    """The commands of `experiments/`; outside a project that has it, one command that says so."""
    try:
        root = project_root()
    except SalverError:
        return _missing()
    if not (root / "experiments" / "cli.py").is_file():
        return _missing()
    if str(root) not in sys.path:
        # At the end, so that no folder of the project hides a package.
        sys.path.append(str(root))
    commands: typer.Typer = importlib.import_module("experiments.cli").bench_app
    return commands


def _missing() -> typer.Typer:
    app = typer.Typer(help="Measure salver itself (in a checkout).", invoke_without_command=True)

    @app.callback()
    def bench() -> None:
        """Measure salver itself (in a checkout)."""
        what = "the measurements are no part of the installed package"
        raise SalverError(what, "bench", "work in a checkout or set SALVER_ROOT to one")

    return app
