"""Runs one command under hard limits and leaves no process of it behind.

Forked by `fork_server.py` with a specification on standard input; it prints a report (`messages.py`).
It imports little, so that the fork is small and quick (hence neither pathlib nor typing).

The supervisor is a child subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): a daemon that forks twice is
re-parented to it instead of init, so every descendant stays findable, and `wait` reporting ECHILD
proves that none is left. If its own parent dies it receives SIGHUP, kills the tree and ends; if it
is killed itself, the kernel kills the command (PR_SET_PDEATHSIG) and `process.py` finds the rest.
In a control group (`group.py`) the kernel keeps the memory limit and counts; else /proc is polled.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import select
import signal
import stat
import sys
import time

from salver.supervise.group import Group
from salver.supervise.proc import CHUNK, cpu_seconds, descendants, is_alive, memory_kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import NoReturn

    from salver.supervise.messages import Broken, Report, Specification

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY_S = 0.02
LOOK_SHARE = 0.05
KILL_PATIENCE_S = 10.0
PARENT_DIES = signal.SIGHUP
STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PARENT_PATIENCE_S = 10.0
DRAIN_CHUNKS = 64
RESERVED = 1 << 16
STARVED = "killed for want of memory below its own limit: the machine, or a group above, had no more"


class NotStartedError(Exception):
    """The command could not be started; `ours` tells a fault of this side from a bad command."""

    def __init__(self, message: str, ours: bool) -> None:
        super().__init__(message)
        self.ours = ours


def prctl(option: int, value: int) -> None:
    """Calls prctl(2); raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


class Copy:
    """Copies a pipe into a file up to a cap and swallows the rest, so that no output can fill the disk.

    The file's beginning is reserved, so that a tool that fills the disk with other files can still answer.
    """

    def __init__(self, path: str, cap: int) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.room = cap
        self.size = 0
        self.cut = False
        _reserve(self.file, min(cap, RESERVED))

    def pump(self) -> bool:
        """Moves one chunk; False when there is nothing to read now or ever. Raises OSError (no space)."""
        try:
            data = os.read(self.reader, CHUNK)
        except BlockingIOError:
            return False
        kept = data[: self.room]
        self.cut |= len(kept) < len(data)
        self.room -= len(kept)
        while kept:
            written = os.write(self.file, kept)
            kept, self.size = kept[written:], self.size + written
        return bool(data)

    def drain(self) -> None:
        """Moves what the pipe still holds; bounded, should someone outside the tree hold its other end."""
        for _ in range(DRAIN_CHUNKS):
            if not self.pump():
                break

    def close(self) -> None:
        """Cuts off what was reserved and not needed."""
        if stat.S_ISREG(os.fstat(self.file).st_mode):
            os.ftruncate(self.file, self.size)
        os.close(self.file)


