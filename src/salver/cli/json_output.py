"""The option `--json`: one value on stdout and nothing else there."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def kept_for_json(as_json: bool) -> Iterator[None]:
    """What is printed inside for people goes to stderr where stdout is for one JSON value."""
    if not as_json:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def print_json(value: object) -> None:
    """Prints a value; what JSON has no form for is printed as text."""
    print(json.dumps(value, indent=1, default=str))


def tables_of(folder: Path) -> dict[str, object]:
    """The tables in a folder that a bench has written: every `*.csv` as a list of rows by its name.

    Returns:
        `report` (the Markdown file) and `tables`; an empty cell is null.
    """
    import pandas as pd

    tables = {
        path.stem: json.loads(pd.read_csv(path).to_json(orient="records", double_precision=15))
        for path in sorted(folder.glob("*.csv"))
        if path.stat().st_size > 1
    }
    return {"report": str(next(folder.glob("*.md"), folder)), "tables": tables}
