"""Where the project's folders lie: benchmarks, generators, runners, instances, reports."""

from __future__ import annotations

import os
from pathlib import Path

from salver.core.errors import SalverError

_MARK = "benchmarks"


CHECKOUT = Path(__file__).parents[3]
"""The checkout this package was installed from, where it was installed as one."""
SHIPPED = Path(__file__).parents[1] / "shipped"
"""Suites, families and runners of a copy that was installed from a wheel; a checkout has no such folder."""


def project_root() -> Path:
    """Where sets and runs are stored, and a user's own suites, families and runners are read.

    `SALVER_ROOT`, else the nearest folder at or above the working directory with `benchmarks/` and
    `generators/`, else the checkout this package was installed from. A copy that was installed from a wheel
    needs no project: there it is the working directory, or any folder that `SALVER_ROOT` names.

    Raises:
        SalverError: there is none.
    """
    named = os.environ.get("SALVER_ROOT", "")
    candidates = [Path(named)] if named else [Path.cwd(), *Path.cwd().parents, CHECKOUT]
    for folder in candidates:
        if (folder / _MARK).is_dir() and (folder / "generators").is_dir():
            return folder.resolve()
    if SHIPPED.is_dir() and candidates[0].is_dir():
        return candidates[0].resolve()
    where = f"SALVER_ROOT={named}" if named else str(Path.cwd())
    raise SalverError("no salver project here", where, "work in a checkout or set SALVER_ROOT to one")


def folders_named(name: str) -> list[Path]:
    """The folders `benchmarks`, `generators` or `runners`: the project's, then that of an installed copy.

    What a user's own folder has hides what was shipped under the same name.
    """
    shipped = SHIPPED / name
    return [project_root() / name, *([shipped] if shipped.is_dir() else [])]
