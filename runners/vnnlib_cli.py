"""Tools of your own that follow the VNN-LIB standard's command line: see `salver.runners.foreign.vnnlib_cli`.

`SALVER_VNNLIB_TOOLS` lists the tools as `name=command`, separated by semicolons; a command may carry
arguments of its own, quoted as in a shell (no shell is run). To keep a tool for good, describe it in
`runners/NAME.toml` instead.
"""

from __future__ import annotations

import os
import shlex

from salver.core.errors import SalverError
from salver.core.names import SOLVER_NAME
from salver.runners.contract import Runner
from salver.runners.foreign.vnnlib_cli import VnnLibTool

VARIABLE = "SALVER_VNNLIB_TOOLS"


def discover() -> list[type[Runner]]:
    """One runner class for each tool that `SALVER_VNNLIB_TOOLS` lists.

    Raises:
        SalverError: an entry is malformed, or two have one name.
    """
    found: dict[str, type[Runner]] = {}
    for entry in filter(str.strip, os.environ.get(VARIABLE, "").split(";")):
        name, _, command = entry.strip().partition("=")
        name = name.lower()
        try:
            tool = tuple(shlex.split(command))
        except ValueError as error:
            problem = f"{entry!r} is not quoted properly ({error})"
            raise SalverError(problem, VARIABLE, "correct it") from error
        if not tool or not SOLVER_NAME.fullmatch(name) or name in found:
            problem = "is listed twice" if name in found else "is not name=command"
            raise SalverError(
                f"{entry!r} {problem}", VARIABLE, "write tool='command --option';other=command2"
            )
        attributes = {"__module__": __name__, "name": name, "tool": tool}
        found[name] = type(f"VnnLib_{name}", (VnnLibTool,), attributes)
    return list(found.values())
