"""BenchExec's runexec: the command line, what it printed, and the real thing where it works."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from salver.core.errors import SalverError
from salver.supervise import runexec
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.runexec import ending, parse_runexec, run_with_runexec, runexec_command
from tests.fake_solvers.runner import script

LIMITS = Limits(wall_s=2.5, grace_s=1, cpu_s=1.2, memory_mb=100)
# Recorded from benchexec 3.35 on control groups of version 1.
PLAIN = """\
starttime=2026-01-05T11:11:16.853354+00:00
returnvalue=3
walltime=0.45464041599916527s
cputime=0.190936079s
cputime-cpu0=0.190936079s
memory=104857600B
blkio-read=0B
blkio-write=0B
"""
KILLED = "returnvalue=3\n", "terminationreason=memory\nexitsignal=9\n"


def test_the_command_line() -> None:
    command = runexec_command("/bin/runexec", ["solve", "a b"], Path("/w"), LIMITS, (0, 2), Path("/s/log"))
    assert command == [
        *("/bin/runexec", "--no-container", "--quiet", "--walltimelimit", "3s", "--timelimit", "2s"),
        *("--memlimit", "104857600", "--cores", "0,2", "--dir", "/w", "--output", "/s/log", "--"),
        *("/bin/sh", "-c", 'exec "$@" >"$SALVER_STDOUT" 2>"$SALVER_STDERR"', "sh", "solve", "a b"),
    ]
    free = runexec_command("r", ["x"], Path("/w"), Limits(wall_s=1), None, Path("/l"))
    assert not {"--cores", "--timelimit"} & set(free)


def test_what_it_printed_is_read() -> None:
    measured = parse_runexec(PLAIN)
    assert (measured.exit_code, measured.signal, measured.reason) == (3, None, "")
    assert (measured.wall_s, measured.cpu_s) == (pytest.approx(0.4546404), pytest.approx(0.190936))
    assert measured.memory_mb == 100
    killed = parse_runexec(PLAIN.replace(*KILLED))
    assert (killed.exit_code, killed.signal, killed.reason) == (None, 9, "memory")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN, Termination.EXITED),
        (PLAIN.replace(*KILLED), Termination.MEMORY),
        (PLAIN.replace("returnvalue=3", "exitsignal=11"), Termination.CRASHED),
        (PLAIN.replace("walltime=0.4", "walltime=2.6"), Termination.WALLTIME),
        (PLAIN.replace("cputime=0.1", "cputime=1.3"), Termination.CPUTIME),
        ("terminationreason=walltime\n" + PLAIN, Termination.WALLTIME),
        ("terminationreason=cputime\n" + PLAIN, Termination.CPUTIME),
        ("terminationreason=failed\n", Termination.CRASHED),
        ("terminationreason=killed\n" + PLAIN, Termination.INFRASTRUCTURE),
    ],
)
def test_how_a_run_ended(text: str, expected: Termination) -> None:
    assert ending(parse_runexec(text), LIMITS) is expected


@pytest.mark.parametrize("text", ["", "walltime=1s\n", "walltime=soon\ncputime=0s\n"])
def test_no_measurement_is_one_clear_line(text: str) -> None:
    with pytest.raises(SalverError, match="runexec gave no measurement"):
        parse_runexec(text)


def test_without_runexec_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(runexec.PROGRAM_VARIABLE, str(tmp_path / "none"))
    assert "pip install benchexec" in (runexec.unavailable() or "")
    with pytest.raises(SalverError, match="runexec is not in PATH"):
        run_with_runexec(["true"], tmp_path, LIMITS, scratch=tmp_path)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no cgroups' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv(runexec.PROGRAM_VARIABLE, str(broken))
    assert (runexec.unavailable() or "").endswith("cannot measure here: no cgroups")
    assert run_with_runexec(["true"], tmp_path, LIMITS, scratch=tmp_path).termination is (
        Termination.INFRASTRUCTURE
    )


@pytest.mark.skipif(runexec.unavailable() is not None, reason="runexec does not work here")
@pytest.mark.parametrize(
    ("behaviour", "expected", "stdout"),
    [
        ("unknown", Termination.EXITED, "unknown\ngave up\n"),
        ("crashes", Termination.CRASHED, "solving\n"),
        ("burns_cpu", Termination.CPUTIME, ""),
        ("sleeps", Termination.WALLTIME, ""),
        ("memory_burst", Termination.MEMORY, ""),
    ],
)
def test_real_runs(tmp_path: Path, behaviour: str, expected: Termination, stdout: str) -> None:
    limits = Limits(wall_s=2 if behaviour == "sleeps" else 20, cpu_s=1, memory_mb=100)
    finished: Finished = run_with_runexec(
        script(behaviour, "query"),
        tmp_path,
        limits,
        environment={"FAKE_PIDS": str(tmp_path)},
        scratch=tmp_path,
    )
    assert (finished.termination, finished.stdout) == (expected, stdout)
    assert finished.measured == "runexec"
    if behaviour == "crashes":
        assert finished.signal == signal.SIGSEGV
        assert finished.reason == "runexec: killed by SIGSEGV"


@pytest.mark.skipif(runexec.unavailable() is not None, reason="runexec does not work here")
def test_output_is_cut_while_it_is_written(tmp_path: Path) -> None:
    limits = Limits(wall_s=20, output_mb=1)
    finished = run_with_runexec(script("fills_stdout", "query", "20"), tmp_path, limits, scratch=tmp_path)
    assert finished.stdout.startswith("unsat\n")
    assert (tmp_path / "stdout").stat().st_size == len(finished.stdout) == 1 << 20
    assert finished.reason == "stdout was cut"
    assert sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file()) < 2 << 20
