"""Forks a supervisor for every run, so that the start of a Python is paid once and not once a run.

Started by `forking.py` with a socket as standard input. Each message on it carries the descriptor of one
run's own socket. The server forks, answers there with `PID\\n` and a pidfd of the fork, and writes a zero
byte and the exit code (negative: a signal) when the fork has ended. The fork is a supervisor
(`supervisor.py`) whose standard streams are that socket. The server ends when its socket or its parent
does, and its supervisors end with it (PR_SET_PDEATHSIG in `supervisor.main`).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys

from salver.supervise.supervisor import main as supervise_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_LOOK_AT_PARENT_MS = 1000


class Server:
    """The runs under way, by their supervisor's pid."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.jobs: dict[int, socket.socket] = {}

    def fork(self, job: socket.socket) -> None:
        """Starts a supervisor and tells its pid; a failure closes the socket, which says it."""
        try:
            pid = os.fork()
        except OSError:
            job.close()
            return
        if pid == 0:
            self._become(job)
        self.jobs[pid] = job
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(job, [f"{pid}\n".encode()], [pidfd])
        except OSError:
            # Nobody listens any more, and nobody will send a specification.
            os.kill(pid, signal.SIGKILL)
        finally:
            os.close(pidfd)

    def _become(self, job: socket.socket) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.control.close()
            for other in self.jobs.values():
                other.close()
            os.setsid()
            for stream in (0, 1, 2):
                os.dup2(job.fileno(), stream)
            job.close()
            supervise_one()
            code = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)

    def reap(self) -> None:
        """Tells of every supervisor that has ended how it did."""
        while self.jobs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self.jobs.pop(pid) as job:
                try:
                    job.send(b"\0%d" % os.waitstatus_to_exitcode(status), socket.MSG_DONTWAIT)
                except OSError:
                    continue


def _wake_on_children() -> int:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def main() -> None:
    """Serves until the parent is gone."""
    parent = int(sys.argv[2])
    # Who signals all processes of a job, as batch systems do, means the engine: it decides what stops.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    wake = _wake_on_children()
    control = socket.socket(fileno=os.dup(0))
    server = Server(control)
    poller = select.poll()
    for descriptor in (control.fileno(), wake):
        poller.register(descriptor, select.POLLIN)
    gc.freeze()
    while os.getppid() == parent:
        for descriptor, _ in poller.poll(_LOOK_AT_PARENT_MS):
            if descriptor == wake:
                os.read(wake, 4096)
                server.reap()
                continue
            _, received, _, _ = socket.recv_fds(control, 1, 1)
            if not received:
                return
            server.fork(socket.socket(fileno=received[0]))
