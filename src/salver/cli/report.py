"""`salver report`."""

from __future__ import annotations

from salver.cli.options import AsJson, Profile, RunName
from salver.cli.stages import report_stage


def report(name: RunName = "latest", profile: Profile = "vnncomp2026", as_json: AsJson = False) -> None:
    """Judge a stored run again and write its report. No solver is started.

    Example: salver report latest --profile par2
    """
    report_stage(name, profile, as_json)
