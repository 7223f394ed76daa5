"""`salver bench overhead`: what limits cost per run, under each of the ways to keep them, beside BenchExec's.

Every round runs each command once in each way, in shuffled order, so that load on the machine hits all alike.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from unittest import mock

import numpy as np
import pandas as pd

from experiments.bench_report import BenchReport
from experiments.options import OverheadOptions
from salver.core.errors import SalverError
from salver.run.machine import processor
from salver.supervise import runexec
from salver.supervise.cgroups import VARIABLE, available
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.process import run_supervised

LIMITS = Limits(wall_s=60.0, memory_mb=1000)
COMMANDS = {
    "true": ["true"],
    "Python, one word": [sys.executable, "-I", "-S", "-c", "print('unsat')"],
}
BARE, GROUPS, POLLING = "no limits", "control groups", "polling"
BACKEND, ALONE = "--backend runexec", "runexec alone"
_SLOWEST_S = 60.0

Way = Callable[[list[str], Path], None]


def bench_overhead(root: Path, options: OverheadOptions, say: Callable[[str], None] = print) -> Path:
    """Measures, prints and writes the seconds per run; returns the folder below reports/ that was written.

    Raises:
        SalverError: a command did not end as it should.
    """
    frame = measure(options, ways())
    report = BenchReport("salver bench overhead", say)
    report.text(conditions(options))
    report.table(summary(frame))
    report.figures(frame, "overhead")
    return report.write(root / "reports", "bench-overhead", "overhead")


def ways() -> dict[str, Way]:
    """The ways to run a command that work here, by name."""
    found: dict[str, Way] = {BARE: _bare}
    if available().version:
        found[GROUPS] = supervised
    found[POLLING] = _polled
    if runexec.unavailable() is None:
        found |= {BACKEND: _backend, ALONE: _alone}
    return found


def measure(options: OverheadOptions, found: dict[str, Way]) -> pd.DataFrame:
    """Columns round, command, way, seconds; a first round is not counted."""
    rng, rows = Random(options.seed), []
    cells = [(name, way) for name in COMMANDS for way in found]
    for number in range(-1, options.runs):
        for name, way in rng.sample(cells, len(cells)):
            with tempfile.TemporaryDirectory(prefix="salver-") as folder:
                began = time.perf_counter()
                found[way](COMMANDS[name], Path(folder))
                seconds = time.perf_counter() - began
            rows.append((number, name, way, seconds))
    frame = pd.DataFrame(rows, columns=["round", "command", "way", "seconds"])
    return frame[frame["round"] >= 0].reset_index(drop=True)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a command and way: median and its overhead over the command alone, in ms, each with a 95 %
    bootstrap interval; overheads are differences within one round."""
    rows = []
    for (command, way), own in frame.groupby(["command", "way"], sort=False):
        alone = frame[(frame["command"] == command) & (frame["way"] == BARE)]
        paired = own.set_index("round")["seconds"] - alone.set_index("round")["seconds"]
        over = "" if way == BARE else _median_with_interval(paired.to_numpy())
        cells = {"command": command, "limits": way, "median (ms)": _median_with_interval(own["seconds"])}
        rows.append({**cells, "over no limits (ms)": over})
    order = {name: number for number, name in enumerate([BARE, GROUPS, POLLING, BACKEND, ALONE])}
    names = list(COMMANDS)
    rows.sort(key=lambda row: (names.index(str(row["command"])), order[str(row["limits"])]))
    return pd.DataFrame(rows)


def conditions(options: OverheadOptions) -> str:
    """What the figures hold for."""
    lines = [
        f"{options.runs} runs of each command in each way, in one shuffled order; {processor()}, "
        f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}.",
        f"Control groups: {available().label} ({available().reason}).",
    ]
    reason = runexec.unavailable()
    lines.append(f"BenchExec: {reason or runexec.version()}.")
    return "\n".join(lines)


def _median_with_interval(seconds: object) -> str:
    values = 1000 * np.asarray(seconds, dtype=float)
    if np.ptp(values) == 0:
        return f"{values[0]:.1f}"
    from scipy.stats import bootstrap

    found = bootstrap(
        (values,), np.median, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    )
    low, high = found.confidence_interval
    return f"{np.median(values):.1f} ({low:.1f} to {high:.1f})"


def _bare(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True, timeout=_SLOWEST_S)


def supervised(command: list[str], folder: Path) -> None:
    _require_exit(run_supervised(command, folder, LIMITS, scratch=folder))


def _polled(command: list[str], folder: Path) -> None:
    with mock.patch.dict(os.environ, {VARIABLE: "off"}):
        supervised(command, folder)


def _backend(command: list[str], folder: Path) -> None:
    with mock.patch.dict(os.environ, {VARIABLE: "off"}):
        _require_exit(runexec.run_with_runexec(command, folder, LIMITS, scratch=folder))


def _alone(command: list[str], folder: Path) -> None:
    found = runexec.program()
    assert found is not None
    whole = runexec.runexec_command(found, command, folder, LIMITS, None, folder / "log")
    streams = {f"SALVER_{name}": str(folder / name.lower()) for name in ("STDOUT", "STDERR")}
    done = subprocess.run(
        whole,
        env={**os.environ, **streams},
        capture_output=True,
        text=True,
        check=True,
        timeout=_SLOWEST_S,
    )
    if runexec.parse_runexec(done.stdout).exit_code != 0:
        raise SalverError(f"did not end as it should ({done.stdout!r})", "runexec", "run it by hand")


def _require_exit(finished: Finished) -> None:
    if finished.termination is not Termination.EXITED or finished.exit_code != 0:
        what = f"did not end as it should ({finished.termination}: {finished.reason})"
        raise SalverError(what, "a measured run", "see `salver doctor`")
