"""From run records to judgements: what each answer counts as, against truth and the other solvers.

Pure functions of stored records and replays, so that an old run can be judged again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from salver.core.errors import SalverError
from salver.core.records import Record, sharing_field_names
from salver.families.instance import Instance
from salver.judge.judgement import Consistency, Judgement, Outcome, ProofVerdict, WitnessVerdict
from salver.judge.proofs import CheckedProof
from salver.judge.witness import Replay
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Evidence, Truth, in_words
from salver.supervise.finished import Termination

_WITHOUT_ANSWER = {
    Termination.WALLTIME: Outcome.TIMEOUT,
    Termination.CPUTIME: Outcome.TIMEOUT,
    Termination.MEMORY: Outcome.MEMOUT,
    Termination.UNSUPPORTED: Outcome.UNSUPPORTED,
    Termination.CRASHED: Outcome.ERROR,
    Termination.INFRASTRUCTURE: Outcome.ERROR,
}
_SAT = {
    WitnessVerdict.CORRECT: Outcome.FALSIFIED,
    WitnessVerdict.UP_TO_TOLERANCE: Outcome.FALSIFIED,
    WitnessVerdict.UNCHECKABLE: Outcome.UNKNOWN,
    WitnessVerdict.MISSING: Outcome.WRONG,
    WitnessVerdict.MALFORMED: Outcome.WRONG,
    WitnessVerdict.INVALID: Outcome.WRONG,
}
DECIDED = frozenset((Claim.SAT, Claim.UNSAT))
_NO_WITNESS = Replay(verdict=WitnessVerdict.NONE)
_SEVERITY = (Consistency.CONSISTENT, Consistency.DISPUTED, Consistency.CONTRADICTED)
_UNDECIDED = {
    Claim.UNKNOWN: Outcome.UNKNOWN,
    Claim.TIMEOUT: Outcome.TIMEOUT,
    Claim.ERROR: Outcome.ERROR,
    Claim.NONE: Outcome.ERROR,
}


class GroundTruth(Record):
    """What is taken as the truth about one instance, and why.

    Attributes:
        truth: sat, unsat or unknown.
        basis: `expected` (the instance says so), `witness` (a correct witness), `proof` (a checked proof
            of unsat), `claimed` (some solver says unsat and nobody showed otherwise: not established) or
            `none`.
        witnesses: solvers whose witness is correct.
        provers: solvers whose proof of unsat was accepted.
        evidence: how the expected verdict is known.
    """

    truth: Truth
    basis: Literal["expected", "witness", "proof", "claimed", "none"]
    witnesses: tuple[str, ...] = ()
    provers: tuple[str, ...] = ()
    evidence: Evidence = Evidence.UNKNOWN

    @property
    def contradicted(self) -> bool:
        """Whether the expected verdict is refuted, so that the instance itself is in doubt.

        By a correct witness against `unsat`, or by an accepted proof against a `sat` that nobody has shown.
        """
        if self.basis != "expected":
            return False
        if self.truth is Truth.UNSAT:
            return bool(self.witnesses)
        return bool(self.provers) and not self.witnesses

    @property
    def description(self) -> str:
        """The expected verdict in words."""
        known = "" if self.evidence is Evidence.UNKNOWN else f" ({self.evidence})"
        return f"{in_words(self.truth)}{known}"


def judge(
    records: Sequence[RunRecord],
    instances: Mapping[str, Instance],
    replays: Mapping[str, Replay],
    proofs: Mapping[str, CheckedProof] | None = None,
) -> list[Judgement]:
    """Judges every record, in order.

    Args:
        records: all runs of a report; truth is shared among the solvers.
        instances: the instances by id.
        replays: replayed witnesses by `RunRecord.key`. A `sat` without an entry counts as missing its
            witness when it printed none, else as uncheckable.
        proofs: checked proofs of `unsat` by `RunRecord.key`.

    Raises:
        SalverError: a record names an instance that is not there.
    """
    proofs = proofs or {}
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        groups[record.instance_id].append(record)
    truths = {
        instance_id: _ground_truth(group, instances, replays, proofs) for instance_id, group in groups.items()
    }

    @cache
    def rivals(instance_id: str) -> list[str]:
        return sorted({r.solver for r in groups[instance_id] if _credible_sat(r, replays)})

    return [
        _judgement(r, _replay_of(r, replays), proofs.get(r.key), truths[r.instance_id], rivals)
        for r in records
    ]


def ground_truth(
    records: Iterable[RunRecord],
    expected: Truth,
    replays: Mapping[str, Replay],
    proofs: Mapping[str, CheckedProof] | None = None,
    evidence: Evidence = Evidence.UNKNOWN,
) -> GroundTruth:
    """Truth of one instance from its expected verdict and all its runs.

    VNN-COMP's rule where nothing is expected: sat if any witness is correct (also one found too late),
    else unsat if a proof was accepted or any solver claims it in time, else unknown.
    """
    group = list(records)
    correct = {
        r.solver
        for r in group
        if (replay := replays.get(r.key)) is not None and replay.verdict is WitnessVerdict.CORRECT
    }
    witnesses = tuple(sorted(correct))
    known = proofs or {}
    proven = {r.solver for r in group if r.key in known and known[r.key].verdict is ProofVerdict.CHECKED}
    shown: dict[str, Any] = {"witnesses": witnesses, "provers": tuple(sorted(proven))}
    if expected is not Truth.UNKNOWN:
        return GroundTruth(truth=expected, basis="expected", evidence=evidence, **shown)
    if witnesses:
        return GroundTruth(truth=Truth.SAT, basis="witness", **shown)
    if proven:
        return GroundTruth(truth=Truth.UNSAT, basis="proof", **shown)
    if any(answered(r) and r.claim is Claim.UNSAT for r in group):
        return GroundTruth(truth=Truth.UNSAT, basis="claimed")
    return GroundTruth(truth=Truth.UNKNOWN, basis="none")


def _ground_truth(
    group: Sequence[RunRecord],
    instances: Mapping[str, Instance],
    replays: Mapping[str, Replay],
    proofs: Mapping[str, CheckedProof],
) -> GroundTruth:
    record = group[0]
    instance = instances.get(record.instance_id)
    if instance is None:
        raise SalverError(
            f"the results name an instance {record.instance} ({record.instance_id}) that is not in the set",
            record.suite,
            "judge them with the instance set they were made from",
        )
    return ground_truth(group, instance.expected, replays, proofs, instance.evidence)


def _in_time(record: RunRecord) -> bool:
    return record.wall_s <= record.limit_s


def answered(record: RunRecord) -> bool:
    """Whether what the solver said counts: it ended well and in time."""
    return record.ended_well and _in_time(record)


def _replay_of(record: RunRecord, replays: Mapping[str, Replay]) -> Replay:
    known = replays.get(record.key)
    if known is not None:
        return known
    if record.claim is not Claim.SAT:
        return _NO_WITNESS
    if record.witness is None:
        return Replay(verdict=WitnessVerdict.MISSING, detail="the solver gave no witness")
    return Replay(verdict=WitnessVerdict.UNCHECKABLE, detail="the witness was not replayed")


def _credible_sat(record: RunRecord, replays: Mapping[str, Replay]) -> bool:
    """Whether the run speaks for sat and is not refuted: an `unsat` beside it is disputed."""
    verdict = _replay_of(record, replays).verdict
    credible = answered(record) and verdict in (WitnessVerdict.UP_TO_TOLERANCE, WitnessVerdict.UNCHECKABLE)
    return verdict is WitnessVerdict.CORRECT or (credible and record.claim is Claim.SAT)


def _judgement(
    record: RunRecord,
    replay: Replay,
    proof: CheckedProof | None,
    truth: GroundTruth,
    rivals: Callable[[str], Sequence[str]],
) -> Judgement:
    if record.claim not in DECIDED or not answered(record):
        outcome, consistency, detail = undecided(record), Consistency.CONSISTENT, record.reason
    elif record.claim is Claim.SAT:
        outcome = _SAT.get(replay.verdict, Outcome.WRONG)
        consistency, detail = _sat_consistency(outcome, replay, truth)
    else:
        outcome, consistency, detail = _unsat(truth, rivals(record.instance_id))
        if proof is not None and proof.verdict is ProofVerdict.REJECTED:
            consistency = max(consistency, Consistency.DISPUTED, key=_SEVERITY.index)
        if proof is not None and proof.verdict in (ProofVerdict.REJECTED, ProofVerdict.UNCHECKED):
            detail = "; ".join(filter(None, [f"its proof is {proof.verdict}: {proof.detail}", detail]))
    return sharing_field_names(
        Judgement(
            key=record.key,
            outcome=outcome,
            witness=replay.verdict,
            gradient=replay.gradient,
            proof=_rests_on(outcome, proof, truth),
            consistency=consistency,
            truth=truth.truth,
            evidence=truth.evidence,
            detail=detail,
        )
    )


def _rests_on(outcome: Outcome, proof: CheckedProof | None, truth: GroundTruth) -> ProofVerdict:
    if proof is not None and proof.verdict is not ProofVerdict.UNCHECKED:
        return proof.verdict
    if outcome is not Outcome.VERIFIED:
        return ProofVerdict.ABSENT
    known = truth.truth is Truth.UNSAT and truth.basis in ("expected", "proof") and not truth.witnesses
    return ProofVerdict.CONFIRMED if known else ProofVerdict.CLAIMED


def undecided(record: RunRecord) -> Outcome:
    """What a run without a verdict in time counts as."""
    if record.termination in _WITHOUT_ANSWER:
        return _WITHOUT_ANSWER[record.termination]
    if not _in_time(record):
        return Outcome.TIMEOUT
    return _UNDECIDED[record.claim] if record.ended_well else Outcome.ERROR


def _sat_consistency(outcome: Outcome, replay: Replay, truth: GroundTruth) -> tuple[Consistency, str]:
    details = [replay.detail]
    consistency = Consistency.CONSISTENT
    if replay.gradient == "differs":
        consistency = Consistency.DISPUTED
        details.append("the original network's gradient at the witness differs from the replayed saliency")
    if truth.truth is Truth.UNSAT:
        refuted = outcome is Outcome.WRONG and truth.basis == "expected"
        consistency = Consistency.CONTRADICTED if refuted else Consistency.DISPUTED
        if replay.verdict is WitnessVerdict.CORRECT:
            details.append(
                f"a correct witness contradicts the instance, which is expected to be {truth.description}"
            )
        elif truth.basis == "expected":
            details.append(f"the instance is expected to be {truth.description}")
        else:
            details.append("other solvers say verified, which is not proven")
    return consistency, "; ".join(filter(None, details))


def _unsat(truth: GroundTruth, rivals: Sequence[str]) -> tuple[Outcome, Consistency, str]:
    if truth.contradicted:
        why = f"{', '.join(truth.witnesses)} has a correct witness"
        if truth.truth is Truth.SAT:
            why = f"a proof by {', '.join(truth.provers)} was accepted"
        return Outcome.VERIFIED, Consistency.DISPUTED, f"expected {truth.description}, yet {why}"
    if truth.truth is Truth.SAT:
        why = (
            f"{', '.join(truth.witnesses)} has a correct witness"
            if truth.witnesses
            else f"the instance is expected to be {truth.description}"
        )
        if truth.provers:
            why += f"; over the reals the proof of {', '.join(truth.provers)} was accepted"
        return Outcome.WRONG, Consistency.CONTRADICTED, why
    if rivals:
        why = f"{', '.join(rivals)} says falsified; the answer verified is {_standing(truth)}"
        return Outcome.VERIFIED, Consistency.DISPUTED, why
    if truth.provers and truth.witnesses:
        why = f"{', '.join(truth.witnesses)} has a correct witness against a checked proof"
        return Outcome.VERIFIED, Consistency.DISPUTED, why
    detail = "claimed, not proven" if truth.basis == "claimed" else ""
    if truth.basis == "proof":
        detail = f"established by the proof of {', '.join(truth.provers)}"
    return Outcome.VERIFIED, Consistency.CONSISTENT, detail


def _standing(truth: GroundTruth) -> str:
    return {"expected": "expected", "proof": "proven"}.get(truth.basis, "claimed, not proven")