def _reserve(file: int, size: int) -> None:
    """Reserves room on the disk, where files can have any. Raises OSError (no space)."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise


class Tree:
    """The command and all of its descendants, in their own control group or not."""

    def __init__(self, main: int, group: Group | None = None) -> None:
        self.main = main
        self.group = group
        self.status: int | None = None
        self.peak_kib = 0.0
        self.cpu_s = 0.0

    def reap(self) -> bool:
        """Collects every process that has ended; False when this supervisor has no child left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.main:
                self.status = status

    def over(self, spec: Specification) -> Broken:
        """Measures the tree; names the limit it exceeds, or is empty."""
        if self.group is not None:
            self._read(self.group)
            return self.exceeded(spec)
        pids = descendants(os.getpid())
        limit_kib = spec["memory_mb"] * 1024
        self.peak_kib = max(self.peak_kib, memory_kib(pids, limit_kib))
        self.cpu_s = max(self.cpu_s, cpu_seconds(pids))
        return self.exceeded(spec)

    def exceeded(self, spec: Specification) -> Broken:
        """Names the limit that the figures measured so far exceed, or is empty; memory that others lacked is
        not the command's fault."""
        if self.group is not None and self.group.ooms:
            return "memory" if self.group.reached else "infrastructure"
        if self.group is None and self.peak_kib > spec["memory_mb"] * 1024:
            return "memory"
        return "cputime" if spec["cpu_s"] is not None and self.cpu_s > spec["cpu_s"] else ""

    def kill(self) -> list[int]:
        """SIGKILLs until no descendant is left; returns those that would not die (uninterruptible sleep).

        All are stopped before any is killed, so that none can fork in between.
        """
        if self.group is not None:
            self.group.kill()
        deadline = time.monotonic() + KILL_PATIENCE_S
        while self.reap() and time.monotonic() < deadline:
            stopped: set[int] = set()
            while (fresh := set(descendants(os.getpid())) - stopped) and time.monotonic() < deadline:
                _signal_all(fresh, signal.SIGSTOP)
                stopped |= fresh
            _signal_all(stopped, signal.SIGKILL)
            time.sleep(0.0005)
        self.cpu_s = max(self.cpu_s, cpu_seconds(()))
        if self.group is not None:
            self._read(self.group)
        else:
            self.peak_kib = max(self.peak_kib, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        return descendants(os.getpid())

    def _read(self, group: Group) -> None:
        group.measure()
        group.held(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
        self.peak_kib, self.cpu_s = group.peak_kib, max(self.cpu_s, group.cpu_s)


def _signal_all(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def start(spec: Specification, stdout: int, stderr: int, group: Group | None) -> int:
    """Starts the command in a new session and returns its pid; raises NotStartedError."""
    failure, failure_writer = os.pipe()
    supervisor = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        raise NotStartedError(f"cannot fork: {error.strerror}", ours=True) from error
    if pid == 0:
        _become(spec, stdout, stderr, group, supervisor, failure_writer)
    os.close(failure_writer)
    report = os.read(failure, 4096).decode()
    os.close(failure)
    if report:
        os.waitpid(pid, 0)
        raise NotStartedError(report[1:], ours=report[0] == "!")
    return pid


def _become(
    spec: Specification, stdout: int, stderr: int, group: Group | None, supervisor: int, failure: int
) -> NoReturn:
    """Turns the forked child into the command. `!` marks a failure that is not the command's."""
    mark, what = "!", "cannot prepare the process"
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(127)
        os.setsid()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _prefer_for_oom_kill()
        if group is not None:
            what = "cannot enter the control group"
            group.enter()
        if spec["cores"] is not None:
            what = f"cannot run on cores {spec['cores']}"
            os.sched_setaffinity(0, spec["cores"])
        what = f"cannot enter {spec['cwd']}"
        os.chdir(spec["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        mark, what = "?", f"cannot start {spec['command'][0]}"
        os.execvpe(spec["command"][0], spec["command"], spec["environment"])
    except Exception as error:
        detail = error.strerror if isinstance(error, OSError) else error
        os.write(failure, f"{mark}{what}: {detail}".encode()[:4096])
    finally:
        os._exit(127)


def _prefer_for_oom_kill() -> None:
    """Makes the kernel, when out of memory, choose the solver and not its supervisor or the engine."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    except OSError:
        return


def watch(spec: Specification, tree: Tree, copies: Sequence[Copy], wake: int, started: float) -> Broken:
    """Waits for the command's end; names the limit it broke, `stopped`, or is empty."""
    ended = os.pidfd_open(tree.main)
    by_fd = {copy.reader: copy for copy in copies}
    poller = select.poll()
    for fd in (ended, wake, *by_fd):
        poller.register(fd, select.POLLIN)
    last = started + spec["wall_s"] + spec["grace_s"]
    look = started + LOOK_EVERY_S
    while (now := time.monotonic()) < last:
        if now >= look:
            tree.reap()
            if limit := tree.over(spec):
                return limit
            after = time.monotonic()
            look = after + max(LOOK_EVERY_S, (after - now) / LOOK_SHARE)
        for fd, _ in poller.poll(max(0.0, (min(look, last) - time.monotonic()) * 1000)):
            if fd == ended:
                return ""
            if fd == wake:
                return "stopped"
            if not by_fd[fd].pump():
                poller.unregister(fd)
    return "walltime"


def supervise(spec: Specification, wake: int) -> Report:
    """Runs the command to its end and returns the result record."""
    copies = [Copy(path, spec["output_bytes"]) for path in (spec["stdout"], spec["stderr"])]
    group = Group(spec["group"]) if spec["group"] else None
    started = time.monotonic()
    try:
        main = start(spec, copies[0].writer, copies[1].writer, group)
    except NotStartedError as error:
        return result("infrastructure" if error.ours else "crashed", reason=str(error))
    for copy in copies:
        os.close(copy.writer)
    tree, reasons, left_over = Tree(main, group), [], 0
    ending: Broken = ""
    try:
        ending = watch(spec, tree, copies, wake, started)
    except OSError as error:
        ending = "infrastructure"
        reasons.append(f"cannot supervise: {error.strerror}")
    wall_s = time.monotonic() - started
    if not ending:
        left_over = sum(is_alive(pid) for pid in descendants(os.getpid()) if pid != main)
    if immortal := tree.kill():
        reasons.append(f"could not kill {', '.join(map(str, immortal))}")
    try:
        for copy in copies:
            copy.drain()
            copy.close()
    except OSError as error:
        ending = "infrastructure"
        reasons.append(f"cannot store the output: {error.strerror}")
    if not ending:
        ending = "walltime" if wall_s > spec["wall_s"] else tree.exceeded(spec)
    if ending == "infrastructure" and group is not None and group.ooms and not group.reached:
        reasons.append(STARVED)
    reasons += [f"{n} was cut" for n, copy in zip(("stdout", "stderr"), copies, strict=True) if copy.cut]
    return result(ending, tree, wall_s, left_over, "; ".join(reasons))


def result(
    ending: Broken, tree: Tree | None = None, wall_s: float = 0.0, left_over: int = 0, reason: str = ""
) -> Report:
    """The result record; a run that broke no limit is `exited` or, ended by a signal, `crashed`."""
    code = None if tree is None or tree.status is None else os.waitstatus_to_exitcode(tree.status)
    if not ending:
        ending = "crashed" if code is None or code < 0 else "exited"
    return {
        "termination": ending,
        "exit_code": code if code is not None and code >= 0 else None,
        "signal": -code if code is not None and code < 0 else None,
        "wall_s": round(wall_s, 6),
        "cpu_s": round(tree.cpu_s, 6) if tree else 0.0,
        "memory_mb": round(tree.peak_kib / 1024, 3) if tree else 0.0,
        "measured": tree.group.label if tree and tree.group else "rss-polling",
        "left_over": left_over,
        "reason": reason,
    }


def wake_on_signals(numbers: Iterable[int] = STOPPING) -> int:
    """Turns signals, those that mean stop, into bytes on a descriptor."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def main() -> None:
    """Reads the specification, supervises, prints the result."""
    wake = wake_on_signals()
    spec = json.load(sys.stdin)
    prctl(PR_SET_PDEATHSIG, PARENT_DIES)
    if os.getppid() != spec["parent"]:
        _tidy(spec)
        return
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        outcome = supervise(spec, wake)
    except OSError as error:
        outcome = result("infrastructure", reason=f"cannot supervise: {error.strerror}")
    if _is_orphan(spec["parent"], wake):
        _tidy(spec)
        return
    os.write(1, json.dumps(outcome).encode())


def _is_orphan(parent: int, wake: int) -> bool:
    """Whether the parent is gone.

    The signal of its death comes when the thread that started this process ends. A killed process with many
    threads is still there at that moment, so wait for it; a thread may also end alone.
    """
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    if poller.poll(0) and PARENT_DIES in os.read(wake, 4096):
        deadline = time.monotonic() + PARENT_PATIENCE_S
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.001)
    return os.getppid() != parent


def _tidy(spec: Specification) -> None:
    """Removes the folder and the group of a run whose parent can no more."""
    if spec["group"]:
        Group(spec["group"]).remove()
    if spec["scratch"] is not None:
        import shutil

        shutil.rmtree(spec["scratch"], ignore_errors=True)
