"""The lines of a run that is under way use the words of the leaderboard."""

from __future__ import annotations

import pytest

from salver.cli.progress import MOST_OF_A_REASON, error_of, outcome_word
from salver.judge.judgement import Outcome
from salver.runners.answers import Claim
from salver.supervise.finished import Termination
from tests.builders.judged_runs import run


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (Claim.SAT, "falsified"),
        (Claim.UNSAT, "verified"),
        (Claim.UNKNOWN, "unknown"),
        (Claim.TIMEOUT, "timeout"),
        (Claim.ERROR, "error"),
        (Claim.NONE, "error"),
        (Termination.WALLTIME, "timeout"),
        (Termination.CPUTIME, "timeout"),
        (Termination.MEMORY, "out of memory"),
        (Termination.CRASHED, "error"),
        (Termination.UNSUPPORTED, "unsupported"),
    ],
)
def test_a_run_is_told_of_in_one_vocabulary(said: Claim | Termination, word: str) -> None:
    assert outcome_word(run("milp", "box-1", said, 0.5)) == word
    assert word in set(Outcome)


def test_an_error_is_told_with_its_reason_in_one_line() -> None:
    crashed = run("milp", "box-1", Termination.CRASHED, 0.5)
    told = crashed.model_copy(update={"reason": "killed by SIGSEGV;\n no verdict " + "x" * 999})
    assert error_of(told).startswith("killed by SIGSEGV; no verdict xxx")
    assert len(error_of(told)) == MOST_OF_A_REASON
    assert error_of(run("milp", "box-1", Claim.UNKNOWN, 0.5).model_copy(update={"reason": "tired"})) == ""
