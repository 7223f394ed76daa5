"""`salver runs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from salver.cli.json_output import print_json
from salver.cli.options import AsJson
from salver.core.errors import SalverError


def runs(as_json: AsJson = False) -> None:
    """List the runs below reports/, the latest first.

    Example: salver runs --json
    """
    from tabulate import tabulate

    from salver.core.project import project_root
    from salver.run.manifest import stored_runs

    found = []
    for folder, run in stored_runs(project_root()):
        try:
            if isinstance(run, SalverError):
                raise run
            found.append(_row(folder, run))
        except SalverError as error:
            print(f"salver: warning: {error}; the others are listed", file=sys.stderr)
    found.sort(key=lambda row: (row["started"], row["name"]), reverse=True)
    if as_json:
        print_json(found)
        return
    headers = ("name", "suite", "started", "jobs", "solvers", "part")
    rows = [
        (
            row["name"],
            row["suite"],
            row["started"],
            f"{row['done']}/{row['jobs']}" if row["jobs"] is not None else str(row["done"]),
            ", ".join(row["solvers"]),
            row["selection"],
        )
        for row in found
    ]
    print(tabulate(rows, headers, "plain", disable_numparse=True) if rows else "no run yet")


def _row(folder: Path, run: Any) -> dict[str, Any]:
    from salver.run.events import EventLog

    return {
        "name": folder.name,
        "suite": run.suite,
        "started": run.started,
        "done": len(EventLog(folder / "events.jsonl").completed()),
        "jobs": run.planned.jobs if run.planned is not None else None,
        "solvers": sorted(run.solvers),
        "selection": run.options.selection.text,
    }
