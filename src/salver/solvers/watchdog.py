"""The wall limit of `salver-solve`, kept from outside the process that solves.

HiGHS, SCIP and Marabou run past their own limits inside C code, some of it holding the interpreter lock:
neither a thread nor a signal handler of the solving process is sure to run. So that process is forked off
before anything heavy is imported, and this one only waits: for the whole answer, a signal, or the limit.
It is a child subreaper; whatever the solving process started dies with it, even what forked twice. Should
this process itself be killed, the kernel kills the solving one (PR_SET_PDEATHSIG), and that one's children
in turn.

Linux only. It imports little, because that is paid before the solver's own imports begin.
"""

# ruff: noqa: PTH102, PTH106
from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from salver.supervise.proc import TICKS_PER_S, stat_fields
from salver.supervise.supervisor import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    STOPPING,
    Tree,
    prctl,
    wake_on_signals,
)

GRACE_S = 0.15
"""How long after the limit the solving process may still say by itself that its time was over."""
STARTING_MOST_S = 5.0
"""No interpreter takes longer to start: an older process is one that something else ran in before `exec`."""
_OWN_STATUS = 64
"""Added to the status of `work`: what is below was chosen by a library that ended the process, as OpenBLAS
does when it gets no memory."""
_END = b"\0"
_CERTAIN = b"\1"
_HURRY_S = 0.15
"""How long before the limit an answer is given that was certain already."""
_CHUNK = 1 << 16
_START_TIME = 19
_SIGNS_OF_NO_MEMORY = (
    "bad_alloc", "bad allocation", "memoryerror", "out of memory", "allocate memory", "insufficient memory",
    "failed to map segment", "can't start new thread", "status -9", "alloc_failed",
)  # fmt: skip
"""`status -9`: a solver's own child was killed, as the kernel does; `alloc_failed` comes from CUDA."""


def process_start() -> float:
    """`time.monotonic()` at which this process started (10 ms steps); now where that cannot be known."""
    now = time.monotonic()
    try:
        age = (
            time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat_fields(os.getpid())[_START_TIME]) / TICKS_PER_S
        )
    except (AttributeError, IndexError, OSError):
        return now
    return now - age if 0.0 <= age <= STARTING_MOST_S else now


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception, of Python or as a C++ library words it, says that memory ran out."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    text = f"{type(error).__name__}: {error}".lower()
    return any(sign in text for sign in _SIGNS_OF_NO_MEMORY)


def memory_held(who: int = resource.RUSAGE_SELF) -> str:
    """`1.5 GiB were held, 2.0 GiB are the limit of address space`: how much memory was not enough.

    Args:
        who: this process, or `resource.RUSAGE_CHILDREN` for the largest of its children that have ended.
    """
    held = f"{resource.getrusage(who).ru_maxrss / 2**20:.1f} GiB were held"
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return held
    return f"{held}, {limit / 2**30:.1f} GiB are the limit of address space"


def describe_signal(number: int) -> str:
    """`killed (signal 9), perhaps out of memory`: how a process ended that a signal ended."""
    guess = ", perhaps out of memory" if number in (signal.SIGKILL, signal.SIGABRT) else ""
    return f"killed (signal {number}){guess}"


class Outbox:
    """What the solving code reports to. This one prints, for solving within the calling process."""

    def solving(self) -> None:
        """Reading is over and solving starts."""

    def certain(self, text: str) -> None:
        """An answer that stands even if the rest, such as a proof, does not get done in time."""

    def answer(self, text: str) -> None:
        """The whole answer; nothing may follow."""
        print(text, flush=True)


