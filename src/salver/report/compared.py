"""A comparison of two runs, or of two networks in one, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan

from tabulate import tabulate

from salver.judge.compare import Comparison
from salver.judge.networks import NetworkComparison
from salver.judge.paired import Estimate
from salver.run.loaded import LoadedRun

HEADERS = (
    "solver", "versions", "pairs", "solved", "gained", "lost", "wrong", "PAR-2 (s)", "wall, second / first",
    "CPU, second / first", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class ComparedRun:
    """One of two compared runs: its name, when and by which salver it was made, the machine's load average
    at each of its starts, and what a report of it would say first."""

    run: str
    started: str
    salver: str
    load: str
    notices: tuple[str, ...] = ()


def side_of(run: LoadedRun) -> ComparedRun:
    """What a comparison says of a run."""
    made = run.manifest
    machines = [made.machine, *(session.machine for session in made.resumed)]
    loads = ", ".join("not known" if machine.load is None else str(machine.load) for machine in machines)
    return ComparedRun(run.folder.name, made.started, made.salver, loads, run.notices)


def compared_table(compared: Sequence[Comparison], sides: Sequence[ComparedRun] = ()) -> str:
    """The two runs, one row a solver, then the instances gained and lost."""
    lines = []
    for name, side in zip(("first", "second"), sides, strict=False):
        made = f"{side.run}, {side.started}, salver {side.salver}, load {side.load}"
        lines += [f"{name}: {made}", *(f"{name}: {line}" for line in side.notices)]
    rows = [
        (
            item.solver,
            " -> ".join(item.versions),
            item.instances,
            f"{item.solved[0]:g} -> {item.solved[1]:g}",
            len(item.gained),
            len(item.lost),
            f"{item.wrong[0]} -> {item.wrong[1]}",
            f"{item.par2[0]:.2f} -> {item.par2[1]:.2f}",
            _ratio(item.ratio, item.low, item.high),
            _ratio(item.cpu_ratio, item.cpu_low, item.cpu_high),
            item.verdict,
        )
        for item in compared
    ]
    lines.append(tabulate(rows, HEADERS, "simple", disable_numparse=True))
    for item in compared:
        for word, names in (("gained", item.gained), ("lost", item.lost)):
            lines += [f"{item.solver} {word}: {name}" for name in names]
    return "\n".join(lines)


NETWORK_HEADERS = (
    "solver", "points", "pairs", "verified", "falsified", "wrong", "more verified", "more falsified",
    "PAR-2 (s)", "CPU (s)", "verdict on the second",
)  # fmt: skip


def networks_table(compared: Sequence[NetworkComparison], side: ComparedRun) -> str:
    """The run and its networks, one row a solver, and what a reader must know of the pairs."""
    lines = [f"run: {side.run}, {side.started}, salver {side.salver}, load {side.load}", *side.notices]
    lines.append(f"networks: {' -> '.join(compared[0].networks)}")
    rows = [
        (
            item.solver,
            item.points,
            item.pairs,
            " -> ".join(map(str, item.verified)),
            " -> ".join(map(str, item.falsified)),
            " -> ".join(map(str, item.wrong)),
            _difference(item.more_verified),
            _difference(item.more_falsified),
            f"{item.par2[0]:.2f} -> {item.par2[1]:.2f}",
            f"{item.cpu[0]:.2f} -> {item.cpu[1]:.2f}",
            item.verdict,
        )
        for item in compared
    ]
    lines.append(tabulate(rows, NETWORK_HEADERS, "simple", disable_numparse=True))
    if other := max(item.other_delta for item in compared):
        lines.append(f"note: {other} pairs differ in the tolerance on the map; they are paired in its order")
    return "\n".join(lines)


def networks_json(compared: Sequence[NetworkComparison], side: ComparedRun) -> str:
    """The same for programs; what cannot be formed is null."""
    rows = [{**json.loads(item.model_dump_json()), "verdict": item.verdict} for item in compared]
    return json.dumps({"run": asdict(side), "solvers": rows}, indent=1)


def _difference(found: Estimate) -> str:
    return f"{100 * found.value:+.0f}% [{100 * found.low:+.0f}, {100 * found.high:+.0f}]"


def compared_json(
    compared: Sequence[Comparison], differing: Sequence[str], sides: Sequence[ComparedRun] = ()
) -> str:
    """The same for programs; a ratio that cannot be formed is null."""
    found = {
        "runs": [asdict(side) for side in sides],
        "solvers": [{**json.loads(item.model_dump_json()), "verdict": item.verdict} for item in compared],
        "machines_differ": list(differing),
    }
    return json.dumps(found, indent=1)


def _ratio(value: float, low: float, high: float) -> str:
    return "-" if isnan(value) else f"{value:.2f} ({low:.2f} to {high:.2f})"
