"""What overruns its time is stopped, and what the caller had set up is as before."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

import numpy as np
import pytest

import salver
from salver.core.errors import SalverError
from salver.nets.affine import UnsupportedQueryError
from salver.points.limit import TimeOverError, stopped_after
from salver.solvers.registry import SOLVERS, EmbeddedSolver
from tests.builders.small_network import classifier


def for_ever() -> None:
    while True:
        pass


def test_what_overruns_is_stopped_and_the_timer_put_back() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimeOverError), stopped_after(0.0):
        for_ever()
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def replaces_it() -> None:
    try:
        for_ever()
    except TimeOverError:
        raise TypeError("cannot compare") from None


def drops_it() -> None:
    with contextlib.suppress(TimeOverError):
        for_ever()
    for_ever()


def compares_structured_arrays() -> None:
    array = np.zeros(2, [("a", float), ("b", float)])
    while True:
        _ = array == array[::-1]


@pytest.mark.parametrize("library", [replaces_it, drops_it, compares_structured_arrays])
def test_what_a_library_makes_of_it_is_still_the_end_of_the_time(library: Callable[[], None]) -> None:
    with pytest.raises(TimeOverError), stopped_after(0.0):
        library()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_error_within_the_time_is_the_libraries_own() -> None:
    with pytest.raises(TypeError), stopped_after(100.0):
        raise TypeError


def test_a_timer_of_the_callers_goes_on() -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    try:
        with stopped_after(100.0):
            pass
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 1000.0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("line", range(3))
def test_time_that_is_over_just_when_the_work_ends_leaves_nothing_behind(line: int) -> None:
    """The limit fires at one of the lines that run after the work, while it is set up."""
    before, traced = signal.getsignal(signal.SIGALRM), sys.gettrace()
    code, left = stopped_after.__wrapped__.__code__, line

    def at_lines(_frame: FrameType, event: str, _argument: object) -> object:
        nonlocal left
        left -= event == "line"
        if left == -1 and signal.getsignal(signal.SIGALRM) is not before:
            signal.raise_signal(signal.SIGALRM)
        return at_lines

    with contextlib.suppress(TimeOverError):
        limit = stopped_after(100.0)
        limit.__enter__()
        limit.gen.gi_frame.f_trace = at_lines
        sys.settrace(lambda frame, *_: at_lines if frame.f_code is code else None)
        try:
            limit.__exit__(None, None, None)
        finally:
            sys.settrace(traced)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_outside_the_main_thread_nothing_is_set_up() -> None:
    done = []

    def work() -> None:
        with stopped_after(1.0):
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


def test_a_solver_that_forgets_the_time_leaves_it_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = ModuleType("stuck_solver")
    stuck.solve = lambda *_: for_ever()
    monkeypatch.setitem(sys.modules, "stuck_solver", stuck)
    monkeypatch.setitem(SOLVERS, "stuck", EmbeddedSolver("stuck", "stuck_solver", "", ()))
    net = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    found = salver.check(net, np.array([0.3, -0.2, 0.5]), k=1, epsilon=0.1, solver="stuck", timeout=0.01)
    assert found.verdict == "undecided"
    assert "reason: stopped when its time was over" in found.details


def test_what_a_solver_does_not_take_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UnsupportedQueryError("a product of two variables")

    odd = ModuleType("odd_solver")
    odd.solve = refuse
    monkeypatch.setitem(sys.modules, "odd_solver", odd)
    monkeypatch.setitem(SOLVERS, "odd", EmbeddedSolver("odd", "odd_solver", "", ()))
    net = classifier(tmp_path / "net.onnx", inputs=3, seed=4)
    with pytest.raises(SalverError, match=r"odd: is not supported \(a product of two variables\)"):
        salver.check(net, np.array([0.3, -0.2, 0.5]), k=1, epsilon=0.1, solver="odd")


def test_an_import_is_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a module would be left behind, and its next import would fail."""
    monkeypatch.setattr("salver.points.limit.GRACE_S", 0.05)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(0.2)\nDONE = True\n")

    def import_and_go_on() -> None:
        import slow_module

        assert slow_module.DONE
        for_ever()

    with pytest.raises(TimeOverError), stopped_after(0.0):
        import_and_go_on()
    assert sys.modules.pop("slow_module").DONE


def test_a_limit_inside_an_import_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.points.limit.GRACE_S", 0.05)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = [
        "from salver.points.limit import stopped_after",
        "with stopped_after(0.0):",
        "    while True: pass",
    ]
    (tmp_path / "limited_module.py").write_text("\n".join(lines))
    with pytest.raises(TimeOverError):
        import limited_module  # noqa: F401
