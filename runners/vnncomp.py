"""Any tool that has VNN-COMP's scripts, without a line of code (`salver.runners.foreign.vnncomp`).

`SALVER_VNNCOMP_TOOLS` lists the tools as `name=folder`, separated by colons; a folder alone is named
after its last part. To keep a tool for good, describe it in `runners/NAME.toml` instead.
"""

from __future__ import annotations

import os
from pathlib import Path

from salver.core.errors import SalverError
from salver.core.names import SOLVER_NAME
from salver.runners.contract import Runner
from salver.runners.foreign.vnncomp import VnnCompTool

VARIABLE = "SALVER_VNNCOMP_TOOLS"


def discover() -> list[type[Runner]]:
    """One runner class for each tool that `SALVER_VNNCOMP_TOOLS` lists.

    Raises:
        SalverError: an entry is malformed, or two have one name.
    """
    found: dict[str, type[Runner]] = {}
    for entry in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        name, _, folder = entry.rpartition("=")
        name = (name or Path(folder).name).lower()
        if not folder or not SOLVER_NAME.fullmatch(name) or name in found:
            problem = "is listed twice" if name in found else "is not name=folder"
            raise SalverError(
                f"{entry!r} {problem}", VARIABLE, "write tool=/path/to/tool:other=/path/to/other"
            )
        attributes = {"__module__": __name__, "name": name, "folder": Path(folder).expanduser().absolute()}
        found[name] = type(f"VnnComp_{name}", (VnnCompTool,), attributes)
    return list(found.values())