class _Pipe(Outbox):
    """Hands the answer over. Until its last byte is through it is none, whatever the process died of."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def solving(self) -> None:
        _write(self._descriptor, f"{time.monotonic()!r}\n".encode())

    def certain(self, text: str) -> None:
        _write(self._descriptor, text.encode() + b"\n" + _CERTAIN)

    def answer(self, text: str) -> None:
        sys.stderr.flush()
        _write(self._descriptor, text.encode() + b"\n" + _END)


@dataclass
class _Ending:
    """What the watched process said, and the signal or the limit that ended the wait, if one did."""

    said: bytes = b""
    stopped_by: int = 0
    expired: bool = False

    @property
    def solving_since(self) -> float | None:
        """`time.monotonic()` at which solving started."""
        first, newline, _ = self.said.partition(b"\n")
        with contextlib.suppress(ValueError):
            return float(first) if newline else None
        return None

    @property
    def certain(self) -> bytes | None:
        """An answer given before the work was over, or None."""
        text, found, _ = self.said.partition(_CERTAIN)
        return self._without_start(text) if found else None

    @property
    def answer(self) -> bytes | None:
        """The whole answer, or None."""
        if not self.said.endswith(_END):
            return None
        text = self.said.removesuffix(_END)
        return text.rpartition(_CERTAIN)[2] if _CERTAIN in text else self._without_start(text)

    def _without_start(self, text: bytes) -> bytes:
        return text if self.solving_since is None else text.partition(b"\n")[2]


def watched(work: Callable[[Outbox], int], deadline: float) -> int:
    """Runs `work` in a process of its own and prints the one answer that it gives; no process is left.

    `timed-out` is printed when there is none `GRACE_S` after the deadline, `unknown` when the process was
    killed or memory ran out. After SIGTERM, SIGINT or SIGHUP nothing is printed on stdout.

    Args:
        work: reports to the outbox; an exit status, and no answer, when it has failed and said so on stderr.
        deadline: by `time.monotonic()`.

    Returns:
        The exit status: 0 with an answer, 128 + the signal's number, else that of `work`.
    """
    wake = wake_on_signals(one for one in STOPPING if signal.getsignal(one) is not signal.SIG_IGN)
    scratch = _private_temporary_folder()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        _remove(scratch)
        _complain(f"no process can be started for the solver ({error.strerror})")
        return 1
    if child == 0:
        os.close(reader)
        _solve(work, writer, parent)
    os.close(writer)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    tree = Tree(child)
    ending = _wait(child, reader, wake, deadline + GRACE_S)
    immortal = tree.kill()
    _remove(scratch)
    if immortal:
        _complain(f"could not kill {', '.join(map(str, immortal))}")
    return _conclude(ending, tree.status)


def _solve(work: Callable[[Outbox], int], writer: int, parent: int) -> None:
    """The forked process. It leaves without tearing anything down, which can take long."""
    status = 1
    try:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            os.dup2(2, 1)
            status = _OWN_STATUS + work(_Pipe(writer))
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        os._exit(status)


def _wait(child: int, reader: int, wake: int, last: float) -> _Ending:
    ended = os.pidfd_open(child)
    ending = _Ending()
    while not ending.said.endswith(_END):
        left = last - time.monotonic() - (GRACE_S + _HURRY_S if ending.certain is not None else 0.0)
        if left <= 0.0:
            ending.expired = True
            break
        ready, _, _ = select.select([reader, wake, ended], [], [], min(left, 3600.0))
        if wake in ready:
            ending.stopped_by = os.read(wake, 1)[0]
            break
        if reader in ready and (chunk := os.read(reader, _CHUNK)):
            ending.said += chunk
        elif ready:
            break
    return ending


def _conclude(ending: _Ending, status: int | None) -> int:
    """Prints the answer, or what stands for it, once every process is gone; the exit status."""
    if ending.stopped_by:
        _complain(f"stopped by {signal.Signals(ending.stopped_by).name}")
        return 128 + ending.stopped_by
    answer = ending.answer if ending.answer is not None else ending.certain
    if answer is not None:
        return _print(answer)
    if ending.expired:
        if ending.solving_since is not None:
            print(f"solving: {time.monotonic() - ending.solving_since:.3f} s", file=sys.stderr)
        return _print(b"timed-out\n")
    code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
    if code >= _OWN_STATUS:
        return max(code - _OWN_STATUS, 1)
    lost = f"lost (exit status {code}), perhaps out of memory" if code >= 0 else describe_signal(-code)
    perhaps_memory = code >= 0 or code in (-signal.SIGKILL, -signal.SIGABRT)
    held = f": {memory_held(resource.RUSAGE_CHILDREN)}" if perhaps_memory else ""
    _complain(f"the solving process was {lost}{held}")
    return _print(b"unknown\n") if perhaps_memory else 1


def _print(answer: bytes) -> int:
    try:
        _write(1, answer)
    except OSError as error:
        _complain(f"stdout cannot be written ({error.strerror})")
        return 1
    return 0


def _complain(text: str) -> None:
    print(f"salver-solve: {text}", file=sys.stderr, flush=True)


def _private_temporary_folder() -> str:
    """Where the solving process's temporary files go, so that a killed one leaves none; "" if impossible."""
    folder = f"{os.environ.get('TMPDIR') or '/tmp'}/salver-solve-{os.getpid()}-{time.time_ns():x}"
    try:
        os.mkdir(folder, 0o700)
    except OSError:
        return ""
    os.environ["TMPDIR"] = folder
    return folder


def _remove(folder: str) -> None:
    if not folder:
        return
    try:
        os.rmdir(folder)
    except OSError:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
