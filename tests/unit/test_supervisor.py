"""The supervisor against one misbehaving program each: outcomes, limits, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from salver.execute import proc, process
from salver.execute.process import STOPPED, run_supervised
from salver.model import Finished, Limits, Termination
from tests.fake_solvers.runner import alive, script

ROOMY = Limits(wall_s=20.0)
SHORT = Limits(wall_s=0.3, grace_s=0.1)


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Folder for process ids; whatever the test did, none of its processes may outlive it."""
    folder = tmp_path / "pids"
    folder.mkdir()
    yield folder
    left = alive(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def run(tmp_path: Path, pids: Path) -> Callable[..., Finished]:
    """Runs one fake solver in its own folder."""
    workdir = tmp_path / "work"
    workdir.mkdir()

    def run_one(behaviour: str, *arguments: str, limits: Limits = ROOMY, **options: object) -> Finished:
        command = script(behaviour, "query.vnnlib", *arguments)
        environment = {"FAKE_PIDS": str(pids)}
        return run_supervised(command, workdir, limits, environment=environment, **options)

    return run_one


def wait_for(condition: Callable[[], object]) -> None:
    """Waits until the condition holds; gives up after 20 s."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.01)


def recorded(pids: Path) -> list[int]:
    return [int(path.name) for path in pids.iterdir()]


def test_a_plain_run_reports_output_and_usage(run: Callable[..., Finished]) -> None:
    finished = run("unknown")
    assert (finished.termination, finished.exit_code, finished.signal) == (Termination.EXITED, 0, None)
    assert (finished.stdout, finished.stderr, finished.reason) == ("unknown\ngave up\n", "", "")
    assert finished.wall_s > 0
    assert finished.cpu_s > 0
    assert 1 < finished.memory_mb < 100


def test_a_status_other_than_zero_is_an_exit(run: Callable[..., Finished]) -> None:
    finished = run("exits_nonzero")
    assert (finished.termination, finished.exit_code) == (Termination.EXITED, 3)
    assert finished.stderr.endswith("no such layer\n")


def test_death_by_signal_is_a_crash_and_keeps_the_output(run: Callable[..., Finished]) -> None:
    finished = run("crashes")
    assert (finished.termination, finished.signal) == (Termination.CRASHED, signal.SIGSEGV)
    assert finished.stdout == "solving\n"
    assert "SIGSEGV" in finished.reason


def test_a_missing_command_is_a_crash_that_names_it(tmp_path: Path) -> None:
    finished = run_supervised(["no-such-solver"], tmp_path, ROOMY)
    assert finished.termination is Termination.CRASHED
    assert finished.reason == "cannot start no-such-solver: No such file or directory"


def test_a_missing_folder_is_our_fault(tmp_path: Path) -> None:
    finished = run_supervised(["true"], tmp_path / "gone", ROOMY)
    assert finished.termination is Termination.INFRASTRUCTURE
    assert "gone" in finished.reason


@pytest.mark.parametrize("behaviour", ["sleeps", "ignores_signals"])
def test_the_wall_limit_is_hard(run: Callable[..., Finished], pids: Path, behaviour: str) -> None:
    finished = run(behaviour, limits=SHORT)
    assert (finished.termination, finished.signal) == (Termination.WALLTIME, signal.SIGKILL)
    assert finished.wall_s >= 0.4
    assert finished.reason == "over the wall limit of 0.3 s"
    assert len(recorded(pids)) == 1
    assert alive(pids) == []


def test_ending_by_itself_after_the_limit_is_a_timeout_too(run: Callable[..., Finished]) -> None:
    finished = run("late", "0.35", limits=Limits(wall_s=0.3, grace_s=20))
    assert (finished.termination, finished.exit_code) == (Termination.WALLTIME, 0)
    assert finished.stdout == "unsat\n"


def test_the_cpu_limit(run: Callable[..., Finished]) -> None:
    finished = run("burns_cpu", limits=Limits(wall_s=20, cpu_s=0.2))
    assert finished.termination is Termination.CPUTIME
    assert finished.cpu_s > 0.2


def test_the_memory_limit(run: Callable[..., Finished]) -> None:
    finished = run("memory_hog", limits=Limits(wall_s=20, memory_mb=60))
    assert finished.termination is Termination.MEMORY
    assert finished.memory_mb >= 60
    assert finished.stdout == ""


def test_the_memory_limit_holds_for_the_tree_as_a_whole(run: Callable[..., Finished]) -> None:
    finished = run("memory_family", "40", "private", limits=Limits(wall_s=20, memory_mb=100))
    assert finished.termination is Termination.MEMORY


def test_pages_shared_after_a_fork_count_once(run: Callable[..., Finished]) -> None:
    finished = run("memory_family", "60", "shared", limits=Limits(wall_s=20, memory_mb=150))
    assert (finished.termination, finished.stdout) == (Termination.EXITED, "unsat\n")


@pytest.mark.parametrize(("behaviour", "count"), [("forks", 4), ("daemon", 1), ("hydra", 1)])
def test_left_over_processes_are_killed(
    run: Callable[..., Finished], pids: Path, behaviour: str, count: int
) -> None:
    finished = run(behaviour)
    assert alive(pids) == []
    assert finished.termination is Termination.EXITED
    assert "unknown" in finished.stdout
    if behaviour != "hydra":
        assert finished.reason == f"{count} left-over processes killed"
        assert len(recorded(pids)) == count


def test_without_kernel_child_lists_daemons_are_found_by_scanning(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        monkeypatch.setattr(proc.os.path, "exists", lambda _: False)
        assert child.pid in proc.descendants(os.getpid())
        monkeypatch.undo()
        assert child.pid in proc.descendants(os.getpid())
        child.kill()


@pytest.mark.parametrize(("behaviour", "stream"), [("fills_stdout", "stdout"), ("fills_stderr", "stderr")])
def test_output_is_cut(run: Callable[..., Finished], tmp_path: Path, behaviour: str, stream: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    finished = run(behaviour, "40", limits=Limits(wall_s=20, output_mb=1), scratch=scratch)
    assert len(getattr(finished, stream)) == 1 << 20
    assert (scratch / stream).stat().st_size == 1 << 20
    assert finished.stdout.startswith("unsat\n")
    assert finished.reason == f"{stream} was cut"


def test_bytes_that_are_no_text_are_replaced(run: Callable[..., Finished]) -> None:
    assert "\ufffd" in run("garbage").stdout


def test_standard_input_is_empty(run: Callable[..., Finished]) -> None:
    assert run("reads_stdin").stdout == "unsat\n"


def test_only_regular_result_files_are_read(run: Callable[..., Finished]) -> None:
    names = ("result.txt", "link.txt", "pipe.txt", "missing.txt")
    assert run("result_file", result_files=names).files == {"result.txt": "unsat\n"}


def test_cores_and_core_dumps(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    code = "import os,resource; print(os.sched_getaffinity(0), resource.getrlimit(resource.RLIMIT_CORE))"
    command = [sys.executable, "-I", "-S", "-c", code]
    assert run_supervised(command, tmp_path, ROOMY, cores=(core,)).stdout == f"{{{core}}} (0, 0)\n"
    lost = run_supervised(command, tmp_path, ROOMY, cores=(100_000,))
    assert lost.termination is Termination.INFRASTRUCTURE
    assert "100000" in lost.reason


def test_signals_are_neither_blocked_nor_ignored(tmp_path: Path) -> None:
    lines = run_supervised(["grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"], tmp_path, ROOMY).stdout
    blocked, ignored = (int(line.split()[1], 16) for line in lines.splitlines())
    numbers = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    assert blocked == 0
    assert [n for n in numbers if ignored >> (n - 1) & 1] == []


def test_stopping_kills_the_tree(run: Callable[..., Finished], pids: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, "daemon", "stay", stop=stop)
        wait_for(lambda: recorded(pids))
        stop.set()
        finished = future.result()
    assert (finished.termination, finished.reason) == (Termination.INFRASTRUCTURE, STOPPED)
    assert alive(pids) == []


def supervisor_of(pids: Path) -> int:
    """Pid of the supervisor above the one fake solver that runs: the parent of its session's leader."""
    leaders = {os.getsid(pid): pid for pid in alive(pids)}
    parents = {int(proc.stat_fields(leader)[1]) for leader in leaders if leader in alive(pids)}
    own = {pid for pid in parents if int(proc.stat_fields(pid)[1]) == os.getpid()}
    return own.pop()


@pytest.mark.parametrize("arguments", [("sleeps",), ("daemon", "stay")])
def test_a_killed_supervisor_leaves_nothing(
    run: Callable[..., Finished], pids: Path, arguments: tuple[str, ...]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, *arguments)
        wait_for(lambda: recorded(pids))
        os.kill(supervisor_of(pids), signal.SIGKILL)
        finished = future.result()
    assert alive(pids) == []
    assert finished.termination is Termination.INFRASTRUCTURE
    assert "SIGKILL" in finished.reason


def test_a_stuck_supervisor_is_given_up(
    run: Callable[..., Finished], pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SUPERVISOR_PATIENCE_S", 0.5)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, "daemon", "stay", limits=Limits(wall_s=2, grace_s=0))
        wait_for(lambda: recorded(pids))
        os.kill(supervisor_of(pids), signal.SIGSTOP)
        finished = future.result()
    assert finished.termination is Termination.INFRASTRUCTURE
    assert alive(pids) == []


def test_a_killed_coordinator_leaves_no_process_and_no_files(tmp_path: Path, pids: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys; from pathlib import Path; from salver.execute.process import run_supervised;"
        "from salver.model import Limits; pids, scratch, *command = sys.argv[1:];"
        "run_supervised(command, Path(scratch), Limits(wall_s=60),"
        "environment={'FAKE_PIDS': pids}, scratch=Path(scratch))"
    )
    command = [sys.executable, "-c", code, str(pids), str(scratch), *script("daemon", "q.vnnlib", "stay")]
    with subprocess.Popen(command) as coordinator:
        wait_for(lambda: recorded(pids))
        coordinator.kill()
    wait_for(lambda: not alive(pids))
    wait_for(lambda: not scratch.exists())


def test_a_supervisor_whose_parent_is_already_gone_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    command = ["touch", f"{tmp_path}/started"]
    spec = json.dumps({"parent": 1, "command": command, "scratch": f"{tmp_path}/copies", "group": None})
    if os.getpid() == 1:
        pytest.skip("this process is the one that stands for a foreign parent")
    done = subprocess.run(
        process.SUPERVISOR,
        input=spec.encode(),
        capture_output=True,
        check=True,
    )
    assert (done.stdout, list(tmp_path.iterdir())) == (b"", [])


def test_the_kernel_kills_the_command_of_a_killed_supervisor(tmp_path: Path, pids: Path) -> None:
    spec = {
        "parent": os.getpid(),
        "command": script("sleeps"),
        "cwd": str(tmp_path),
        "environment": {"FAKE_PIDS": str(pids)},
        "cores": None,
        "stdout": str(tmp_path / "stdout"),
        "stderr": str(tmp_path / "stderr"),
        "output_bytes": 1000,
        "wall_s": 20,
        "grace_s": 0,
        "cpu_s": None,
        "memory_mb": 1000,
        "scratch": None,
        "group": None,
    }
    command = process.SUPERVISOR
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.write(json.dumps(spec).encode())
        child.stdin.close()
        wait_for(lambda: recorded(pids))
        child.kill()
    wait_for(lambda: not alive(pids))


def test_a_terminals_interrupt_does_not_reach_the_supervisor(tmp_path: Path) -> None:
    code = "import os; parent = os.getppid(); print(os.getsid(parent) == parent, os.getsid(0) == os.getpid())"
    finished = run_supervised([sys.executable, "-I", "-S", "-c", code], tmp_path, ROOMY)
    assert finished.stdout == "True True\n"


def test_a_full_disk_is_our_loss(run: Callable[..., Finished], tmp_path: Path, pids: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "stdout").symlink_to("/dev/full")
    finished = run("answers_then_hangs", scratch=scratch)
    assert finished.termination is Termination.INFRASTRUCTURE
    assert "No space left on device" in finished.reason


def test_other_systems_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.sys, "platform", "darwin")
    with pytest.raises(process.SalverError, match="only be run on Linux"):
        run_supervised(["true"], tmp_path, ROOMY)
