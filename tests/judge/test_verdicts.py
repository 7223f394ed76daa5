"""The judge's rules, one table: what each ending, claim and witness counts as."""

from __future__ import annotations

import pytest

from salver.core.errors import SalverError
from salver.judge.findings import disagreements
from salver.judge.judgement import Consistency, JudgedRun, Judgement, Outcome, ProofVerdict, WitnessVerdict
from salver.judge.proofs import CheckedProof
from salver.judge.verdicts import ground_truth, judge
from salver.judge.witness import Replay
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Truth
from salver.supervise.finished import Termination
from tests.builders.records import instance, run

CORRECT, TOLERATED = WitnessVerdict.CORRECT, WitnessVerdict.UP_TO_TOLERANCE
FALSE_SAT = [WitnessVerdict.MISSING, WitnessVerdict.MALFORMED, WitnessVerdict.INVALID]


def judged(
    records: list[RunRecord],
    witnesses: dict[str, WitnessVerdict] | None = None,
    expected: Truth = Truth.UNKNOWN,
    proofs: dict[str, ProofVerdict] | None = None,
) -> dict[str, Judgement]:
    replays = {key: Replay(verdict=verdict) for key, verdict in (witnesses or {}).items()}
    checked = {
        key: CheckedProof(subject=key, verdict=verdict, detail="why")
        for key, verdict in (proofs or {}).items()
    }
    return {j.key: j for j in judge(records, {"i": instance(expected)}, replays, checked)}


@pytest.mark.parametrize("claim", [Claim.SAT, Claim.UNSAT, Claim.UNKNOWN, Claim.TIMEOUT])
@pytest.mark.parametrize("status", [1, 3, 139, None])
def test_a_verdict_before_an_error_status_is_an_error(claim: Claim, status: int | None) -> None:
    failed = run("failed", claim).model_copy(update={"exit_code": status})
    found = judged([failed, run("b", Claim.UNSAT)], {"failed": WitnessVerdict.UP_TO_TOLERANCE})
    assert found["failed"].outcome is Outcome.ERROR
    assert found["b"].outcome is Outcome.VERIFIED
    assert found["b"].consistency is Consistency.CONSISTENT
    assert judged([failed])["failed"].truth is Truth.UNKNOWN


def test_a_correct_witness_counts_for_the_truth_though_its_finder_failed() -> None:
    failed = run("failed", Claim.SAT).model_copy(update={"exit_code": 1})
    found = judged([failed, run("b", Claim.UNSAT)], {"failed": WitnessVerdict.CORRECT})
    assert (found["failed"].outcome, found["b"].outcome) == (Outcome.ERROR, Outcome.WRONG)


def test_an_unsat_says_what_it_rests_on() -> None:
    records = [run(name, Claim.UNSAT) for name in "abc"] + [run("d", Claim.TIMEOUT)]
    alone = judged(records)
    assert [alone[name].proof for name in "abcd"] == [ProofVerdict.CLAIMED] * 3 + [ProofVerdict.ABSENT]
    proofs = {"a": ProofVerdict.CHECKED, "b": ProofVerdict.REJECTED}
    found = judged(records, proofs=proofs)
    assert [found[name].proof for name in "abc"] == [*proofs.values(), ProofVerdict.CONFIRMED]
    assert "established by the proof of a" in found["c"].detail
    assert found["b"].consistency is Consistency.DISPUTED
    assert "its proof is rejected: why" in found["b"].detail
    assert judged(records, expected=Truth.UNSAT)["a"].proof is ProofVerdict.CONFIRMED


def test_a_proof_over_the_limits_counts_as_none_and_says_why() -> None:
    found = judged([run("a", Claim.UNSAT)], proofs={"a": ProofVerdict.UNCHECKED})["a"]
    assert found.proof is ProofVerdict.CLAIMED
    assert found.consistency is Consistency.CONSISTENT
    assert found.detail.startswith("its proof is unchecked: why")


def test_a_proof_settles_a_dispute_and_a_correct_witness_casts_doubt_on_it() -> None:
    records = [run("p", Claim.UNSAT), run("s", Claim.SAT)]
    proof = {"p": ProofVerdict.CHECKED}
    tolerated = judged(records, {"s": TOLERATED}, proofs=proof)
    assert "verified is proven" in tolerated["p"].detail
    assert tolerated["s"].truth is Truth.UNSAT
    doubtful = judged(records, {"s": CORRECT}, proofs=proof)
    assert doubtful["p"].outcome is Outcome.WRONG
    assert disagreements([JudgedRun(run=r, judgement=doubtful[r.key]) for r in records])


