"""A limit of time for what runs in this process, and does not look at the clock often enough by itself."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_S = 0.5
"""How long after its time a solver may still stop by itself."""


class TimeOverError(BaseException):
    """The time is over. No `Exception`, so that nobody takes it for a failed attempt."""


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Stops what is done inside after so many seconds, at the next step of the interpreter.

    One call of a library is not interrupted. Outside the main thread, where signals cannot be handled, there
    is no limit. A timer of the caller's own goes on afterwards.

    Raises:
        TimeOverError: the time was over.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeOverError

    handler = signal.signal(signal.SIGALRM, stop)
    left, every = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.0) + GRACE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, every)
