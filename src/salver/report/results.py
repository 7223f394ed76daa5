"""What a report says of its runs, worked out once for all its parts: the page, the tables, the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from salver.judge.naming import doubts, wrong_answers
from salver.judge.scoring import find_profile, leaderboard, results_frame
from salver.judge.verdicts import Disagreement, disagreements
from salver.model import JudgedRun


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
    """

    judged: Sequence[JudgedRun]
    frame: pd.DataFrame
    profile: str
    by_suite: pd.DataFrame
    by_family: pd.DataFrame
    found: Sequence[Disagreement]
    doubts: Sequence[str]
    wrong: Sequence[str]


def results(judged: Sequence[JudgedRun], profile: str, frame: pd.DataFrame | None = None) -> Results:
    """Works them out; `frame` is the `results_frame` where it is there already.

    Raises:
        SalverError: an unknown profile.
    """
    find_profile(profile)
    frame = results_frame(judged) if frame is None else frame
    boards = leaderboard(frame, profile), leaderboard(frame, profile, "family")
    return Results(
        judged, frame, profile, *boards, disagreements(judged), doubts(judged), wrong_answers(judged)
    )
