"""What a report says of its runs, worked out once for all its parts: the page, the tables, the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from salver.judge.coverage import Coverage
from salver.judge.judgement import JudgedRun
from salver.judge.naming import doubts, wrong_answers
from salver.judge.proofs import CheckedProof
from salver.judge.scoring import find_profile, leaderboard, results_frame
from salver.judge.verdicts import Disagreement, disagreements


@dataclass(frozen=True)
class Results:
    """Judged runs and what follows from them.

    Attributes:
        judged: the runs, in order.
        frame: their `results_frame`.
        profile: key of `scoring.PROFILES`.
        by_suite, by_family: leaderboards without totals.
        found: the disagreements.
        doubts: instances whose expected verdict is refuted, one line each.
        wrong: the wrong answers, one line each.
        coverage: how many jobs of the run are there.
        notices: what a reader must know before any figure, one line each; that the run is unfinished first.
        proofs: checked proofs by key of the run.
    """

    judged: Sequence[JudgedRun]
    frame: pd.DataFrame
    profile: str
    by_suite: pd.DataFrame
    by_family: pd.DataFrame
    found: Sequence[Disagreement]
    doubts: Sequence[str]
    wrong: Sequence[str]
    coverage: Coverage
    notices: Sequence[str] = ()
    proofs: Mapping[str, CheckedProof] = field(default_factory=dict)


def results(
    judged: Sequence[JudgedRun],
    profile: str,
    frame: pd.DataFrame | None = None,
    covered: Coverage | None = None,
    notices: Sequence[str] = (),
) -> Results:
    """Works them out.

    Args:
        frame: the `results_frame`, where it is there already.
        covered: how many jobs are there; None where all are.
        notices: further ones than that of an unfinished run.

    Raises:
        SalverError: an unknown profile.
    """
    find_profile(profile)
    frame = results_frame(judged) if frame is None else frame
    covered = covered or Coverage(len(judged), len(judged))
    by_suite, by_family = (leaderboard(frame, profile, by, covered.unfinished) for by in ("suite", "family"))
    return Results(
        judged=judged,
        frame=frame,
        profile=profile,
        by_suite=by_suite,
        by_family=by_family,
        found=disagreements(judged),
        doubts=doubts(judged),
        wrong=wrong_answers(judged),
        coverage=covered,
        notices=tuple(filter(None, [covered.sentence, *notices])),
    )
