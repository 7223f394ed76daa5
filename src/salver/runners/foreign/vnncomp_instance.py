"""Runs a tool's VNN-COMP scripts on one instance: `prepare_instance.sh`, then `run_instance.sh`.

A stand-alone command, so that both scripts run inside one supervised process tree:

    python -m salver.runners.foreign.vnncomp_instance [--unprepared] \\
        SCRIPTS CATEGORY ONNX VNNLIB RESULT_FILE TIMEOUT

TIMEOUT is the limit of the whole in seconds. What preparing took is taken off what `run_instance.sh`
is told, since the harness stops the tree at the limit whichever script is running. `--unprepared` leaves the
first script out: several tools' kill every Python of the machine.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

VERSION_STRING = "v1"
PREPARE = "prepare_instance.sh"
RUN = "run_instance.sh"
UNPREPARED = "--unprepared"


def script(folder: Path, name: str) -> list[str]:
    """Argument vector that starts a script: itself where it is executable, else through bash."""
    path = folder / name
    return [str(path)] if os.access(path, os.X_OK) else ["bash", str(path)]


def seconds_left(limit_s: float, used_s: float) -> str:
    """Whole seconds for `run_instance.sh`, at least 1: the scripts compute with them in bash."""
    return str(max(1, math.floor(limit_s - used_s)))


def main(arguments: list[str]) -> NoReturn:
    """Prepares, then becomes `run_instance.sh`; exits with status 1 when preparing failed."""
    prepares = arguments[:1] != [UNPREPARED]
    folder, category, onnx, vnnlib, result_file, timeout = arguments if prepares else arguments[1:]
    instance = [VERSION_STRING, category, onnx, vnnlib]
    start = time.monotonic()
    if prepares:
        prepared = subprocess.run([*script(Path(folder), PREPARE), *instance], check=False)
        if prepared.returncode != 0:
            sys.exit(f"{PREPARE} failed with exit status {prepared.returncode}")
    remaining = seconds_left(float(timeout), time.monotonic() - start)
    command = [*script(Path(folder), RUN), *instance, result_file, remaining]
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
