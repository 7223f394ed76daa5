"""`salver all`."""

from __future__ import annotations

from dataclasses import dataclass

from salver.cli.json_output import kept_for_json
from salver.cli.options import AsJson, Profile, SuiteKey, with_options
from salver.cli.reporting import ReportArguments, report_stage
from salver.cli.stages import RunArguments, run_stage


@dataclass(frozen=True, kw_only=True)
class AllArguments(RunArguments):
    """The command line of a run, with a suite for those who name none."""

    suite: SuiteKey = "quick"
    profile: Profile = "vnncomp2026"


@with_options
def run_all(arguments: AllArguments, as_json: AsJson = False) -> None:
    """Generate a suite, run every solver, print the leaderboard.

    With --json the value is that of `report`.

    Example: salver all quick --solvers milp,hybrid --timeout 20
    """
    with kept_for_json(as_json):
        folder = run_stage(arguments, as_json=False)
    report_stage(ReportArguments(names=[str(folder)], profile=arguments.profile), as_json)
