"""Hostile files against every reader, for as long as asked.

    python -m experiments.fuzz.campaign --seconds 60 --target all --seed 0

Prints executions per target and what became of them. Anything but the documented errors, an answer other than
a second reader's, a death of the process or more than `HANG_S` seconds is printed with its number; the same
number with `--target NAME --only NUMBER` repeats it. The exit status is 1 when there was any.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

HANG_S = 20
MEMORY = 12 << 30
Target = Callable[[Random, Path], str]
TARGETS = {
    "vnnlib-grammar": "queries.grammar",
    "vnnlib-damaged": "queries.damaged_query",
    "vnnlib-soup": "queries.token_soup",
    "witness": "queries.damaged_witness",
    "onnx-bytes": "networks.damaged_bytes",
    "onnx-structure": "networks.damaged_structure",
    "keras": "networks.damaged_keras",
    "suite": "files.damaged_suite",
    "manifest": "files.damaged_manifest",
    "proof": "files.damaged_proof",
}


def target(name: str) -> Target:
    """The function of a target; its module is imported only now, since some are slow to import."""
    module, function = TARGETS[name].split(".")
    found: Target = getattr(importlib.import_module(f"experiments.fuzz.{module}"), function)
    return found


def run(name: str, seed: int, seconds: float, only: int | None, progress: Path | None = None) -> int:
    """One target in this process; returns the number of defects."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _hang)
    execute = target(name)
    counts, defects, number, until = Counter[str](), 0, only or 0, time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < until or number == (only or 0):
            if progress is not None:
                progress.write_text(str(number))
            signal.alarm(HANG_S)
            try:
                counts[execute(Random(f"{name} {seed} {number}"), Path(folder))] += 1
            except Exception:
                defects += 1
                counts["DEFECT"] += 1
                print(
                    f"DEFECT {name} seed {seed} number {number}:\n{traceback.format_exc()[-2500:]}",
                    flush=True,
                )
            signal.alarm(0)
            number += 1
            if only is not None or defects >= 20:
                break
    outcomes = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
    print(f"{name:16s} {sum(counts.values()):8d} executions: {outcomes}", flush=True)
    return defects


def _hang(*_: object) -> None:
    raise TimeoutError(f"more than {HANG_S} s")


def _apart(name: str, seed: int, seconds: float) -> int:
    """One target in a process of its own, since a native library may take its process along."""
    with tempfile.NamedTemporaryFile() as progress:
        command = [sys.executable, "-m", "experiments.fuzz.campaign", "--target", name, "--seed", str(seed)]
        command += ["--seconds", str(seconds), "--progress", progress.name]
        done = subprocess.run(command, check=False).returncode
        if done not in (0, 1):
            print(f"DEFECT {name} seed {seed} number {Path(progress.name).read_text()}: exit status {done}")
        return int(done != 0)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="altogether, shared by the targets")
    parser.add_argument("--target", choices=["all", *TARGETS], default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="repeat this number")
    parser.add_argument("--progress", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.target == "all":
        return int(sum(_apart(name, chosen.seed, chosen.seconds / len(TARGETS)) for name in TARGETS) > 0)
    return int(run(chosen.target, chosen.seed, chosen.seconds, chosen.only, chosen.progress) > 0)


if __name__ == "__main__":
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.exit(main())
