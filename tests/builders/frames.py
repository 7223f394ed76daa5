"""Tables of results, made from what a test says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from salver.judge.columns import RESULTS

_PLAIN = {
    "str": "", "float64": 1.0, "int64": 0, "Int64": None,
    "suite": "s", "solver": "a", "outcome": "verified", "network": "n", "instance_id": "i", "limit_s": 10.0,
}  # fmt: skip


def results(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A `results_frame` of rows that say what is special about each."""
    return pd.DataFrame(
        {
            column.name: pd.Series(
                [row.get(column.name, _PLAIN.get(column.name, _PLAIN[column.kind])) for row in rows],
                dtype=column.kind,
            )
            for column in RESULTS
        }
    )
