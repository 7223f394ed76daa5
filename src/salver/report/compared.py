"""A comparison of two runs as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tabulate import tabulate

from salver.judge.compare import Comparison

HEADERS = ("solver", "pairs", "solved", "gained", "lost", "wrong", "PAR-2 (s)", "second / first", "verdict")


def compared_table(compared: Sequence[Comparison]) -> str:
    """One row a solver, then the instances gained and lost."""
    rows = [
        (
            item.solver,
            item.instances,
            f"{item.solved[0]:g} -> {item.solved[1]:g}",
            len(item.gained),
            len(item.lost),
            f"{item.wrong[0]} -> {item.wrong[1]}",
            f"{item.par2[0]:.2f} -> {item.par2[1]:.2f}",
            f"{item.ratio:.2f} ({item.low:.2f} to {item.high:.2f})",
            item.change,
        )
        for item in compared
    ]
    lines = [tabulate(rows, HEADERS, "simple", disable_numparse=True)]
    for item in compared:
        for word, names in (("gained", item.gained), ("lost", item.lost)):
            lines += [f"{item.solver} {word}: {name}" for name in names]
    return "\n".join(lines)


def compared_json(compared: Sequence[Comparison], differing: Sequence[str]) -> str:
    """The same for programs."""
    found = {
        "solvers": [item.model_dump(mode="json") for item in compared],
        "machines_differ": list(differing),
    }
    return json.dumps(found, indent=1)
