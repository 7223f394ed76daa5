"""Checks one stored proof in a process of its own that ends at a limit of time or memory.

A proof comes from anywhere, and what looks small may take hours or all memory. Whatever happens to the
process, the answer is one `CheckOutcome` with its reason in one line.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from salver.core.errors import SalverError

PROOF_FILE = "unsat.proof"
"""Name of the proof among a run's result files."""
MOST_ANSWER_BYTES = 1 << 16
MESSAGE_LENGTH = 300


class CheckReply(StrEnum):
    """What became of a proof. `unreadable`: a file is missing, broken or of another query."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNREADABLE = "unreadable"
    UNCHECKED = "unchecked"


@dataclass(frozen=True)
class CheckLimits:
    """Wall seconds and mebibytes of memory (address space) for one proof."""

    seconds: float = 120.0
    memory_mib: int = 4096


@dataclass(frozen=True)
class CheckOutcome:
    """What the checker says: `detail` is its reason in one line, `closed` the parts of an accepted proof."""

    answer: CheckReply
    detail: str = ""
    closed: int = 0
    seconds: float = 0.0


def check_bounded(onnx: Path, vnnlib: Path, proof: Path, limits: CheckLimits) -> CheckOutcome:
    """Checks a stored proof within limits; never raises for anything that the files hold."""
    return run_bounded(lambda: check_here(onnx, vnnlib, proof), limits)


def check_here(onnx: Path, vnnlib: Path, proof: Path) -> CheckOutcome:
    """The same in this process, without limits of time and memory."""
    # Imported here: a process that forks for every proof does not hold numpy itself.
    from salver.proofs.checker import LimitError, check
    from salver.proofs.onnx_file import UnsupportedNetworkError
    from salver.proofs.record import QueryFiles, read_proof
    from salver.proofs.row_sum import RejectedError
    from salver.proofs.vnnlib_file import UnsupportedPropertyError

    try:
        files = QueryFiles.read(onnx, vnnlib)
        steps = read_proof(proof, files)
        network, prop = files.statement
        return CheckOutcome(CheckReply.ACCEPTED, closed=check(network, prop, steps))
    except (RejectedError, UnsupportedNetworkError, UnsupportedPropertyError) as error:
        return CheckOutcome(CheckReply.REJECTED, _line(error))
    except LimitError as error:
        return CheckOutcome(CheckReply.UNCHECKED, _line(error))
    except SalverError as error:
        return CheckOutcome(CheckReply.UNREADABLE, _line(error))


def run_bounded(job: Callable[[], CheckOutcome], limits: CheckLimits) -> CheckOutcome:
    """Runs a job in a forked process under limits. The calling process should have no other threads."""
    since = time.monotonic()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns where the caller has threads; the child uses nothing of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _work(job, limits, writing)
    os.close(writing)
    try:
        text, over = _answer(reading, since + limits.seconds)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    outcome = _understood(text, over, status, limits)
    return replace(outcome, seconds=time.monotonic() - since)


def _work(job: Callable[[], CheckOutcome], limits: CheckLimits, writing: int) -> None:
    """The forked process: does the job, writes its outcome and ends without any clean-up of its parent's."""
    try:
        # The limit is on what is mapped, and the caller's own, of which libraries map a lot, is inherited.
        _limit(resource.RLIMIT_AS, _mapped_bytes() + (limits.memory_mib << 20))
        _limit(resource.RLIMIT_CPU, math.ceil(limits.seconds) + 1)
        _limit(resource.RLIMIT_CORE, 0)
        try:
            outcome = job()
        except MemoryError:
            outcome = CheckOutcome(
                CheckReply.UNCHECKED, f"checking takes more than {limits.memory_mib} MiB of memory"
            )
        except Exception as error:
            outcome = CheckOutcome(
                CheckReply.UNCHECKED, f"the checker failed ({type(error).__name__}: {_line(error)})"
            )
        os.write(writing, json.dumps(asdict(outcome)).encode())
    finally:
        os._exit(0)


def _mapped_bytes() -> int:
    """What this process has mapped; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _limit(kind: int, value: int) -> None:
    """Sets a limit as far as the system has it and allows it."""
    _, hard = resource.getrlimit(kind)
    most = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (most, most))


def _answer(reading: int, until: float) -> tuple[bytes, bool]:
    """What the process writes, and whether its time was over before it ended."""
    text = b""
    while len(text) < MOST_ANSWER_BYTES:
        left = until - time.monotonic()
        if left <= 0 or not select.select([reading], [], [], left)[0]:
            return text, True
        part = os.read(reading, 1 << 12)
        if not part:
            return text, False
        text += part
    return text, False


def _understood(text: bytes, over: bool, status: int, limits: CheckLimits) -> CheckOutcome:
    if over:
        return CheckOutcome(CheckReply.UNCHECKED, f"checking takes more than {limits.seconds:g} s")
    try:
        found = json.loads(text)
        return CheckOutcome(CheckReply(found["answer"]), str(found["detail"]), int(found["closed"]))
    except (ValueError, KeyError, TypeError):
        return CheckOutcome(
            CheckReply.UNCHECKED, f"the checker's process ended without an answer (status {status})"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:MESSAGE_LENGTH]