@pytest.mark.parametrize(
    ("termination", "outcome"),
    [
        (Termination.WALLTIME, Outcome.TIMEOUT),
        (Termination.CPUTIME, Outcome.TIMEOUT),
        (Termination.MEMORY, Outcome.MEMOUT),
        (Termination.UNSUPPORTED, Outcome.UNSUPPORTED),
        (Termination.CRASHED, Outcome.ERROR),
        (Termination.INFRASTRUCTURE, Outcome.ERROR),
    ],
)
@pytest.mark.parametrize("claim", list(Claim))
def test_how_it_ended_outranks_what_it_said(termination: Termination, outcome: Outcome, claim: Claim) -> None:
    assert judged([run("a", claim, termination)], {"a": CORRECT})["a"].outcome is outcome


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        (Claim.UNKNOWN, Outcome.UNKNOWN),
        (Claim.TIMEOUT, Outcome.TIMEOUT),
        (Claim.ERROR, Outcome.ERROR),
        (Claim.NONE, Outcome.ERROR),
        (Claim.UNSAT, Outcome.VERIFIED),
    ],
)
def test_claims_of_a_run_that_ended_by_itself(claim: Claim, outcome: Outcome) -> None:
    assert judged([run("a", claim)])["a"].outcome is outcome


@pytest.mark.parametrize("claim", list(Claim))
def test_over_the_limit_is_always_a_timeout(claim: Claim) -> None:
    late = run("a", claim, wall_s=10.01)
    assert judged([late], {"a": CORRECT})["a"].outcome is Outcome.TIMEOUT


def test_an_answer_at_the_limit_is_in_time() -> None:
    assert judged([run("a", Claim.UNSAT, wall_s=10.0)])["a"].outcome is Outcome.VERIFIED


@pytest.mark.parametrize("verdict", [CORRECT, TOLERATED])
def test_credited_witness(verdict: WitnessVerdict) -> None:
    result = judged([run("a", Claim.SAT)], {"a": verdict})["a"]
    assert (result.outcome, result.consistency) == (Outcome.FALSIFIED, Consistency.CONSISTENT)
    assert result.truth is (Truth.SAT if verdict is CORRECT else Truth.UNKNOWN)


@pytest.mark.parametrize("verdict", FALSE_SAT)
@pytest.mark.parametrize("expected", list(Truth))
def test_sat_without_a_good_witness_is_wrong_whatever_the_truth(
    verdict: WitnessVerdict, expected: Truth
) -> None:
    result = judged([run("a", Claim.SAT)], {"a": verdict}, expected)["a"]
    assert result.outcome is Outcome.WRONG
    contradicted = result.consistency is Consistency.CONTRADICTED
    assert contradicted == (expected is Truth.UNSAT)


def test_uncheckable_is_neutral() -> None:
    result = judged([run("a", Claim.SAT)], {"a": WitnessVerdict.UNCHECKABLE})["a"]
    assert result.outcome is Outcome.UNKNOWN
    assert judged([run("a", Claim.SAT)])["a"].outcome is Outcome.UNKNOWN


def test_sat_without_text_and_without_replay_is_missing() -> None:
    silent = run("a", Claim.SAT).model_copy(update={"witness": None})
    result = judged([silent])["a"]
    assert (result.outcome, result.witness) == (Outcome.WRONG, WitnessVerdict.MISSING)


def test_unsat_against_a_correct_witness_is_wrong_and_says_whose() -> None:
    result = judged([run("a", Claim.UNSAT), run("b", Claim.SAT)], {"b": CORRECT})
    assert (result["a"].outcome, result["a"].consistency) == (Outcome.WRONG, Consistency.CONTRADICTED)
    assert "b has a correct witness" in result["a"].detail
    assert result["b"].outcome is Outcome.FALSIFIED


def test_unsat_against_the_expected_verdict_is_wrong() -> None:
    result = judged([run("a", Claim.UNSAT)], expected=Truth.SAT)["a"]
    assert (result.outcome, result.truth) == (Outcome.WRONG, Truth.SAT)


def test_a_witness_shows_an_expected_sat_against_an_accepted_proof() -> None:
    """The proof is over the reals, the network computes in binary32; without the witness it is in doubt."""
    records, proofs = [run("a", Claim.UNSAT), run("b", Claim.SAT)], {"a": ProofVerdict.CHECKED}
    shown = judged(records, {"b": CORRECT}, Truth.SAT, proofs)["a"]
    assert (shown.outcome, shown.consistency) == (Outcome.WRONG, Consistency.CONTRADICTED)
    assert "over the reals the proof of a was accepted" in shown.detail
    doubted = judged(records[:1], {}, Truth.SAT, proofs)["a"]
    assert (doubted.outcome, doubted.consistency) == (Outcome.VERIFIED, Consistency.DISPUTED)


