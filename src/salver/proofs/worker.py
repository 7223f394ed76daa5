"""Checks proofs for another program: a process that forks a limited one for each (`bounded`).

A program with threads of its own cannot fork safely, and starting Python anew for every proof takes longer
than checking most of them. Requests and answers are lines of JSON on standard input and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from salver.proofs.bounded import CheckLimits, CheckOutcome, CheckReply, check_bounded


class CheckerProcess:
    """A process that checks proofs one after the other, started at the first.

    It ends with `close`, or by itself with the program that holds the other end of its input.
    """

    def __init__(self, limits: CheckLimits | None = None) -> None:
        self.limits = limits or CheckLimits()
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def check(self, onnx: Path, vnnlib: Path, proof: Path) -> CheckOutcome:
        """Checks a stored proof within the limits."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "salver.proofs.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "files": [os.fspath(path.absolute()) for path in (onnx, vnnlib, proof)],
            **asdict(self.limits),
        }
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            found = json.loads(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            return CheckOutcome(CheckReply.UNCHECKED, f"the checker's process ended ({type(error).__name__})")
        return CheckOutcome(CheckReply(found["answer"]), found["detail"], found["closed"], found["seconds"])


def main() -> int:
    """Answers requests until standard input ends."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Before the first fork, so that no process pays for it again.
    import salver.proofs.record  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        onnx, vnnlib, proof = (Path(name) for name in request["files"])
        limits = CheckLimits(request["seconds"], request["memory_mib"])
        print(json.dumps(asdict(check_bounded(onnx, vnnlib, proof, limits))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
