"""What one command may use, and how it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from salver.core.records import Record

LONGEST_S, LARGEST_MB = 1e9, 10**9
"""Most seconds and MiB that a run is given, or is recorded to have taken."""


class Limits(Record):
    """Hard limits of one run. Wall seconds, CPU seconds, MiB of memory, cores."""

    wall_s: float = Field(gt=0)
    cpu_s: float | None = Field(default=None, gt=0)
    memory_mb: int = Field(default=8000, gt=0)
    cores: int = Field(default=1, gt=0)
    grace_s: float = Field(default=0.5, ge=0)
    output_mb: int = Field(default=64, gt=0)


class Termination(StrEnum):
    """How the solver's process tree ended."""

    EXITED = "exited"
    WALLTIME = "walltime"
    CPUTIME = "cputime"
    MEMORY = "memory"
    CRASHED = "crashed"
    UNSUPPORTED = "unsupported"
    INFRASTRUCTURE = "infrastructure"


Measured = Literal["cgroup-v2", "cgroup-v1", "rss-polling", "runexec"]


class Finished(Record):
    """A run as the supervisor saw it, before anyone interprets it.

    `stdout` and `stderr` are decoded with replacement and cut to `Limits.output_mb`; `files` holds
    the text of the files the runner declared as results, by name, where they exist. `unread` names those of
    which something is there that is not read: no regular file (`unfit`), or one over `Limits.output_mb`
    (`large`); `reason` says more. `measured` says how
    memory was: control groups count the page cache and kernel memory of the run too. `command` is the
    argument vector as it was run, `environment` what was added to the environment.
    """

    termination: Termination
    exit_code: int | None = None
    signal: int | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_mb: float = 0.0
    command: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    unread: dict[str, Literal["unfit", "large"]] = Field(default_factory=dict)
    reason: str = ""
    measured: Measured = "rss-polling"


MEASURED = {"termination", "exit_code", "signal", "wall_s", "cpu_s", "memory_mb", "measured"}
"""What a run's record has of `Finished`, under the same names."""
