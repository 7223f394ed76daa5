"""`salver new-runner`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def new_runner(
    name: Annotated[str, typer.Argument(help="name of the solver")],
    kind: Annotated[
        str, typer.Option("--kind", help="python, vnncomp (scripts) or vnnlib (command line)")
    ] = "python",
    path: Annotated[str, typer.Option("--path", help="folder of the scripts, or the program")] = "",
) -> None:
    """Write a runner that works at once into runners/. It is then changed step by step.

    Example: salver new-runner mytool --kind vnncomp --path ~/mytool
    """
    from salver.core.project import project_root
    from salver.runners.foreign.template import new_runner as write
    from salver.runners.registry import runners

    located = str(Path(path).absolute()) if path and Path(path).exists() else path
    written = write(name, kind, located, project_root() / "runners", frozenset(runners()))
    print(f"{os.path.relpath(written)}: edit it, then `salver test-runner {name}`")
