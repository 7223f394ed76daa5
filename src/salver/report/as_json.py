"""What `salver report` prints, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from salver.judge.naming import doubts, wrong_answers
from salver.judge.verdicts import disagreements
from salver.model import JudgedRun


def report_json(board: pd.DataFrame, judged: Sequence[JudgedRun], profile: str, page: Path) -> str:
    """The leaderboard's rows and every wrong answer, doubt and disagreement.

    Args:
        board: as `judge.scoring.leaderboard` makes it; `par2` in wall seconds.
    """
    found = {
        "profile": profile,
        "leaderboard": json.loads(board.to_json(orient="records")),
        "wrong": wrong_answers(judged),
        "doubts": doubts(judged),
        "disagreements": [{"instance": d.instance, "detail": d.detail} for d in disagreements(judged)],
        "report": str(page),
    }
    return json.dumps(found, indent=1)
