"""The supervisor against one misbehaving program each: outcomes, limits, and nothing left running."""

from __future__ import annotations

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

from salver.supervise import forking, proc, process
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.process import STOPPED, run_supervised
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
    finished = run("result_file", result_files=names)
    assert finished.files == {"result.txt": "unsat\n"}, finished


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
    """Pid of the supervisor above the one fake solver that runs: a child of our fork server."""
    leaders = {os.getsid(pid): pid for pid in alive(pids)}
    parents = {parent(leader) for leader in leaders if leader in alive(pids)}
    (own,) = {pid for pid in parents if parent(parent(pid)) == os.getpid()}
    return own


def parent(pid: int) -> int:
    return int(proc.stat_fields(pid)[1])


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


@pytest.mark.slow
def test_a_stuck_supervisor_is_given_up(
    run: Callable[..., Finished], pids: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "SUPERVISOR_PATIENCE_S", 0.5)
    monkeypatch.setattr(forking, "is_stopped", lambda pid: False)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, "daemon", "stay", limits=Limits(wall_s=2, grace_s=0))
        wait_for(lambda: recorded(pids))
        os.kill(supervisor_of(pids), signal.SIGSTOP)
        finished = future.result()
    assert finished.termination is Termination.INFRASTRUCTURE
    assert alive(pids) == []


@pytest.mark.slow
def test_a_killed_coordinator_leaves_no_process_and_no_files(tmp_path: Path, pids: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code = (
        "import sys; from pathlib import Path; from salver.supervise.process import run_supervised;"
        "from salver.supervise.finished import Limits; pids, scratch, *command = sys.argv[1:];"
        "run_supervised(command, Path(scratch), Limits(wall_s=60),"
        "environment={'FAKE_PIDS': pids}, scratch=Path(scratch))"
    )
    command = [sys.executable, "-c", code, str(pids), str(scratch), *script("daemon", "q.vnnlib", "stay")]
    with subprocess.Popen(command) as coordinator:
        wait_for(lambda: recorded(pids))
        coordinator.kill()
    wait_for(lambda: not alive(pids))
    wait_for(lambda: not scratch.exists())


def specification(folder: Path, command: list[str], environment: dict[str, str]) -> dict[str, object]:
    return {
        "command": command,
        "cwd": str(folder),
        "environment": environment,
        "cores": None,
        "stdout": str(folder / "stdout"),
        "stderr": str(folder / "stderr"),
        "output_bytes": 1000,
        "wall_s": 20,
        "grace_s": 0,
        "cpu_s": None,
        "memory_mb": 1000,
        "scratch": None,
        "group": None,
    }


def test_a_supervisor_whose_parent_is_already_gone_starts_nothing(tmp_path: Path) -> None:
    with forking.supervisor() as supervisor:
        supervisor.parent = supervisor.pid
        (tmp_path / "copies").mkdir()
        spec = specification(tmp_path, ["touch", "started"], {}) | {"scratch": str(tmp_path / "copies")}
        assert supervisor.supervise(spec, time.monotonic() + 20, threading.Event()) == (b"", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_specification_is_told(tmp_path: Path) -> None:
    with forking.supervisor() as supervisor:
        printed, code = supervisor.supervise({}, time.monotonic() + 20, threading.Event())
    assert b"KeyError" in printed
    assert code == 1


def test_the_kernel_kills_the_command_of_a_killed_supervisor(tmp_path: Path, pids: Path) -> None:
    spec = specification(tmp_path, script("sleeps"), {"FAKE_PIDS": str(pids)})
    with forking.supervisor() as supervisor, ThreadPoolExecutor(1) as pool:
        future = pool.submit(supervisor.supervise, spec, time.monotonic() + 20, threading.Event())
        wait_for(lambda: recorded(pids))
        supervisor.signal(signal.SIGKILL)
        assert future.result() == (b"", -signal.SIGKILL)
        wait_for(lambda: not alive(pids))


@pytest.mark.slow
def test_a_killed_fork_server_leaves_nothing_and_is_replaced(
    run: Callable[..., Finished], pids: Path
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(run, "daemon", "stay")
        wait_for(lambda: recorded(pids))
        os.kill(parent(supervisor_of(pids)), signal.SIGKILL)
        finished = future.result()
    wait_for(lambda: not alive(pids))
    assert (finished.termination, finished.reason) == (
        Termination.INFRASTRUCTURE,
        "the supervisor died (with its server)",
    )
    assert run("sat").termination is Termination.EXITED


@pytest.mark.slow
def test_a_fork_server_that_does_not_answer_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forking.supervisor() as supervisor:
        server = supervisor.parent
    os.kill(server, signal.SIGSTOP)
    monkeypatch.setattr(forking, "GREETING_S", 2.0)
    assert run_supervised(["true"], tmp_path, ROOMY).termination is Termination.EXITED
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


@pytest.mark.slow
def test_a_fork_of_the_engine_has_a_server_of_its_own(tmp_path: Path) -> None:
    with forking.supervisor() as supervisor:
        server = supervisor.parent
    code = (
        "import os; from pathlib import Path; from salver.supervise import forking;"
        "a = forking.supervisor().parent; pid = os.fork();"
        "b = forking.supervisor().parent; print(a == b, flush=True);"
        "pid or os._exit(0); os.waitpid(pid, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.split()) == ["False", "True"]
    assert done.stderr == ""
    with forking.supervisor() as supervisor:
        assert supervisor.parent == server


@pytest.mark.slow
def test_many_runs_at_a_time_do_not_hear_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(run_supervised, ["echo", str(n)], tmp_path, ROOMY) for n in range(64)]
    assert [run.result().stdout for run in runs] == [f"{n}\n" for n in range(64)]


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
