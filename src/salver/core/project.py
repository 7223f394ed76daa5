"""Where the project's folders lie: benchmarks, generators, runners, instances, reports."""

from __future__ import annotations

import os
from pathlib import Path

from salver.core.errors import SalverError

_MARK = "benchmarks"


CHECKOUT = Path(__file__).parents[3]
"""The checkout this package was installed from, where it was installed as one."""


def project_root() -> Path:
    """`SALVER_ROOT`, else the nearest folder at or above the working directory with `benchmarks/`,
    else the checkout this package was installed from.

    Raises:
        SalverError: there is none.
    """
    named = os.environ.get("SALVER_ROOT", "")
    candidates = [Path(named)] if named else [Path.cwd(), *Path.cwd().parents, CHECKOUT]
    for folder in candidates:
        if (folder / _MARK).is_dir() and (folder / "generators").is_dir():
            return folder.resolve()
    where = f"SALVER_ROOT={named}" if named else str(Path.cwd())
    raise SalverError("no salver project here", where, "work in a checkout or set SALVER_ROOT to one")
