"""Frozen typed records that pass between the stages: generate, run, judge, report.

Three things are kept apart in every result: how the process ended (`Termination`), what the solver
said (`Claim`), and what the judge makes of it (`Judgement`). Nothing here does any work.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from salver.confined import UnfitFileError, refuse_leaving


class Record(BaseModel):
    """Base of all records: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=Record)
_FIELDS: dict[type[Record], set[str]] = {}


def lean(record: R) -> R:
    """The same record, sharing the set of its fields' names with others of its kind where all were given.

    Pydantic keeps a set for each, which takes more memory than all values of a small record.
    """
    kind = type(record)
    shared = _FIELDS.get(kind)
    if shared is None:
        shared = _FIELDS[kind] = set(kind.model_fields)
    if record.model_fields_set == shared:
        object.__setattr__(record, "__pydantic_fields_set__", shared)
    return record


class Truth(StrEnum):
    """Verdict of an instance whose answer is known. The query is the negated property: sat = falsified."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"


class Evidence(StrEnum):
    """How an expected verdict is known."""

    ENUMERATED = "enumerated"
    PLANTED = "planted"
    PROVED = "proved"
    UNKNOWN = "unknown"


class Vacuity(Record):
    """How far an instance is from being trivially true or false.

    `delta_star_upper` is the smallest delta for which sampling found a violation (an upper bound on
    delta*, the smallest delta that has one); None when no sampled point left the class.
    """

    delta_over_saliency: float | None = None
    delta_star_upper: float | None = None
    samples: int = 0


class Facts(Record):
    """What an instance is about, as written to the manifest, the ONNX metadata and the VNN-LIB header."""

    family: str
    network: str
    dataset: str
    index: int
    label: int
    gradient_of: str
    condition: str
    targets: tuple[int, ...]
    epsilon: float
    delta: float | None = None
    clip: tuple[float, float] | None = None
    input_shape: tuple[int, ...]
    logits: int
    saliencies: int
    relu_derivative_at_zero: Literal[0] = 0
    tie_rule: str = "a tie z_k = z_l counts as a violation"
    expected: Truth = Truth.UNKNOWN
    evidence: Evidence = Evidence.UNKNOWN
    vacuity: Vacuity = Vacuity()
    options: dict[str, Any] = Field(default_factory=dict)


class Instance(Record):
    """One query of a suite. Paths are relative to the folder of the instance set."""

    id: str
    suite: str
    name: str
    onnx: str
    vnnlib: str
    vnnlib2: str
    network: str
    timeout: float
    operators: tuple[str, ...]
    facts: Facts


class Manifest(Record):
    """`manifest.json` of an instance set; `recipe` is a hash of the suite it was made from."""

    suite: str
    version: str
    seed: int
    title: str
    description: str
    salver: str
    recipe: str
    instances: tuple[Instance, ...]


class StagedInstance(Record):
    """An instance with private, uncompressed copies of its files inside a run's working directory."""

    instance: Instance
    onnx: Path
    vnnlib: Path
    vnnlib2: Path


class Limits(Record):
    """Hard limits of one run. Wall seconds, CPU seconds, MiB of memory, cores."""

    wall_s: float = Field(gt=0)
    cpu_s: float | None = Field(default=None, gt=0)
    memory_mb: int = Field(default=8000, gt=0)
    cores: int = Field(default=1, gt=0)
    grace_s: float = Field(default=0.5, ge=0)
    output_mb: int = Field(default=64, gt=0)


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
    exit_code: int | None
    signal: int | None
    wall_s: float
    cpu_s: float
    memory_mb: float
    command: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""
    files: dict[str, str] = Field(default_factory=dict)
    unread: dict[str, Literal["unfit", "large"]] = Field(default_factory=dict)
    reason: str = ""
    measured: Measured = "rss-polling"


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
_Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
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
    memory_limit_mb: Annotated[int, Field(ge=0, le=10**9)] = 0

    @property
    def ended_well(self) -> bool:
        """Whether the process ended by itself with status 0: what it said before counts only then."""
        return self.termination is Termination.EXITED and self.exit_code == 0


class WitnessVerdict(StrEnum):
    """Outcome of replaying a witness under the 2026 rule of VNN-COMP."""

    NONE = "none"
    CORRECT = "correct"
    UP_TO_TOLERANCE = "up_to_tolerance"
    INVALID = "invalid"
    MISSING = "missing"
    MALFORMED = "malformed"
    UNCHECKABLE = "uncheckable"


class ProofVerdict(StrEnum):
    """What an `unsat` rests on: its own accepted or rejected proof, known truth or another solver's proof
    (confirmed), or the solver's word alone (claimed). `absent` where there is no `unsat`.
    `unchecked` is said of a proof over the checker's limits: the verdict rests on what it would without."""

    ABSENT = "absent"
    CHECKED = "checked"
    REJECTED = "rejected"
    UNCHECKED = "unchecked"
    CONFIRMED = "confirmed"
    CLAIMED = "claimed"


class Consistency(StrEnum):
    """A claim against the known truth and the other solvers' established answers."""

    CONSISTENT = "consistent"
    CONTRADICTED = "contradicted"
    DISPUTED = "disputed"


class Outcome(StrEnum):
    """The leaderboard column a run is counted in."""

    VERIFIED = "verified"
    FALSIFIED = "falsified"
    TIMEOUT = "timeout"
    MEMOUT = "memout"
    UNKNOWN = "unknown"
    ERROR = "error"
    WRONG = "wrong"
    UNSUPPORTED = "unsupported"


class Judgement(Record):
    """What the judge makes of one run record.

    `gradient` is the second opinion on a witness: the saliency recomputed from the original network
    by automatic differentiation (`agrees`, `differs`, or `none` where it does not apply); `evidence` says
    how the expected verdict is known, where the instance has one.
    """

    key: str
    outcome: Outcome
    witness: WitnessVerdict = WitnessVerdict.NONE
    gradient: Literal["none", "agrees", "differs"] = "none"
    proof: ProofVerdict = ProofVerdict.ABSENT
    consistency: Consistency = Consistency.CONSISTENT
    truth: Truth = Truth.UNKNOWN
    evidence: Evidence = Evidence.UNKNOWN
    detail: str = ""


class JudgedRun(Record):
    """A run record with its judgement: one row of the results table."""

    run: RunRecord
    judgement: Judgement
