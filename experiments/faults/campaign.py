"""Random faults in bulk, through the real local engine.

    python -m experiments.faults.campaign --runs 500 --seed 0 -j 4

Batches of ten run side by side, by turns under control groups and under polling (`--limits` chooses, also
`runexec`); every tenth batch fills a small file system of its own. Prints a table by kind; the exit status is
1 when an outcome was not right or anything was left behind. Overshoot is in seconds over a wall or CPU limit
(grace included), in MiB over a memory limit.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tabulate import tabulate

from experiments.faults.course import FaultOutcome, count_left, limited_by, run_faults
from experiments.faults.kinds import ABOUT_OUR_SUPERVISOR, FULL_DISK, KINDS, Fault
from experiments.faults.tmpfs import tmpfs, why_not
from salver.run.job import Backend
from salver.supervise.cgroups import available

BATCH = 10
SMALL_KIB = 4096


def batches(
    runs: int, seed: int, disks: bool, backends: list[str]
) -> Iterator[tuple[str, list[tuple[str, Fault]], bool]]:
    """Backend, faults by kind, and whether they run on a small disk, until there are enough."""
    rng = Random(seed)
    waiting: list[str] = []
    for number, start in enumerate(range(0, runs, BATCH)):
        small = disks and number % BATCH == BATCH - 1
        size = min(BATCH, runs - start)
        if small:
            names = [rng.choice([*FULL_DISK, "well-behaved"]) for _ in range(size)]
        else:
            while len(waiting) < size:
                waiting += rng.sample(sorted(KINDS), len(KINDS))
            names, waiting = waiting[:size], waiting[size:]
        backend = backends[(number + number // BATCH) % len(backends)]
        if backend == "runexec":
            names = ["well-behaved" if name in ABOUT_OUR_SUPERVISOR else name for name in names]
        faults = [(name, (KINDS | FULL_DISK)[name](rng)) for name in names]
        yield backend, faults, small


def run(backend: str, faults: list[tuple[str, Fault]], small: bool, workers: int) -> list[FaultOutcome]:
    """One batch, in a folder that is removed; on a small disk one after the other."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        with limited_by(backend):
            name: Backend = "runexec" if backend == "runexec" else "salver"
            if not small:
                return run_faults(folder / "course", faults, workers, backend=name)
            with tmpfs(folder / "small", SMALL_KIB) as scratch:
                return run_faults(folder / "course", faults, 1, scratch, name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(found: list[tuple[str, FaultOutcome]]) -> str:
    """Rows by kind and backend, with totals by backend."""
    by_row: dict[tuple[str, str], list[FaultOutcome]] = defaultdict(list)
    for backend, outcome in found:
        by_row[outcome.kind, backend].append(outcome)
        by_row["all", backend].append(outcome)
    rows = []
    for (kind, backend), outcomes in sorted(by_row.items(), key=lambda item: (item[0][0] == "all", item[0])):
        overs = [
            over for o in outcomes if (over := o.fault.overshoot(o.record)) is not None and kind != "all"
        ]
        unit = "MiB" if outcomes[0].fault.over == "memory" else "s"
        spread = [f"{statistics.median(overs):.3f} {unit}", f"{max(overs):.3f} {unit}"] if overs else ["", ""]
        right = sum(not outcome.complaint for outcome in outcomes)
        rows.append([kind, backend, len(outcomes), right, *spread, count_left(outcomes)])
    headers = ["fault", "limits", "runs", "right", "over, median", "over, most", "left behind"]
    return tabulate(rows, headers, "pipe", disable_numparse=True, colalign=("left", "left", *["right"] * 5))


def spreads(found: list[tuple[str, FaultOutcome]]) -> str:
    """By backend: how late kills for wall time were, and how far runs went over the other limits."""
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    for backend, outcome in found:
        fault, record = outcome.fault, outcome.record
        if (delay := fault.delay(record)) is not None:
            figures["kill for wall time, late by (ms)", backend].append(1000 * delay)
        if (over := fault.overshoot(record)) is None:
            continue
        if fault.over == "wall":
            figures["over the wall limit, grace included (s)", backend].append(over)
        if fault.over == "cpu":
            figures["over the CPU limit (s)", backend].append(over)
        if fault.over == "memory":
            figures["over the memory limit (MiB)", backend].append(over)
    rows = [[*names, len(values), *_spread(values)] for names, values in sorted(figures.items())]
    headers = ["what", "limits", "runs", "median", "95 % below", "most"]
    return tabulate(rows, headers, "pipe", disable_numparse=True, colalign=("left", "left", *["right"] * 4))


def _spread(values: list[float]) -> list[str]:
    ordered = sorted(values)
    ninety_fifth = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return [f"{value:.3f}" for value in (statistics.median(ordered), ninety_fifth, ordered[-1])]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="number of faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", "-j", type=int, default=4, help="faults side by side")
    usual = "cgroup,polling" if available().version else "polling"
    parser.add_argument("--limits", default=usual, help="of cgroup, polling, runexec, comma-separated")
    chosen = parser.parse_args(arguments)
    if reason := why_not():
        print(f"no full disks: {reason}", file=sys.stderr)
    found: list[tuple[str, FaultOutcome]] = []
    for backend, faults, small in batches(chosen.runs, chosen.seed, not reason, chosen.limits.split(",")):
        for outcome in run(backend, faults, small, chosen.workers):
            found.append((backend, outcome))
            for what in filter(None, (outcome.complaint, ", ".join(outcome.left))):
                print(f"{outcome.kind}, {backend}: {what}", flush=True)
        print(f"{len(found)} of {chosen.runs}", file=sys.stderr, flush=True)
    print(table(found), spreads(found), sep="\n\n", end="\n\n")
    wrong = sum(bool(outcome.complaint or outcome.left) for _, outcome in found)
    print(f"{len(found)} runs, {wrong} with a wrong outcome or something left behind")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
