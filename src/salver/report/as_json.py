"""What `salver report` prints, for programs."""

from __future__ import annotations

import json
from pathlib import Path

from salver.report.results import Results


def report_json(found: Results, page: Path) -> str:
    """The leaderboard's rows (`par2` in wall seconds) and every wrong answer, doubt and disagreement.

    First whether the run is unfinished (`13 of 91 jobs`, else null), and what else a reader must know.
    """
    told = {
        "unfinished": found.coverage.told if found.coverage.unfinished else None,
        "jobs": {"done": found.coverage.done, "planned": found.coverage.jobs},
        "notices": list(found.notices),
        "profile": found.profile,
        "leaderboard": json.loads(found.by_suite.to_json(orient="records")),
        "wrong": found.wrong,
        "doubts": found.doubts,
        "disagreements": [{"instance": d.instance, "detail": d.detail} for d in found.found],
        "report": str(page),
    }
    return json.dumps(told, indent=1)
