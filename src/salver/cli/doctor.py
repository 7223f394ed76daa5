"""`salver doctor`."""

from __future__ import annotations

from salver.cli.json_output import print_json
from salver.cli.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Say what works on this machine, what does not, and why.

    Example: salver doctor
    """
    from salver.cli.examination import examine

    found = examine()
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
        return
    width = max(len(finding.subject) for finding in found)
    for finding in found:
        print(f"{'ok ' if finding.usable else ' - '} {finding.subject:{width}} {finding.detail}")
