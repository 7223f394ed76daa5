"""`salver report`."""

from __future__ import annotations

from salver.cli.options import AsJson, with_options
from salver.cli.stages import ReportArguments, report_stage


@with_options
def report(arguments: ReportArguments, as_json: AsJson = False) -> None:
    """Judge a stored run again and write its report. No solver is started.

    Example: salver report latest --profile par2
    """
    report_stage(arguments, as_json)
