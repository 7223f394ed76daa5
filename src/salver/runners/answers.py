"""One solver on one instance: what it is given, what it says, and what is stored of it."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from salver.core.confined import UnfitFileError, refuse_leaving
from salver.core.records import Record
from salver.families.instance import Instance
from salver.supervise.finished import LARGEST_MB, LONGEST_S, Limits, Measured, Termination


class StagedInstance(Record):
    """An instance with private, uncompressed copies of its files inside a run's working directory.

    Attributes:
        networks: by their names in the query, where it is over several; `onnx` is the first.
        vnnlib2: the text in VNN-LIB 2.0; the only text where there is none.
    """

    instance: Instance
    onnx: Path
    networks: dict[str, Path] = Field(default_factory=dict)
    vnnlib: Path
    vnnlib2: Path

    @property
    def named_networks(self) -> list[str]:
        """The values of `--network`, as the VNN-LIB standard's command line and `salver-solve` take them."""
        return [f"{name}={path}" for name, path in (self.networks or {"": self.onnx}).items()]


class Job(Record):
    """One solver on one instance, once. `key` names the result for ever; resume relies on it."""

    instance_id: str
    solver: str
    solver_version: str
    options: dict[str, str] = Field(default_factory=dict)
    limits: Limits
    repetition: int = 0

    @property
    def key(self) -> str:
        """Hash of instance, solver and its version, options, limits and repetition (20 hex digits)."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]


class Claim(StrEnum):
    """What the solver said."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMEOUT = "timeout"
    ERROR = "error"
    NONE = "none"


class Answer(Record):
    """A solver's claim with the raw text of its witness (VNN-LIB 1.0 or 2.0 form), if it printed one."""

    claim: Claim
    witness: str | None = None
    reason: str = ""


_Name = Annotated[str, Field(max_length=500)]
_Amount = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, le=1_000_000)]


def _stays_inside(path: str) -> str:
    try:
        refuse_leaving(path)
    except UnfitFileError as error:
        raise ValueError("leaves the run's folder") from error
    return path


_PathInside = Annotated[str, Field(max_length=500), AfterValidator(_stays_inside)]


class RunRecord(Record):
    """One finished job as stored in `events.jsonl`. Paths are relative to the run's folder and stay in it.

    Seconds and MiB are finite and not negative. A file of somebody else's may say anything; what it says is
    counted, drawn and opened. `device`, `cores` and `memory_limit_mb` are empty or 0 in records of before
    these were stored.
    """

    key: _Name
    suite: _Name
    instance_id: _Name
    instance: _Name
    family: _Name
    solver: _Name
    solver_version: _Name
    repetition: _Whole
    limit_s: _Amount
    termination: Termination
    exit_code: int | None = Field(ge=0, le=0xFFFF_FFFF)
    signal: int | None = Field(ge=0, le=255)
    wall_s: _Amount
    cpu_s: _Amount
    memory_mb: _Amount
    claim: Claim
    reason: str = Field(max_length=10_000)
    witness: _PathInside | None = None
    logs: _PathInside | None = None
    started: _Name = ""
    host: _Name = ""
    measured: Measured = "rss-polling"
    device: _Name = ""
    cores: _Whole = 0
    memory_limit_mb: Annotated[int, Field(ge=0, le=LARGEST_MB)] = 0

    @property
    def ended_well(self) -> bool:
        """Whether the process ended by itself with status 0: what it said before counts only then."""
        return self.termination is Termination.EXITED and self.exit_code == 0
