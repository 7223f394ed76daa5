"""What is said to a supervisor and what it answers, as JSON; both sides read the same types.

The supervisor itself imports this for its type checker only, so that its fork stays small.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from salver.supervise.finished import Measured

Ending = Literal["exited", "crashed", "walltime", "cputime", "memory", "infrastructure", "stopped"]

Broken = Ending | Literal[""]
"""The limit that ended a run, or nothing."""


class Specification(TypedDict):
    """One command and its limits.

    Attributes:
        parent: pid of who asks; the run ends with it.
        command: program and arguments; `cwd` and `environment` are the command's own.
        stdout, stderr: paths; each takes at most `output_bytes`.
        wall_s, grace_s, cpu_s, memory_mb: seconds and MiB; no limit of CPU time where it is None.
        scratch: folder that is removed, with the group, if the parent dies.
        cores: where the command may run; anywhere where it is None.
        group: folders of the control group by controller, with limits set; None polls /proc.
    """

    parent: int
    command: list[str]
    cwd: str
    environment: dict[str, str]
    stdout: str
    stderr: str
    output_bytes: int
    wall_s: float
    grace_s: float
    cpu_s: float | None
    memory_mb: int
    scratch: str | None
    cores: list[int] | None
    group: dict[str, str] | None


class Report(TypedDict):
    """How the command ended.

    Attributes:
        exit_code, signal: one of them, where the command was started.
        memory_mb: peak of the run in MiB; `measured` says how it was found.
        left_over: descendants still alive when the command ended.
    """

    termination: Ending
    exit_code: int | None
    signal: int | None
    wall_s: float
    cpu_s: float
    memory_mb: float
    measured: Measured
    left_over: int
    reason: str
