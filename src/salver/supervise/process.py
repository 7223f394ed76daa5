"""The engine's side of the supervisor: ask for one, wait, read back what it saw."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from salver.core.confined import UnfitFileError, open_inside, read_inside
from salver.core.errors import SalverError
from salver.supervise.cgroups import make_group
from salver.supervise.finished import Finished, Limits, Termination
from salver.supervise.forking import supervisor
from salver.supervise.identity import orphaned, own_identity
from salver.supervise.messages import Report, Specification

RUN_VARIABLE = "SALVER_RUN"
_MARK = f"{RUN_VARIABLE}=".encode()
STOPPED = "stopped by the user"
_XDG = {"CACHE": ".cache", "CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state"}
STOPPED_SUPERVISOR = "stopped its supervisor, which keeps its limits"
SUPERVISOR_PATIENCE_S = 60.0
_SWEEP_PATIENCE_S = 5.0


def run_supervised(
    command: Sequence[str],
    workdir: Path,
    limits: Limits,
    *,
    environment: Mapping[str, str] | None = None,
    cores: tuple[int, ...] | None = None,
    result_files: tuple[str, ...] = (),
    scratch: Path | None = None,
    stop: threading.Event | None = None,
) -> Finished:
    """Runs a command under hard limits; no process of it is left when this returns.

    Memory and CPU time are kept and counted by control groups where they can be made (`cgroups.py`).

    Args:
        command: argument vector; a program without a slash is looked up in PATH.
        workdir: existing folder the command runs in.
        limits: wall and CPU seconds, MiB of memory of the whole process tree, MiB of each output
            stream. The command is killed at `wall_s + grace_s`; ending after `wall_s` is WALLTIME too.
        environment: variables added to this process's own. Unless it names a HOME, the command gets an
            empty one of its own in `scratch`, and caches and settings of the user stay out of its reach.
        cores: CPU numbers the command is pinned to; None leaves it unpinned.
        result_files: names relative to `workdir` whose text is returned, where they are regular files of at
            most that size; of others the reason is.
        scratch: folder of this run alone, holding logs, HOME and TMPDIR, which the supervisor removes if
            this process dies; None makes a temporary one.
        stop: when set, the run is killed and ends as INFRASTRUCTURE with the reason `STOPPED`.

    Raises:
        SalverError: not on Linux, on which subreapers, pidfds and /proc depend.
    """
    if not sys.platform.startswith("linux"):
        raise SalverError("solvers can only be run on Linux", hint="use a Linux machine or container")
    with contextlib.ExitStack() as stack:
        if scratch is None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="salver-")))
        token = f"{own_identity()}-{uuid.uuid4().hex}"
        try:
            if (group := make_group(limits.memory_mb)) is not None:
                stack.callback(group.remove)
            added = {**_private_folders(scratch, environment or {}), RUN_VARIABLE: token}
            folders = None if group is None else group.folders
            spec = _specification(command, workdir, limits, scratch, added, cores, folders)
            stop, started = stop or threading.Event(), time.monotonic()
            outcome, was_stopped = _supervise(spec, limits, stop)
        except OSError as error:
            return lost(f"cannot start the supervisor: {error.strerror}")
        if isinstance(outcome, str):
            if group is not None:
                group.kill()
            _sweep(token)
            wall_s = round(time.monotonic() - started, 6) if was_stopped else 0.0
            finished = lost(outcome).model_copy(update={"wall_s": wall_s})
        else:
            finished = _finished(outcome, spec, limits, workdir, result_files)
        return _blamed(finished) if was_stopped and not stop.is_set() else finished


def _private_folders(scratch: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with temporary folders, and a home unless it names one, in `scratch`.

    Packages that the user has installed for himself are still found: they are only read.
    """
    temporary, home = scratch / "tmp", scratch / "home"
    for folder in (temporary, home):
        folder.mkdir(exist_ok=True)
    added = dict(environment) | dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(temporary))
    if "HOME" in environment:
        return added
    user_base = os.environ.get("PYTHONUSERBASE") or str(Path(os.environ.get("HOME", "/")) / ".local")
    own = {"HOME": str(home), "PYTHONUSERBASE": user_base}
    own |= {f"XDG_{name}_HOME": str(home / folder) for name, folder in _XDG.items()}
    return own | added


def _specification(
    command: Sequence[str],
    workdir: Path,
    limits: Limits,
    scratch: Path,
    added: Mapping[str, str],
    cores: tuple[int, ...] | None,
    group: dict[str, str] | None,
) -> Specification:
    return {
        "parent": 0,  # known only once a supervisor is there
        "command": list(command),
        "cwd": str(workdir),
        "environment": {**os.environ, **added},
        "stdout": str(scratch / "stdout"),
        "stderr": str(scratch / "stderr"),
        "output_bytes": limits.output_mb << 20,
        "wall_s": limits.wall_s,
        "grace_s": limits.grace_s,
        "cpu_s": limits.cpu_s,
        "memory_mb": limits.memory_mb,
        "scratch": str(scratch),
        "cores": None if cores is None else list(cores),
        "group": group,
    }


