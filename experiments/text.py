"""A data frame as text."""

from __future__ import annotations

import pandas as pd
from tabulate import tabulate


def as_text(table: pd.DataFrame, form: str) -> str:
    """The table in one of `tabulate`'s formats, cells as they are, with a newline at the end."""
    headers = [str(name) for name in table.columns]
    return tabulate(table.to_numpy().tolist(), headers, form, disable_numparse=True) + "\n"
