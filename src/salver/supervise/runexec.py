"""BenchExec's `runexec` in the place of our own limits and measurements (`salver run --backend runexec`).

Source: Beyer, Loewe, Wendler, "Reliable benchmarking: requirements and solutions", STTT 2019; benchexec 3.
`runexec` runs inside our supervisor, which has no limits of its own then but leaves nothing behind.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from salver.core.errors import SalverError
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.process import (
    STOPPED_SUPERVISOR,
    lost,
    read_capped,
    run_supervised,
)

PROGRAM_VARIABLE = "SALVER_RUNEXEC"
_PATIENCE_S = 30.0
_OWN_MEMORY_MB = 2000
_NOTES_BYTES = 1 << 16
# What runexec itself prints goes to files; the solver's streams are the supervisor's pipes, which cut them.
_ASIDE = (
    'exec 3>&1 4>&2 >"$SALVER_MEASURED" 2>"$SALVER_NOTES";'
    "export SALVER_STDOUT=/proc/$$/fd/3 SALVER_STDERR=/proc/$$/fd/4;"
    'exec "$@"'
)
_TO_PIPES = 'exec "$@" >"$SALVER_STDOUT" 2>"$SALVER_STDERR"'
_TERMINATIONS = {
    "walltime": Termination.WALLTIME,
    "cputime": Termination.CPUTIME,
    "cputime-soft": Termination.CPUTIME,
    "memory": Termination.MEMORY,
    "killed": Termination.INFRASTRUCTURE,
    "failed": Termination.CRASHED,
}


class RunexecMeasurement(NamedTuple):
    """What `runexec` printed. Seconds, MiB; `reason` is its `terminationreason`, empty for a plain end."""

    exit_code: int | None
    signal: int | None
    wall_s: float
    cpu_s: float
    memory_mb: float
    reason: str


def program() -> str | None:
    """Path of `runexec`: `SALVER_RUNEXEC`, or what PATH finds."""
    return shutil.which(os.environ.get(PROGRAM_VARIABLE) or "runexec")


def version() -> str:
    """What `runexec --version` prints, empty where it does not run."""
    if (found := program()) is None:
        return ""
    try:
        done = subprocess.run(
            [found, "--version"], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def unavailable() -> str | None:
    """Why `runexec` cannot be used here, or None: it is started once with `true`."""
    if (found := program()) is None:
        return f"runexec is not in PATH; pip install benchexec, or set {PROGRAM_VARIABLE}"
    command = [found, "--no-container", "--quiet", "--memlimit", "100MB", "--walltimelimit", "10s"]
    try:
        done = subprocess.run(
            [*command, "--output", os.devnull, "--", "true"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{found} does not run: {error}"
    if done.returncode or "returnvalue=0" not in done.stdout.splitlines():
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        return f"{found} cannot measure here: {last}"
    return None


def runexec_command(
    found: str, command: Sequence[str], workdir: Path, limits: Limits, cores: Sequence[int] | None, log: Path
) -> list[str]:
    """Argument vector of one run. `runexec` takes whole seconds, so time limits are rounded up instead of
    having a time of grace."""
    wall = f"{math.ceil(limits.wall_s)}s"
    cpu = ["--timelimit", f"{math.ceil(limits.cpu_s)}s"] if limits.cpu_s is not None else []
    pinned = ["--cores", ",".join(map(str, cores))] if cores is not None else []
    return [
        found, "--no-container", "--quiet", "--walltimelimit", wall,
        *cpu, "--memlimit", str(limits.memory_mb << 20), *pinned, "--dir", str(workdir),
        "--output", str(log), "--", "/bin/sh", "-c", _TO_PIPES, "sh", *command,
    ]  # fmt: skip


def parse_runexec(text: str) -> RunexecMeasurement:
    """Reads the `name=value` lines that `runexec` prints.

    Raises:
        SalverError: it did not measure the run.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    failed = values.get("terminationreason") == "failed"
    try:
        return RunexecMeasurement(
            exit_code=int(values["returnvalue"]) if "returnvalue" in values else None,
            signal=int(values["exitsignal"]) if "exitsignal" in values else None,
            wall_s=float(values["walltime"].rstrip("s")) if not failed else 0.0,
            cpu_s=float(values["cputime"].rstrip("s")) if not failed else 0.0,
            memory_mb=int(values.get("memory", "0B").rstrip("B")) / 2**20,
            reason=values.get("terminationreason", ""),
        )
    except (KeyError, ValueError) as error:
        last = text.strip().rpartition("\n")[2]
        raise SalverError(f"runexec gave no measurement ({last!r})", "--backend runexec") from error


def ending(measured: RunexecMeasurement, limits: Limits) -> Termination:
    """How a run ended; one that came in after its limit by itself is a timeout, as with our supervisor."""
    if measured.reason:
        return _TERMINATIONS.get(measured.reason, Termination.INFRASTRUCTURE)
    if measured.wall_s > limits.wall_s:
        return Termination.WALLTIME
    if limits.cpu_s is not None and measured.cpu_s > limits.cpu_s:
        return Termination.CPUTIME
    return Termination.EXITED if measured.exit_code is not None else Termination.CRASHED


def run_with_runexec(
    command: Sequence[str],
    workdir: Path,
    limits: Limits,
    *,
    environment: Mapping[str, str] | None = None,
    cores: tuple[int, ...] | None = None,
    result_files: tuple[str, ...] = (),
    scratch: Path,
    stop: threading.Event | None = None,
) -> Finished:
    """As `run_supervised`, limited and measured by `runexec`.

    Raises:
        SalverError: `runexec` is not there.
    """
    if (found := program()) is None:
        raise SalverError("runexec is not in PATH", "--backend runexec", "pip install benchexec")
    measured_file, notes_file = scratch / "measured", scratch / "notes"
    aside = {"SALVER_MEASURED": str(measured_file), "SALVER_NOTES": str(notes_file)}
    outer = Limits(
        wall_s=limits.wall_s + limits.grace_s + _PATIENCE_S,
        memory_mb=limits.memory_mb + _OWN_MEMORY_MB,
        output_mb=limits.output_mb,
    )
    run = run_supervised(
        [
            "/bin/sh",
            "-c",
            _ASIDE,
            "sh",
            *runexec_command(found, command, workdir, limits, cores, scratch / "log"),
        ],
        workdir,
        outer,
        environment={**(environment or {}), **aside},
        result_files=result_files,
        scratch=scratch,
        stop=stop,
    )
    if run.termination is not Termination.EXITED:
        # A solver that stops runexec keeps it from ending in time.
        own = run.termination in (Termination.INFRASTRUCTURE, Termination.WALLTIME)
        return run if own or run.reason == STOPPED_SUPERVISOR else lost(f"runexec: {run.reason}")
    notes = read_capped(notes_file, _NOTES_BYTES).strip().rpartition("\n")[2]
    try:
        measured = parse_runexec(read_capped(measured_file, _NOTES_BYTES))
    except SalverError as error:
        return lost(f"{error} {notes}".strip())
    termination = ending(measured, limits)
    why = "" if termination is Termination.EXITED else f"runexec: {_why(measured)}"
    reason = "; ".join(filter(None, (why, run.reason)))
    ended = {"termination": termination, "measured": "runexec", "reason": reason}
    return run.model_copy(update=measured._asdict() | ended)


def _why(measured: RunexecMeasurement) -> str:
    if measured.reason or measured.signal is None:
        return measured.reason or "late"
    try:
        return f"killed by {signal.Signals(measured.signal).name}"
    except ValueError:
        return f"killed by signal {measured.signal}"
