"""A limit of time for what runs in this process, and does not look at the clock often enough by itself."""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading
from collections.abc import Iterator
from types import FrameType

GRACE_S = 0.5
"""How long after its time a solver may still stop by itself; as often what goes on is stopped again."""
AGAIN_S = 0.02
"""After which time it is looked again whether an import is over."""


class TimeOverError(BaseException):
    """The time is over. No `Exception`, so that nobody takes it for a failed attempt."""


@contextlib.contextmanager
def stopped_after(seconds: float) -> Iterator[None]:
    """Stops what is done inside after so many seconds, at the next step of the interpreter.

    One call of a library is not interrupted, nor is an import, which would leave half a module behind.
    A library may drop the exception, or raise one of its own in its place: numpy does where it compares
    structured arrays. Outside the main thread, where signals cannot be handled, there is no limit. A timer of
    the caller's own goes on afterwards.

    Raises:
        TimeOverError: the time was over.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    around, is_over, is_done = _importing(inspect.currentframe()), False, False

    def stop(_number: int, frame: FrameType | None) -> None:
        nonlocal is_over
        if is_done:
            return
        if _importing(frame) > around:
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
            return
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, GRACE_S)
        raise TimeOverError

    handler = signal.signal(signal.SIGALRM, stop)
    left, every = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.0) + GRACE_S)
    try:
        # Of two, the outer one puts everything back even if the time is over just when the inner one ends.
        try:
            yield
        finally:
            is_done = True
    except Exception as error:
        if is_over:
            raise TimeOverError from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, every)


def _importing(frame: FrameType | None) -> int:
    """How many frames of the import system a stack has."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return count