def test_a_witness_within_tolerance_refutes_nobody() -> None:
    result = judged([run("a", Claim.UNSAT), run("b", Claim.SAT)], {"b": TOLERATED})
    assert (result["a"].outcome, result["b"].outcome) == (Outcome.VERIFIED, Outcome.FALSIFIED)
    assert {j.consistency for j in result.values()} == {Consistency.DISPUTED}
    assert {j.truth for j in result.values()} == {Truth.UNSAT}


def test_a_refuted_sat_leaves_the_unsat_beside_it_alone() -> None:
    result = judged([run("a", Claim.UNSAT), run("b", Claim.SAT)], {"b": WitnessVerdict.INVALID})
    assert result["a"].consistency is Consistency.CONSISTENT
    assert (result["b"].outcome, result["b"].consistency) == (Outcome.WRONG, Consistency.DISPUTED)


def test_claimed_truth_is_labelled_so() -> None:
    result = judged([run("a", Claim.UNSAT), run("b", Claim.UNKNOWN)])
    assert result["a"].truth is result["b"].truth is Truth.UNSAT
    assert "not proven" in result["a"].detail
    assert judged([run("a", Claim.UNSAT)], expected=Truth.UNSAT)["a"].detail == ""


def test_a_correct_witness_against_expected_unsat_disputes_the_instance() -> None:
    result = judged([run("a", Claim.SAT), run("b", Claim.UNSAT)], {"a": CORRECT}, Truth.UNSAT)
    assert (result["a"].outcome, result["b"].outcome) == (Outcome.FALSIFIED, Outcome.VERIFIED)
    assert {j.consistency for j in result.values()} == {Consistency.DISPUTED}
    assert "contradicts the instance" in result["a"].detail
    assert "a has a correct witness" in result["b"].detail


def test_a_gradient_that_differs_disputes_the_answer() -> None:
    replays = {"a": Replay(verdict=CORRECT, gradient="differs")}
    (result,) = judge([run("a", Claim.SAT)], {"i": instance()}, replays)
    assert (result.outcome, result.consistency) == (Outcome.FALSIFIED, Consistency.DISPUTED)
    assert (result.gradient, "differs" in result.detail) == ("differs", True)


def test_a_late_witness_still_establishes_the_truth_and_a_late_unsat_does_not() -> None:
    late = run("a", Claim.SAT, Termination.WALLTIME)
    result = judged([late, run("b", Claim.UNSAT)], {"a": CORRECT})
    assert (result["a"].outcome, result["b"].outcome) == (Outcome.TIMEOUT, Outcome.WRONG)
    truth = ground_truth([run("a", Claim.UNSAT, wall_s=11.0)], Truth.UNKNOWN, {})
    assert (truth.truth, truth.basis) == (Truth.UNKNOWN, "none")


def test_judgements_come_in_the_order_of_the_records() -> None:
    records = [run(name, Claim.UNSAT) for name in "cab"]
    assert [j.key for j in judge(records, {"i": instance()}, {})] == ["c", "a", "b"]


def test_a_record_of_another_set_is_an_error() -> None:
    with pytest.raises(SalverError, match="not in the set"):
        judge([run("a", Claim.UNSAT)], {}, {})


def listed(
    records: list[RunRecord], witnesses: dict[str, WitnessVerdict], expected: Truth = Truth.UNKNOWN
) -> list:
    judgements = judged(records, witnesses, expected)
    return disagreements([JudgedRun(run=r, judgement=judgements[r.key]) for r in records])


def test_disagreements_name_the_solvers() -> None:
    records = [run("a", Claim.UNSAT), run("b", Claim.SAT), run("c", Claim.SAT), run("d", Claim.UNKNOWN)]
    (found,) = listed(records, {"b": CORRECT, "c": WitnessVerdict.INVALID})
    assert (found.instance, found.sat, found.unsat, found.wrong) == ("box", ("b", "c"), ("a",), ("a", "c"))
    assert found.truth is Truth.SAT
    assert "a: b has a correct witness" in found.detail


def test_a_lone_answer_against_the_expected_verdict_is_listed() -> None:
    (found,) = listed([run("a", Claim.UNSAT)], {}, Truth.SAT)
    assert (found.sat, found.unsat, found.wrong) == ((), ("a",), ("a",))


def test_agreement_is_not_listed() -> None:
    assert listed([run("a", Claim.UNSAT), run("b", Claim.UNSAT)], {}) == []
    late = run("b", Claim.SAT, Termination.WALLTIME)
    assert listed([run("a", Claim.UNKNOWN), late], {"b": CORRECT}) == []
