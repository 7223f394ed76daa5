"""A solver that errs is named with its instance; an instance that is refuted is doubted itself."""

from __future__ import annotations

import pytest

from salver.families.instance import Instance
from salver.judge.findings import doubts, wrong_answers
from salver.judge.judgement import Consistency, JudgedRun, Outcome, ProofVerdict, WitnessVerdict
from salver.judge.proofs import CheckedProof
from salver.judge.verdicts import judge
from salver.judge.witness import Replay
from salver.runners.answers import Claim, RunRecord
from salver.spec.truth import Evidence, Truth
from tests.builders.judged_runs import loaded, reported
from tests.builders.records import instance, run


def _planted(expected: Truth) -> Instance:
    plain = instance(expected)
    return plain.model_copy(update={"facts": plain.facts.model_copy(update={"evidence": Evidence.PLANTED})})


def _judged(
    records: list[RunRecord],
    expected: Truth,
    witnesses: dict[str, WitnessVerdict] | None = None,
    proven: tuple[str, ...] = (),
) -> list[JudgedRun]:
    replays = {key: Replay(verdict=verdict) for key, verdict in (witnesses or {}).items()}
    proofs = {key: CheckedProof(subject="", verdict=ProofVerdict.CHECKED) for key in proven}
    found = judge(records, {"i": _planted(expected)}, replays, proofs)
    return [JudgedRun(run=r, judgement=j) for r, j in zip(records, found, strict=True)]


def test_a_false_unsat_is_named() -> None:
    judged = _judged([run("liar", Claim.UNSAT), run("quiet", Claim.UNKNOWN)], Truth.SAT)
    assert wrong_answers(judged) == ["liar on box: says verified, expected falsified (planted)"]
    assert doubts(judged) == []


@pytest.mark.parametrize("expected", [Truth.SAT, Truth.UNSAT])
def test_a_false_witness_is_named_with_what_is_wrong_with_it(expected: Truth) -> None:
    (line,) = wrong_answers(_judged([run("liar", Claim.SAT)], expected, {"liar": WitnessVerdict.INVALID}))
    assert line.startswith("liar on box: says falsified")
    assert ("expected verified (planted)" in line) == (expected is Truth.UNSAT)


def test_right_answers_are_not_named() -> None:
    records = [run("a", Claim.SAT), run("b", Claim.UNKNOWN)]
    judged = _judged(records, Truth.SAT, {"a": WitnessVerdict.CORRECT})
    assert (wrong_answers(judged), doubts(judged)) == ([], [])


def test_a_correct_witness_throws_doubt_on_an_expected_unsat() -> None:
    records = [run("a", Claim.SAT), run("b", Claim.UNSAT)]
    judged = _judged(records, Truth.UNSAT, {"a": WitnessVerdict.CORRECT})
    assert doubts(judged) == ["box: expected verified (planted), yet a has a correct witness"]
    assert wrong_answers(judged) == []
    assert [j.judgement.outcome for j in judged] == [Outcome.FALSIFIED, Outcome.VERIFIED]


def test_an_accepted_proof_throws_doubt_on_an_expected_sat() -> None:
    records = [run("a", Claim.UNSAT), run("b", Claim.UNSAT)]
    judged = _judged(records, Truth.SAT, proven=("a",))
    assert doubts(judged) == ["box: expected falsified (planted), yet a proof by a was accepted"]
    assert wrong_answers(judged) == []
    assert {j.judgement.consistency for j in judged} == {Consistency.DISPUTED}


def test_a_shown_sat_is_beyond_doubt() -> None:
    records = [run("a", Claim.UNSAT), run("b", Claim.SAT)]
    judged = _judged(records, Truth.SAT, {"b": WitnessVerdict.CORRECT}, proven=("a",))
    assert doubts(judged) == []
    assert [line.split()[0] for line in wrong_answers(judged)] == ["a"]


@pytest.mark.slow
def test_the_page_names_who_errs_and_what_is_doubted(tmp_path) -> None:
    wrong = _judged([run("liar", Claim.UNSAT)], Truth.SAT)
    page = reported(loaded(tmp_path, wrong, {"i": _planted(Truth.SAT)})).read_text()
    section = page.split('id="wrong"')[1].split("</section>")[0]
    assert all(part in section for part in ("liar", "box", "expected to be falsified (planted)"))
    assert 'id="doubts"' not in page
    doubted = _judged([run("a", Claim.SAT)], Truth.UNSAT, {"a": WitnessVerdict.CORRECT})
    page = reported(loaded(tmp_path, doubted, {"i": _planted(Truth.UNSAT)})).read_text()
    assert "yet a has a correct witness" in page.split('id="doubts"')[1].split("</section>")[0]
