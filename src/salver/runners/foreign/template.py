"""`salver new-runner`: a file in runners/ that works at once, to be changed step by step."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Literal

from salver.core.errors import SalverError
from salver.core.files import write_atomically
from salver.core.names import SOLVER_NAME, SOLVER_NAME_HINT

Kind = Literal["python", "vnncomp", "vnnlib"]
KINDS: tuple[Kind, ...] = ("python", "vnncomp", "vnnlib")


def new_runner(name: str, kind: str, path: str, folder: Path, taken: frozenset[str]) -> Path:
    """Writes the file and returns its path.

    Args:
        name: of the solver; also the file's.
        kind: one of `KINDS`.
        path: folder of the scripts or the program; empty for `python`.
        folder: runners/ of the project.
        taken: names of the solvers there are.

    Raises:
        SalverError: a name that is malformed or taken, an unknown kind, a path missing or too much.
    """
    if not SOLVER_NAME.fullmatch(name):
        raise SalverError("is no name for a solver", repr(name), SOLVER_NAME_HINT)
    if kind not in KINDS:
        raise SalverError(f"no kind {kind!r}", "--kind", f"choose one of {', '.join(KINDS)}")
    if bool(path) != (kind != "python"):
        hint = (
            "leave it out"
            if path
            else "give the scripts' folder"
            if kind == "vnncomp"
            else "give the program"
        )
        raise SalverError("is not for kind python" if path else f"is missing for kind {kind}", "--path", hint)
    target = folder / (f"{name.replace('-', '_')}.py" if kind == "python" else f"{name}.toml")
    if name in taken or os.path.lexists(target):
        where = str(target) if os.path.lexists(target) else name
        raise SalverError("there is a solver of this name", where, "choose another name")
    write_atomically(target, _filled(name, kind, path))
    return target


def _filled(name: str, kind: str, path: str) -> str:
    text = files("salver.runners.foreign").joinpath("templates", f"{kind}.txt").read_text()
    quoted = json.dumps(path, ensure_ascii=False)  # TOML's basic strings have JSON's escapes
    return text.replace('"@PATH@"', quoted).replace("@NAME@", name)
