"""`salver report`."""

from __future__ import annotations

from salver.cli.options import AsJson, with_options
from salver.cli.reporting import ReportArguments, report_stage


@with_options
def report(arguments: ReportArguments, as_json: AsJson = False) -> None:
    """Judge a stored run again and write its report. No solver is started.

    With --by it prints what was verified and falsified, with --format a table for a paper.
    Several runs of one set, such as its shards, are reported together.

    Example: salver report latest --by network,epsilon --format latex
    """
    report_stage(arguments, as_json)