def _supervise(spec: Specification, limits: Limits, stop: threading.Event) -> tuple[Report | str, bool]:
    """The supervisor's result, or why there is none, and whether the run had stopped it. Raises OSError."""
    with supervisor() as forked:
        patience = time.monotonic() + limits.wall_s + limits.grace_s + SUPERVISOR_PATIENCE_S
        output, code = forked.supervise(spec, patience, stop)
    try:
        outcome = json.loads(output)
    except ValueError:
        last = output.decode(errors="replace").strip().rpartition("\n")[2]
        how = "with its server" if code is None else _ending(code)
        outcome = f"the supervisor died ({how}) {last}".strip()
    is_result = isinstance(outcome, dict | str)
    return outcome if is_result else "the supervisor printed no result", forked.was_stopped


def _blamed(finished: Finished) -> Finished:
    """A run that was ended for having stopped its supervisor: whatever it said, it failed by itself."""
    if finished.termination in (Termination.WALLTIME, Termination.CPUTIME, Termination.MEMORY):
        return finished
    return finished.model_copy(update={"termination": Termination.CRASHED, "reason": STOPPED_SUPERVISOR})


def _finished(
    outcome: Report, spec: Specification, limits: Limits, workdir: Path, result_files: Sequence[str]
) -> Finished:
    ending = outcome["termination"]
    termination = Termination.INFRASTRUCTURE if ending == "stopped" else Termination(ending)
    cap = limits.output_mb << 20
    left = _result_files(workdir, result_files, cap)
    reasons = (_explain(ending, outcome, limits), outcome["reason"], *left.reasons)
    return Finished(
        termination=termination,
        exit_code=outcome["exit_code"],
        signal=outcome["signal"],
        wall_s=outcome["wall_s"],
        cpu_s=outcome["cpu_s"],
        memory_mb=outcome["memory_mb"],
        measured=outcome["measured"],
        stdout=read_capped(Path(spec["stdout"]), cap),
        stderr=read_capped(Path(spec["stderr"]), cap),
        files=left.texts,
        unread=left.unread,
        reason="; ".join(filter(None, reasons)),
    )


def _explain(ending: str, outcome: Report, limits: Limits) -> str:
    texts = {
        "stopped": STOPPED,
        "walltime": f"over the wall limit of {limits.wall_s:g} s",
        "cputime": f"over the CPU limit of {limits.cpu_s or 0:g} s",
        "memory": f"over the memory limit of {limits.memory_mb} MiB",
    }
    if ending == "crashed" and outcome["signal"] is not None:
        return f"killed by {_ending(-outcome['signal'])}"
    left = outcome["left_over"]
    return texts.get(ending, f"{left} left-over processes killed" if left else "")


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def lost(reason: str) -> Finished:
    """A run that this side lost, through no fault of the tool."""
    return Finished(termination=Termination.INFRASTRUCTURE, reason=reason)


def read_capped(path: Path, cap: int) -> str:
    """Text of a regular file up to `cap` bytes, decoded with replacement; empty where there is none.

    A tool may leave anything under the name it was asked for: nothing is followed or waited on.
    """
    try:
        descriptor = open_inside(path.parent.parent, f"{path.parent.name}/{path.name}")
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(cap).decode(errors="replace")


class _Left(NamedTuple):
    """What a run left under the names of its result files: texts, what was not read, and why."""

    texts: dict[str, str]
    unread: dict[str, Literal["unfit", "large"]]
    reasons: list[str]


def _result_files(workdir: Path, names: Sequence[str], cap: int) -> _Left:
    left = _Left({}, {}, [])
    for name in names:
        try:
            # The folder may have been replaced by a link as well.
            data = read_inside(workdir.parent, f"{workdir.name}/{name}", cap)
            left.texts[name] = data.decode(errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            unfit = isinstance(error, UnfitFileError)
            left.unread[name] = "large" if unfit and error.errno == errno.EFBIG else "unfit"
            left.reasons.append(f"{name} is {error.strerror}" if unfit else f"{name}: {error.strerror}")
    return left


def sweep_processes() -> int:
    """SIGKILLs what is left of the runs of coordinators that are no more; returns how many processes.

    Only needed where a coordinator and its supervisors died together and there were no control groups.
    """
    own = os.environ.get(RUN_VARIABLE, "")
    return _kill_until_none(lambda token: token != own and orphaned(token))


def _sweep(token: str) -> None:
    """SIGKILLs what a lost supervisor left: every process whose environment carries the run's token."""
    _kill_until_none(lambda found: found == token)


def _kill_until_none(chosen: Callable[[str], bool]) -> int:
    """SIGKILLs processes by the token in their environment, until there is none; returns how many."""
    deadline, killed = time.monotonic() + _SWEEP_PATIENCE_S, 0
    while time.monotonic() < deadline:
        names = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
        count = sum(_kill_marked(int(name), chosen) for name in names)
        if not count:
            break
        killed += count
        time.sleep(0.001)
    return killed


def _kill_marked(pid: int, chosen: Callable[[str], bool]) -> bool:
    """Kills one process if its token is chosen; the pidfd rules out that its pid is used anew meanwhile."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        tokens = [v[len(_MARK) :].decode(errors="replace") for v in variables if v.startswith(_MARK)]
        if not any(map(chosen, tokens)):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
