"""The engine's side of the fork server: start it when first needed, ask it for supervisors, replace it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from salver.supervise.messages import Specification
from salver.supervise.proc import stat_fields

# Our own folder comes last on the path, so that nothing beside it can stand in for the standard library.
_START = "import sys; sys.path.append(sys.argv[1]); from salver.supervise.fork_server import main; main()"
SERVER = (sys.executable, "-I", "-S", "-c", _START, str(Path(__file__).parents[2]))
_LOOK_EVERY_S = 0.2
GREETING_S = 20.0
_STOPPED_LOOKS = 2
"""Looks in a row at which a supervisor stands still before its run is ended: what stops and continues all
processes of a job, as batch systems do, is no fault of the run."""
_CONTINUED_S = 3.0
"""How long a supervisor that is stopped again and again has to end its run."""
_LEAVE_S = 10.0
_CHUNK = 1 << 16


class ForkServer:
    """One server process. Its own session keeps a terminal's Ctrl-C away."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sending = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [*SERVER, str(os.getpid())],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # Each run brings its own environment; what is looked for by environment is not this process.
                env={name: text for name, text in os.environ.items() if name.startswith("LD_")},
                start_new_session=True,
            )

    def fork(self) -> Supervisor:
        """A supervisor that waits for its specification. Raises OSError where the server gives none."""
        ours, theirs = socket.socketpair()
        try:
            with theirs, self.sending:
                socket.send_fds(self.control, [b"j"], [theirs.fileno()])
            ours.settimeout(GREETING_S)
            greeting, received, _, _ = socket.recv_fds(ours, 32, 1)
            if not received:
                raise ConnectionError("the fork server gave no supervisor")
        except BaseException:
            ours.close()
            raise
        return Supervisor(ours, received[0], int(greeting), self.process.pid)

    def close(self) -> None:
        """Ends the server, and with it what it still supervises."""
        with self.sending:
            self.control.close()
        go_on(self.process.pid)
        try:
            self.process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """Lets go of a server that another process has started."""
        self.control.close()
        self.process.returncode = 0


class Supervisor:
    """A supervisor of one run: a pidfd to signal it by, and the socket that is its standard streams.

    `was_stopped` tells whether its run was ended for having stopped it (SIGSTOP).
    """

    def __init__(self, job: socket.socket, pidfd: int, pid: int, parent: int) -> None:
        self.job, self.pidfd, self.pid, self.parent = job, pidfd, pid, parent
        self.was_stopped = False

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.signal(signal.SIGTERM)
        self.job.close()
        os.close(self.pidfd)

    def signal(self, number: int) -> None:
        """Signals it unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def supervise(
        self, spec: Specification, patience: float, stop: threading.Event
    ) -> tuple[bytes, int | None]:
        """What it printed, and its exit code (negative: a signal; None where the server died as well).

        A run that stops its supervisor would have no limits; it is ended as soon as that is seen.

        Args:
            spec: its `parent` is filled in here.
            patience: monotonic time after which the supervisor is killed.
            stop: when set, it is told to stop the run.

        Raises:
            OSError: the specification could not be sent.
        """
        self.job.settimeout(None)
        self.job.sendall(json.dumps({**spec, "parent": self.parent}).encode())
        self.job.shutdown(socket.SHUT_WR)
        self.job.settimeout(_LOOK_EVERY_S)
        printed, _, code = self._read(patience, stop).partition(b"\0")
        return printed, int(code) if code else None

    def _read(self, patience: float, stop: threading.Event) -> bytes:
        read, looks = b"", 0
        while True:
            try:
                if not (chunk := self.job.recv(_CHUNK)):
                    return read
                read += chunk
            except TimeoutError:
                # A stopped server neither forks nor tells of an end; whoever stopped it cannot be known.
                go_on(self.parent)
                looks = looks + 1 if is_stopped(self.pid) else 0
                if looks == _STOPPED_LOOKS and not self.was_stopped:
                    self.was_stopped, patience = True, min(patience, time.monotonic() + _CONTINUED_S)
                if time.monotonic() > patience:
                    self.signal(signal.SIGKILL)
                elif stop.is_set() or self.was_stopped:
                    self.signal(signal.SIGTERM)
                    self.signal(signal.SIGCONT)
            except ConnectionResetError:
                return read


def is_stopped(pid: int) -> bool:
    """Whether a process stands still after a signal."""
    return stat_fields(pid)[:1] in (["T"], ["t"])


def go_on(pid: int) -> None:
    """Continues a process of ours that something has stopped."""
    if is_stopped(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


class _SharedServer:
    """The one server of this process; all its threads share it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: ForkServer | None = None

    def fork(self) -> Supervisor:
        server = self._running()
        try:
            return server.fork()
        except OSError:
            self._drop(server)
        return self._running().fork()

    def close(self) -> None:
        with self.lock:
            server, self.server = self.server, None
        if server is not None:
            server.close()

    def forget(self) -> None:
        """In a fork of the engine: the server is not ours, our copy of its socket must not keep it alive."""
        self.lock = threading.Lock()
        if self.server is not None:
            self.server.disown()
            self.server = None

    def _running(self) -> ForkServer:
        with self.lock:
            if self.server is None:
                self.server = ForkServer()
            return self.server

    def _drop(self, server: ForkServer) -> None:
        with self.lock:
            if self.server is not server:
                return
            self.server = None
        server.process.kill()
        server.close()


_shared = _SharedServer()


def supervisor() -> Supervisor:
    """A fresh supervisor; a server that has died is replaced once. Raises OSError."""
    return _shared.fork()


def close_server() -> None:
    """Ends this process's server, if there is one; the next run starts another."""
    _shared.close()


atexit.register(close_server)
os.register_at_fork(after_in_child=_shared.forget)
