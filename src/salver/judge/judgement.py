"""What the judge makes of a run record."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from salver.core.records import Record
from salver.runners.answers import RunRecord
from salver.spec.truth import Evidence, Truth


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
    MEMOUT = "out of memory"
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
